"""A run of `verify`: climb the ladder for each entry, write down what is done, and keep the receipt that proves more."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segzoo.datasets.listing import folder_given
from segzoo.errors import EnvironmentFault, NetworkError, NotFoundError
from segzoo.evaluation.device import best_device
from segzoo.evidence.check import Check
from segzoo.evidence.climb import artifacts_of, verify
from segzoo.evidence.keeping import changed, of_other_data, outweighed, settled
from segzoo.evidence.known import known, proved_before
from segzoo.evidence.ladder import IMAGES_ON_CPU, Setting
from segzoo.evidence.receipt import receipt, unfinished, write_receipt, write_unfinished
from segzoo.extras import installed
from segzoo.manifest.artifact import Artifact
from segzoo.manifest.entries import Entry
from segzoo.zoo.zoo import Zoo

if TYPE_CHECKING:
    from segzoo.evaluation.processes import World

ALL_IMAGES = 0
_CUT_SHORT = {kind.exit_code for kind in (NetworkError, NotFoundError, EnvironmentFault)}  # errors that say nothing about the entry


@dataclass(frozen=True)
class Climbed:
    """One rung of an entry was climbed."""

    name: str
    check: Check


@dataclass(frozen=True)
class Ended:
    """All rungs of an entry were climbed. `receipt` is what this run found; `folder` is where it was written, None if it was not;
    `note` is a sentence about an earlier receipt that stays or that is gone.
    """

    name: str
    receipt: Mapping[str, Any]
    folder: Path | None = None
    note: str | None = None


@dataclass(frozen=True)
class Broken:
    """A receipt that was here is broken, and counts as not there. `note` names it, and says what is wrong."""

    note: str


def setting_for(
    zoo: Zoo, *, device: str | None, images: int | None, modes: Sequence[str], data: Path | None, world: World | None, **more: Any
) -> Setting:
    """The setting of a run, with defaults for what the user left open: the best device; 50 images on a CPU, all on a GPU.

    `images` may be ALL_IMAGES; `more` are further fields of Setting. Raises EnvironmentFault for a device or a folder that is
    not here.
    """
    device = device or best_device()
    if device != "cpu" and not world and installed("torch"):  # several processes each check their own device later
        from segzoo.evaluation.precision import device_of

        device_of(device)
    if data is not None:
        folder_given(data)
    if images is None:
        images = IMAGES_ON_CPU if device == "cpu" else ALL_IMAGES
    return Setting(
        zoo.manifest,
        zoo.base,
        zoo.store,
        device=device,
        images=images or None,
        data=data,
        modes=tuple(dict.fromkeys(modes)) or ("ss",),
        world=world,
        policy=zoo.policy(),
        **more,
    )


def to_fetch(zoo: Zoo, entries: Iterable[Entry], equivalents: bool = False) -> list[Artifact]:
    """The files that a run over these entries needs and the store does not have, data sets apart."""
    needed = list(dict.fromkeys(file for entry in entries for artifact in artifacts_of(entry, equivalents) for file in artifact.files))
    known = zip(needed, zoo.store.expectations(needed), strict=True)  # one look at the lock file for all
    return [artifact for artifact, expectation in known if zoo.store.stored(expectation.sha256) is None]


def run(zoo: Zoo, entries: Mapping[str, Entry], setting: Setting) -> Iterator[Climbed | Broken | Ended]:
    """Climb the ladder for each entry: yields each check as it is made, then what became of the entry's receipt.

    Only the first of several processes reads and writes receipts. A smoke run and an `unwritten` one write none.
    """
    first = setting.world is None or setting.world.rank == 0
    writes = first and setting.smoke is None and not setting.unwritten
    for name, entry in entries.items():
        folder = zoo.receipts_of(name)
        broken: list[str] = []
        previous = proved_before(name, folder, broken.append, any_version=setting.smoke is not None) if first else {}
        yield from map(Broken, broken)
        checks: list[dict[str, Any]] = []
        for check in verify(entry, setting, previous):
            checks.append(check.record())
            yield Climbed(name, check)
            if writes:
                write_unfinished(receipt(name, entry.title, checks), folder)
        record = receipt(name, entry.title, checks)
        cut_short = any(check["code"] in _CUT_SHORT for check in checks)
        yield keep(record, entry, folder) if writes and not cut_short else Ended(name, record)


def keep(record: dict[str, Any], entry: Entry, folder: Path) -> Ended:
    """Write the receipt of a finished run into this folder, unless the one that is there proves more."""
    name = record["name"]
    earlier = known(folder / f"{name}.json", lambda note: None)  # read now: another run may have written it meanwhile
    if earlier is not None and changed(earlier, entry):
        earlier = None
    record = settled(record, earlier)
    if earlier and (more := outweighed(record, earlier)):
        unfinished(name, folder).unlink(missing_ok=True)
        stays = "stays as it was" if earlier["passed"] else "stays as it was, failed"
        return Ended(name, record, note=f"{name}: the receipt {stays}, since it has {more}")
    write_receipt(record, folder)
    gone = of_other_data(record, earlier) if earlier else None
    return Ended(name, record, folder, f"{name}: the receipt before this had {gone}" if gone else None)
