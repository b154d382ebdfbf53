"""A file of weights, opened, with the zoo's entry that says of it what its tensors do not.

An entry's own file is held to what the manifest says of its layout, geometry and dtype. A file of one's own is taken for the
entry that has its geometry, which tells attention heads, eps, protocol and classes.
"""

from collections.abc import Callable, Mapping
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
from segzoo.zoo.opened import as_told, open_entry
from segzoo.zoo.zoo import Zoo

if TYPE_CHECKING:
    from segzoo.store.fetched import Fetched

E = TypeVar("E", bound=Backbone | Model)
Said = Callable[[int, int | None], None]


@dataclass(frozen=True)
class Known:
    """A file, as the user called it, and the entry of the zoo that it is, or is like.

    `fetched` is how an entry's own file came; None for a file of one's own.
    """

    name: str
    like: str
    entry: Entry
    file: Checkpoint
    fetched: "Fetched | None" = None


def known(source: str | Path, zoo: Zoo, among: Mapping[str, Entry], like: str | None, said: Said) -> Known:
    """One of the zoo's entries `among` by name, or a file of one's own in any layout that is like one of them.

    `like` names the entry to take a file for, where several or none have its geometry. Raises NotFoundError, ConversionError,
    and what fetching raises.
    """
    if isinstance(source, str) and source in among:
        fetched = zoo.fetch(among[source].artifact, said)
        with naming(fetched.path, source):
            return Known(source, source, among[source], open_entry(among[source], fetched.path), fetched)
    if not Path(source).is_file():
        resolve(zoo, [str(source)], False, among)  # says what is near
        raise NotFoundError(f"{source}: no such file")
    with naming(Path(source)):
        name, recognised = _recognised(Path(source), resolve(zoo, [like], False, among) if like else among, like)
    return Known(str(source), name, among[name], recognised)


def _recognised(path: Path, among: Mapping[str, Entry], like: str | None) -> tuple[str, Checkpoint]:
    """The entry that a file is like, and the file."""
    file = identify(path)
    if file.geometry.decoder is None and all(isinstance(entry, Model) for entry in among.values()):
        raise ConversionError("a backbone without a head gives no classes of pixels", hint="segzoo inspect shows what is in a file")
    fitting = alike(file, among)
    if not like:  # of entries alike, those whose own files are in this layout
        fitting = {name: entry for name, entry in fitting.items() if entry.artifact.layout == file.found.layout.name} or fitting
    if not fitting:
        raise ConversionError(
            f"{file.geometry}: {f'not like {like}' if like else 'like no model of this zoo'}",
            hint="heads, classes and protocol show in no tensor: describe the model in a zoo of your own, and give it with --zoo",
        )
    if len(fitting) > 1:  # of entries alike, the one whose own file it is; else the first, where nothing depends on which
        sha256 = hashed(path)[0]
        fitting = {name: entry for name, entry in fitting.items() if entry.artifact.sha256 == sha256} or fitting
    if len({assumed(entry) for entry in fitting.values()}) > 1:
        hint = "they differ in what no tensor shows: say which with --like NAME, or like= in Python"
        raise UsageError(f"{path}: {file.geometry}: like {' and like '.join(fitting)}", hint)
    name, entry = next(iter(fitting.items()))
    return name, as_told(file, entry)


def alike(file: Checkpoint, among: Mapping[str, E]) -> dict[str, E]:
    """The entries whose own files have this geometry, as far as tensors show it."""
    return {name: entry for name, entry in among.items() if family_of(entry) is file.family and bare(geometry_of(entry)) == bare(file.geometry)}


def assumed(entry: Entry) -> tuple[Any, ...]:
    """What a file that is like an entry is taken to share with it, since no tensor shows it."""
    geometry = geometry_of(entry)
    hidden = [getattr(geometry, name) for name in geometry.hidden]
    if not isinstance(entry, Model):
        return (*hidden, entry.eps)
    head = geometry.decoder
    of_head = [getattr(head, name) for name in head.hidden] if head else []
    return (*hidden, entry.eps, *of_head, entry.head_eps, entry.protocol.model_copy(update={"note": None, "published_scale": None}))
