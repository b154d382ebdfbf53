"""A pickle read as data: an interpreter of an allow-list of opcodes that imports and calls nothing.

Classes and functions stay inert `Name`s; what a pickle would call becomes a `Call`. The caller says
which calls mean something to it. Safe by construction, where a subclass of the C `Unpickler` is not:
it would still allocate gigabytes for nine bytes of LONG_BINPUT.
"""

import pickletools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import IO, Any

from segzoo.errors import IntegrityError
from segzoo.formats.weights import ANEW


@dataclass(frozen=True, slots=True)
class Name:
    """A class or function that the pickle names."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(slots=True, eq=False, repr=False)
class Call:
    """What a pickle would have called or built, left undone. Hashed by identity: its parts may be nested without end."""

    what: Any
    args: Any
    state: Any = None
    items: list[Any] = field(default_factory=list)


@dataclass(slots=True)
class _Mark:
    """Where a MARK opcode was."""


class Bounded:
    """A file whose reads never ask for more than is left, so that a claimed length allocates nothing."""

    def __init__(self, file: IO[bytes], size: int):
        self.file, self.size = file, size

    def tell(self) -> int:
        return self.file.tell()

    def read(self, count: int) -> bytes:
        return self.file.read(min(count, self.size - self.file.tell()))

    def readline(self) -> bytes:
        return self.file.readline()


_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_EMPTIES: dict[str, Callable[[], Any]] = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple, "EMPTY_SET": list}
_LITERALS = frozenset(
    (
        *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
        *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
        *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
    )
)
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_SKIPPED = frozenset({"PROTO", "FRAME"})


def load(file: Any, where: str, build: Callable[[Name, Any], Any], persistent: Callable[[Any], Any]) -> tuple[Any, set[str]]:
    """The object that the next pickle in `file` describes, and what it would have called that was left undone.

    `build(name, args)` gives the value of a call, or a `Call` to leave it undone; `persistent(id)`
    resolves what the pickle keeps outside itself. Raises IntegrityError for anything unsound.
    """
    undone: set[str] = set()
    try:
        return _interpret(file, build, persistent, undone), undone
    except IntegrityError as error:
        raise IntegrityError(f"{where}: {error.message}", error.hint) from error
    except Exception as error:  # of every kind: these are a stranger's opcodes
        raise IntegrityError(f"{where}: a damaged pickle: {str(error) or type(error).__name__}", ANEW) from error


def _interpret(file: Any, build: Callable[[Name, Any], Any], persistent: Callable[[Any], Any], undone: set[str]) -> Any:
    stack: list[Any] = []
    memo: dict[int, Any] = {}

    def made(value: Any) -> Any:
        if isinstance(value, Call) and isinstance(value.what, Name):
            undone.add(str(value.what))
        return value

    def to_mark() -> list[Any]:
        taken = []
        while not isinstance(top := stack.pop(), _Mark):
            taken.append(top)
        return taken[::-1]

    argument: Any
    for opcode, argument, _ in pickletools.genops(file):
        op = opcode.name
        if op in _SKIPPED:
            continue
        elif op in _CONSTANTS:
            stack.append(_CONSTANTS[op])
        elif op in _LITERALS:
            stack.append(argument)
        elif op in _EMPTIES:
            stack.append(_EMPTIES[op]())
        elif op == "MARK":
            stack.append(_Mark())
        elif op in ("BINPUT", "LONG_BINPUT", "PUT"):
            memo[int(argument)] = stack[-1]
        elif op == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif op in ("BINGET", "LONG_BINGET", "GET"):
            stack.append(memo[int(argument)])
        elif op in _TUPLES:
            count = _TUPLES[op]
            stack[-count:] = [tuple(stack[-count:])]
        elif op == "TUPLE":
            stack.append(tuple(to_mark()))
        elif op == "LIST":
            stack.append(to_mark())
        elif op == "DICT":
            flat = to_mark()
            stack.append(mapping(zip(flat[::2], flat[1::2], strict=True)))
        elif op == "FROZENSET":
            stack.append(tuple(to_mark()))
        elif op in ("APPENDS", "ADDITEMS"):
            items = to_mark()
            _extend(stack[-1], items)
        elif op == "APPEND":
            item = stack.pop()
            _extend(stack[-1], [item])
        elif op == "SETITEMS":
            flat = to_mark()
            _assign(stack[-1], list(zip(flat[::2], flat[1::2], strict=True)))
        elif op == "SETITEM":
            value, key = stack.pop(), stack.pop()
            _assign(stack[-1], [(key, value)])
        elif op == "GLOBAL":
            stack.append(Name(*argument.split(" ", 1)))
        elif op == "STACK_GLOBAL":
            name, module = stack.pop(), stack.pop()
            if not isinstance(module, str) or not isinstance(name, str):
                raise ValueError("a class whose name is no text")
            stack.append(Name(module, name))
        elif op in ("REDUCE", "NEWOBJ"):
            args, what = stack.pop(), stack.pop()
            stack.append(made(build(what, args) if isinstance(what, Name) else Call(what, args)))
        elif op == "NEWOBJ_EX":
            options, args, what = stack.pop(), stack.pop(), stack.pop()
            stack.append(made(Call(what, (args, options))))
        elif op == "BUILD":
            state = stack.pop()
            if isinstance(stack[-1], Call):
                stack[-1].state = state
        elif op == "BINPERSID":
            stack.append(persistent(stack.pop()))
        elif op == "POP":
            stack.pop()
        elif op == "POP_MARK":
            to_mark()
        elif op == "DUP":
            stack.append(stack[-1])
        elif op == "STOP":
            return stack.pop()
        else:
            raise IntegrityError(f"the pickle uses {op}, which no checkpoint needs", hint="do not trust this file")
    raise ValueError("it ends before its end")


def _extend(target: Any, items: list[Any]) -> None:
    (target.items if isinstance(target, Call) else target).extend(items)


def _assign(target: Any, pairs: list[tuple[Any, Any]]) -> None:
    if isinstance(target, Call):
        target.items.extend(pairs)
    else:
        target.update(mapping(pairs))


def mapping(pairs: Iterable[tuple[Any, Any]]) -> dict[Any, Any]:
    """A dict, unless a key is a tuple of tuples: hashing two bytes of pickle a level can overflow the C stack, or never end."""
    flat = dict[Any, Any]()
    for key, value in pairs:
        if isinstance(key, tuple) and any(isinstance(part, tuple) for part in key):
            raise IntegrityError("a dict whose keys are nested tuples, which no checkpoint needs", hint="do not trust this file")
        flat[key] = value
    return flat
