"""The engine: exact against the peers' own tensors, lossless over all pairs, strict about names and shapes."""

import json
import math
import re
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import GOLDEN, MINI, TAME, remapped, same, specs_of

from segzoo.conversion.detect import detect
from segzoo.conversion.fit import layout_of, refusal
from segzoo.conversion.plan import plan, steps_for
from segzoo.conversion.run import make, run
from segzoo.errors import ConversionError
from segzoo.formats import open_weights
from segzoo.formats.arrays import tensor_digest
from segzoo.layouts import LAYOUTS
from segzoo.layouts.dimensions import shape_of
from segzoo.layouts.rule import Depths, axes_of
from segzoo.layouts.vit.family import APART, MLPS, NORMS, ROOTS, STEMS, VIT
from segzoo.spec import Spec

ORACLES = [
    ("timm", "tame.timm"),
    ("timm", "outlier.timm"),
    ("mmseg", "tame.mmseg_backbone"),
    ("mmseg", "outlier.mmseg_backbone"),
    ("hf", "hf"),
    ("torchvision", "torchvision"),
]
HYBRIDS = json.loads((GOLDEN / "augreg" / "hybrids.json").read_text())
PAIRS = [(source, target) for source in LAYOUTS["vit"] for target in LAYOUTS["vit"]]


def regime(name):
    return dict(np.load(TAME if name == "tame" else GOLDEN / "augreg" / "mini.outlier.npz"))


@pytest.mark.parametrize(("to", "oracle"), ORACLES)
def test_bit_equal_to_the_peer(to, oracle):
    source = regime("outlier" if oracle.startswith("outlier") else "tame")
    theirs = dict(np.load(GOLDEN / "augreg" / f"mini.{oracle}_state_dict.npz"))
    assert same(remapped(source, to), theirs)
    back = remapped(theirs, "augreg", heads=4)
    assert same(back, {name: source[name] for name in back})


@pytest.mark.parametrize("name", ["mini_r_ti", "mini_r4"])
def test_a_hybrid_is_bit_equal_to_timm(name):
    source = dict(np.load(GOLDEN / "augreg" / f"{name}.tame.npz"))
    theirs = HYBRIDS["timm_digests"][name]
    made = remapped(source, "timm")
    assert {key: tensor_digest(array) for key, array in made.items()} == theirs
    assert same(remapped(made, "augreg", heads=4), source)
    geometry = plan(specs_of(source), "timm").geometry
    assert (geometry.residual, geometry.stride) == (((), 32) if name == "mini_r_ti" else ((1, 2, 1), 16))
    for to in ("mmseg", "hf", "torchvision", "segmenter"):
        with pytest.raises(ConversionError, match=f"augreg cannot become {to}: this file has .*ResNet before its patch embedding"):
            remapped(source, to, heads=4)


@pytest.mark.parametrize(("name", "stride"), [("R_Ti_16", 32), ("R26_S_32", 32), ("R50_L_32", 32), ("R50+ViT-B_16", 16)])
def test_the_published_hybrids_have_timms_names_and_shapes(name, stride):
    augreg, timm = (HYBRIDS["published"][name][layout] for layout in ("augreg", "timm"))
    steps = plan({key: Spec(tuple(shape), "float32") for key, shape in augreg.items()}, "timm")
    assert {key: list(spec.shape) for key, spec in steps.specs.items()} == timm
    assert (steps.dropped, steps.geometry.stride) == ((), stride)


@pytest.mark.parametrize(("case", "oracle"), [("map", "map"), ("map_scan_img", "map"), ("map_scan_bfloat16", "map_scan_bfloat16"), ("tok", "tok")])
def test_bigvision_is_bit_equal_to_timm(case, oracle):
    source = dict(open_weights(GOLDEN / "bigvision" / f"{case}.npz"))
    theirs = dict(np.load(GOLDEN / "bigvision" / f"{oracle}.timm_state_dict.npz"))
    made = remapped(source, "timm")
    assert same({key: array.astype(np.float32) for key, array in made.items()}, theirs)  # timm widens bfloat16
    back = remapped(made, "bigvision", heads=4)
    plain = dict(open_weights(GOLDEN / "bigvision" / f"{case.split('_')[0]}.npz"))
    if "bfloat16" in case:
        assert {array.dtype.name for array in back.values()} == {"bfloat16"}
        plain = {key: array.astype(back[key].dtype) for key, array in plain.items()}
    assert same(back, plain)
    with pytest.raises(ConversionError, match="this file has positions for the patches only, for which layout 'mmseg' has no place"):
        remapped(source, "mmseg")


def test_without_its_pooling_head_a_classifier_has_nothing_to_stand_on():
    source = dict(open_weights(GOLDEN / "bigvision" / "map.npz"))
    steps = plan(specs_of(source), "timm", drop=["pooling head"])
    assert [(drop.section, drop.reason) for drop in steps.dropped] == [
        ("pooling head", "as asked"),
        ("classifier", "it stands on the pooling head, which is dropped"),
    ]


@pytest.mark.parametrize(
    ("layout", "swaps"),
    [
        ("augreg", {"MultiHeadDotProductAttention_1": "MultiHeadDotProductAttention_0", "LayerNorm_2": "LayerNorm_1", "MlpBlock_3": "MlpBlock_0"}),
        ("torchvision", {"mlp.0": "mlp.linear_1", "mlp.3": "mlp.linear_2"}),
    ],
)
def test_another_spelling_is_read_as_the_same(layout, swaps):
    tensors = remapped(regime("tame"), layout)
    other = {}
    for key, array in tensors.items():
        for old, new in swaps.items():
            key = key.replace(old, new)
        other[key] = array
    assert tensors.keys() != other.keys()
    assert detect(specs_of(other)).layout.name == layout
    assert same(remapped(other, "mmseg"), remapped(tensors, "mmseg"))
    assert same(remapped(other, layout), tensors)


def test_a_distilled_encoder_goes_where_its_token_has_a_place():
    segmenter = dict(open_weights(GOLDEN / "segmenter" / "linear.pth"))
    segmenter["encoder.dist_token"] = segmenter["encoder.cls_token"] + 1
    table = segmenter["encoder.pos_embed"]
    segmenter["encoder.pos_embed"] = np.concatenate([table[:, :1], table[:, :1] * 2, table[:, 1:]], axis=1)
    made = remapped(segmenter, "timm")
    assert np.array_equal(made["dist_token"], segmenter["encoder.dist_token"])
    assert np.array_equal(made["pos_embed"], segmenter["encoder.pos_embed"])
    with pytest.raises(ConversionError, match="this file has a distillation token, which every block attends to, for which layout 'mmseg'"):
        remapped(segmenter, "mmseg")


def test_a_distilled_encoder_of_one_channel_may_be_one_of_sound():
    """transformers' ASTModel has the names and shapes of a DeiT; its patches overlap, and its positions are seldom a square."""
    file = remapped(dict(open_weights(GOLDEN / "segmenter" / "linear.pth")), "timm")
    table = file["pos_embed"]
    file["patch_embed.proj.weight"] = file["patch_embed.proj.weight"][:, :1]
    file |= {"dist_token": file["cls_token"] + 1, "pos_embed": np.concatenate([table[:, :1], table[:, :1] * 2, table[:, 1:], table[:, 1:3]], axis=1)}
    found = detect(specs_of(file))
    assert "an AST, which takes sound" in found.notes[-1]
    with pytest.raises(ConversionError, match=f"an AST, .* --positions {table.shape[1] + 1}"):
        remapped(file, "hf")
    assert detect(specs_of(file), positions=table.shape[1] + 1).unsure is None


def mutant(change):
    """The augreg table with rules changed; the same change both ways, so that no round trip could see it."""
    layout = LAYOUTS["vit"]["augreg"]
    return replace(layout, spellings=(), sections={section: tuple(map(change, rules)) for section, rules in layout.sections.items()})


def renamed(old, new):
    return lambda rule: replace(rule, holds=tuple(held.replace(old, "#").replace(new, old).replace("#", new) for held in rule.holds))


MUTANTS = {
    "q and k swapped": renamed(".q.", ".k."),
    "a matrix not transposed": lambda rule: replace(rule, axes="e d") if rule.axes == "h k d -> d (h k)" else rule,
    "an attention matrix transposed": lambda rule: replace(rule, axes=rule.axes.replace("(h k) d", "d (h k)")),
    "heads interleaved wrongly": lambda rule: replace(rule, axes=rule.axes.replace("(h k)", "(k h)")),
    "heads interleaved wrongly in the biases": lambda rule: replace(rule, axes=rule.axes.replace("h k -> (h k)", "h k -> (k h)")),
    "blocks off by one": renamed("blocks.{i}.norm1", "blocks.{i}.norm2"),
    "patches transposed": lambda rule: replace(rule, axes=rule.axes.replace("chan y x", "chan x y")),
    "class position last": lambda rule: replace(rule, axes="1 n+1 d", holds=rule.holds[::-1]) if "pos.cls" in rule.holds else rule,
}


@pytest.mark.parametrize(("to", "oracle"), [("timm", "tame.timm"), ("mmseg", "tame.mmseg_backbone"), ("hf", "hf"), ("torchvision", "torchvision")])
@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutated_table_is_not_bit_equal_to_the_peer(name, to, oracle, monkeypatch):
    theirs = dict(np.load(GOLDEN / "augreg" / f"mini.{oracle}_state_dict.npz"))
    monkeypatch.setitem(LAYOUTS["vit"], "augreg", mutant(MUTANTS[name]))
    try:
        made = remapped(regime("tame"), to)
    except ConversionError:  # shapes gave it away
        return
    assert not same(made, theirs)


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


TWISTS = ("layer scale", "norms of queries and keys", "norm before the blocks", "pooled norm")
numbers = {"i": 3, "j": 2, "h": 3, "k": 4, "m": 5, "x": 3, "side": 3, "classes": 4, "f": 4, "o": 3, "c": 3}


@st.composite
def files(draw, name):
    """A layout in one of its spellings, sections that can stand together, sizes and depths."""
    layout = draw(st.sampled_from([LAYOUTS["vit"][name], *LAYOUTS["vit"][name].spellings]))
    choices = ([one for one in several if layout.sections.keys() >= set(one)] for several in (STEMS, ROOTS, NORMS, MLPS))
    stem, root, norm, mlp = map(draw, map(st.sampled_from, choices))
    decoder = draw(st.sampled_from([None, "mask decoder", "linear decoder"]))
    may = {*draw(st.sets(st.sampled_from(["classifier", "pre_logits", "pooling head", *TWISTS]))), *stem, *root, *norm, *mlp, decoder, "encoder"}
    may -= {"norm before the blocks"} if "pooling head" in may or "no final norm" in may else set()  # the Perception Encoder's
    may |= {section for section, other in layout.unless.items() if other not in may} | layout.needs
    may |= {"distillation classifier"} if "distilled stem" in stem and "classifier" in may else set()
    may |= draw(st.sets(st.sampled_from(sorted(layout.optional)))) if layout.optional else set()
    may -= {section for section, other in layout.excludes.items() if other in may}
    drawn = {axis: draw(st.integers(1, most)) for axis, most in numbers.items()}
    width = drawn["h"] * drawn["k"]
    sizes = {**drawn, "d": width, "e": width, "r": width, "g": drawn["f"], "y": drawn["x"], "chan": 3, "n": drawn["side"] ** 2}
    sizes |= {"reg": 10, "both": 2 * width}  # so many registers that no other number of them would leave a square
    units = tuple(draw(st.lists(st.integers(1, 2), min_size=1, max_size=3))) if "residual network" in root else ()
    sections, depths = [section for section in layout.sections if section in may], Depths({"i": drawn["i"], "j": drawn["j"]}, units)
    if name == "dinov2" and not (layout.spellings == () or {APART, "gated MLP"} & may):  # then the names are timm's
        layout, sections = LAYOUTS["vit"]["timm"], [*sections, "patch bias"]
        return layout, [section for section in layout.sections if section in sections], sizes, depths
    tables = (LAYOUTS["vit"][name], *LAYOUTS["vit"][name].spellings)  # without the tensors in which two spellings differ, a file is of the first
    layout = next(table for table in tables if table.expand("", depths, sections).keys() == layout.expand("", depths, sections).keys())
    return layout, sections, sizes, depths


@pytest.mark.parametrize(("source", "target"), PAIRS)
@given(data=st.data())
@settings(max_examples=2, deadline=None)
def test_there_and_back_is_lossless(source, target, data):
    there_and_back(source, target, data)


@pytest.mark.slow
@pytest.mark.parametrize(("source", "target"), PAIRS)
@given(data=st.data())
@settings(max_examples=10, deadline=None)
def test_there_and_back_is_lossless_whatever_a_file_holds(source, target, data):
    there_and_back(source, target, data)


def there_and_back(source, target, data):
    layout, sections, sizes, depths = data.draw(files(source))
    decoded = any("decoder" in section for section in sections)
    prefix = layout.decoder_prefix if layout.decoder_prefix and decoded else data.draw(st.sampled_from(layout.prefixes))
    tensors = invented(layout, sections, sizes, depths, prefix)
    found = detect(specs_of(tensors))
    assert (found.layout, set(found.sections), found.depths["i"], found.depths.units) == (layout, set(sections), depths["i"], depths.units)
    table = layout_of(found, target)
    if refusal(found, table):
        with pytest.raises(ConversionError, match=f"{layout.name} cannot become {target}"):
            plan(specs_of(tensors), target, heads=sizes["h"])
        return
    there = plan(specs_of(tensors), target, heads=sizes["h"])
    middle = dict(run(there, tensors))
    assert {key: (spec.shape, spec.dtype) for key, spec in there.specs.items()} == {k: (a.shape, a.dtype.name) for k, a in middle.items()}
    back = steps_for(found.rules, detect(specs_of(middle)), specs_of(middle), there.sizes)
    dropped = {drop.section for drop in there.dropped}
    kept = set(sections) - dropped
    without_place = {section for section in sections if section not in table.sections}
    assert {section for section in without_place if not VIT.says_nothing(layout.sections[section])} <= dropped
    expected = layout.expand(prefix, depths, kept).keys()
    assert same({step.rule.key: make(step, middle.__getitem__, there.sizes) for step in back}, {key: tensors[key] for key in expected})
    assert sorted(key for drop in there.dropped for key in drop.keys) == sorted(tensors.keys() - expected)
    again = remapped(remapped(middle, source, heads=sizes["h"]), target, heads=sizes["h"])
    added = {key: again.pop(key) for key in again.keys() - middle.keys()}  # absent before, and filled in on the way
    assert same(again, middle)
    assert not any(array.any() for array in added.values())


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
    with pytest.raises(ConversionError, match="no tensor is named as in layout 'hf'"):
        detect(specs_of(regime("tame")), "hf")
    assert detect(specs_of(regime("tame")), "augreg").layout.name == "augreg"


def test_a_prefix_and_unrelated_names():
    tensors = {f"opt/target/{key}": array for key, array in regime("tame").items()}
    assert same(remapped(tensors, "mmseg"), remapped(regime("tame"), "mmseg"))
    with pytest.raises(ConversionError, match="in no layout that segzoo knows"):
        detect(dict.fromkeys(["features.0.weight", "features.1.weight"], Spec((1,), "float32")))


UNDER = [
    ("mmseg", "student."),
    ("mmseg", "model.encoder.backbone."),
    ("timm", "backbone."),
    ("timm", "a.b.c.d."),
    ("hf", "teacher."),
    ("torchvision", "model."),
    ("segmenter", "net."),
]


@pytest.mark.parametrize(("layout", "outer"), UNDER)
def test_a_prefix_that_a_training_program_put_before_all_names(layout, outer):
    there = remapped(regime("tame"), layout)
    under = {outer + key: array for key, array in there.items()}
    found = detect(specs_of(under))
    read = outer.removesuffix("backbone.") if layout == "mmseg" else outer
    assert (found.layout.name, found.outer) == (layout, read)
    assert found.notes == (f"all names are those of {layout} after '{read}'",)
    assert {key for section in found.sections for key in found.keys(section)} == under.keys()
    for to in ("augreg", layout):
        assert same(remapped(under, to, heads=4), remapped(there, to, heads=4))
    assert detect(specs_of(there)).notes == ()


def test_a_prefix_before_backbone_and_head():
    there = dict(open_weights(MINI / "segmenter_mini_mask-6a6bc5f4.pth"))
    under = {f"student.{key}": array for key, array in there.items()}
    assert detect(specs_of(under)).outer == "student."
    assert same(remapped(under, "mmseg"), there)
    with pytest.raises(
        ConversionError, match=r"nearest to layout 'mmseg' after the prefix 'student\.', but unexpected 1: student\.loss\.w"
    ) as caught:
        detect(specs_of(under) | {"student.loss.w": Spec((1,), "float32")})
    assert "convert --drop 'student.loss.*' leaves them out" in caught.value.hint
    with pytest.raises(ConversionError, match=r"nearest to layout 'mmseg' after the prefix 'student\.', but missing 1: student\.backbone\.cls_token"):
        detect({key: spec for key, spec in specs_of(under).items() if not key.endswith("cls_token")})


@pytest.mark.parametrize("outer", ["a.b.c.d.e.", "{p}.", "{i}.", "{g+1}.", ".", "a..", "student/", "student"])
def test_what_is_no_prefix_or_one_that_is_a_word_too_long(outer):
    there = {outer + key: array for key, array in remapped(regime("tame"), "timm").items()}
    if outer in (".", "a.."):
        assert detect(specs_of(there)).outer == outer
        return
    with pytest.raises(ConversionError):
        detect(specs_of(there))


def test_an_index_in_a_name_cannot_ask_for_more_blocks_than_there_are_names():
    with pytest.raises(ConversionError):
        detect(dict.fromkeys(["blocks.999999.norm1.weight", "cls_token"], Spec((1,), "float32")))


def test_hf_has_a_pooler_or_a_classifier_but_not_one_on_the_other():
    tensors = dict(np.load(GOLDEN / "mmseg" / "convert" / "mini12-i21k-prelogits.npz"))
    steps = plan(specs_of(tensors), "hf")
    assert [(drop.section, drop.reason) for drop in steps.dropped] == [("classifier", "layout 'hf' has no classifier on top of pre_logits")]
    assert "vit.pooler.dense.weight" in steps.specs


def test_a_classifier_beside_a_pooler_goes_where_it_does_not_stand_on_it():
    tensors = dict(np.load(GOLDEN / "augreg" / "mini.hf_state_dict.npz"))
    width = tensors["vit.layernorm.weight"].shape[0]
    tensors |= {"vit.pooler.dense.weight": np.eye(width, dtype=np.float32), "vit.pooler.dense.bias": np.ones(width, np.float32)}
    for to in ("augreg", "torchvision"):
        steps = plan(specs_of(tensors), to, heads=4)
        assert [drop.section for drop in steps.dropped] == ["pre_logits"]
        assert "does not stand on it" in steps.dropped[0].reason
    assert [drop.section for drop in plan(specs_of(tensors), "timm").dropped] == ["pre_logits"]
    assert plan(specs_of(tensors), "hf").dropped == ()


def test_no_block_no_prefix_no_tensor():
    with pytest.raises(ConversionError, match="no block of the encoder"):
        plan({key: spec for key, spec in specs_of(remapped(regime("tame"), "timm")).items() if "blocks" not in key}, "mmseg")
    with pytest.raises(ConversionError, match="no tensors in it"):
        detect({})
    segmenter = dict(open_weights(GOLDEN / "segmenter" / "linear.pth"))
    with pytest.raises(ConversionError, match=r"beside a decoder, layout 'mmseg' stands under the prefix 'backbone\.' only"):
        remapped(segmenter, "mmseg", prefix="")


def test_a_classifier_that_stands_on_dropped_pre_logits_is_dropped_with_them():
    tensors = dict(np.load(GOLDEN / "mmseg" / "convert" / "mini12-i21k-prelogits.npz"))
    dropped = plan(specs_of(tensors), "timm").dropped
    assert [drop.section for drop in dropped] == ["pre_logits", "classifier"]
    assert "stands on the pre-logits" in dropped[1].reason


@pytest.mark.slow
@given(data=st.data())
@settings(max_examples=100, deadline=None)
def test_whatever_names_and_shapes_say_is_read_or_refused(data):
    """Names lost, added, exchanged, indices and shapes of any size: an answer at once, or ConversionError."""
    layout, sections, sizes, depths = data.draw(files(data.draw(st.sampled_from(list(LAYOUTS["vit"])))))
    tensors = invented(layout, sections, sizes, depths, layout.prefixes[0])
    specs = specs_of(tensors)
    numbers = st.integers(0, 2**62)
    for _ in range(data.draw(st.integers(1, 4))):
        key = data.draw(st.sampled_from(sorted(specs)))
        match data.draw(st.sampled_from(["drop", "rename", "index", "shape", "rank"])):
            case "drop" if len(specs) > 1:
                del specs[key]
            case "rename":
                specs[data.draw(st.text(max_size=20))] = specs.pop(key)
            case "index":
                specs[re.sub(r"\d+", str(data.draw(numbers)), key)] = specs.pop(key)
            case "shape":
                specs[key] = Spec(tuple(data.draw(numbers) for _ in specs[key].shape), specs[key].dtype)
            case "rank":
                specs[key] = Spec(tuple(data.draw(st.lists(numbers, max_size=6))), specs[key].dtype)
    to = data.draw(st.sampled_from(list(LAYOUTS["vit"])))
    with suppress(ConversionError):
        made = plan(specs, to, heads=data.draw(st.sampled_from([None, sizes["h"], 7]))).specs
        count, most = (sum(math.prod(spec.shape) for spec in some.values()) for some in (made, specs))
        assert count <= 2 * most  # a bias that is absent is written as zeros, and none has more numbers than its matrix
