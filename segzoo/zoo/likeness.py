"""Which entry of the zoo a file of weights is, or is like. The entry says what the file's tensors do not show.

An entry's own file is checked against the layout, geometry and dtype in the manifest. A file of one's own is matched with the
entry of the same geometry; that entry supplies attention heads, eps, protocol and classes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from segzoo.conversion.checkpoint import Checkpoint, identify
from segzoo.errors import ConversionError, NotFoundError, UsageError
from segzoo.formats import naming
from segzoo.layouts.family import bare
from segzoo.manifest.entries import Backbone, Entry, Model, family_of, geometry_of
from segzoo.store.hashing import hashed
from segzoo.zoo.names import resolve
from segzoo.zoo.opened import completed, open_entry
from segzoo.zoo.zoo import ByteProgress, Zoo

if TYPE_CHECKING:
    from segzoo.store.fetched import Fetched

E = TypeVar("E", bound=Backbone | Model)


@dataclass(frozen=True)
class Matched:
    """A file, and the entry of the zoo that it is, or is like. `name` is the user's name for the file, `like` the entry's name.

    `fetched` says how an entry's own file was fetched; it is None for a file of one's own.
    """

    name: str
    like: str
    entry: Entry
    file: Checkpoint
    fetched: "Fetched | None" = None


def match_entry(source: str | Path, zoo: Zoo, among: Mapping[str, Entry], like: str | None, said: ByteProgress) -> Matched:
    """The file and the entry that `source` names: one of the entries `among`, or a file in any layout that is like one of them.

    `like` names the entry for a file whose geometry fits several entries. Raises NotFoundError, UsageError where several entries
    fit and they differ, ConversionError where none fits, and what fetching raises.
    """
    if isinstance(source, str) and source in among:
        fetched = zoo.fetch(among[source].artifact, said)
        with naming(fetched.path, source):
            return Matched(source, source, among[source], open_entry(among[source], fetched.path), fetched)
    if not Path(source).is_file():
        resolve(zoo, [str(source)], False, among)  # its error names the nearest entry
        raise NotFoundError(f"{source}: no such file")
    with naming(Path(source)):
        name, file = _most_like(Path(source), resolve(zoo, [like], False, among) if like else among, like)
    return Matched(str(source), name, among[name], file)


def _most_like(path: Path, among: Mapping[str, Entry], like: str | None) -> tuple[str, Checkpoint]:
    """The name of the entry that a file is like, and the file, completed with what that entry says."""
    file = identify(path)
    if file.geometry.decoder is None and all(isinstance(entry, Model) for entry in among.values()):
        raise ConversionError("a backbone without a head gives no classes of pixels", hint="segzoo inspect shows what is in a file")
    fitting: Mapping[str, Entry] = alike(file, among)
    if not like:
        fitting = of_the_layout(file, fitting)
    if not fitting:
        raise ConversionError(
            f"{file.geometry}: {f'not like {like}' if like else 'like no model of this zoo'}",
            hint="no tensor shows heads, classes and protocol: describe the model in a zoo of your own, and give that zoo with --zoo",
        )
    if len(fitting) > 1:  # if several fit, prefer the one whose own file this is
        sha256 = hashed(path)[0]
        fitting = {name: entry for name, entry in fitting.items() if entry.artifact.sha256 == sha256} or fitting
    if len({assumed(entry) for entry in fitting.values()}) > 1:
        hint = "they differ in facts that no tensor shows: choose one with --like NAME, or like= in Python"
        raise UsageError(f"{path}: {file.geometry}: like {' and like '.join(fitting)}", hint)
    name, entry = next(iter(fitting.items()))  # all that are left give the same facts
    return name, completed(file, entry)


def alike(file: Checkpoint, among: Mapping[str, E]) -> Mapping[str, E]:
    """The entries whose own files have this file's geometry. Sizes that tensors need not show are not compared."""
    return {name: entry for name, entry in among.items() if family_of(entry) is file.family and bare(geometry_of(entry)) == bare(file.geometry)}


def of_the_layout(file: Checkpoint, fitting: Mapping[str, E]) -> Mapping[str, E]:
    """Of several entries that fit, those whose own files have this file's layout; all of them if there are none."""
    return {name: entry for name, entry in fitting.items() if entry.artifact.layout == file.found.layout.name} or fitting


def assumed(entry: Entry) -> tuple[Any, ...]:
    """The facts that a file takes from the entry that it is like, since no tensor shows them."""
    geometry = geometry_of(entry)
    hidden = [getattr(geometry, name) for name in geometry.hidden]
    if not isinstance(entry, Model):
        return (*hidden, entry.eps)
    head = geometry.decoder
    of_head = [getattr(head, name) for name in head.hidden] if head else []
    return (*hidden, entry.eps, *of_head, entry.head_eps, entry.protocol.model_copy(update={"note": None, "published_scale": None}))
