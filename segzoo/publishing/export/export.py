"""How a model becomes a folder that another library loads without changes: weights, config, model card.

The folder appears complete or not at all. `conversion` writes the weights, reads them back and compares them. An ONNX graph is
compared with the torch model before the folder appears.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from segzoo.atomic import holds_files, whole_folder
from segzoo.errors import IntegrityError, NotFoundError, UsageError
from segzoo.evidence.keeping import changed
from segzoo.evidence.receipt import command, facts_of
from segzoo.evidence.recheck import checked
from segzoo.formats import Weights
from segzoo.manifest.artifact import joint_sha256
from segzoo.manifest.entries import Entry, Model
from segzoo.publishing.export.card import card
from segzoo.publishing.export.forms import WRITERS, write
from segzoo.text import quoted
from segzoo.zoo.likeness import Matched, match_entry
from segzoo.zoo.own.propose import name_of
from segzoo.zoo.zoo import ByteProgress, Zoo

_SLOW = {"onnx": "torch traces the graph, which takes half a minute"}


@dataclass(frozen=True)
class File:
    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Publication:
    """A folder that was written. `left_out` names the sections of the model that are not in it.

    `verified` tells whether a receipt of the same bytes has no failed check; None means that there is no receipt. `verify` is the
    command that makes a receipt, with paths as the caller gave them. `already` is True if the folder was there, with these very files.
    """

    folder: Path
    form: str
    name: str
    like: str | None
    files: tuple[File, ...]
    left_out: tuple[str, ...]
    remarks: tuple[str, ...]
    verified: bool | None
    verify: str
    already: bool = False


def publish(
    source: str | Path,
    folder: Path,
    form: str,
    zoo: Zoo,
    like: str | None = None,
    said: ByteProgress = lambda done, whole: None,
    note: Callable[[str], None] = lambda text: None,
    config: Path | None = None,
) -> Publication:
    """Write an entry of the zoo, or a file that is like one, as a folder of this form, one of `WRITERS`. `note` is called before slow work,
    with a text for the user. `config` is that of a file of one's own.

    A folder that holds just what would be written stays as it is.
    Raises UsageError (the folder holds something else, no such form), ConversionError (the form cannot hold the model), EnvironmentFault (disk,
    a missing extra), NotFoundError, and what fetching raises.
    """
    if form not in WRITERS:
        raise UsageError(f"no form '{form}'; there are {', '.join(WRITERS)}")
    already = holds_files(folder)
    if already:
        _refuse_other_folder(folder, form)
    with whole_folder(folder) as part:
        matched = match_entry(source, zoo, zoo.manifest.entries, like, said, config)
        named = matched.entry.protocol.dataset if isinstance(matched.entry, Model) else None
        dataset = zoo.manifest.datasets[named] if named is not None else None
        if form in _SLOW:
            note(_SLOW[form])
        manifest = _zoo(zoo)
        reproduce = _reproduce(matched, manifest, form, folder)
        verify = _verify(matched, manifest, Path(matched.name).name)
        made = replace(write(form, matched, dataset, part, said), reproduce=reproduce, verify=verify, version=version("segzoo"))
        sha256 = matched.fetched.sha256 if matched.fetched else _joint(matched.file.weights)
        proved, other = _receipt(zoo, matched, sha256)
        if proved and matched.fetched:
            made = replace(made, verify=command(matched.name, proved, manifest))
        (part / "README.md").write_text(card(matched, sha256, made, dataset, proved, other), encoding="utf-8")
        files = tuple(File(path.name, path.stat().st_size, _sha256(path)) for path in sorted(part.iterdir()))
    verified = proved["passed"] if proved else None
    verify = command(matched.name, proved, zoo.option) if proved and matched.fetched else _verify(matched, zoo.option, matched.name)
    left_out = tuple(drop.section for drop in made.dropped)
    return Publication(folder, form, matched.name, matched.like, files, left_out, made.remarks, verified, verify, already)


def _refuse_other_folder(folder: Path, form: str) -> None:
    """Raises UsageError where files are in the folder that an earlier run of this export cannot have written. It is asked before
    anything is fetched.
    """
    try:
        said = (folder / "README.md").read_text(encoding="utf-8", errors="replace")
    except OSError:
        said = ""
    if f"{_target(folder, form)}\n" not in said:
        raise UsageError(f"{folder}: exists already, and is not empty", hint="name a new folder, or remove this one first")


def _receipt(zoo: Zoo, matched: Matched, sha256: str) -> tuple[Mapping[str, Any] | None, str | None]:
    """The entry's receipt. None and why it does not count, if it contradicts itself, or is of something other than these bytes."""
    if not matched.like:
        return None, None
    try:
        receipt = checked(zoo.receipt_of(matched.like), matched.like, classes=list(matched.classes))
    except NotFoundError:
        return None, None
    except IntegrityError:
        return None, "broken (segzoo receipt check says why)"
    other = _other(receipt, sha256, matched.entry)
    return (None if other else receipt), other and f"of {other}"


def _other(receipt: Mapping[str, Any], sha256: str, entry: Entry) -> str | None:
    """What a receipt is of, where it is not of these bytes as the manifest describes them now; else None."""
    if facts_of(receipt, "bytes").get("sha256") != sha256:
        return "other bytes than these"
    what = changed(receipt, entry)
    return f"an earlier state of the manifest ({', '.join(what)})" if what else None


def _zoo(zoo: Zoo) -> str:
    """The --zoo option for the card, with a space at the end. A person's own path is private, so the usual name stands for it."""
    return {"shipped": "", "mini": "--zoo mini "}.get(zoo.label, "--zoo zoo.yaml ")


def _reproduce(matched: Matched, manifest: str, form: str, folder: Path) -> str:
    """The command that makes the folder again. A person's own paths are private, so only their last parts are shown."""
    return f"segzoo {manifest}export {quoted(Path(matched.name).name)}{_like(matched)} {_target(folder, form)}"


def _target(folder: Path, form: str) -> str:
    """The options of that command which say what is written, and where."""
    return f"-o {quoted(folder.absolute().name)} --as {form}"


def _verify(matched: Matched, manifest: str, file: str) -> str:
    """The command that verifies the model. For a file of one's own, it first makes an entry."""
    if matched.fetched:
        return f"segzoo {manifest}verify {matched.like}"
    own = name_of(Path(matched.name).name)
    return f"segzoo {manifest}manifest add {quoted(file)}{_like(matched)} --to own.yaml && segzoo --zoo own.yaml {manifest}verify {own}"


def _like(matched: Matched) -> str:
    return f" --like {matched.like}" if matched.like and not matched.fetched else ""


def _joint(weights: Weights) -> str:
    return joint_sha256({path.name: _sha256(path) for path in (weights.path, *weights.files)})


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
