"""Twins' files in each library's names: one to another and back, against the real twins2mmseg.py, what is refused, and what configs say."""

import json
import re
from argparse import Namespace

import numpy as np
import pytest
import torch
from support import GOLDEN, of_the_model, remapped, same, slow_after, specs_of, tensors_of, without

from segzoo.conversion.checkpoint import identify
from segzoo.conversion.convert import convert
from segzoo.conversion.detect import detect
from segzoo.conversion.plan import plan
from segzoo.conversion.run import run
from segzoo.errors import ConversionError, UsageError
from segzoo.layouts import LAYOUTS

PEERS = GOLDEN / "twins"
CLASSIFIERS = {
    f"{library} {variant}": PEERS / f"{library}_{variant}.pth" for library in ("official", "timm", "mmpretrain") for variant in ("pcpvt", "svt")
}
WHOLE = {name: GOLDEN / "transformers" / f"{name}.pth" for name in ("upernet_twins_pcpvt", "upernet_twins_svt", "fpn_twins_svt")}
SIZES = "widths 4-8-12-16, depths 2-1-3-2, mlp ratios 3-2-2-2, reductions {}, patch 4, 5 classes"
TINY = {"pcpvt": "PCPVT, " + SIZES.format("8-4-2-1"), "svt": "SVT, " + SIZES.format("8-1-2-1")}


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_librarys_own_file_is_told_by_its_names(name):
    library, variant = name.split()
    file = identify(CLASSIFIERS[name])
    assert (file.found.layout.name, str(file.geometry)) == ("mmseg" if library == "mmpretrain" else "official", TINY[variant])
    assert file.geometry.stride == 4


@pytest.mark.parametrize("to", ["official", "timm"])
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_classifier_has_the_names_and_shapes_of_the_targets_own_file(name, to):
    """The authors' names are timm's too, so what comes of their files is these files."""
    tensors = tensors_of(CLASSIFIERS[name])
    made = remapped(tensors, to)
    theirs = tensors_of(CLASSIFIERS[f"{to} {name.split()[1]}"])
    assert {key: one.shape for key, one in made.items()} == {key: one.shape for key, one in theirs.items()}
    assert name.startswith("mmpretrain") or same(made, tensors)


@pytest.mark.parametrize("variant", TINY)
def test_the_backbone_is_what_the_real_twins2mmseg_makes_but_for_the_norm_that_it_leaves(variant):
    tensors = tensors_of(CLASSIFIERS[f"official {variant}"])
    theirs = tensors_of(PEERS / f"twins2mmseg_{variant}.pth")
    assert same(remapped(tensors, "mmseg"), without(theirs, r"^norm\."))
    assert same(remapped(theirs, "official"), without(tensors, r"^head\."))


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_backbone_without_its_classifier_comes_back_the_same_by_way_of_mmsegs_names(name):
    tensors = remapped(tensors_of(CLASSIFIERS[name]), "official")
    backbone = without(tensors, r"^(head|norm)\.")
    assert len(backbone) == len(tensors) - 4
    for prefix in ("", "backbone."):
        there = {prefix + key: one for key, one in remapped(backbone, "mmseg").items()}
        assert same(remapped(there, "official"), backbone)


@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_model_of_mmseg_comes_back_the_same(name):
    tensors = of_the_model(WHOLE[name])
    there = remapped(tensors, "official")
    assert {"backbone.blocks.0.1.attn.kv.weight", "backbone.pos_block.3.proj.0.weight", "decode_head.conv_seg.weight"} <= there.keys()
    assert detect(specs_of(there)).layout.name == "official"
    assert same(remapped(there, "mmseg"), tensors)


def test_what_the_authors_segmentation_models_keep_of_the_classifier_is_dropped_by_name():
    tensors = tensors_of(PEERS / "official_segmentation_svt.pth")
    steps = plan(specs_of(tensors), "mmseg")
    assert {drop.section: drop.keys for drop in steps.dropped} == {
        "final norm": ("backbone.norm.weight", "backbone.norm.bias"),
        "classifier": ("backbone.head.weight", "backbone.head.bias"),
    }
    made = dict(run(steps, tensors))
    assert np.array_equal(made["norm_list.2.weight"], tensors["backbone.norm_list.2.weight"])
    assert same(remapped(made, "official", prefix="backbone."), without(tensors, r"^backbone\.(norm|head)\."))


def test_norms_on_outputs_are_not_given_up():
    with pytest.raises(ConversionError, match="cannot become timm: this file has a norm on each stage's output, for which layout 'timm' has no"):
        remapped(tensors_of(WHOLE["upernet_twins_svt"]), "timm")


# bad input


def reshaped(name, shape):
    return lambda one: one | {name: np.ones(shape, np.float32)}


ODD = {
    "a block missing": (lambda one: without(one, r"blocks\.2\.1\."), r"missing 18: blocks\.2\.1\.attn\.kv\.bias"),
    "the last stage missing": (lambda one: without(one, r"(blocks|patch_embeds|pos_block)\.3\."), "fewer than four stages"),
    "a patch embedding missing": (lambda one: without(one, r"patch_embeds\.2\."), r"missing 4: patch_embeds\.2"),
    "no biases": (lambda one: without(one, r"attn\.(q|kv)\.bias"), "no bias of query, key and value"),
    "no reduction": (lambda one: without(one, r"attn\.(sr|norm)\."), "a key for each token in every stage or in some"),
    "a reduction in the last stage": (
        lambda one: one | {f"blocks.3.0.attn.sr.{part}": np.ones(shape, np.float32) for part, shape in (("weight", (16, 16, 2, 2)), ("bias", (16,)))},
        "keys of fewer tokens in the last stage too",
    ),
    "position tables": (lambda one: one | {"pos_embeds.0": np.ones((1, 9, 4), np.float32)}, "PVT, which has tables of positions"),
    "reductions that are not square": (
        lambda one: one | {f"blocks.0.{block}.attn.sr.weight": np.ones((4, 4, 8, 4), np.float32) for block in range(2)},
        r"blocks\.0\.0\.attn\.sr\.weight: keys must be of squares of tokens: 8 is not 4",
    ),
    "two reductions in a stage": (reshaped("blocks.0.1.attn.sr.weight", (4, 4, 4, 4)), "axis '(ry0|rx0)' is 4 here, but 8 in"),
    "patches that are not square": (reshaped("patch_embeds.0.proj.weight", (4, 3, 4, 2)), "patches must be square: 4 is not 2"),
    "another halving": (reshaped("patch_embeds.1.proj.weight", (8, 4, 3, 3)), "axis '(row|col)' is 3 here"),
    "a position encoding of all channels": (reshaped("pos_block.0.proj.0.weight", (4, 4, 3, 3)), r"pos_block\.0\.proj\.0\.weight"),
    "an odd MLP": (
        lambda one: one | {f"blocks.1.0.mlp.{part}": np.ones(shape, np.float32) for part, shape in MLP},
        r"blocks\.1\.0\.mlp\.fc1\.weight: an MLP of 20 is no multiple of the width 8",
    ),
    "another architecture": (lambda one: {"features.0.weight": np.ones((4, 3, 3, 3), np.float32)}, "in no layout that segzoo knows"),
}
MLP = (("fc1.weight", (20, 8)), ("fc1.bias", (20,)), ("fc2.weight", (8, 20)))


@pytest.mark.parametrize("what", ODD)
def test_what_is_no_plain_pcpvt_is_refused_and_nothing_is_written(what, tmp_path):
    change, said = ODD[what]
    np.savez(tmp_path / "odd.npz", **change(tensors_of(CLASSIFIERS["official pcpvt"])))
    with pytest.raises(ConversionError) as caught:
        convert(tmp_path / "odd.npz", tmp_path / "out.pth")
    assert re.search(said, f"{caught.value.message}; {caught.value.hint}"), f"{caught.value.message}; {caught.value.hint}"
    assert [path.name for path in tmp_path.iterdir()] == ["odd.npz"]


BETWEEN = {
    "a block of an SVT that attends to the whole map in place of its window": (
        lambda svt, pcpvt: without(svt, r"blocks\.2\.2\.attn") | {name: one for name, one in pcpvt.items() if name.startswith("blocks.2.2.attn")},
        r"blocks\.2\.2\.attn",
    ),
    "a block of an SVT without its attention": (lambda svt, pcpvt: without(svt, r"blocks\.2\.1\.attn"), r"missing 10: blocks\.2\.1\.attn\.kv\.bias"),
    "two SVTs mixed up": (
        lambda svt, pcpvt: svt | {"blocks.2.1.attn.qkv.bias": np.ones(36, np.float32)},
        r"unexpected 1: blocks\.2\.1\.attn\.qkv\.bias",
    ),
}


@pytest.mark.parametrize("what", BETWEEN)
def test_what_is_neither_pcpvt_nor_svt_is_refused(what):
    change, said = BETWEEN[what]
    with pytest.raises(ConversionError, match=said):
        detect(specs_of(change(*(tensors_of(CLASSIFIERS[f"official {variant}"]) for variant in ("svt", "pcpvt")))))


def test_weights_that_are_no_numbers_are_told(tmp_path):
    tensors = tensors_of(CLASSIFIERS["official svt"])
    tensors["blocks.0.0.attn.qkv.weight"] = tensors["blocks.0.0.attn.qkv.weight"] * np.nan
    np.savez(tmp_path / "nan.npz", **tensors)
    report = convert(tmp_path / "nan.npz", tmp_path / "out.pth")
    assert report.not_finite


FORMS = {
    "prefixed": lambda model: {"state_dict": {f"module.{name}": one for name, one in model.items()}},
    "of a trained model": lambda model: {"state_dict": {f"module.backbone.{name}": one for name, one in model.items()}},
    "nested": lambda model: {"model": model},
    "with a Namespace beside": lambda model: {"model": model, "args": Namespace(lr=1.0), "epoch": 299},
    "in half precision": lambda model: {"model": {name: one.half() for name, one in model.items()}},
}


@pytest.mark.parametrize("form", slow_after(5, FORMS))
def test_the_same_weights_in_another_form_are_converted(form, tmp_path):
    source = CLASSIFIERS["official svt"]
    torch.save(FORMS[form](torch.load(source, weights_only=True)), tmp_path / "any name.pth")
    convert(source, tmp_path / "right.pth")
    convert(tmp_path / "any name.pth", tmp_path / "out.pth")
    right, made = (tensors_of(tmp_path / name) for name in ("right.pth", "out.pth"))
    assert same(made, {name: one.astype(np.float16) if form == "in half precision" else one for name, one in right.items()})


@pytest.mark.parametrize("variant", TINY)
def test_a_file_that_is_converted_already_stays_as_it_is(variant, tmp_path):
    convert(CLASSIFIERS[f"official {variant}"], tmp_path / "once.pth")
    convert(tmp_path / "once.pth", tmp_path / "twice.pth")
    assert (tmp_path / "once.pth").read_bytes() == (tmp_path / "twice.pth").read_bytes()


def test_heads_are_one_number_a_stage(tmp_path):
    with pytest.raises(ConversionError, match="a Twins has a number of heads for each of its 4 stages, but 3 were given"):
        convert(CLASSIFIERS["official svt"], tmp_path / "out.pth", heads=3)
    with pytest.raises(ConversionError, match="5 heads do not divide a width of 8"):
        remapped(tensors_of(CLASSIFIERS["official svt"]), "mmseg", heads=(1, 5, 1, 1))


# what a file says of itself

CONFIG = (
    "model = dict(backbone=dict(type='SVT', embed_dims={}, depths=[2, 2, 1, 2], num_heads=[1, 2, 3, 4], windiow_sizes=[7, 7, 7, 7], {}"
    "norm_after_stage=True), neck=dict(type='FPN', in_channels=[16, 32, 48, 64], out_channels=20, num_outs=4{}), "
    "decode_head=dict(type='FPNHead', feature_strides={}, channels=16, num_classes=8))"
)
WIDTHS, STRIDES = [16, 32, 48, 64], [4, 8, 16, 32]


def saved(path, *config):
    torch.save({"state_dict": torch.load(WHOLE["fpn_twins_svt"], weights_only=True)["state_dict"], "meta": {"cfg": CONFIG.format(*config)}}, path)
    return identify(path).said


def test_a_config_of_mmseg_is_held_against_the_tensors(tmp_path):
    said = saved(tmp_path / "right.pth", WIDTHS, "", "", STRIDES)
    assert {name: said.get(f"backbone.{name}") for name in ("widths", "depths", "heads", "window", "eps")} == {
        "widths": (16, 32, 48, 64), "depths": (2, 2, 1, 2), "heads": (1, 2, 3, 4), "window": 7, "eps": 1e-5,
    }  # fmt: skip
    assert (said.notes, [one for one in said.unlike if "bgr_to_rgb" not in one]) == ((), [])
    (tmp_path / "wrong.py").write_text(CONFIG.format([64, 128, 256, 512], "", "", STRIDES))
    with pytest.raises(UsageError, match=r"embed_dims says widths \(64, 128, 256, 512\), the tensors show \(16, 32, 48, 64\)"):
        identify(tmp_path / "right.pth", config=tmp_path / "wrong.py")


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ((WIDTHS, "norm_cfg=dict(type='LN', eps=1e-6), ", "", STRIDES), "norm_cfg.eps is not 1e-05: the model's program gives it to some norms only"),
        ((WIDTHS, "", ", upsample_cfg=dict(mode='bilinear')", STRIDES), "enlarges maps otherwise than by nearest neighbours"),
        ((WIDTHS, "", "", [4, 4, 8, 16]), "doubles its maps another number of times"),
    ],
)
def test_what_a_config_says_that_segzoo_does_otherwise_is_told(config, said, tmp_path):
    assert any(said in one for one in saved(tmp_path / "other.pth", *config).unlike)


@pytest.mark.parametrize(
    ("architecture", "heads", "window"),
    [("twins_pcpvt_base", (1, 2, 5, 8), None), ("twins_svt_small", (2, 4, 8, 16), 7), ("twins_svt_base", (3, 6, 12, 24), 7)],
)
def test_timms_config_tells_heads_and_windows(architecture, heads, window, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"architecture": architecture}))
    convert(CLASSIFIERS["timm svt"], tmp_path / "model.safetensors", to="timm")
    said = identify(tmp_path / "model.safetensors").said
    assert (said.get("backbone.heads"), said.get("backbone.window")) == (heads, window)


def test_a_safetensors_file_remembers_its_heads_and_windows(tmp_path):
    convert(saved_with_heads(tmp_path), tmp_path / "model.safetensors")
    said = identify(tmp_path / "model.safetensors").said
    assert (said.get("backbone.heads"), said.get("backbone.window")) == ((1, 2, 3, 4), 7)


def saved_with_heads(folder):
    saved(folder / "right.pth", WIDTHS, "", "", STRIDES)
    return folder / "right.pth"


def test_every_twins_table_is_registered():
    assert list(LAYOUTS["twins"]) == ["official", "timm", "mmseg"]
