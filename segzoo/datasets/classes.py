"""Names and colours for classes that have none."""

from collections.abc import Mapping, Sequence

Colour = tuple[int, int, int]
Classes = Mapping[str, Colour]
"""The colour of each class, in the order of the indices."""
BACKGROUND: tuple[str, Colour] = ("background", (0, 0, 0))


def colour(index: int) -> Colour:
    """A colour for the class of this index, another one for each. The bits of the number go to red, green and blue in turn, highest first,
    as in PASCAL VOC's colour map; black, its first colour, is left out.
    """
    number = index + 1
    red, green, blue = (sum((number >> (3 * place + channel) & 1) << (7 - place) for place in range(8)) for channel in range(3))
    return red, green, blue


def described(count: int, names: Sequence[str] | None = None, colours: Sequence[Colour] | None = None) -> dict[str, Colour]:
    """Classes in label order: these names, else `class 0` and so on; these colours, else made-up ones.

    A model with one output has two classes: a background, and what `names` calls the foreground.
    """
    if count == 1:
        return _binary(names, colours)
    chosen = names or [f"class {index}" for index in range(count)]
    return dict(zip(chosen, colours or map(colour, range(count)), strict=True))


def _binary(names: Sequence[str] | None, colours: Sequence[Colour] | None) -> dict[str, Colour]:
    if names and len(names) == 2:
        return dict(zip(names, colours or (BACKGROUND[1], colour(0)), strict=True))
    one, its = names[0] if names else "foreground", colours[-1] if colours else colour(0)
    return dict([BACKGROUND, (one if one != BACKGROUND[0] else "foreground", its)])


def scored(outputs: int, classes: Mapping[str, Colour]) -> dict[str, Colour]:
    """The classes that a model with this many outputs tells apart, by those of a data set: of a single class the other is the background."""
    return described(1, list(classes), list(classes.values())) if outputs == 1 else dict(classes)


def fits(outputs: int, classes: int) -> bool:
    """Whether a model with this many outputs can have this many classes. One output is a background and a foreground."""
    return classes in (1, 2) if outputs == 1 else classes == outputs
