"""Files of weights. Opening one reads names and shapes at once, and each tensor when asked; writing streams.

The first bytes of a file say which format it has, never its name. No reader runs code from a file.
"""

import gc
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

import numpy as np

from segzoo.errors import EnvironmentFault, IntegrityError, NotFoundError, UsageError
from segzoo.formats import flax, npz, pth, safetensors
from segzoo.formats.runs import model_of
from segzoo.formats.several import chosen
from segzoo.formats.shards import open_index, standing_for
from segzoo.formats.source import Source, source
from segzoo.formats.weights import ANEW, INDEX, Weights, naming, parsing, refuse_long_names, shard_of
from segzoo.formats.wrappers import unwrapped
from segzoo.regular import no_file
from segzoo.spec import Spec

__all__ = ["Weights", "format_of", "kind_of", "naming", "open_weights", "suffixes", "writer"]

Writer = Callable[[IO[bytes], Mapping[str, Spec], Iterable[tuple[str, np.ndarray]], Mapping[str, str]], None]


@dataclass(frozen=True, slots=True)
class Format:
    """One file format: its suffixes, its reader, and its writer if segzoo writes it."""

    name: str
    suffixes: tuple[str, ...]
    open: Callable[[Source, str | None], Weights]
    write: Writer | None


FORMATS = (
    Format("npz", (".npz",), lambda source, at: npz.open_npz(source), npz.write),
    Format("pth", (".pth", ".pt"), pth.open_pth, pth.write),
    Format("safetensors", (".safetensors",), lambda source, at: safetensors.open_safetensors(source), safetensors.write),
    Format("msgpack", (".msgpack",), lambda source, at: flax.open_flax(source), None),
)
suffixes = tuple(suffix for known in FORMATS if known.write for suffix in known.suffixes)
"""How the names of files end that `writer` knows."""
_PAGE = "the download delivered a page instead of the file; fetch it again"
_NEXT = {  # what to do with a file of another kind
    "an empty file": ANEW,
    npz.CUT_SHORT: ANEW,
    "an HTML page": _PAGE,
    "an XML document": _PAGE,
    "a Git LFS pointer": "git lfs pull gets the file that it points to",
    "a gzip archive": "unpack it first",
    "a pickle of another kind than torch's": "load it in its own project, where you trust it, and torch.save its state_dict()",
}


def kind_of(path: Path) -> str:
    """What a file is by its first bytes: the name of a format, or words for what it is instead."""
    with path.open("rb") as file:
        head = file.read(512)
    if not head:
        return "an empty file"
    if head.startswith(b"PK\x03\x04"):
        return npz.kind_of_zip(path)
    if pth.is_legacy(head):
        return "pth"
    if safetensors.is_safetensors(head):
        return "safetensors"
    text = head.lstrip().lower()
    if text.startswith((b"<!doctype html", b"<html", b"<head")):
        return "an HTML page"
    if text.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer"
    if text.startswith((b"<?xml", b"<error")):
        return "an XML document"
    if head.startswith(b"\x1f\x8b"):
        return "a gzip archive"
    if head[:1] == b"\x80":
        return "a pickle of another kind than torch's"
    if flax.is_flax(head):
        return "msgpack"
    return "no weights file"


def open_weights(path: str | Path, at: str | None = None) -> Weights:
    """The tensors of a file, as a lazy mapping of name to numpy array. An index of shards, or a folder with either, is a file too.

    `at` names the model in a file of several: where a checkpoint keeps it (`teacher`, `model_ema`), or what its names begin with.
    Raises NotFoundError, IntegrityError where the file is damaged, unsafe or no weights file, ConversionError where it holds
    several models and nothing says which is meant.
    """
    path = standing_for(Path(path))
    if path.name.endswith(INDEX):
        with _opening(path):
            return _plain(open_index(path, lambda shard: _opened(shard, None)), at)
    with _opening(path):
        opened = _plain(_opened(path, at), at)
    return replace(opened, notes=(*opened.notes, f"{shard}: the others are not in it")) if (shard := shard_of(path)) else opened


def _plain(opened: Weights, at: str | None) -> Weights:
    """One model, under names of its own. Words of wrappers go first, so that its name is plain, and where two models had them in common, last."""
    return unwrapped(chosen(unwrapped(model_of(opened, at)), at))


def _opened(path: Path, at: str | None) -> Weights:
    """The tensors of one file as it has them."""
    if not path.is_file():
        hint = None if path.suffix or path.exists() else "segzoo.fetch(NAME) gives the file of a name in the zoo"
        raise no_file(path) or NotFoundError(f"{path}: no such file", hint)
    file = source(path)
    kind = kind_of(path)
    for known in FORMATS:
        if known.name == kind:
            opened = known.open(file, at)
            refuse_long_names(path, opened.specs)
            file.check()
            return opened
    raise IntegrityError(f"{path}: expected npz, pth, safetensors or flax's msgpack, found {kind}", _NEXT.get(kind))


@contextmanager
def _opening(path: Path) -> Iterator[None]:
    """The block opens a file of weights."""
    try:
        with parsing(path), _collector_at_rest():
            yield
    except PermissionError as error:
        raise EnvironmentFault(f"{path}: no permission to read it") from error


@contextmanager
def _collector_at_rest() -> Iterator[None]:
    """Python's garbage collector does not run in the block. Opening makes hundreds of thousands of objects and hardly any garbage, and to
    look through them again and again takes a third of the time.
    """
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()


def format_of(path: Path) -> str | None:
    """The name of the format that a file name's suffix says; None if it says none."""
    return next((known.name for known in FORMATS if path.suffix.lower() in known.suffixes), None)


def writer(path: Path) -> Writer:
    """The function that writes the format of this file name's suffix. Raises UsageError."""
    write = next((known.write for known in FORMATS if known.name == format_of(path)), None)
    if write is None:
        what = f"unknown suffix '{path.suffix}'" if format_of(path) is None else "flax's msgpack is read, and not written"
        raise UsageError(f"{path}: {what}", hint=f"name the target with one of {', '.join(suffixes)}")
    return write
