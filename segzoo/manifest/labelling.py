"""How a manifest describes label maps: what their values mean, and in which folders they and their images are."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

from pydantic import Field

from segzoo.datasets.sample import Meaning
from segzoo.manifest.artifact import Record
from segzoo.manifest.fields import Colour, Folder, Text
from segzoo.manifest.strict_yaml import Where

_TOLD = 6  # names in a message
Value = Annotated[int, Field(ge=0, le=65535)]
Rgb = tuple[Colour, Colour, Colour]
Classes = Mapping[str, Rgb]


class Labels(Record):
    """What the values in label maps mean: one of `from`, `values` and `colours`.

    `from` is the value of the first class; the next value is the next class, and from 1 a 0 is ignored. `values` maps values to names
    of classes. With `colours` the label maps are pictures in the colours of the classes. `ignore` lists the values, or colours, of
    pixels that do not count. Every other value is refused.
    """

    first: Literal[0, 1] | None = Field(None, alias="from")
    values: dict[Value, Text] | None = None
    colours: bool = False
    ignore: tuple[Value | Rgb, ...] = ()

    def meaning(self, classes: Classes) -> Meaning:
        """The rule as the reader of label maps takes it. The rule does not contradict itself: see `contradictions`."""
        index = {name: place for place, name in enumerate(classes)}
        ignore = frozenset(packed(one) if isinstance(one, tuple) else one for one in self.ignore)
        if self.colours:
            return Meaning(ignore=ignore, keyed=tuple((packed(colour), index[name]) for name, colour in classes.items()), coloured=True)
        if self.values is not None:
            return Meaning(ignore=ignore, keyed=tuple((value, index[name]) for value, name in self.values.items()))
        unlabelled = frozenset({0}) if self.first == 1 else frozenset()
        return Meaning(first=self.first or 0, ignore=ignore | unlabelled, unsaid=unlabelled - ignore)

    def contradictions(self, classes: Classes) -> Iterator[tuple[Where, str]]:
        """Each place where the rule contradicts itself or the classes, and what is wrong there."""
        given = [name for name, value in (("from", self.first), ("values", self.values), ("colours", self.colours or None)) if value is not None]
        if len(given) != 1:
            found = f"found {' and '.join(given)}" if given else "found none of them"
            yield (given[-1:] and (given[-1],)) or (), f"expected one of 'from', 'values' and 'colours', {found}"
            return
        for value, name in (self.values or {}).items():
            if name not in classes:
                yield ("values", value), f"no class '{name}' in `classes`"
                return
        if self.colours:
            yield from _shared(classes)
        meaning = self.meaning(classes)
        names = list(classes)
        for place, one in enumerate(self.ignore):
            if isinstance(one, tuple) is not self.colours:
                yield ("ignore", place), f"{_spelt(one)} is a {'value' if self.colours else 'colour'}, but the labels are in {given[0]}"
            elif (index := meaning.class_of(packed(one) if isinstance(one, tuple) else one, len(classes))) < len(classes):
                yield ("ignore", place), f"{_spelt(one)} is ignored, and it is the class '{names[index]}'"


def _shared(classes: Classes) -> Iterator[tuple[Where, str]]:
    by_colour: dict[Rgb, list[str]] = defaultdict(list)
    for name, colour in classes.items():
        by_colour[colour].append(name)
    for colour, names in by_colour.items():
        if len(names) > 1:
            more = f" and {len(names) - _TOLD:,} others" if len(names) > _TOLD else ""
            first = f"{' and '.join(repr(name) for name in names[:_TOLD])}{more}"
            said = f"the classes {first} share the colour {_spelt(colour)}, so a colour does not tell the class"
            yield ("colours",), said


def packed(colour: Rgb) -> int:
    """A colour as one number, 0xRRGGBB."""
    red, green, blue = colour
    return red << 16 | green << 8 | blue


def _spelt(one: int | Rgb) -> str:
    return str(list(one)) if isinstance(one, tuple) else str(one)


class Folders(Record):
    """Where the loader `folders` finds images and label maps, below the data set's folder.

    In a path `{split}` stands for the split. Without `labels` the label maps lie beside their images, and then `label_suffix` tells
    them apart. A suffix is how names end: `.tif`, `_mask.png`. `list` is a file with the names of the split's images, one a line.
    """

    images: Folder
    labels: Folder | None = None
    image_suffix: Text | None = None
    label_suffix: Text | None = None
    list: Folder | None = None

    def contradictions(self, splits: int) -> Iterator[tuple[Where, str]]:
        """Each place where the fields contradict each other, and what is wrong there. `splits` is how many the data set has."""
        if self.labels is None and self.label_suffix is None:
            yield (), "without `labels` the label maps lie beside the images, and `label_suffix` must say how their names end"
        if self.labels in (None, self.images) and self.label_suffix is not None and self.label_suffix == self.image_suffix:
            yield ("label_suffix",), "it is that of the images: an image would be its own label map"
        if splits > 1 and not any("{split}" in (one or "") for one in (self.images, self.list)):
            yield (), f"there are {splits} splits, and neither `images` nor `list` has {{split}} to tell them apart"
