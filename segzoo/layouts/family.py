"""What a family of backbones is, and what a kind of head is: the facts and functions that `conversion` needs of each.

`conversion` itself knows no family and no head.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from fnmatch import fnmatchcase, translate
from functools import lru_cache
from typing import Any, ClassVar, Protocol, TypeVar

from segzoo.errors import ConversionError
from segzoo.layouts.rule import Depths, Rule
from segzoo.spec import Spec

Axes = Mapping[str, int]
Alternatives = tuple[tuple[str, ...], ...]
Shown = tuple[dict[str, int], dict[str, int]]
"""What a neck or head shows: the size of each axis, and how many blocks each index counts."""


def refuse_other_sizes(part: str, axes: Axes, expected: Iterable[tuple[str, int, str]]) -> None:
    """Raises ConversionError where an axis of a neck or head has not the size that it must have. `expected` has the axis, the size, and of what."""
    for axis, must, of in expected:
        if axes[axis] != must:
            raise ConversionError(f"{part}: expected {must} {of}, found {axes[axis]}")


def common_parts(geometry: Any) -> list[str]:
    """What the sizes of every family end with, for people: channels of the image that are not three, classes, neck and head."""
    parts = []
    if geometry.channels != 3:
        parts.append(f"{geometry.channels} {'channel' if geometry.channels == 1 else 'channels'}")
    if geometry.classes is not None:
        parts.append(f"{geometry.classes} classes")
    return parts + [str(part) for part in (geometry.neck, geometry.decoder) if part is not None]


def by_stage(numbers: tuple[int, ...]) -> str:
    """A number for each stage, for people."""
    return "-".join(map(str, numbers))


def heads_by_stage(family: str, heads: Any, widths: tuple[int, ...]) -> tuple[int, ...] | None:
    """The attention heads that the caller knows, where no tensor shows them; None where it knows none.

    Raises ConversionError for other than a number a stage that divides its width.
    """
    if heads is None:
        return None
    if not isinstance(heads, tuple | list) or len(heads) != len(widths):
        raise ConversionError(f"a {family} has a number of heads for each of its {len(widths)} stages, but {heads} were given")
    if wrong := [(number, width) for number, width in zip(heads, widths, strict=True) if width % number]:
        raise ConversionError("{} heads do not divide a width of {}".format(*wrong[0]))
    return tuple(heads)


def depths_by_stage(found: "Measured", stages: Sequence[tuple[int, str]]) -> tuple[int, ...]:
    """The blocks of each stage. `stages` has the number of each stage, and the letter that counts its blocks.

    Raises ConversionError for a stage without a block.
    """
    depths = tuple(found.depths[letter] for _, letter in stages)
    if not all(depths):
        raise ConversionError(f"no block of stage {depths.index(0)} is in it")
    return depths


def counted_by_stage(depths: Sequence[int], stages: Sequence[tuple[int, str]]) -> Depths:
    """The inverse of `depths_by_stage`."""
    return Depths({letter: depth for (_, letter), depth in zip(stages, depths, strict=True)})


def refuse_other_axes(found: "Measured", expected: Iterable[tuple[str, int, str]]) -> None:
    """Raises ConversionError that names the tensor where an axis has not the size that it must have. `expected` has the axis, the size, and why.

    An axis that no tensor shows is passed over.
    """
    for axis, must, why in expected:
        if found.axes.get(axis, must) != must:
            raise ConversionError(f"{found.origin[axis]}: {why}: {found.axes[axis]} is not {must}")


class NeckGeometry(Protocol):
    """A neck's sizes: a frozen dataclass. `hidden` names the fields that may show in no tensor."""

    __dataclass_fields__: ClassVar[dict[str, Any]]
    hidden: ClassVar[tuple[str, ...]]

    @property
    def kind(self) -> str: ...


class HeadGeometry(NeckGeometry, Protocol):
    """A head's sizes."""

    @property
    def classes(self) -> int: ...


class Geometry(Protocol):
    """The sizes of a backbone and its head: a frozen dataclass. `str` of it is for people.

    `hidden` names the fields that may show in no tensor. `left_over` names the fields in which two files of one model may differ: a
    classifier that a file still carries although the model does not use it, and what is absent because that means the same.
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]
    hidden: ClassVar[tuple[str, ...]]
    left_over: ClassVar[tuple[str, ...]]

    @property
    def heads(self) -> Any: ...
    @property
    def classes(self) -> int | None: ...
    @property
    def neck(self) -> NeckGeometry | None: ...
    @property
    def decoder(self) -> HeadGeometry | None: ...


G = TypeVar("G", bound=Geometry)


def bare(geometry: G) -> G:
    """A geometry without its `hidden` and `left_over` fields: two files with equal bare geometries are alike."""
    parts = {name: part and replace(part, **dict.fromkeys(part.hidden)) for name, part in (("neck", geometry.neck), ("decoder", geometry.decoder))}
    return replace(geometry, **dict.fromkeys((*geometry.hidden, *geometry.left_over)), **parts)


def told(geometry: G, facts: Mapping[str, Any]) -> G:
    """A measured geometry whose unknown `hidden` fields are taken from `facts`: those of a manifest, or of a receipt."""

    def known(sizes: Any, of: Mapping[str, Any]) -> dict[str, Any]:
        return {name: of.get(name) for name in sizes.hidden if getattr(sizes, name) is None}

    there = {name: part for name, part in (("neck", geometry.neck), ("decoder", geometry.decoder)) if part is not None}
    parts = {name: replace(part, **known(part, facts[name])) for name, part in there.items() if facts.get(name)}
    return replace(geometry, **known(geometry, facts), **parts)


def differences(expected: Geometry, measured: Geometry) -> str:
    """The fields in which two geometries differ, in words; empty if they are equal."""
    wanted, found = asdict(expected), asdict(measured)
    return "; ".join(f"{name} {found.get(name)}, expected {wanted[name]}" for name in wanted if wanted[name] != found.get(name))


@dataclass(frozen=True, slots=True)
class Reference:
    """An independent implementation of the same network, for the numbers rung.

    `library` is the name to import, `title` the name to print. `layouts` are those that the reference reads: the first that has a place for
    the file. The torch network gets the same tensors by way of the layout `network`. These are layouts that people convert to, so that a
    wrong rule in one shows. Where `network` has no place for the file, the network's own names serve.
    `limit` says why the reference cannot judge some files of the family. `also` has sections that the reference can do although its
    layouts have none of them: empty ones say what is not there. `told` names fields of the geometry that no tensor shows;
    the reference is given them by name.
    """

    library: str
    title: str
    layouts: tuple[str, ...]
    network: str
    limit: str
    also: Mapping[str, tuple[Rule, ...]] = field(default_factory=dict)
    told: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Variant:
    """A model of a family that the family's layouts have no place for, in words, and how its names show it.

    `names` are patterns of names that layouts do not know; one of them must be there, if any are given. `lacks` are patterns of canonical
    names; if any are given, all that is missing must fit one of them, and nothing that is there.
    """

    title: str
    names: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()

    def fits(self, missing: Collection[str], there: Collection[str], unexpected: Collection[str]) -> bool:
        """Whether a file is such a variant: these canonical names it misses, those are there, and it has these names beyond."""
        named = any(map(_any_of(self.names).match, unexpected)) if self.names else not unexpected
        if not named or not self.lacks:
            return named
        lacks = _any_of(self.lacks).match
        return bool(missing) and all(map(lacks, missing)) and not any(map(lacks, there))


@lru_cache(256)
def _any_of(patterns: tuple[str, ...]) -> re.Pattern[str]:
    """One expression for names that fit any of these patterns: a file may have many names, and a family many variants."""
    return re.compile("|".join(map(translate, patterns)))


@dataclass(frozen=True)
class Family:
    """A kind of backbone: what its tables mean, how its sizes are measured, and how a manifest writes them.

    Tables:
    `always` is the section that every file of the family has.
    `choices` are lists of alternatives, each a combination of sections; a file has one alternative of each list.
    `essential` maps the sections that a target layout must have a place for to what they are, in words.
    `stands_on` maps a section to the sections that it takes its input from; it is dropped with them.
    `neutral` maps patterns of canonical names to a number: a tensor full of that number means the same as no tensor (bias 0, scale 1).
    `idle` maps patterns of canonical names that no forward pass uses to the reason for dropping them.
    `fixed` maps the axes that have one size in every file to that size.
    `variants` are the models of the family that no layout has a place for.
    `aside` maps patterns of names that belong to training to what they are; no layout has them, and no forward pass needs them.
    `asked` maps the axes that only some tables show to what they are, in words, and to a hint: how a caller says their size.
    `positions` is the canonical name of the position table, if it can be resampled; the geometry then has `grid`, its rows and columns.
    `grid_of` makes rows and columns of a geometry and an image's height and width; None if the geometry has another number of positions.
    `lying` is a geometry whose positions lie in rows and columns; it raises ConversionError if the numbers do not fit.

    Sizes:
    `measure` makes a geometry of the axes' sizes, checks it, and takes the caller's number of attention heads.
    `shown` is its inverse: what a file of this geometry shows, with all sections that other layouts may have no place for.
    `plausible` decides by shapes where names allow several readings.
    `unsure` says in words what names and shapes leave open, and how it was read; None if nothing is open.
    `lookalike` names, in words, other models whose files have the same sections; None if none is known.
    `unlike` compares a geometry with what a config says of the backbone, and maps each fact that the network does otherwise to how, in words.
    `confirm` names the option by which a caller confirms that reading.
    `image` is height, width and channels of the image that the numbers rung uses.

    Manifests:
    `sizes` is the record of a backbone entry, `backbone` the record of a model's backbone: dataclasses of plain fields with a method
    `geometry(head)`.
    `describe` and `describe_model` fill these records' fields from a measured geometry; None stands for what no tensor shows.
    `summary` is a geometry in a few words. `kin` names the fields of `sizes` that two backbones of one architecture share.
    `usual` has what None stands for in a field of the records that no tensor shows, by the geometry.
    `width` names the field of a geometry, and of both records, that has the backbone's width: two widths are two models.
    `eps` is what the layer norms have where a manifest says nothing, and `eps_of` names the programs that have it.
    """

    name: str
    title: str
    always: str
    measure: Callable[["Measured", Any], Geometry]
    shown: Callable[[Any], "Measured"]
    sizes: type
    backbone: type
    describe: Callable[[Any], dict[str, Any]]
    describe_model: Callable[[Any], dict[str, Any]]
    summary: Callable[[Any], str]
    kin: tuple[str, ...]
    eps_of: str
    width: str = "width"
    usual: Callable[[Any], Mapping[str, Any]] = lambda geometry: {}
    choices: tuple[Alternatives, ...] = ()
    essential: Mapping[str, str] = field(default_factory=dict)
    stands_on: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    neutral: Mapping[str, int] = field(default_factory=dict)
    idle: Mapping[str, str] = field(default_factory=dict)
    fixed: Mapping[str, int] = field(default_factory=dict)
    variants: tuple[Variant, ...] = ()
    aside: Mapping[str, str] = field(default_factory=dict)
    asked: Mapping[str, tuple[str, str | None]] = field(default_factory=dict)
    plausible: Callable[[Mapping[str, Rule], Mapping[str, Spec], int | None], bool] = lambda rules, specs, positions: True
    unsure: Callable[[Mapping[str, Rule], Mapping[str, Spec], Collection[str]], str | None] = lambda rules, specs, sections: None
    lookalike: Callable[[Collection[str]], str | None] = lambda sections: None
    unlike: Callable[[Any, Mapping[str, Any]], Mapping[str, str]] = lambda geometry, said: {}
    image: Callable[[Any], tuple[int, ...]] = lambda geometry: (64, 64, 3)
    confirm: Callable[[Any], str | None] = lambda geometry: None
    positions: str | None = None
    grid_of: Callable[[Any, tuple[int, int]], tuple[int, int] | None] = lambda geometry, image: None
    lying: Callable[[Any, tuple[int, int]], Any] = lambda geometry, grid: geometry
    reference: Reference | None = None
    eps: float = 1e-6

    def neutral_of(self, canonical: str) -> int | None:
        """The number that a canonical tensor may be full of without being needed; None where there is no such number."""
        return next((value for pattern, value in self.neutral.items() if fnmatchcase(canonical, pattern)), None)

    def says_nothing(self, rules: Collection[Rule]) -> bool:
        """Whether a section of these rules may be absent and mean the same: every tensor that it holds has a neutral number."""
        return bool(rules) and all(self.neutral_of(name) is not None for rule in rules for name in rule.holds)

    def idle_of(self, canonical: str) -> str | None:
        """Why a canonical tensor may be dropped; None where it may not."""
        return next((reason for pattern, reason in self.idle.items() if fnmatchcase(canonical, pattern)), None)


@dataclass(frozen=True)
class Head:
    """A kind of head, or of neck, which stands between backbone and head.

    `section` is the name of the section with its tensors. `rules` maps each library to the rules of that section; a layout names its
    library in `Layout.heads`. Under `own` are the names in segzoo's network, if no layout with the network's names has a place for it.
    `measure` makes its geometry of the axes' sizes. `shown` is its inverse: the axes' sizes and how many blocks there are of each index, by its
    geometry and the widths of the maps that it takes.
    `record` is the head or neck in a manifest: a dataclass of plain fields with a method `geometry(backbone)`, which is given the backbone's record.
    `describe` fills the record's fields from a measured geometry; None stands for what no tensor shows.
    `eps` is what its layer norms have; None where it has none. `usual` has the fields that no tensor shows and that are the same in all
    that are known.
    """

    name: str
    title: str
    section: str
    rules: Mapping[str, tuple[Rule, ...]] = field(repr=False)
    measure: Callable[[Axes, Depths], Any]
    shown: Callable[[Any, tuple[int, ...]], Shown]
    record: type
    describe: Callable[[Any], dict[str, Any]]
    eps: float | None = None
    usual: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Measured:
    """What a file shows: the size of each axis, the tensor that showed it first (`origin`), how often blocks repeat, and its sections.

    `absent` names the sections that other files of the layout have, and whose absence is neutral.
    """

    axes: dict[str, int]
    origin: Mapping[str, str]
    depths: Depths
    sections: tuple[str, ...]
    absent: tuple[str, ...] = ()


def classified(found: Measured, geometry: Geometry) -> Measured:
    """What a geometry shows, with the classifier that it says."""
    if geometry.classes is None:
        return found
    return replace(found, axes={**found.axes, "classes": geometry.classes}, sections=(*found.sections, "classifier"))
