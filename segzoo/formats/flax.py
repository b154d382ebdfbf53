"""Files of flax: a tree of arrays in msgpack, as `flax.serialization.to_bytes` and `msgpack_serialize` of flax 0.12.8 write them.

The name of a tensor is its path in the tree, joined with `/`. Opening walks over the tree and leaves the numbers in the file. An array that is
larger than a gigabyte lies in chunks.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segzoo.errors import IntegrityError
from segzoo.formats.arrays import dtype_of
from segzoo.formats.msgpack import Cursor
from segzoo.formats.nests import some
from segzoo.formats.source import Source
from segzoo.formats.weights import Weights, refuse_long_names
from segzoo.spec import Spec

_NDARRAY, _COMPLEX, _SCALAR = 1, 2, 3  # types of flax's extensions
_CHUNKED = "__msgpack_chunked_array__"
_DTYPES = {
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64", "bfloat16", "complex64", "complex128"),
    *("float8_e4m3fn", "float8_e4m3fnuz", "float8_e4m3b11fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu"),
}
_NARROW = {"int4": "4", "uint4": "4", "int2": "2", "uint2": "2", "float4_e2m1fn": "4"}
"""Bits of a number, where each has a byte of its own all the same."""
_MOST_AXES = 32
_DEEPEST = 64  # maps and lists within one another
_MOST_VALUES = 1 << 18  # in the tree; ViT-g/14 has 655 tensors, and its optimiser twice as many
_MOST_LETTERS = 1 << 25  # of all names together
_LONGEST = 4000  # bytes of a key
_UNTRUE = "do not trust this file"


@dataclass(frozen=True, slots=True)
class _Array:
    """A tensor in the file: its spec, and where its bytes begin and how many they are, piece by piece."""

    spec: Spec
    pieces: tuple[tuple[int, int], ...]


Tree = dict[str, Any]
"""A map or a list of the file, by name: trees, arrays, and plain values. Texts, bytes and numbers that are no integers stand as None."""


def is_flax(head: bytes) -> bool:
    """Whether a file that begins so can be flax's: a map whose first key is a text."""
    before = 1 if b"\x81" <= head[:1] <= b"\x8f" else {b"\xde": 3, b"\xdf": 5}.get(head[:1], 0)
    key = head[before:]
    width = {b"\xd9": 1, b"\xda": 2, b"\xdb": 4}.get(key[:1], 0)  # of the key's length
    length = int.from_bytes(key[1 : 1 + width], "big") if width else key[0] - 0xA0 if b"\xa1" <= key[:1] <= b"\xbf" else 0
    text = key[1 + width :][:length]
    return before > 0 and text != b"" and text.isascii() and text.decode("ascii").isprintable()


def open_flax(source: Source) -> Weights:
    """All tensors of a flax file, those of an optimiser too."""
    path, cursor = source.path, Cursor(source)
    tree = _Walk(path, cursor).tree()
    if cursor.at != source.size:
        raise ValueError(f"{source.size - cursor.at} bytes more than its tree has")
    arrays, others = _flat(path, tree)
    if not arrays:
        raise IntegrityError(f"{path}: no tensors in it; at its top: {some(tree)}", "an Orbax checkpoint keeps them in files of its own")
    specs = {name: one.spec for name, one in arrays.items()}
    notes = (f"left out, being no tensors: {some(sorted(others))}",) if others else ()
    strange = {name: f"numbers of {_NARROW[spec.dtype]} bits" for name, spec in specs.items() if spec.dtype in _NARROW}

    def piecewise(name: str) -> int | None:
        return source.crc(*arrays[name].pieces[0]) if len(arrays[name].pieces) == 1 else None

    return Weights(path, "msgpack", specs, lambda name: _read(source, arrays[name]), notes, strange=strange, piecewise=piecewise)


@dataclass(slots=True)
class _Walk:
    """A walk over the tree of a file, from its first byte to its last. Raises ValueError where it is not as flax writes it."""

    path: Path
    cursor: Cursor
    values: int = 0

    def tree(self, depth: int = 0) -> Any:
        """The value that begins here."""
        self.values += 1
        if depth > _DEEPEST or self.values > _MOST_VALUES:
            what = f"more than {_DEEPEST} maps within one another" if depth > _DEEPEST else f"more than {_MOST_VALUES} values"
            raise IntegrityError(f"{self.path}: {what}, which no weights have", _UNTRUE)
        kind, value = self.cursor.head()
        if kind in ("map", "list"):
            return self._nest(kind, value, depth)
        if kind == "ext":
            return self._extension(*value)
        if kind in ("text", "bytes"):
            self.cursor.skip(value)
        return value if kind in ("int", "bool") else None

    def _nest(self, kind: str, number: int, depth: int) -> Any:
        found: Tree = {}
        for index in range(number):
            name = self._key() if kind == "map" else str(index)
            if name in found:
                raise IntegrityError(f"{self.path}: '{name[:100]}' is there twice in one map; which is meant cannot be known", _UNTRUE)
            found[name] = self.tree(depth + 1)
        return _joined(found) if _CHUNKED in found else found

    def _key(self) -> str:
        kind, value = self.cursor.head()
        if kind not in ("text", "int"):  # lists of modules have numbers for keys
            raise ValueError(f"a key that is no text before byte {self.cursor.at}")
        if kind == "text" and value > _LONGEST:
            raise IntegrityError(f"{self.path}: a key of {value} bytes at byte {self.cursor.at}, which no weights have", _UNTRUE)
        return self.cursor.take(value).decode() if kind == "text" else str(value)

    def _extension(self, code: int, length: int) -> _Array | None:
        """An array, or None for a complex number of Python's."""
        begin, end = self.cursor.at, self.cursor.at + length
        if code in (_NDARRAY, _SCALAR):
            found = self._array()
            if code == _SCALAR and found.spec.shape:
                raise ValueError(f"a scalar with a shape at byte {begin}")
        elif code == _COMPLEX:
            found = None
            if self.cursor.head() != ("list", 2) or {self.cursor.head()[0] for _ in range(2)} - {"float", "int"}:
                raise ValueError(f"a complex number that is no two numbers at byte {begin}")
        else:
            raise ValueError(f"an extension of type {code} at byte {begin}, which flax does not write")
        if self.cursor.at != end:
            raise ValueError(f"an extension of {length} bytes at byte {begin}, whose content has {self.cursor.at - begin}")
        return found

    def _array(self) -> _Array:
        """The array whose shape, dtype and bytes begin here."""
        begin, cursor = self.cursor.at, self.cursor
        if cursor.head() != ("list", 3):
            raise ValueError(f"an array without shape, dtype and bytes at byte {begin}")
        kind, axes = cursor.head()
        if kind != "list" or axes > _MOST_AXES:
            raise ValueError(f"an array of more than {_MOST_AXES} axes, or of none that are known, at byte {begin}")
        sizes = [cursor.head() for _ in range(axes)]
        if any(kind != "int" or size < 0 for kind, size in sizes):
            raise ValueError(f"an array with a size that is no whole number at byte {begin}")
        kind, length = cursor.head()
        dtype = cursor.take(length).decode() if kind in ("text", "bytes") and length <= 20 else "no text"
        if dtype not in _DTYPES and dtype not in _NARROW:
            raise ValueError(f"an array of a dtype that segzoo does not read at byte {begin}: {dtype!a}")
        spec = Spec(tuple(size for _, size in sizes), dtype)
        kind, length = cursor.head()
        if kind not in ("bytes", "text") or length != _nbytes(spec):
            raise ValueError(
                f"an array of {_nbytes(spec)} bytes by its shape at byte {begin}, {length if kind in ('bytes', 'text') else 'none'} are there"
            )
        start = cursor.at
        cursor.skip(length)
        return _Array(spec, ((start, length),))


def _nbytes(spec: Spec) -> int:
    return math.prod(spec.shape) if spec.dtype in _NARROW else spec.nbytes


def _joined(nest: Tree) -> _Array:
    """The array that flax has cut into chunks of a gigabyte, since msgpack holds no more than two in one piece."""
    shape, chunks = nest.get("shape"), nest.get("chunks")
    if nest.keys() != {_CHUNKED, "shape", "chunks"} or nest[_CHUNKED] is not True or not isinstance(shape, dict) or not isinstance(chunks, dict):
        raise ValueError("an array in chunks without shape and chunks")
    sizes, pieces = _in_order(shape), _in_order(chunks)
    if len(sizes) > _MOST_AXES or not all(type(size) is int and size >= 0 for size in sizes):
        raise ValueError("an array in chunks with a size that is no whole number")
    if not pieces or not all(isinstance(one, _Array) and len(one.spec.shape) == len(one.pieces) == 1 for one in pieces):
        raise ValueError("an array in chunks that are no arrays of one axis")
    spec = Spec(tuple(sizes), pieces[0].spec.dtype)
    if {one.spec.dtype for one in pieces} != {spec.dtype} or sum(one.spec.shape[0] for one in pieces) != math.prod(sizes):
        raise ValueError(f"an array in chunks that do not make {spec}")
    return _Array(spec, tuple(piece for one in pieces for piece in one.pieces))


def _in_order(nest: Tree) -> list[Any]:
    """What stands under `0`, `1` and so on."""
    if any(str(index) not in nest for index in range(len(nest))):
        raise ValueError("an array in chunks that are not numbered from 0")
    return [nest[str(index)] for index in range(len(nest))]


def _read(source: Source, array: _Array) -> np.ndarray:
    """The numbers of a tensor; of chunks one at a time."""
    dtype = dtype_of(array.spec.dtype)
    if len(array.pieces) == 1:
        return source.read(*array.pieces[0]).view(dtype).reshape(array.spec.shape)
    whole, done = np.empty(array.spec.nbytes, np.uint8), 0
    for begin, length in array.pieces:
        whole[done : done + length] = source.read(begin, length)
        done += length
    return whole.view(dtype).reshape(array.spec.shape)


def _flat(path: Path, tree: Any) -> tuple[dict[str, _Array], list[str]]:
    """All arrays by name, and the names of all that are none."""
    arrays: dict[str, _Array] = {}
    others: list[str] = []
    letters = 0
    for name, leaf in _leaves(tree):
        letters += len(name)
        refuse_long_names(path, (name,))
        if letters > _MOST_LETTERS:
            raise IntegrityError(f"{path}: names of more than {_MOST_LETTERS} letters, which no weights have", _UNTRUE)
        if name in arrays:
            raise IntegrityError(f"{path}: '{name[:100]}' is there twice, once in one key; which tensor is meant cannot be known", _UNTRUE)
        if isinstance(leaf, _Array):
            arrays[name] = leaf
        else:
            others.append(name)
    return arrays, others


def _leaves(nest: Any, start: str = "") -> Iterator[tuple[str, Any]]:
    """What is in a tree, by path. A tree is `_DEEPEST` deep at most."""
    for key, value in nest.items() if isinstance(nest, dict) else ():
        if isinstance(value, dict):
            yield from _leaves(value, f"{start}{key}/")
        else:
            yield f"{start}{key}", value
