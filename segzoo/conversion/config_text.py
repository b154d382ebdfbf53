"""A config that is Python text, read as data: literals, `dict(...)` and names that the same text has assigned before.

Nothing is evaluated. What is not of these forms becomes `UNREAD`, and so does every value that such a statement may have changed.
"""

import ast
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

UNREAD = type("Unread", (), {"__repr__": lambda self: "UNREAD"})()
"""Stands for a value that is not read, since it would have to be computed."""

_LONGEST = 1 << 18  # characters; resolved configs have some 30,000, and Python makes half a kilobyte of each
_DEEPEST = 100
_BEYOND = 1 << 64
_MOST_WORK = 1 << 21  # parts of values that are looked at or copied: a text names a large value in two characters


@dataclass(frozen=True)
class Config:
    """The values that a text assigns, by name. `bases` are other files that it builds on, which are not read."""

    values: Mapping[str, Any]
    bases: tuple[str, ...] = ()


def read_config(text: str) -> Config | None:
    """The values in a config's text; None where it is no Python."""
    if len(text) > _LONGEST:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of escapes in strings, say: the text is somebody else's
            body = ast.parse(text).body
        values = _Assigned().after(body)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    base = values.pop("_base_", ())
    bases = (base,) if isinstance(base, str) else base if isinstance(base, list | tuple) else ("files whose names are not read",)
    imported = ("files that it imports",) if any(isinstance(one, ast.With | ast.ImportFrom) for one in body) else ()
    return Config(values, (*dict.fromkeys(one for one in bases if isinstance(one, str)), *imported))


class _Assigned:
    """The values that statements assign, by name, and how much work may still be done for them."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.left = _MOST_WORK

    def after(self, body: list[ast.stmt]) -> dict[str, Any]:
        """The values after the last statement. Raises ValueError where that is too much work."""
        for statement in body:
            match statement:
                case ast.Assign(targets=[ast.Name(name)], value=value) | ast.AnnAssign(target=ast.Name(name), value=ast.expr() as value):
                    self.values[name] = self.value(value)
                case ast.Expr(value=ast.Constant()) | ast.Import() | ast.ImportFrom() | ast.Pass():
                    pass
                case _:
                    self.values |= dict.fromkeys(self.reached(statement), UNREAD)
        return self.values

    def spend(self, work: int) -> None:
        self.left -= work
        if self.left < 0:
            raise ValueError("too much work for a config")

    def reached(self, statement: ast.stmt) -> set[str]:
        """The names whose values a statement may change: those in it, and those that share a dict or a list with one of them."""
        named = {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)}
        named |= {node.name for node in ast.walk(statement) if isinstance(node, ast.FunctionDef | ast.ClassDef)}
        shared = {part for name in named & self.values.keys() for part in self.parts(self.values[name])}
        return named | {name for name, value in self.values.items() if not shared.isdisjoint(self.parts(value))}

    def parts(self, value: Any) -> set[int]:
        """The identities of the dicts and lists in a value."""
        seen: set[int] = set()
        parts: set[int] = set()
        left = [value]
        while left:
            one = left.pop()
            self.spend(1)
            if isinstance(one, dict | list | tuple) and id(one) not in seen:
                seen.add(id(one))
                left += one.values() if isinstance(one, dict) else one
                if not isinstance(one, tuple):
                    parts.add(id(one))
        return parts

    def value(self, node: ast.expr, depth: int = 0) -> Any:
        """The value of an expression, or UNREAD."""
        if depth > _DEEPEST:
            return UNREAD

        def inner(one: ast.expr) -> Any:
            return self.value(one, depth + 1)

        match node:
            case ast.Constant(value) if not isinstance(value, int) or abs(value) < _BEYOND:
                return value
            case ast.Name(name):
                return self.values.get(name, UNREAD)
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)) if abs(value) < _BEYOND:
                return -value
            case ast.List(elements) if not _starred(elements):
                return [inner(one) for one in elements]
            case ast.Tuple(elements) if not _starred(elements):
                return tuple(inner(one) for one in elements)
            case ast.Dict(keys, elements):
                pairs = [(None if key is None else inner(key), inner(value)) for key, value in zip(keys, elements, strict=True)]
                return self.joined([(key, value, given is None) for given, (key, value) in zip(keys, pairs, strict=True)])
            case ast.Call(func=ast.Name("dict"), args=[], keywords=keywords) if "dict" not in self.values:
                return self.joined([(one.arg, inner(one.value), one.arg is None) for one in keywords])
        return UNREAD

    def joined(self, parts: list[tuple[Any, Any, bool]]) -> Any:
        """A dict of keys and values; a value that is marked is a dict whose items are spread out. UNREAD where one of them is not read."""
        made: dict[Any, Any] = {}
        for key, value, spread in parts:
            if spread and isinstance(value, dict):
                self.spend(len(value))
                made |= value
            elif spread or not isinstance(key, str | int | float | bool | None):
                return UNREAD
            else:
                made[key] = value
        return made


def _starred(elements: list[ast.expr]) -> bool:
    return any(isinstance(one, ast.Starred) for one in elements)
