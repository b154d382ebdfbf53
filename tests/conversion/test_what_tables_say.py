"""What a rule of a table can say, each over drawn sizes: there, what it must be by numpy's own hand, and back the same."""

from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import same, specs_of

from segzoo.conversion.checkpoint import identified
from segzoo.conversion.compare import compare
from segzoo.conversion.plan import plan
from segzoo.conversion.run import check_buffers, run
from segzoo.errors import ConversionError
from segzoo.formats import Weights
from segzoo.layouts import FAMILIES, LAYOUTS
from segzoo.layouts.family import Family, Measured
from segzoo.layouts.layout import Beside, Layout
from segzoo.layouts.rule import Buffer, Depths, Rule, batch_norm

SIDES = st.integers(1, 5)


@dataclass(frozen=True)
class Sizes:
    hidden: ClassVar[tuple[str, ...]] = ()
    left_over: ClassVar[tuple[str, ...]] = ()
    width: int
    heads: Any = None
    classes: Any = None
    decoder: Any = None


def table(name, *rules, section="all", **more):
    sections = {section: rules} if not isinstance(rules[0], dict) else rules[0]
    return Layout(name=name, title=name, family=MADE, sections=sections, **more)


MADE = Family(
    name="made",
    title="Made",
    always="all",
    measure=lambda found, heads: Sizes(found.axes["d"]),
    shown=lambda sizes: Measured({"d": sizes.width}, {}, Depths(), ("all",)),
    sizes=Sizes,
    backbone=Sizes,
    describe=vars,
    describe_model=vars,
    summary=str,
    kin=(),
    eps_of="its makers",
    neutral={"*.bias": 0, "scale": 1, "*.batches": 0},
    idle={"*.batches": "a count of batches"},
    fixed={"x": 2, "y": 3},
)


@contextmanager
def registered(*layouts):
    """The family with these layouts and no other family, for as long as the block lasts."""
    before = dict(LAYOUTS), dict(FAMILIES)
    for registry, held in ((LAYOUTS, {"made": {one.name: one for one in layouts}}), (FAMILIES, {"made": MADE})):
        registry.clear()
        registry.update(held)
    try:
        yield
    finally:
        for registry, held in zip((LAYOUTS, FAMILIES), before, strict=True):
            registry.clear()
            registry.update(held)


def weights(tensors):
    return Weights("made", "npz", specs_of(tensors), tensors.__getitem__)


def carried(tensors, to):
    read = identified(weights(tensors))
    check_buffers(read.found, tensors, read.sizes)
    steps = plan(specs_of(tensors), to, found=read.found)
    made = dict(run(steps, tensors))
    assert specs_of(made) == steps.specs
    return made, steps


def numbers(*shape, start=1):
    """All different, none of them neutral."""
    return (np.arange(np.prod(shape, dtype=int)) + start + 1).reshape(shape).astype(np.float32)


@given(SIDES, SIDES)
@settings(max_examples=20, deadline=None)
def test_a_permutation_within_an_axis(width, channels):
    """As in Swin's patch merging: `o (x y c)` in one library, `o (c y x)` in the other. x and y are fixed, so c is what is left."""
    here, there = table("here", Rule("w", ("w",), "d (x y c) -> d (c y x)")), table("there", Rule("m", ("w",), "d (c y x)"))
    with registered(here, there):
        source = {"w": numbers(width, 6 * channels)}
        made, _ = carried(source, "there")
        assert np.array_equal(made["m"], source["w"].reshape(width, 2, 3, channels).transpose(0, 3, 2, 1).reshape(width, -1))
        assert same(carried(made, "here")[0], source)


@given(SIDES, SIDES, SIDES)
@settings(max_examples=20, deadline=None)
def test_parts_of_unequal_size_in_one_tensor(width, wide, narrow):
    """q beside k and v of another width; that of q is known from another tensor, which may come later."""
    here = table("here", Rule("qkv", ("q", "k", "v"), "e+m+m d"), Rule("out", ("o",), "d e"))
    there = table("there", Rule("q", ("q",), "d e -> e d"), Rule("kv", ("k", "v"), "(s m) d -> s m d"), Rule("out", ("o",), "d e"))
    with registered(here, there):
        source = {"qkv": numbers(wide + 2 * narrow, width), "out": numbers(width, wide, start=1000)}
        made, _ = carried(source, "there")
        assert np.array_equal(made["q"], source["qkv"][:wide].T)
        assert np.array_equal(made["kv"], source["qkv"][wide:])
        assert same(carried(made, "here")[0], source)


@given(st.lists(SIDES, min_size=1, max_size=4))
@settings(max_examples=20, deadline=None)
def test_stages_without_units_are_counted(widths):
    """As the convolutions of a pyramid are, one for each stage."""
    here, there = (
        table(name, Rule("stem", ("stem",), "d"), Rule(key, ("{g}.w",), "out{g} d")) for name, key in (("here", "w.{g}"), ("there", "v{g+1}"))
    )
    with registered(here, there):
        source = {"stem": numbers(3)} | {f"w.{stage}": numbers(width, 3) for stage, width in enumerate(widths)}
        made, _ = carried(source, "there")
        assert made.keys() == {"stem", *(f"v{stage + 1}" for stage in range(len(widths)))}
        assert same(carried(made, "here")[0], source)


@pytest.mark.parametrize(
    ("asked", "what", "hint"),
    [({}, "the size of axis 'h'", None), ({"h": ("the groups", "count them")}, "the groups", "count them")],
    ids=["the family says nothing", "the family says what it is"],
)
def test_a_size_that_only_the_target_shows_is_asked_for_in_the_familys_words(asked, what, hint):
    family = replace(MADE, asked=asked)
    here, there = (
        replace(table(name, rule), family=family)
        for name, rule in (("here", Rule("w", ("w",), "d e")), ("there", Rule("w", ("w",), "d (h k) -> d h k")))
    )
    with registered(here, there), pytest.raises(ConversionError) as caught:
        carried({"w": numbers(4, 6)}, "there")
    assert caught.value.message == f"layout 'there' shows {what}, layout 'here' does not"
    assert caught.value.hint == hint


def test_sizes_that_nothing_tells_apart_are_named():
    with registered(table("here", Rule("qkv", ("q", "k"), "e+m d"))), pytest.raises(ConversionError, match="no shape tells the sizes") as caught:
        identified(weights({"qkv": numbers(5, 2)}))
    assert "qkv: no shape tells the sizes of its axes (e+m d) apart" in caught.value.message


@given(SIDES, SIDES)
@settings(max_examples=20, deadline=None)
def test_axes_of_length_one_are_squeezed(width, classes):
    here, there = table("here", Rule("w", ("w",), "c d 1 1 -> c d")), table("there", Rule("m", ("w",), "1 d 1 c -> c d"))
    with registered(here, there):
        source = {"w": numbers(classes, width, 1, 1)}
        made, _ = carried(source, "there")
        assert np.array_equal(made["m"][0, :, 0], source["w"][:, :, 0, 0].T)
        assert same(carried(made, "here")[0], source)


ATTENTION = (Rule("w", ("q.weight", "k.weight", "v.weight"), "(s d) i -> s d i"),)


@given(SIDES)
@settings(max_examples=20, deadline=None)
def test_a_key_bias_that_a_layout_lacks_is_zero(width):
    """`q_bias` and `v_bias` beside a fused bias, which is [q, 0, v]: the middle is written as zeros, and must be zeros to be left out."""
    apart = table("apart", *ATTENTION, Rule("q_bias", ("q.bias",), "d"), Rule("v_bias", ("v.bias",), "d"))
    fused = table("fused", *ATTENTION, Rule("bias", ("q.bias", "k.bias", "v.bias"), "(s d) -> s d"))
    with registered(apart, fused):
        source = {"w": numbers(3 * width, 2), "q_bias": numbers(width), "v_bias": numbers(width, start=50)}
        made, steps = carried(source, "fused")
        assert np.array_equal(made["bias"], np.concatenate([source["q_bias"], np.zeros(width, np.float32), source["v_bias"]]))
        assert steps.filled == {"k in bias": 0}
        assert same(carried(made, "apart")[0], source)
        assert compare(weights(source), weights(made)).same
        made["bias"][width] = 1
        with pytest.raises(ConversionError, match="bias: layout 'apart' has no place for it, and it is not full of 0"):
            carried(made, "apart")


OPTIONAL = {"all": (Rule("w", ("w",), "d c"),), "bias": (Rule("b", ("w.bias",), "d"),), "scale": (Rule("s", ("scale",), "d"),)}


@given(SIDES, st.sets(st.sampled_from(["bias", "scale"])))
@settings(max_examples=30, deadline=None)
def test_a_group_that_is_neutral_when_absent(width, absent):
    """A bias that is not there equals zeros, a scale ones: filled in where the target must have it, left out where it need not."""
    strict = Layout(name="strict", title="", family=MADE, sections=OPTIONAL)
    renamed = {name: tuple(Rule(f"x{rule.key}", rule.holds, rule.axes) for rule in rules) for name, rules in OPTIONAL.items()}
    loose = Layout(name="loose", title="", family=MADE, sections=renamed, optional=frozenset({"bias", "scale"}))
    whole = {"xw": numbers(width, 3), "xb": np.zeros(width, np.float32), "xs": np.ones(width, np.float32)}
    source = {name: array for name, array in whole.items() if not (absent & {{"xb": "bias", "xs": "scale"}.get(name)})}
    with registered(strict, loose):
        made, steps = carried(source, "strict")
        assert same(made, {name[1:]: array for name, array in whole.items()})
        assert steps.filled == {name[0]: int(name == "scale") for name in absent}
        assert same(carried(made, "loose")[0], whole)  # what is there is kept, also where it says nothing
        assert compare(weights(source), weights(whole)).same
        assert compare(weights(made), weights(source)).same
        other = {**whole, "xb": numbers(width)}
        assert compare(weights(other), weights(source)).same is False


def test_what_is_not_neutral_when_absent_is_another_variant():
    strict = Layout(name="strict", title="", family=MADE, sections={"all": (Rule("w", ("w",), "d c"), Rule("n", ("norm.weight",), "d"))})
    lacking = table("lacking", Rule("v", ("w",), "d c"))
    with registered(strict, lacking):
        with pytest.raises(ConversionError, match="layout 'strict' needs n, for which this file has nothing"):
            carried({"v": numbers(2, 3)}, "strict")
        with pytest.raises(ConversionError, match="n: layout 'lacking' has no place for it"):
            carried({"w": numbers(2, 3), "n": numbers(2)}, "lacking")


@given(SIDES)
@settings(max_examples=20, deadline=None)
def test_the_five_tensors_of_a_batch_norm(width):
    """The count of batches is kept where there is a place, else dropped by name; where it must be, and is not, it is 0."""
    five, four = table("five", *batch_norm("bn", "n", "d")), table("four", *batch_norm("norm", "n", "d")[:4])
    with registered(five, four):
        source = {f"bn.{name}": numbers(width, start=start) for start, name in enumerate(("weight", "bias", "running_mean", "running_var"))}
        source["bn.num_batches_tracked"] = np.array(41)
        made, steps = carried(source, "four")
        assert {name.removeprefix("norm.") for name in made} == {"weight", "bias", "running_mean", "running_var"}
        assert [(drop.reason, drop.keys) for drop in steps.dropped] == [("a count of batches", ("bn.num_batches_tracked",))]
        back, _ = carried(made, "five")
        assert same(back, {**source, "bn.num_batches_tracked": np.array(0)})
        assert same(carried(source, "five")[0], source)
        assert compare(weights(source), weights(made)).same


@given(SIDES, st.booleans())
@settings(max_examples=20, deadline=None)
def test_a_buffer_follows_from_the_sizes(width, there_too):
    """It is checked, never converted, and written where files of the target have it."""

    def made(sizes, places):
        return [[row * sizes["d"] + column for column in range(sizes["d"])] for row in range(sizes["y"])]

    index = Buffer("index", made, lambda sizes: sizes["y"] * sizes["d"])
    here, there = table("here", Rule("w", ("w",), "d c"), buffers=(index,)), table("there", Rule("m", ("w",), "c d -> d c"))
    with registered(here, there):
        expected = np.arange(3 * width).reshape(3, width)
        source = {"w": numbers(width, 2)} | ({"index": expected} if there_too else {})
        made, _ = carried(source, "there")
        assert set(made) == {"m"}
        assert same(carried(made, "here")[0], {"w": source["w"], "index": expected})
        with pytest.raises(ConversionError, match="index: not what it must be"):
            carried({**source, "index": expected + 1}, "there")


def test_what_is_beside_the_model_is_dropped_by_name():
    beside = (Beside(("auxiliary_head.",), "auxiliary head", "inference does not use it"),)
    here, there = table("here", Rule("w", ("w",), "d c"), beside=beside), table("there", Rule("m", ("w",), "d c"))
    with registered(here, there):
        made, steps = carried({"w": numbers(2, 3), "auxiliary_head.conv.weight": numbers(7)}, "there")
        assert set(made) == {"m"}
        assert [(drop.section, drop.reason, drop.keys) for drop in steps.dropped] == [
            ("auxiliary head", "inference does not use it", ("auxiliary_head.conv.weight",))
        ]
