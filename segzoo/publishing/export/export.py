"""One entry of the zoo as a folder that another library loads as it is: weights, config, model card.

The folder appears whole or not at all. Its weights are written by `conversion`, read back and compared; an ONNX graph is held
to the torch model before it is kept.
"""

import hashlib
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from segzoo.atomic import whole_folder
from segzoo.errors import UsageError
from segzoo.evidence.keeping import changed
from segzoo.evidence.receipt import command, facts_of, read_receipt
from segzoo.manifest.entries import Entry, Model
from segzoo.publishing.export.card import card
from segzoo.publishing.export.forms import FORMS
from segzoo.zoo.likeness import Known, Said, known
from segzoo.zoo.own.propose import name_of
from segzoo.zoo.zoo import Zoo

_SLOW = {"onnx": "torch traces the graph, which takes it half a minute"}


@dataclass(frozen=True)
class File:
    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Publication:
    """A folder that was written. `left_out` are the sections that did not come along, `verified` whether a receipt of the same
    bytes says that nothing failed, None where there is none, `verify` the command that makes one, with paths as they were given.
    """

    folder: Path
    form: str
    name: str
    like: str
    files: tuple[File, ...]
    left_out: tuple[str, ...]
    remarks: tuple[str, ...]
    verified: bool | None
    verify: str


def publish(
    source: str | Path,
    folder: Path,
    form: str,
    zoo: Zoo,
    like: str | None = None,
    said: Said = lambda done, whole: None,
    note: Callable[[str], None] = lambda text: None,
) -> Publication:
    """Write an entry of the zoo, or a file of one's own that is like one, as a folder of this form, one of `FORMS`. `note` is told what
    will take its time.

    Raises UsageError (the folder is there, no such form), ConversionError (the form cannot hold the model), EnvironmentFault (disk, a missing
    extra), NotFoundError, and what fetching raises.
    """
    if form not in FORMS:
        raise UsageError(f"no form '{form}'; there are {', '.join(FORMS)}")
    with whole_folder(folder) as part:  # refused before anything is fetched
        it = known(source, zoo, zoo.manifest.entries, like, said)
        dataset = zoo.manifest.datasets[it.entry.protocol.dataset] if isinstance(it.entry, Model) else None
        if form in _SLOW:
            note(_SLOW[form])
        manifest = _zoo(zoo)
        reproduce = _reproduce(it, manifest, form, folder)
        verify = _verify(it, manifest, Path(it.name).name)
        made = replace(FORMS[form](it, dataset, part, said), reproduce=reproduce, verify=verify, version=version("segzoo"))
        sha256 = it.fetched.sha256 if it.fetched else _sha256(it.file.weights.path)
        receipt = read_receipt(zoo.receipt_of(it.like))
        other = _other(receipt, sha256, it.entry) if receipt else None
        proved = receipt if not other else None
        if proved and it.fetched:
            made = replace(made, verify=command(it.name, proved, manifest))
        (part / "README.md").write_text(card(it, sha256, made, dataset, proved, other), encoding="utf-8")
        files = tuple(File(path.name, path.stat().st_size, _sha256(path)) for path in sorted(part.iterdir()))
    verified = proved["passed"] if proved else None
    verify = command(it.name, proved, zoo.option) if proved and it.fetched else _verify(it, zoo.option, it.name)
    return Publication(folder, form, it.name, it.like, files, tuple(drop.section for drop in made.dropped), made.remarks, verified, verify)


def _other(receipt: Mapping[str, Any], sha256: str, entry: Entry) -> str | None:
    """Of what else a receipt is than of these bytes as the manifest describes them."""
    if facts_of(receipt, "bytes").get("sha256") != sha256:
        return "other bytes than these"
    what = changed(receipt, entry)
    return f"an earlier state of the manifest ({', '.join(what)})" if what else None


def _zoo(zoo: Zoo) -> str:
    """The option that chooses the zoo, with a space after it; of a person's own path only the usual name."""
    return {"shipped": "", "mini": "--zoo mini "}.get(zoo.label, "--zoo zoo.yaml ")


def _reproduce(it: Known, manifest: str, form: str, folder: Path) -> str:
    """What makes it again; of a person's own paths only the last part."""
    return f"segzoo {manifest}export {shlex.quote(Path(it.name).name)}{_like(it)} -o {shlex.quote(folder.absolute().name)} --as {form}"


def _verify(it: Known, manifest: str, file: str) -> str:
    """What verifies it, once a file of one's own has an entry."""
    if it.fetched:
        return f"segzoo {manifest}verify {it.like}"
    own = name_of(Path(it.name).name)
    return f"segzoo {manifest}manifest add {shlex.quote(file)}{_like(it)} --to own.yaml && segzoo --zoo own.yaml {manifest}verify {own}"


def _like(it: Known) -> str:
    return "" if it.fetched else f" --like {it.like}"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
