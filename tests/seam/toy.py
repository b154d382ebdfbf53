"""A made-up family of two stages and a made-up head, as somebody who adds an architecture would write them. Run as a program, it is segzoo with both.

A stage cuts its input into squares, mixes each into one position (a matrix and BatchNorm), and runs units. What the units' files may lack is
neutral: a bias of zero, a scale of one. The second stage has a table with an index buffer. The head joins both stages.
"""

import sys
from dataclasses import dataclass
from typing import Any, ClassVar

from segzoo.errors import ConversionError
from segzoo.layouts import register, register_head
from segzoo.layouts.family import Axes, Family, Head, Measured
from segzoo.layouts.layout import Beside, Layout
from segzoo.layouts.rule import Buffer, Depths, Rule, affine, batch_norm

# sizes


@dataclass(frozen=True)
class JoinGeometry:
    hidden: ClassVar[tuple[str, ...]] = ("groups",)

    kind: str
    classes: int
    width: int
    groups: int | None = None

    def __str__(self) -> str:
        return f"join head of width {self.width}, {self.classes} classes"


@dataclass(frozen=True)
class ToyGeometry:
    hidden: ClassVar[tuple[str, ...]] = ("heads",)
    left_over: ClassVar[tuple[str, ...]] = ()

    widths: tuple[int, ...]
    units: tuple[int, ...]
    patch: int
    heads: int | None = None
    classes: int | None = None
    neck: None = None
    decoder: JoinGeometry | None = None

    def __str__(self) -> str:
        parts = [f"widths {' and '.join(map(str, self.widths))}", f"units {' and '.join(map(str, self.units))}", f"patch {self.patch}"]
        return ", ".join([*parts, *([str(self.decoder)] if self.decoder else [])])


@dataclass(frozen=True)
class ToySizes:
    """A toy backbone's geometry."""

    widths: tuple[int, ...]
    units: tuple[int, ...]
    patch: int
    heads: int
    eps: float = 1e-5

    def geometry(self, head: JoinGeometry | None = None) -> ToyGeometry:
        return ToyGeometry(tuple(self.widths), tuple(self.units), self.patch, self.heads, decoder=head)


@dataclass(frozen=True)
class JoinHead:
    """A join head in a manifest."""

    width: int
    classes: int
    groups: int

    def geometry(self, backbone: Any) -> JoinGeometry:
        return JoinGeometry("join", self.classes, self.width, self.groups)


def measured(found: Measured, heads: int | None) -> ToyGeometry:
    axes, units = found.axes, found.depths.units
    if len(units) != 2:
        raise ConversionError(f"expected two stages, found {len(units)}")
    if any(axes[f"w{stage}"] != axes.get(f"v{stage}", axes[f"w{stage}"]) for stage in range(2)):
        raise ConversionError("a mix is no square matrix")
    return ToyGeometry((axes["w0"], axes["w1"]), units, axes["x"], heads)


def measured_head(axes: Axes, depths: Depths) -> JoinGeometry:
    return JoinGeometry("join", axes["c"], axes["f"])


def shown(geometry: ToyGeometry) -> Measured:
    axes = {f"{axis}{stage}": width for axis in "wv" for stage, width in enumerate(geometry.widths)}
    return Measured(axes | {"t": 7}, {}, Depths(units=geometry.units), ("stages", "mix bias", "scale", "offsets"))


def shown_head(head: JoinGeometry, maps: tuple[int, ...]) -> tuple[dict[str, int], dict[str, int]]:
    return {"c": head.classes, "f": head.width}, {}


def described(geometry: ToyGeometry) -> dict[str, Any]:
    return {"widths": geometry.widths, "units": geometry.units, "patch": geometry.patch, "heads": geometry.heads}


# names


def offsets(sizes: Axes, places: Any) -> Any:
    """Which entry of the table each pair of four places looks at: the difference of the two, from zero."""
    return [[one - other + 3 for other in range(4)] for one in range(4)]


JOIN = Head(
    name="join",
    title="Joiner",
    section="join head",
    rules={
        "toy": (
            Rule("decode_head.lateral0.weight", ("join.0.weight",), "f w0 1 1 -> f w0"),
            Rule("decode_head.lateral1.weight", ("join.1.weight",), "f w1 1 1 -> f w1"),
            *batch_norm("decode_head.norm", "join.norm", "f"),
            *affine("decode_head.classes", "join.classes", "c f 1 1 -> c f", "c"),
        ),
        "upstream": (
            Rule("dec/lateral", ("join.0.weight", "join.1.weight"), "f w0+w1"),
            *batch_norm("dec/bn", "join.norm", "f"),
            *affine("dec/out", "join.classes", "c f", "c"),
        ),
    },
    measure=measured_head,
    shown=shown_head,
    record=JoinHead,
    describe=lambda head: {"width": head.width, "classes": head.classes, "groups": head.groups},
)
TOY = Family(
    name="toy",
    title="Toy",
    always="stages",
    measure=measured,
    shown=shown,
    sizes=ToySizes,
    backbone=ToySizes,
    describe=lambda geometry: {**described(geometry), "eps": None},
    describe_model=lambda geometry: {**described(geometry), "eps": None},
    summary=lambda geometry: f"{sum(geometry.units)} units",
    kin=("widths", "units", "patch"),
    eps_of="the toy's makers",
    width="widths",
    essential={"stages": "two stages", "offsets": "a table of offsets"},
    neutral={"stages.*.mix.bias": 0, "stages.*.scale": 1, "*.batches": 0},
    idle={"*.batches": "a count of batches, which inference does not use"},
    fixed={"rgb": 3, "y": 4, "x": 4, "ty": 2, "tx": 2},
    eps=1e-5,
)
_STAGE, _UNIT = "{p}stage{g+1}", "{p}stage{g+1}.units.{u}"
OWN = Layout(
    name="toy",
    title="Toy",
    family=TOY,
    prefixes=("", "backbone."),
    decoder_prefix="backbone.",
    heads="toy",
    sections={
        "stages": (
            Rule("{p}stage1.merge.weight", ("stages.0.merge.weight",), "w0 (y x rgb) -> w0 (rgb y x)"),
            Rule("{p}stage2.merge.weight", ("stages.1.merge.weight",), "w1 (ty tx w0) -> w1 (w0 ty tx)"),
            *batch_norm(f"{_STAGE}.norm", "stages.{g}.norm", "w{g}"),
            Rule(f"{_UNIT}.mix.weight", ("stages.{g}.{u}.mix.weight",), "w{g} v{g}"),
        ),
        "mix bias": (Rule(f"{_UNIT}.mix.bias", ("stages.{g}.{u}.mix.bias",), "w{g}"),),
        "scale": (Rule(f"{_STAGE}.scale", ("stages.{g}.scale",), "w{g}"),),
        "offsets": (Rule("{p}stage2.offsets", ("offsets",), "t"),),
    },
    buffers=(Buffer("{p}stage2.index", offsets, lambda sizes: 16),),
    beside=(Beside(("auxiliary.",), "auxiliary head", "inference does not use it"),),
)
UPSTREAM = Layout(
    name="upstream",
    title="Toy, as its authors have it",
    family=TOY,
    suffix=".npz",
    heads="upstream",
    sections={
        "stages": (
            Rule("enc/0/merge", ("stages.0.merge.weight",), "rgb y x w0 -> w0 (rgb y x)"),
            Rule("enc/1/merge", ("stages.1.merge.weight",), "w0 ty tx w1 -> w1 (w0 ty tx)"),
            *(rule for rule in batch_norm("enc/{g}/bn", "stages.{g}.norm", "w{g}") if "batches" not in rule.holds[0]),
            Rule("enc/{g}/mix/{u}/kernel", ("stages.{g}.{u}.mix.weight",), "v{g} w{g} -> w{g} v{g}"),
        ),
        "mix bias": (Rule("enc/{g}/mix/{u}/bias", ("stages.{g}.{u}.mix.bias",), "w{g}"),),
        "scale": (Rule("enc/{g}/scale", ("stages.{g}.scale",), "1 w{g} -> w{g}"),),
        "offsets": (Rule("enc/offsets", ("offsets",), "1 t -> t"),),
    },
    optional=frozenset({"mix bias", "scale"}),
)


register_head(JOIN)
register(TOY, (OWN, UPSTREAM), OWN)

if __name__ == "__main__":
    if {"verify", "predict", "export"} & set(sys.argv):
        import toy_networks  # noqa: F401 - importing it registers the networks

    from segzoo.__main__ import main

    main()
