"""A reader of configs: it takes facts from a nest of dicts, each from its place, if what stands there is what must stand there."""

from collections.abc import Callable, Sequence
from typing import Any

from segzoo.conversion.config_text import UNREAD
from segzoo.conversion.said import Fact, Said
from segzoo.formats.pickled import content
from segzoo.text import legible

ABSENT = object()
Check = Callable[[Any], Any]
_MOST = 1 << 31  # sizes and pixel values are smaller
_MOST_CHANNELS = 1000
_MOST_CLASSES = 1 << 16
_LONGEST = 1000  # characters of a name


class Reader:
    """Takes facts from a nest of dicts, and remembers what could not be read."""

    def __init__(self, nest: Any, source: str):
        self.nest, self.source = content(nest), source
        self.facts: dict[str, Fact] = {}
        self.notes: list[str] = []
        self.unlike: list[str] = []

    def at(self, *places: str) -> tuple[Any, str]:
        """The value at the first of these places where there is one, and the place; `ABSENT` where there is none. A dot goes one dict deeper."""
        for place in places:
            value = self.nest
            for step in place.split("."):
                value = content(value)
                value = value.get(step, ABSENT) if isinstance(value, dict) else UNREAD if value is UNREAD else ABSENT
                if value is ABSENT or value is UNREAD:
                    break
            if value is not ABSENT:
                return content(value), place
        return ABSENT, places[0]

    def take(self, name: str, check: Check, *places: str, default: Any = ABSENT) -> None:
        """Take the fact `name` from the first of these places, if `check` accepts what stands there: it gives the value, or raises ValueError."""
        value, place = self.at(*places)
        if value is UNREAD:
            self.notes.append(f"{self.source}: {place} would have to be computed, and is not read")
        elif value is not ABSENT:
            self.put(name, check, value, f"{self.source}: {place}")
        elif default is not ABSENT:
            self.facts[name] = Fact(default, f"{self.source}: {place} is not there, so the program's own default")

    def put(self, name: str, check: Check, value: Any, source: str) -> None:
        try:
            self.facts[name] = Fact(check(value), source)
        except ValueError as error:
            self.notes.append(f"{source}: expected {error}, and is not read")

    @property
    def said(self) -> Said:
        return Said(self.facts, tuple(self.notes), tuple(self.unlike))


def number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and -_MOST < value < _MOST  # NaN is not between the two


def whole(value: Any) -> int:
    if type(value) is not int or not 0 < value < _MOST:
        raise ValueError("a positive whole number, not too large")
    return value


def counts(value: Any) -> int | tuple[int, ...]:
    """A positive whole number, or one for each stage."""
    values = content(value)
    if not isinstance(values, list | tuple):
        return whole(values)
    return tuple(map(whole, values))


def alike(value: Any) -> int:
    """A positive whole number that is the same for all stages."""
    values = content(value)
    if not isinstance(values, list | tuple) or len(set(map(whole, values))) != 1:
        raise ValueError("a list of equal numbers")
    return whole(values[0])


def eps(value: Any) -> float:
    if not number(value) or not 0 < value < 1:
        raise ValueError("a number between 0 and 1")
    return float(value)


def pair(value: Any) -> tuple[int, int]:
    """One or two sizes. A list with one pair in it is that pair."""
    value = value[0] if isinstance(value, list) and len(value) == 1 and isinstance(value[0], list | tuple) else value
    sides = (value, value) if type(value) is int else value
    if not isinstance(sides, list | tuple) or len(sides) != 2 or not all(type(side) is int and 0 < side < _MOST for side in sides):
        raise ValueError("one or two positive whole numbers, not too large")
    return (sides[0], sides[1])


def channels(value: Any) -> tuple[float, ...]:
    values = content(value)
    values = (values,) if number(values) else values
    if not isinstance(values, list | tuple) or not 0 < len(values) <= _MOST_CHANNELS or not all(map(number, values)):
        raise ValueError("one number, or one for each channel")
    return tuple(map(float, values)) * (3 if len(values) == 1 else 1)


def names(value: Any) -> tuple[str, ...]:
    values = content(value)
    if not isinstance(values, list | tuple) or not 0 < len(values) <= _MOST_CLASSES or not all(map(_name, values)):
        raise ValueError("a list of names")
    shown = tuple(map(legible, values))
    if len(set(shown)) < len(shown):
        raise ValueError("a list of names without one that is there twice")
    return shown


def _name(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= _LONGEST and bool(value.strip())


def colours(value: Any) -> tuple[tuple[int, int, int], ...]:
    values = content(value)
    known = isinstance(values, list | tuple) and 0 < len(values) <= _MOST_CLASSES
    rows = [content(row, 3) for row in values] if known else []
    if not rows or not all(
        isinstance(row, list | tuple) and len(row) == 3 and all(type(one) is int and 0 <= one <= 255 for one in row) for row in rows
    ):
        raise ValueError("a list of colours, three numbers from 0 to 255 each")
    return tuple((row[0], row[1], row[2]) for row in rows)


def numbers(value: Any) -> tuple[float, ...]:
    values = content(value)
    if not isinstance(values, list | tuple) or not values or not all(number(one) and one > 0 for one in values):
        raise ValueError("a list of positive numbers")
    return tuple(map(float, values))


def indices(value: Any) -> tuple[int, ...] | None:
    """Blocks counted from 0; None for -1, which is mmseg's word for the last one alone."""
    values = content(value)
    values = (values,) if type(values) is int else values
    if not isinstance(values, list | tuple) or not values or not all(type(one) is int for one in values):
        raise ValueError("the indices of blocks")
    if tuple(values) == (-1,):
        return None
    if min(values) < 0:
        raise ValueError("indices from 0, or -1")
    return tuple(values)


def word(value: Any) -> str:
    if not isinstance(value, str) or not value.isprintable():
        raise ValueError("a word")
    return value


_SAME = {**dict.fromkeys(("gelu_pytorch_tanh", "gelu_new", "gelu_fast", "gelu_accurate"), "gelu_tanh"), "swish": "silu"}


def activation(value: Any) -> str:
    """An activation under one name: transformers has several for the tanh form of GELU."""
    return _SAME.get(word(value), word(value))


def truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("True or False")
    return value


Rows = Sequence[tuple[str, Check, str]]
"""Facts by name, each with what must stand at its place, and the place."""


def take_rows(reader: Reader, rows: Rows) -> None:
    """Take each fact of a table. None in a config stands for the program's default, and says nothing."""
    for name, check, place in rows:
        if reader.at(place)[0] is not None:
            reader.take(name, check, place)
