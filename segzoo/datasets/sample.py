"""An image with its label map, and what the values in a label map mean."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

IGNORED = 255
NO_CLASS = 65534
_WIDE_IGNORED = 65535


def ignored(classes: int) -> int:
    """The value of ignored pixels in a label map: 255, or 65535 where the classes are so many that 255 is one of them."""
    return IGNORED if classes <= IGNORED else _WIDE_IGNORED


@dataclass(frozen=True, slots=True)
class Meaning:
    """What the values in label maps mean: `first` is the first class and the next value the next class, or `keyed` says it value by value.

    `keyed` pairs each value with its class; with `coloured` the values are colours, 0xRRGGBB. `ignore` are the values of pixels that do
    not count. `unsaid` are those among them that nobody has stated: most data sets of the kind ignore them. A value that is a class is
    not ignored.
    """

    first: int = 0
    ignore: frozenset[int] = frozenset()
    unsaid: frozenset[int] = frozenset()
    keyed: tuple[tuple[int, int], ...] | None = None
    coloured: bool = False

    def class_of(self, value: int, classes: int) -> int:
        """The class of a value, `ignored(classes)` where it is ignored, or NO_CLASS where it means nothing."""
        index = value - self.first if self.keyed is None else dict(self.keyed).get(value, NO_CLASS)
        if 0 <= index < classes:
            return index
        return ignored(classes) if value in self.ignore else NO_CLASS

    def reachable(self, classes: int) -> frozenset[int]:
        """The classes that a value stands for."""
        return frozenset(index for _, index in self.keyed) if self.keyed is not None else frozenset(range(classes))

    def shown(self, value: int) -> str:
        """A value as messages name it: a number, or a colour as #RRGGBB."""
        return f"#{value:06x}" if self.coloured else str(value)


def keyed(pairs: Iterable[tuple[int, int]], ignore: Iterable[int] = ()) -> Meaning:
    """The meaning of label maps whose values are listed, each with its class."""
    return Meaning(ignore=frozenset(ignore), keyed=tuple(pairs))


# 255 is ignored, as mmseg's `ignore_index`.
AS_IT_IS = Meaning(ignore=frozenset({IGNORED}), unsaid=frozenset({IGNORED}))
# 0 is unlabelled and ignored, 1 is the first class (mmseg's `reduce_zero_label`).
FROM_ONE = Meaning(first=1, ignore=frozenset({0, IGNORED}), unsaid=frozenset({0, IGNORED}))


@dataclass(frozen=True, slots=True)
class Sample:
    """An image and its label map, and what the values in it mean."""

    name: str
    image: Path
    label: Path
    meaning: Meaning = field(default=FROM_ONE, repr=False)
