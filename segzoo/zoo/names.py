"""What a name that a person types stands for in the zoo, and what an unknown name may mean."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from segzoo.errors import IntegrityError, NotFoundError, SegzooError, UsageError
from segzoo.json_in import read_json
from segzoo.manifest.artifact import Artifact
from segzoo.manifest.merge import PACKAGED, ZooPart, parts_of
from segzoo.regular import no_file
from segzoo.text import quoted
from segzoo.vocabulary import LARGEST_RECEIPT, RECEIPT, WEIGHTS
from segzoo.zoo.zoo import Zoo

T = TypeVar("T")
_ADE = ("ade", "ade20k")


def resolve(zoo: Zoo, names: Iterable[str], every: bool, among: Mapping[str, T]) -> dict[str, T]:
    """The named entries, or with `every` all of them. Raises UsageError for no name; for an unknown name NotFoundError with the nearest name."""
    names = list(dict.fromkeys(names))
    if every and names:
        raise UsageError("name some, or give --all, but not both")
    if every:
        return dict(among)
    if not names:
        raise UsageError("nothing named", hint=f"name one or more of {', '.join(among)}; or give --all")
    named = {name: known_name(name, among) for name in names}
    for name, found in named.items():
        if found is None:
            raise _unknown(zoo, name, among)
    return {found: among[found] for found in named.values() if found is not None}


def known_name(name: str, among: Mapping[str, T]) -> str | None:
    """The entry of this name, or the one whose name has the same words in another order: `upernet-vit-b` is `vit-b-upernet`. None if there is none.

    ADE20K may be named, as in `segformer-b2-ade`, though the names of its models leave it out.
    """
    if name in among:
        return name
    words = [word for word in name.split("-") if word not in _ADE]
    found = [one for one in among if sorted(one.split("-")) == sorted(words)]
    return found[0] if len(found) == 1 and len(words) > 1 else None


def resolve_one(zoo: Zoo, name: str, among: Mapping[str, T]) -> T:
    """The entry of this name. For an unknown name raises NotFoundError with the nearest name."""
    (entry,) = resolve(zoo, [name], False, among).values()
    return entry


def _unknown(zoo: Zoo, name: str, among: Mapping[str, Any]) -> NotFoundError:
    """The error for an unknown name. The name may be a data set, several names, a name of another zoo, a receipt, a path, or misspelt."""
    near = difflib.get_close_matches(name, list(among), n=1)
    error = _data_set(zoo, name, among) or _several(name, among) or _of_another_zoo(zoo, name)
    if error := error or _receipt(zoo, name) or _path(zoo, name, near):
        return error
    guess = f"did you mean {near[0]}?" if near else f"there are {', '.join(among)}"
    return NotFoundError(f"no '{name}' in this zoo; {guess}", hint="segzoo list shows what there is")


def _data_set(zoo: Zoo, name: str, among: Mapping[str, Any]) -> NotFoundError | None:
    dataset = zoo.manifest.datasets.get(name)
    if dataset is None:
        return None
    way = f"segzoo fetch {name}" if dataset.archive else "it lies beside the manifest" if dataset.path else "it is got by hand"
    where = f", from {dataset.home}" if dataset.home and not dataset.archive else ""
    files = any(isinstance(one, Artifact) for one in among.values())  # some values may be data sets, which are no artifacts
    what = "and has no file to fetch" if files else "not a model"
    return NotFoundError(f"'{name}' is a data set, {what}", hint=f"{way}{where}; verify and report take its folder with --data DIR")


def _of_another_zoo(zoo: Zoo, name: str) -> NotFoundError | None:
    """The name is in a manifest that is not in use: the working folder's, or one that comes with segzoo."""
    used = {part.path.resolve() for part in zoo.parts}
    for given in ("zoo.yaml", *PACKAGED):
        other = _at_hand(given)
        if other and other.path.resolve() not in used and (name in other.manifest.entries or name in other.manifest.datasets):
            said = f"the {given} zoo has it" if given in PACKAGED else f"{given} in this folder has it"
            return NotFoundError(f"no '{name}' in this zoo; {said}", hint=f"segzoo --zoo {given} ..., or zoo='{given}' in Python")
    return None


def _receipt(zoo: Zoo, name: str) -> NotFoundError | None:
    """The name is the path of a receipt. A report reads receipts only from the folder of receipts."""
    of = _receipt_of(Path(name))
    if of is None:
        return None
    check = f"segzoo {zoo.option}receipt check {quoted(name)} checks it"
    if of not in zoo.manifest.entries:
        way = f"for the report, give the zoo that has {of} with --zoo"
    elif (there := zoo.receipt_of(of)).exists() and there.samefile(name):
        way = f"segzoo {zoo.option}report {of} makes its page"
    elif there.exists():
        way = f"the report uses your own receipt, {there}"
    else:
        folder, file = quoted(str(there.parent)), quoted(str(there))
        way = f"mkdir -p {folder} && cp {quoted(name)} {file} puts it into the report"
    return NotFoundError(f"'{name}' is a receipt of {of}", hint=f"{check}; {way}")


def _receipt_of(path: Path) -> str | None:
    """The name of the entry in a receipt; None where the file is not a receipt."""
    try:
        record = read_json(path, limit=LARGEST_RECEIPT) if path.suffix == ".json" else None
    except (OSError, IntegrityError):
        return None
    of = record.get("name") if isinstance(record, dict) and record.get("schema") == RECEIPT else None
    return of if isinstance(of, str) else None


def _path(zoo: Zoo, name: str, near: Sequence[str]) -> NotFoundError | None:
    """The name is a file, an address or a folder, or it can only be a file that does not exist."""
    path = Path(name)
    if what := "a file" if path.is_file() else "an address" if name.startswith(("http://", "https://")) else None:
        way = f"segzoo manifest add {name} --to zoo.yaml makes it an entry of your own zoo"
        return NotFoundError(f"no '{name}' in this zoo; it is {what}", hint=way)
    owner = next((own for own, entry in zoo.manifest.entries.items() if entry.artifact.name == path.name), None)
    hint = f"the zoo's {owner} has a file of this name: give the name {owner} instead" if owner else f"did you mean {near[0]}?" if near else None
    if name and path.is_dir():
        return NotFoundError(f"'{name}' is a folder", hint or "segzoo list shows the names that there are")
    if name and (error := no_file(path)):
        return error
    if path.name != name or path.suffix.lower() in WEIGHTS:
        return NotFoundError(f"{name}: no such file", hint)
    return None


def _several(name: str, among: Iterable[str]) -> NotFoundError | None:
    """The name is several names with commas between them, or one with a comma after it."""
    names = [one.strip() for one in name.split(",") if one.strip()]
    if "," not in name or not names or set(names) - set(among):
        return None
    return NotFoundError(f"no '{name}' in this zoo", hint=f"names are separated by spaces: {' '.join(names)}")


def _at_hand(given: str) -> ZooPart | None:
    """A manifest that nobody asked for; None where it does not exist or is broken."""
    try:
        part = parts_of(given)[0] if given in PACKAGED or Path(given).is_file() else None
    except (SegzooError, OSError):
        return None
    return part if part and part.source.manifest else None
