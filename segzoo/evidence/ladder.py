"""What a rung of the ladder is given: the setting of the run, and what the rungs below have found."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segzoo.conversion.checkpoint import Checkpoint
from segzoo.errors import NotFoundError, UsageError, one_of
from segzoo.evidence.check import Check
from segzoo.manifest.artifact import Artifact
from segzoo.manifest.document import Manifest
from segzoo.manifest.entries import Entry
from segzoo.store.fetch import fetch
from segzoo.store.fetched import Fetched
from segzoo.store.policy import Policy
from segzoo.store.store import Store
from segzoo.vocabulary import MODES, PRECISIONS

if TYPE_CHECKING:
    from segzoo.evaluation.processes import World

IMAGES_ON_CPU = 50


@dataclass(frozen=True)
class Setting:
    """Where and how to verify.

    `images` is a number of images, None for all; `data` is the data set's folder, if the user names one; the mIoU is measured in
    each of `modes`, and `precision` is what the network computes in. `smoke` compares that many images with the counts in the receipt;
    `speed` measures images per second; `again` climbs also those rungs that earlier runs have passed; `unwritten` writes no receipt.
    `equivalents` fetches what proves more of a model from another source: files that hold its tensors, and the picture of its witness. Without it
    they are compared only where they are here. `assumed` says what is taken for granted of a file that no manifest describes, by its hash.
    """

    manifest: Manifest
    base: Path
    store: Store
    device: str = "cpu"
    images: int | None = IMAGES_ON_CPU
    data: Path | None = None
    modes: tuple[str, ...] = ("ss",)
    precision: str = "fp32"
    smoke: int | None = None
    speed: bool = False
    equivalents: bool = False
    again: bool = False
    unwritten: bool = False
    world: World | None = None
    said: Callable[[str, int, int | None], None] = lambda doing, done, whole: None
    policy: Policy | None = None
    assumed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raises UsageError for a setting that cannot be measured."""
        if not self.modes:
            raise UsageError("no mode to measure in", hint=f"name one or several of {', '.join(MODES)}")
        for mode in self.modes:
            one_of("mode", mode, MODES)
        one_of("precision", self.precision, PRECISIONS)
        if self.images is not None and (type(self.images) is not int or self.images < 1):
            raise UsageError(f"images: expected a positive number, or None for all, found {self.images!r}")

    def fetch(self, artifact: Artifact) -> Fetched:
        return fetch(artifact, self.store, self.base, lambda done, whole: self.said("fetching", done, whole), policy=self.policy)

    def second_source(self, artifact: Artifact) -> Fetched | None:
        """A file from another source: fetched if `equivalents` are, else only if this machine has it, in the store or at an address of its own.

        Raises IntegrityError if its bytes are wrong.
        """
        if self.equivalents:
            return self.fetch(artifact)
        try:
            return fetch(artifact, self.store, self.base, policy=replace(self.policy or Policy(), offline=True))
        except NotFoundError:
            return None


class Climb:
    """The entry that is climbed, and what its rungs find: a rung sets a field, the rungs above read it."""

    fetched: Fetched
    file: Checkpoint

    def __init__(self, entry: Entry, setting: Setting, previous: Mapping[str, Mapping[str, Any]]):
        self.entry, self.setting, self.previous = entry, setting, previous

    @property
    def basis(self) -> dict[str, Any]:
        """What the rungs below the mIoU depend on: the file's bytes, and what the manifest says of them."""
        return {"sha256": self.fetched.sha256, "geometry": asdict(self.file.geometry), "eps": self.entry.eps}

    def known(self, rung: str, basis: dict[str, Any]) -> Check | None:
        """The check of an earlier run that passed with the same basis; None where there is none, or `again` is set."""
        record = self.previous.get(rung)
        if self.setting.again or record is None or record["status"] != "passed" or record["basis"] != json.loads(json.dumps(basis)):
            return None
        return Check(**record)
