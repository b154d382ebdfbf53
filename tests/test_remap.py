"""The engine: exact against the peers' own tensors, lossless over all pairs, strict about names and shapes."""

import numpy as np
import pytest
from conftest import GOLDEN, TAME, same, specs_of
from hypothesis import given, settings
from hypothesis import strategies as st

from segzoo.errors import ConversionError
from segzoo.geometry import Spec, shape_of
from segzoo.layouts import LAYOUTS, Depths
from segzoo.layouts.rule import ESSENTIAL, ROOTS, STEMS, axes_of
from segzoo.remap import detect, fill, make, plan, run

ORACLES = [
    ("timm", "tame.timm"),
    ("timm", "outlier.timm"),
    ("mmseg", "tame.mmseg_backbone"),
    ("mmseg", "outlier.mmseg_backbone"),
    ("hf", "hf"),
    ("torchvision", "torchvision"),
]
PAIRS = [(source, target) for source in LAYOUTS for target in LAYOUTS]


def regime(name):
    return dict(np.load(TAME if name == "tame" else GOLDEN / "augreg" / "mini.outlier.npz"))


def remapped(tensors, to, **known):
    return dict(run(plan(specs_of(tensors), to, **known), tensors))


@pytest.mark.parametrize(("to", "oracle"), ORACLES)
def test_bit_equal_to_the_peer(to, oracle):
    source = regime("outlier" if oracle.startswith("outlier") else "tame")
    theirs = dict(np.load(GOLDEN / "augreg" / f"mini.{oracle}_state_dict.npz"))
    assert same(remapped(source, to), theirs)
    back = remapped(theirs, "augreg", heads=4)
    assert same(back, {name: source[name] for name in back})


def invented(layout, sections, sizes, depths, prefix=""):
    """A file in a layout in which every number differs from every other, so that no permutation can hide."""
    tensors, start = {}, 0
    for key, rule in layout.expand(prefix, depths, sections).items():
        known = {axis: 1 + sum(map(ord, axis)) % 3 for axis in axes_of(rule.axes)} | sizes  # those of a residual network are of no account
        shape = shape_of(rule.native, known, len(rule.holds))
        size = int(np.prod(shape))
        tensors[key] = np.arange(start, start + size, dtype=np.int32).reshape(shape)
        start += size
    return tensors


numbers = {"i": (1, 3), "j": (1, 2), "h": (1, 3), "k": (1, 4), "m": (1, 5), "x": (1, 3), "side": (1, 3), "classes": (1, 4), "f": (1, 4), "o": (1, 3), "c": (1, 3)}


@st.composite
def files(draw, name):
    """A layout in one of its spellings, sections that can stand together, sizes and depths."""
    layout = draw(st.sampled_from([LAYOUTS[name], *LAYOUTS[name].spellings]))
    stem, root = (draw(st.sampled_from([one for one in several if layout.sections.keys() >= set(one)])) for several in (STEMS, ROOTS))
    decoder = draw(st.sampled_from([None, "mask decoder", "linear decoder"]))
    may = {*draw(st.sets(st.sampled_from(["classifier", "pre_logits", "pooling head"]))), *stem, *root, decoder, "encoder"}
    may |= {"distillation classifier"} if "distilled stem" in stem and "classifier" in may else set()
    may -= {section for section, other in layout.excludes.items() if other in may}
    drawn = {axis: draw(st.integers(*bounds)) for axis, bounds in numbers.items()}
    width = drawn["h"] * drawn["k"]
    sizes = {**drawn, "d": width, "e": width, "r": width, "g": drawn["f"], "y": drawn["x"], "chan": 3, "n": drawn["side"] ** 2}
    units = tuple(draw(st.lists(st.integers(1, 2), min_size=1, max_size=3))) if "residual network" in root else ()
    return layout, [section for section in layout.sections if section in may], sizes, Depths(drawn["i"], drawn["j"], units)


@pytest.mark.parametrize(("source", "target"), PAIRS)
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_there_and_back_is_lossless(source, target, data):
    layout, sections, sizes, depths = data.draw(files(source))
    decoded = any("decoder" in section for section in sections)
    prefix = layout.decoder_prefix if layout.decoder_prefix and decoded else data.draw(st.sampled_from(layout.prefixes))
    tensors = invented(layout, sections, sizes, depths, prefix)
    found = detect(specs_of(tensors))
    assert (found.layout, list(found.sections), found.depths.encoder, found.depths.units) == (layout, sections, depths.encoder, depths.units)
    lacking = [section for section in sections if section in ESSENTIAL and section not in LAYOUTS[target].sections]
    if lacking:
        with pytest.raises(ConversionError, match=f"{source} cannot become {target}"):
            plan(specs_of(tensors), target, heads=sizes["h"])
        return
    there = plan(specs_of(tensors), target, heads=sizes["h"])
    middle = dict(run(there, tensors))
    assert {key: (spec.shape, spec.dtype) for key, spec in there.specs.items()} == {k: (a.shape, a.dtype.name) for k, a in middle.items()}
    back = fill(found.rules, detect(specs_of(middle)), specs_of(middle), there.sizes)
    dropped = {drop.section for drop in there.dropped}
    kept = set(sections) - dropped
    assert {section for section in sections if section not in LAYOUTS[target].sections} <= dropped
    assert same({step.rule.key: make(step, middle.__getitem__, there.sizes) for step in back}, {k: tensors[k] for k in layout.expand(prefix, depths, kept)})
    assert sorted(key for drop in there.dropped for key in drop.keys) == sorted(set(tensors) - set(layout.expand(prefix, depths, kept)))
    assert same(remapped(remapped(middle, source, heads=sizes["h"]), target, heads=sizes["h"]), middle)


@pytest.mark.parametrize("case", ["tame"])
def test_each_missing_name_is_in_the_error(case):
    tensors = regime(case)
    for key in tensors:
        if key.startswith("head/"):  # an absent section, if both its tensors are gone
            continue
        with pytest.raises(ConversionError, match="missing 1") as error:
            detect({name: spec for name, spec in specs_of(tensors).items() if name != key})
        assert key in error.value.message
        assert "'augreg'" in error.value.message


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.update({"extra/kernel": t["cls"]}), "unexpected 1: extra/kernel"),
        (lambda t: t.pop("head/bias"), "missing 1: head/bias"),
        (lambda t: t.update({"Transformer/encoderblock_7/LayerNorm_0/bias": t["cls"]}), "missing 79"),
        (lambda t: t.update({"head/bias": t["cls"]}), r"head/bias: expected axes \(classes\), found shape \[1, 1, 64\]"),
        (lambda t: t.update({"head/bias": t["head/bias"][:5]}), "head/bias: axis 'classes' is 5 here, but 11 in head/kernel"),
        (
            lambda t: t.update({"Transformer/encoderblock_1/MlpBlock_3/Dense_0/bias": t["head/bias"]}),
            "Transformer/encoderblock_1/MlpBlock_3/Dense_0/bias: axis 'm' is 11 here, but 256 in Transformer/encoderblock_0",
        ),
        (lambda t: t.update({"cls": t["cls"][0]}), "cls: expected axes"),
        (lambda t: t.update({"embedding/kernel": t["embedding/kernel"][:8]}), "patches must be square"),
        (lambda t: t.update({"cls": t["cls"].reshape(1, 64, 1)}), "cls: expected axes"),
    ],
    ids=["extra name", "half a head", "a block beyond a gap", "rank", "size", "size in a block", "class token", "patch", "unit axis"],
)
def test_what_does_not_fit_is_named(change, said):
    tensors = regime("tame")
    change(tensors)
    with pytest.raises(ConversionError, match=said):
        plan(specs_of(tensors), "mmseg")


def test_a_mixed_dtype_is_not_joined():
    tensors = regime("tame")
    key = "Transformer/encoderblock_0/MultiHeadDotProductAttention_1/key/bias"
    tensors[key] = tensors[key].astype(np.float16)
    with pytest.raises(ConversionError, match="different dtypes, float16, float32"):
        plan(specs_of(tensors), "timm")


def test_heads_are_asked_for_never_guessed():
    timm = remapped(regime("tame"), "timm")
    with pytest.raises(ConversionError, match="shows the attention heads") as error:
        plan(specs_of(timm), "augreg")
    assert "--heads" in (error.value.hint or "")
    with pytest.raises(ConversionError, match="5 heads do not divide a width of 64"):
        plan(specs_of(timm), "augreg", heads=5)
    with pytest.raises(ConversionError, match="shows 4 heads, but 2 were given"):
        plan(specs_of(regime("tame")), "timm", heads=2)


def test_a_section_is_dropped_on_request():
    tensors = regime("tame")
    steps = plan(specs_of(tensors), "timm", drop=["classifier"])
    assert [(drop.section, drop.reason, drop.keys) for drop in steps.dropped] == [("classifier", "as asked", ("head/kernel", "head/bias"))]
    assert not any(key.startswith("head") for key in steps.specs)
    for section, to in (("encoder", "timm"), ("mask decoder", "timm"), ("nonsense", "mmseg")):
        with pytest.raises(ConversionError, match=f"section '{section}' cannot be dropped; of this file can be: 'classifier'"):
            plan(specs_of(tensors), to, drop=[section])


def test_a_prefix_is_written_on_request():
    tensors = regime("tame")
    bare, under = (remapped(tensors, "mmseg", prefix=prefix) for prefix in (None, "backbone."))
    assert same(under, {f"backbone.{key}": array for key, array in bare.items()})
    assert same(remapped(under, "timm"), remapped(bare, "timm"))
    with pytest.raises(ConversionError, match=r"not stand under the prefix 'model\.', only under '', 'backbone\.'"):
        remapped(tensors, "mmseg", prefix="model.")


def test_a_layout_that_is_given_is_held_to():
    with pytest.raises(ConversionError, match=r"in no layout|nearest to layout 'hf'"):
        plan(specs_of(regime("tame")), "timm", source="hf")
    assert plan(specs_of(regime("tame")), "timm", source="augreg").source.layout.name == "augreg"


def test_a_prefix_and_unrelated_names():
    tensors = {f"opt/target/{key}": array for key, array in regime("tame").items()}
    assert same(remapped(tensors, "mmseg"), remapped(regime("tame"), "mmseg"))
    with pytest.raises(ConversionError, match="in no layout that segzoo knows"):
        detect(dict.fromkeys(["conv1.weight", "bn1.weight"], Spec((1,), "float32")))


def test_an_index_in_a_name_cannot_ask_for_more_blocks_than_there_are_names():
    with pytest.raises(ConversionError):
        detect(dict.fromkeys(["blocks.999999.norm1.weight", "cls_token"], Spec((1,), "float32")))


def test_hf_has_a_pooler_or_a_classifier_but_not_one_on_the_other():
    tensors = dict(np.load(GOLDEN / "mmseg" / "convert" / "mini12-i21k-prelogits.npz"))
    steps = plan(specs_of(tensors), "hf")
    assert [(drop.section, drop.reason) for drop in steps.dropped] == [("classifier", "layout 'hf' has no classifier on top of pre_logits")]
    assert "vit.pooler.dense.weight" in steps.specs


def test_a_classifier_that_stands_on_dropped_pre_logits_is_dropped_with_them():
    tensors = dict(np.load(GOLDEN / "mmseg" / "convert" / "mini12-i21k-prelogits.npz"))
    dropped = plan(specs_of(tensors), "timm").dropped
    assert [drop.section for drop in dropped] == ["pre_logits", "classifier"]
    assert "stands on the pre-logits" in dropped[1].reason
