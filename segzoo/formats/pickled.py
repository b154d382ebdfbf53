"""A pickle read as data: an interpreter of allowed opcodes that imports nothing and calls nothing.

Classes and functions stay names (`Global`); what a pickle would call becomes a `Call`. The caller says which calls mean something
to it. This is safe by construction. A subclass of the C `Unpickler` is not: nine bytes of LONG_BINPUT make it allocate gigabytes.
"""

import math
import pickletools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import IO, Any

import numpy as np

from segzoo.errors import IntegrityError
from segzoo.formats.weights import ANEW


@dataclass(frozen=True, slots=True)
class Global:
    """A class or function that the pickle names. The pickle format calls it so."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(slots=True, eq=False, repr=False)
class Call:
    """What a pickle would have called or built, left undone. Two calls are never equal: their parts may be nested without end.

    `data` is what `content` made of it, once it was asked.
    """

    what: Any
    args: Any
    state: Any = None
    items: list[Any] = field(default_factory=list)
    data: Any = None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class OddKey:
    """A key of a dict that is no text and no small number. To hash a tuple may never end, and whoever chooses its numbers chooses its hash."""

    value: Any


_MARK = object()  # where a MARK opcode was
_MOST_STEPS = 1 << 22
_MOST_FREE = 1000  # things that calls may copy before opcodes have brought as many
_MOST_MEMO = 1 << 32
_LONGEST_CLASS = 256
_LONGEST_LINE = 1 << 24
_SMALL = 1 << 16


class Bounded:
    """A file whose reads never ask for more than is left, so that a claimed length allocates nothing."""

    def __init__(self, file: IO[bytes], size: int):
        self.file, self.size = file, size

    def tell(self) -> int:
        return self.file.tell()

    def read(self, count: int) -> bytes:
        return self.file.read(count if count <= _SMALL else min(count, self.size - self.file.tell()))

    def readline(self) -> bytes:
        return self.file.readline(_LONGEST_LINE)


Build = Callable[[Global, Any], Any]
Persistent = Callable[[Any], Any]


def interpret(file: Any, where: str, build: Build, persistent: Persistent) -> tuple[Any, set[str]]:
    """The object that the next pickle in `file` describes, and the names of the calls that were left undone.

    `build(name, args)` gives the value of a call, or a `Call` to leave it undone; `persistent(id)`
    resolves what the pickle keeps outside itself. Raises IntegrityError for anything unsound.
    """
    machine = _Machine(build, persistent)
    try:
        return machine.run(file), machine.undone
    except IntegrityError as error:
        raise IntegrityError(f"{where}: {error.message}", error.hint) from error
    except Exception as error:  # of every kind: these are a stranger's opcodes
        raise IntegrityError(f"{where}: a damaged pickle: {str(error) or type(error).__name__}", ANEW) from error


class _Machine:
    """The stack and the memo that the opcodes of one pickle work on.

    An opcode takes a byte and may cost a copy of all that came before. So there are limits: of the number of opcodes, each of which
    makes some hundred bytes, and of what calls copy, which is no more than opcodes have brought.
    """

    def __init__(self, build: Build, persistent: Persistent):
        self.build, self.persistent = build, persistent
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.undone: set[str] = set()
        self.steps = self.copied = 0

    def run(self, file: Any) -> Any:
        for self.steps in range(_MOST_STEPS):
            code = file.read(1)
            if code == b".":
                return self.stack.pop()
            read, act = _OPCODES.get(code, _UNKNOWN)
            if act is None:
                raise _refusal(code)
            act(self, read(file) if read else None)
        raise IntegrityError(f"a pickle of more than {_MOST_STEPS} steps, which no checkpoint needs", hint="do not trust this file")

    def spend(self, copied: int) -> None:
        self.copied += copied
        if self.copied > self.steps + _MOST_FREE:
            raise IntegrityError("calls that copy the same things again and again, which no checkpoint needs", hint="do not trust this file")

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def take(self, count: int) -> list[Any]:
        """The topmost values, lowest first."""
        return [self.stack.pop() for _ in range(count)][::-1]

    def take_to_mark(self) -> list[Any]:
        """The values above the topmost mark, lowest first."""
        taken = []
        while (top := self.stack.pop()) is not _MARK:
            taken.append(top)
        return taken[::-1]

    def remember(self, index: int) -> None:
        if not 0 <= index < _MOST_MEMO:
            raise ValueError("a place in the memo that no pickle of this size needs")
        self.memo[index] = self.stack[-1]

    def extend(self, items: list[Any]) -> None:
        """Add items to the list, or to the call, that is on top."""
        target = self.stack[-1]
        (target.items if isinstance(target, Call) else target).extend(items)

    def assign(self, flat: list[Any]) -> None:
        """Add keys and values, which take turns, to the dict, or to the call, that is on top."""
        target, pairs = self.stack[-1], _pairs(flat)
        if isinstance(target, Call):
            target.items.extend(pairs)
        else:
            mapping(pairs, target)

    def set_state(self) -> None:
        state = self.stack.pop()
        if isinstance(self.stack[-1], Call):
            self.stack[-1].state = state

    def push_global(self, module: Any, name: Any) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            raise ValueError("a class whose name is no text")
        if len(module) + len(name) > _LONGEST_CLASS:
            raise ValueError("a class whose name is too long")
        self.push(Global(module, name))

    def call(self, what: Any, args: Any) -> None:
        value = self.build(what, args) if isinstance(what, Global) else Call(what, args)
        if isinstance(value, dict | tuple):
            self.spend(len(value))
        self._push_result(value)

    def call_with_options(self, what: Any, args: Any, options: Any) -> None:
        self._push_result(Call(what, (args, options)))

    def _push_result(self, value: Any) -> None:
        if isinstance(value, Call) and isinstance(value.what, Global):
            self.undone.add(str(value.what))
        self.push(value)


_LITERALS = (
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
)
_ALLOWED: dict[str, Callable[[_Machine, Any], Any]] = {  # beside STOP
    "PROTO": lambda machine, _: None,
    "FRAME": lambda machine, _: None,
    **dict.fromkeys(_LITERALS, lambda machine, value: machine.push(value)),
    "NONE": lambda machine, _: machine.push(None),
    "NEWTRUE": lambda machine, _: machine.push(True),
    "NEWFALSE": lambda machine, _: machine.push(False),
    "EMPTY_DICT": lambda machine, _: machine.push({}),
    "EMPTY_LIST": lambda machine, _: machine.push([]),
    "EMPTY_TUPLE": lambda machine, _: machine.push(()),
    "EMPTY_SET": lambda machine, _: machine.push([]),
    "MARK": lambda machine, _: machine.push(_MARK),
    "MEMOIZE": lambda machine, _: machine.remember(len(machine.memo)),
    **dict.fromkeys(("BINPUT", "LONG_BINPUT", "PUT"), lambda machine, index: machine.remember(int(index))),
    **dict.fromkeys(("BINGET", "LONG_BINGET", "GET"), lambda machine, index: machine.push(machine.memo[int(index)])),
    "TUPLE1": lambda machine, _: machine.push(tuple(machine.take(1))),
    "TUPLE2": lambda machine, _: machine.push(tuple(machine.take(2))),
    "TUPLE3": lambda machine, _: machine.push(tuple(machine.take(3))),
    "TUPLE": lambda machine, _: machine.push(tuple(machine.take_to_mark())),
    "LIST": lambda machine, _: machine.push(machine.take_to_mark()),
    "DICT": lambda machine, _: machine.push(mapping(_pairs(machine.take_to_mark()))),
    "FROZENSET": lambda machine, _: machine.push(tuple(machine.take_to_mark())),
    "APPEND": lambda machine, _: machine.extend(machine.take(1)),
    "APPENDS": lambda machine, _: machine.extend(machine.take_to_mark()),
    "ADDITEMS": lambda machine, _: machine.extend(machine.take_to_mark()),
    "SETITEM": lambda machine, _: machine.assign(machine.take(2)),
    "SETITEMS": lambda machine, _: machine.assign(machine.take_to_mark()),
    "GLOBAL": lambda machine, name: machine.push_global(*name.split(" ", 1)),
    "STACK_GLOBAL": lambda machine, _: machine.push_global(*machine.take(2)),
    "REDUCE": lambda machine, _: machine.call(*machine.take(2)),
    "NEWOBJ": lambda machine, _: machine.call(*machine.take(2)),
    "NEWOBJ_EX": lambda machine, _: machine.call_with_options(*machine.take(3)),
    "BUILD": lambda machine, _: machine.set_state(),
    "BINPERSID": lambda machine, _: machine.push(machine.persistent(machine.stack.pop())),
    "POP": lambda machine, _: machine.stack.pop(),
    "POP_MARK": lambda machine, _: machine.take_to_mark(),
    "DUP": lambda machine, _: machine.push(machine.stack[-1]),
}
_CODES = {opcode.code.encode("latin-1"): opcode for opcode in pickletools.opcodes}
_OPCODES = {code: (opcode.arg.reader if opcode.arg else None, _ALLOWED.get(opcode.name)) for code, opcode in _CODES.items()}
"""By its byte, what reads the argument of an opcode, and what it does; None where no checkpoint needs it."""
_UNKNOWN = (None, None)


def _refusal(code: bytes) -> Exception:
    """Why this opcode ends the reading."""
    if code not in _CODES:
        return ValueError("it ends before its end" if not code else f"at {code!r} there is no opcode")
    return IntegrityError(f"the pickle uses {_CODES[code].name}, which no checkpoint needs", hint="do not trust this file")


def _pairs(flat: list[Any]) -> list[tuple[Any, Any]]:
    return list(zip(flat[::2], flat[1::2], strict=True))


def mapping(pairs: Iterable[tuple[Any, Any]], into: dict[Any, Any] | None = None) -> dict[Any, Any]:
    """A dict of these pairs, or the dict `into` with them. Keys that are neither text nor small numbers become `OddKey`s, all different.

    Refuses a key that is there twice, also where Python holds two keys for the same (1, 1.0 and True): one of the values would be lost.
    """
    found = {} if into is None else into
    for key, value in pairs:
        plain = isinstance(key, str | bytes | float | None) or (isinstance(key, int) and abs(key) < 1 << 64)
        key = key if plain else OddKey(key)
        if key in found:
            raise IntegrityError(f"a dict has the key {_short(key)} twice; which value is meant cannot be known", hint="do not trust this file")
        found[key] = value
    return found


def _short(key: Any) -> str:
    return ascii(key[:60] if isinstance(key, str | bytes) else key)


def content(value: Any, most: int = 1 << 16) -> Any:
    """What a value is as data: the dict that a config class was made of, an array of integers as lists, bytes; any other value as it is.

    Only the value itself is looked at, not what is in it: a pickle may repeat or contain a part without end. It is looked at once. An array
    may have `most` numbers.
    """
    if not isinstance(value, Call):
        return value
    if value.data is None:
        value.data = _content(value, most)
    return value.data


def _content(call: Call, most: int) -> Any:
    name = str(call.what) if isinstance(call.what, Global) else ""
    if name.replace("numpy._core", "numpy.core") in _ARRAYS:
        return _integers(described(call), most)
    if name == "_codecs.encode" and isinstance(call.args, tuple) and len(call.args) == 2 and isinstance(call.args[0], str):
        return call.args[0].encode("latin1", "replace")
    if call.items and all(isinstance(one, tuple) and len(one) == 2 for one in call.items):
        try:
            return mapping(call.items)
        except IntegrityError:  # keys that are there twice: which value is meant cannot be known, and none is used
            return call
    first = call.args[0] if isinstance(call.args, tuple) and len(call.args) == 1 else None
    return first if isinstance(first, dict) else call.state if isinstance(call.state, dict) else call


def _integers(array: "Described | None", most: int) -> Any:
    """An array of integers as nested lists; None where it is of another kind, or has not as many bytes as it says."""
    if array is None or array.dtype.kind not in "iu" or math.prod(array.shape) > most:
        return None
    try:
        return numbers(array).tolist()
    except ValueError:
        return None


_RECONSTRUCTED, _FROM_BUFFER = "numpy.core.multiarray._reconstruct", "numpy.core.numeric._frombuffer"
_ARRAYS = (_RECONSTRUCTED, _FROM_BUFFER)
"""The two calls by which numpy pickles an array."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Described:
    """A numpy array as a pickle describes it. `block` is what becomes its bytes; see `content`."""

    dtype: np.dtype
    shape: tuple[int, ...]
    fortran: bool
    block: Any


_KINDS = {f"{kind}{size}" for kind, sizes in {"f": "248", "i": "1248", "u": "1248", "b": "1"}.items() for size in sizes}
_MOST_AXES = 32


def described(value: Any) -> Described | None:
    """The array of plain numbers that a value stands for; None where it is anything else."""
    if not isinstance(value, Call) or not isinstance(value.what, Global):
        return None
    match str(value.what).replace("numpy._core", "numpy.core"), value.state, value.args:
        case name, (_, tuple() as shape, dtype, bool() as fortran, block), _ if name == _RECONSTRUCTED:
            pass
        case name, _, (block, dtype, tuple() as shape, str() as order) if name == _FROM_BUFFER:
            fortran = order == "F"
        case _:
            return None
    kind, plain = _numpy_dtype(dtype), all(type(side) is int and 0 <= side < 1 << 63 for side in shape)
    return None if kind is None or not plain or len(shape) > _MOST_AXES else Described(kind, shape, fortran, block)


def _numpy_dtype(value: Any) -> np.dtype | None:
    """A dtype of plain numbers with the lowest byte first, or None."""
    match value:
        case Call(what=Global(module="numpy", name="dtype"), args=(str() as kind, *_), state=(_, "<" | "|", *_)) if kind in _KINDS:
            return np.dtype(kind).newbyteorder("<")
    return None


def numbers(one: Described) -> np.ndarray:
    """The array itself. Raises ValueError where its bytes are not as many as its shape says."""
    block = content(one.block)
    if not isinstance(block, bytes | bytearray):
        raise ValueError("an array without bytes")
    return np.frombuffer(block, one.dtype).reshape(one.shape, order="F" if one.fortran else "C")
