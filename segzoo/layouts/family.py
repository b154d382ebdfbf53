"""What the engine must be told of a kind of backbone, and of a kind of head; it knows none of them itself."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any, ClassVar, Protocol, TypeVar

from segzoo.layouts.rule import Depths, Rule
from segzoo.spec import Spec

Axes = Mapping[str, int]
Alternatives = tuple[tuple[str, ...], ...]


class HeadGeometry(Protocol):
    """A head's sizes, a frozen dataclass. `hidden` names the fields that no tensor need show."""

    __dataclass_fields__: ClassVar[dict[str, Any]]
    hidden: ClassVar[tuple[str, ...]]

    @property
    def kind(self) -> str: ...
    @property
    def classes(self) -> int: ...


class Geometry(Protocol):
    """A backbone's sizes and its head's, a frozen dataclass that says itself in words.

    `hidden` names the fields that no tensor need show, `left_over` those of parts that a file may still carry and a model does not use.
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]
    hidden: ClassVar[tuple[str, ...]]
    left_over: ClassVar[tuple[str, ...]]

    @property
    def heads(self) -> Any: ...
    @property
    def classes(self) -> int | None: ...
    @property
    def decoder(self) -> HeadGeometry | None: ...


G = TypeVar("G", bound=Geometry)


def bare(geometry: G) -> G:
    """A geometry without what tensors need not show, and without what may be left over: what two files that are alike have in common."""
    decoder = geometry.decoder and replace(geometry.decoder, **dict.fromkeys(geometry.decoder.hidden))
    return replace(geometry, **dict.fromkeys((*geometry.hidden, *geometry.left_over)), decoder=decoder)


def told(geometry: G, facts: Mapping[str, Any]) -> G:
    """A measured geometry with what its tensors do not show taken from elsewhere: a manifest, or a receipt."""

    def known(sizes: Any, of: Mapping[str, Any]) -> dict[str, Any]:
        return {name: of.get(name) for name in sizes.hidden if getattr(sizes, name) is None}

    decoder = geometry.decoder
    if decoder is not None and facts.get("decoder"):
        decoder = replace(decoder, **known(decoder, facts["decoder"]))
    return replace(geometry, **known(geometry, facts), decoder=decoder)


def differences(expected: Geometry, measured: Geometry) -> str:
    """Where two geometries differ, in words."""
    wanted, found = asdict(expected), asdict(measured)
    return "; ".join(f"{name} {found.get(name)}, expected {wanted[name]}" for name in wanted if wanted[name] != found.get(name))


@dataclass(frozen=True, slots=True)
class Reference:
    """An independent implementation of the same network, for the numbers rung: the library that it needs, by its name to import and to say,
    the layout that it reads, the one by way of which the torch network gets the same numbers, and why it is not one of every file of the family.
    Both layouts are among those that people convert to, so that a wrong rule of theirs shows.
    """

    library: str
    title: str
    layout: str
    network: str
    limit: str


@dataclass(frozen=True)
class Family:
    """A kind of backbone.

    Tables: `always` is the section without which there is nothing to read; of the sections in each of `choices` a file has one
    combination; `essential` says in words what a target must be able to hold; `stands_on` what a section is of no use without.
    `neutral` maps patterns of canonical names to the number whose absence means the same: a bias of 0, a scale of 1.
    `idle` maps patterns of canonical names that no forward pass uses to the reason why they may be dropped.
    `fixed` has the axes whose size is the same in every file.

    Sizes: `measure` names the sizes of axes, and checks them. `plausible` says whether shapes fit names that leave a choice, `unsure` what they
    leave open, `confirm` how a caller confirms the way in which that was read. `side` is that of an image, in pixels, to try the network with.
    `positions` is the canonical table of positions that can be resampled.

    Manifests: `sizes` is the geometry of a backbone and `backbone` that of a model's, as dataclasses of plain fields, each with a
    method `geometry(head)`. `describe` and `describe_model` give their fields for a measured geometry, None for what no tensor shows.
    `summary` is a geometry in a few words, `kin` names the fields of `sizes` that make an architecture.
    """

    name: str
    title: str
    always: str
    measure: Callable[["Measured", Any], Geometry]
    sizes: type
    backbone: type
    describe: Callable[[Any], dict[str, Any]]
    describe_model: Callable[[Any], dict[str, Any]]
    summary: Callable[[Any], str]
    kin: tuple[str, ...]
    choices: tuple[Alternatives, ...] = ()
    essential: Mapping[str, str] = field(default_factory=dict)
    stands_on: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    neutral: Mapping[str, int] = field(default_factory=dict)
    idle: Mapping[str, str] = field(default_factory=dict)
    fixed: Mapping[str, int] = field(default_factory=dict)
    plausible: Callable[[Mapping[str, Rule], Mapping[str, Spec], int | None], bool] = lambda rules, specs, positions: True
    unsure: Callable[[Mapping[str, Rule], Mapping[str, Spec], Collection[str]], str | None] = lambda rules, specs, sections: None
    side: Callable[[Any], int] = lambda geometry: 64
    confirm: Callable[[Any], str | None] = lambda geometry: None
    positions: str | None = None
    reference: Reference | None = None
    eps: float = 1e-6

    def neutral_of(self, canonical: str) -> int | None:
        """The number whose absence means the same; None where a canonical tensor has none."""
        return next((value for pattern, value in self.neutral.items() if fnmatchcase(canonical, pattern)), None)

    def idle_of(self, canonical: str) -> str | None:
        """Why a canonical tensor may be dropped; None where it may not."""
        return next((reason for pattern, reason in self.idle.items() if fnmatchcase(canonical, pattern)), None)


@dataclass(frozen=True)
class Head:
    """A kind of head. `section` is the one that holds its tensors, `rules` has them for each library that names them.

    `measure` names its sizes. `record` is its geometry in a manifest, a dataclass of plain fields with a method `geometry(backbone)` for the
    backbone's fields; `describe` gives these fields for a measured geometry, None for what no tensor shows. `eps` is what its layer norms
    have, None where it has none.
    """

    name: str
    title: str
    section: str
    rules: Mapping[str, tuple[Rule, ...]] = field(repr=False)
    measure: Callable[[Axes, Depths], HeadGeometry]
    record: type
    describe: Callable[[Any], dict[str, Any]]
    eps: float | None = None


@dataclass(frozen=True)
class Measured:
    """The sizes of axes in a file, each with the tensor that showed it first; and what else the rules say."""

    axes: dict[str, int]
    origin: Mapping[str, str]
    depths: Depths
    sections: tuple[str, ...]
