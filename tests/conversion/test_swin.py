"""Swin's files in each library's names: one to another and back, the order of merged neighbours, and what is refused."""

import re
from argparse import Namespace

import numpy as np
import pytest
import torch
from support import GOLDEN, remapped, same, slow_after, specs_of, tensors_of, without

from segzoo.conversion.checkpoint import identify
from segzoo.conversion.convert import convert
from segzoo.conversion.detect import detect
from segzoo.errors import ConversionError, UsageError
from segzoo.layouts import LAYOUTS

PEERS = GOLDEN / "swin"
CLASSIFIERS = {
    "official": PEERS / "official.pth",
    "timm": PEERS / "timm.pth",
    "hf": PEERS / "hf" / "model.safetensors",
    "torchvision": PEERS / "torchvision.pth",
}
WHOLE = {"mmseg": GOLDEN / "transformers" / "upernet_swin.pth", "hf": PEERS / "hf_upernet" / "model.safetensors"}
TINY = "width 4, depths 2-1-3-2, heads 1-2-2-4, window 3, patch 4, mlp ratio 2, a final norm, 5 classes"


def weights(tensors):
    """Without what follows from sizes, and what is no part of the model."""
    return {
        name: one for name, one in tensors.items() if not re.search(r"relative_position_index|attn_mask|^auxiliary_head|\bswin\.layernorm\b", name)
    }


def own_weights(layout):
    tensors = weights(tensors_of(CLASSIFIERS[layout]))
    return tensors | {name: one for name, one in tensors_of(CLASSIFIERS[layout]).items() if name.startswith("swin.layernorm")}


@pytest.mark.parametrize("layout", CLASSIFIERS)
def test_a_librarys_own_file_is_told_by_its_names(layout):
    file = identify(CLASSIFIERS[layout])
    assert (file.found.layout.name, str(file.geometry)) == (layout, TINY)
    assert (file.geometry.widths, file.geometry.stride) == ((4, 8, 16, 32), 4)


@pytest.mark.parametrize("source", CLASSIFIERS)
@pytest.mark.parametrize("to", CLASSIFIERS)
def test_a_classifier_has_the_names_and_shapes_of_the_targets_own_file_and_comes_back_the_same(source, to):
    tensors = own_weights(source)
    made = remapped(tensors, to)
    shapes = {name: one.shape for name, one in made.items() if "index" not in name}
    assert shapes == {name: one.shape for name, one in own_weights(to).items()}
    assert same({name: one for name, one in remapped(made, source).items() if name in tensors}, tensors)


@pytest.mark.parametrize("layout", CLASSIFIERS)
def test_an_index_that_is_written_is_the_librarys_own(layout):
    theirs = {name: one for name, one in tensors_of(CLASSIFIERS[layout]).items() if name.endswith("relative_position_index")}
    made = remapped(own_weights(layout), layout)
    assert same({name: one for name, one in made.items() if name.endswith("relative_position_index")}, theirs)
    assert bool(theirs) == (layout in ("official", "torchvision"))


@pytest.mark.parametrize("name", ["upernet_swin", "upernet_swin_w12"])
@pytest.mark.parametrize("to", ["official", "hf"])
def test_a_whole_model_of_mmseg_comes_back_the_same_with_its_indices(name, to):
    tensors = {key: one for key, one in tensors_of(GOLDEN / "transformers" / f"{name}.pth").items() if not key.startswith("auxiliary_head")}
    there = remapped(tensors, to)
    assert same(remapped(there, "mmseg"), tensors)
    if to == "hf" and name == "upernet_swin":  # of the same depths but for two blocks
        theirs = weights(tensors_of(WHOLE["hf"]))
        blocks = re.compile(r"(blocks|layers)\.\d+")
        assert {blocks.sub("", key) for key in there} == {blocks.sub("", key) for key in theirs}


def test_transformers_whole_model_comes_back_the_same():
    tensors = weights(tensors_of(WHOLE["hf"]))
    assert same(remapped(remapped(tensors, "mmseg"), "hf"), tensors)


@pytest.mark.parametrize("source", CLASSIFIERS)
def test_merged_neighbours_are_reordered_for_mmseg_alone(source):
    """By the formula of numpy that equals the real libraries: no name and no shape tells a wrong order."""
    tensors = {name: np.arange(one.size, dtype=np.float32).reshape(one.shape) for name, one in own_weights(source).items()}  # all different
    made, others = remapped(tensors, "mmseg"), remapped(tensors, "official")
    for stage, c in enumerate((4, 8, 16)):
        for part in ("reduction.weight", "norm.weight", "norm.bias"):
            theirs, mine = others[f"layers.{stage}.downsample.{part}"], made[f"stages.{stage}.downsample.{part}"]
            rows = theirs.reshape(-1, 4, c)[:, [0, 2, 1, 3]].transpose(0, 2, 1).reshape(theirs.shape)
            assert np.array_equal(mine, rows)
            assert not np.array_equal(mine, theirs)
            shift = stage + 1 if source == "timm" else stage
            own = next(name for name in tensors if re.search(rf"(layers\.{shift}\.downsample|features\.{2 * stage + 2})\.{part}$", name))
            assert np.array_equal(tensors[own], theirs)


def mmpretrain(tensors):
    """MMPreTrain's classifier: its head is beside the backbone."""
    made = remapped(tensors, "mmseg")
    head = {f"head.fc.{name.removeprefix('head.')}": one for name, one in tensors.items() if name.startswith("head.")}
    return {f"backbone.{name}": one for name, one in made.items()} | head


def by_swin2mmseg(tensors):
    """What swin2mmseg.py makes of an official file: the masks and the final norm keep their names."""
    masks = {name: one for name, one in tensors_of(CLASSIFIERS["official"]).items() if name.endswith("attn_mask")}
    made = {name.replace("norm3.", "norm."): one for name, one in remapped(tensors, "mmseg").items()}
    return made | {name.replace("layers.", "stages."): one for name, one in masks.items()}


@pytest.mark.parametrize(("form", "keeps"), [(mmpretrain, True), (by_swin2mmseg, False)])
def test_other_programs_forms_of_mmsegs_names_are_read(form, keeps):
    tensors = own_weights("official")
    back = remapped(form(tensors), "official")
    assert same(weights(back), {name: one for name, one in tensors.items() if keeps or not name.startswith("head.")})


def test_microsofts_own_segmentation_model_is_read():
    """It has norms on its outputs, the official order, and the head's names of MMSegmentation."""
    there = remapped(tensors_of(WHOLE["mmseg"]), "official")
    assert {"backbone.norm0.weight", "backbone.layers.0.downsample.norm.weight", "decode_head.fpn_bottleneck.conv.weight"} <= there.keys()
    assert detect(specs_of(there)).layout.name == "official"


@pytest.mark.parametrize("to", ["timm", "torchvision"])
def test_norms_on_outputs_are_not_given_up(to):
    with pytest.raises(
        ConversionError, match=f"mmseg cannot become {to}: this file has a norm on each stage's output, for which layout '{to}' has no"
    ):
        remapped(tensors_of(WHOLE["mmseg"]), to)


# bad input

SWIN_V2 = {  # the names that each library's own Swin V2 has beyond, or instead (timm 1.0.31, transformers 5.24, torchvision 0.28, microsoft)
    "official": ("attn.logit_scale", "attn.cpb_mlp.0.weight", "attn.relative_coords_table"),
    "timm": ("attn.logit_scale", "attn.cpb_mlp.0.weight", "attn.q_bias"),
    "hf": ("attention.self.logit_scale", "attention.self.continuous_position_bias_mlp.0.weight"),
    "torchvision": ("attn.logit_scale", "attn.cpb_mlp.0.weight"),
}


def swin_v2(layout):
    tensors = {name: one for name, one in own_weights(layout).items() if "relative_position_bias_table" not in name}
    for name in [name for name in tensors if name.endswith(("attn.proj.weight", "attention.output.dense.weight"))]:
        start = name[: name.index("att")]
        tensors |= {start + extra: np.ones(3, np.float32) for extra in SWIN_V2[layout]}
    return tensors


OFFICIAL = CLASSIFIERS["official"]
ODD = {
    "absolute positions": (lambda one: one | {"absolute_pos_embed": np.ones((1, 9, 4), np.float32)}, r"absolute position embeddings \(ape\)"),
    "a block missing": (lambda one: without(one, r"layers\.2\.blocks\.1\."), r"missing 13: layers\.2\.blocks\.1\.attn\.proj\.bias"),
    "the last block missing": (lambda one: without(one, r"layers\.3\."), r"missing .*layers\.3|no block of stage 3"),
    "a merging missing": (lambda one: without(one, r"layers\.1\.downsample"), r"missing 3: layers\.1\.downsample"),
    "no bias of qkv": (lambda one: without(one, r"qkv\.bias"), "no bias of query, key and value"),
    "no norm of the patches": (lambda one: without(one, r"patch_embed\.norm"), "no norm of the patch embedding"),
    "no final norm": (lambda one: without(one, r"^norm"), "no final norm"),
    "timm's merging in an official file": (
        lambda one: {re.sub(r"layers\.(\d)\.downsample", lambda m: f"layers.{int(m[1]) + 1}.downsample", name): one[name] for name in one},
        "nearest to layout 'timm', but unexpected 2: head.bias",
    ),
    "windows of several sizes": (
        lambda one: one | {"layers.2.blocks.1.attn.relative_position_bias_table": np.ones((49, 2), np.float32)},
        "axis 'table' is 49 here, but 25 in layers.0.blocks.0",
    ),
    "a table of no window": (
        lambda one: {k: v[:24] if k.endswith("bias_table") else v for k, v in one.items()},
        "24 relative positions are those of",
    ),
    "a huge window": (
        lambda one: {k: np.ones((65**2, v.shape[1]), np.float16) if k.endswith("bias_table") else v.astype(np.float16) for k, v in one.items()},
        "a window of 33 x 33 tokens; segzoo takes 32 x 32 at most",
    ),
    "a width that does not double": (
        lambda one: one | {"layers.0.downsample.reduction.weight": np.ones((12, 16), np.float32)},
        "axis 'd1' is",
    ),
    "another architecture": (lambda one: {"features.0.weight": np.ones((4, 3, 3, 3), np.float32)}, "in no layout that segzoo knows"),
}


@pytest.mark.parametrize("what", ODD)
def test_what_is_no_plain_swin_is_refused_and_nothing_is_written(what, tmp_path):
    change, said = ODD[what]
    np.savez(tmp_path / "odd.npz", **change(own_weights("official")))
    with pytest.raises(ConversionError) as caught:
        convert(tmp_path / "odd.npz", tmp_path / "out.pth")
    assert re.search(said, f"{caught.value.message}; {caught.value.hint}"), f"{caught.value.message}; {caught.value.hint}"
    assert [path.name for path in tmp_path.iterdir()] == ["odd.npz"]


@pytest.mark.parametrize("layout", CLASSIFIERS)
def test_swin_v2_is_refused_by_name(layout):
    with pytest.raises(ConversionError) as caught:
        detect(specs_of(swin_v2(layout)))
    assert "Swin Transformer V2" in caught.value.hint


def test_norms_on_some_outputs_are_refused_by_name():
    for gone in ("norm0", "norm[01]"):
        with pytest.raises(ConversionError) as caught:
            detect(specs_of(without(tensors_of(WHOLE["mmseg"]), rf"backbone\.{gone}\.")))
        assert "norms on some of the outputs only" in caught.value.hint


def test_an_index_that_was_edited_is_refused(tmp_path):
    held = torch.load(OFFICIAL, weights_only=True)
    held["model"]["layers.2.blocks.1.attn.relative_position_index"][0, 0] += 1
    torch.save(held, tmp_path / "edited.pth")
    with pytest.raises(ConversionError, match=r"layers\.2\.blocks\.1\.attn\.relative_position_index: not what it must be"):
        convert(tmp_path / "edited.pth", tmp_path / "out.pth")
    assert not (tmp_path / "out.pth").exists()


FORMS = {
    "prefixed": lambda model: {"state_dict": {f"module.{name}": one for name, one in model.items()}},
    "of a trained model": lambda model: {"state_dict": {f"module.backbone.{name}": one for name, one in model.items()}},
    "with a Namespace beside": lambda model: {"model": model, "args": Namespace(lr=1.0), "config": Namespace(model="swin"), "epoch": 299},
    "in half precision": lambda model: {"model": {name: one.half() if one.is_floating_point() else one for name, one in model.items()}},
}


@pytest.mark.parametrize("form", slow_after(4, FORMS))
def test_the_same_weights_in_another_form_are_converted(form, tmp_path):
    torch.save(FORMS[form](torch.load(OFFICIAL, weights_only=True)["model"]), tmp_path / "any name.pth")
    convert(OFFICIAL, tmp_path / "right.pth")
    convert(tmp_path / "any name.pth", tmp_path / "out.pth")
    right, made = (tensors_of(tmp_path / name) for name in ("right.pth", "out.pth"))
    kinds = {name: one.astype(np.float16) if form == "in half precision" and one.dtype.kind == "f" else one for name, one in right.items()}
    assert same(made, kinds)


def test_a_file_that_is_converted_already_stays_as_it_is(tmp_path):
    convert(OFFICIAL, tmp_path / "once.pth")
    convert(tmp_path / "once.pth", tmp_path / "twice.pth")
    assert (tmp_path / "once.pth").read_bytes() == (tmp_path / "twice.pth").read_bytes()


def test_heads_that_the_caller_gives_must_be_those_of_the_tensors(tmp_path):
    with pytest.raises(ConversionError, match="the tensors show 1-2-2-4 heads, but 3 were given"):
        convert(OFFICIAL, tmp_path / "out.pth", heads=3)


# what a file says of itself


def test_a_config_of_mmseg_is_held_against_the_tensors(tmp_path):
    held = torch.load(WHOLE["mmseg"], weights_only=True)["state_dict"]
    backbone = "type='SwinTransformer', embed_dims=12, depths=[2, 2, 2, 2], num_heads=[1, 2, 4, 8], window_size={}, norm_cfg=dict(type='LN')"
    config = "model = dict(backbone=dict(" + backbone + "), decode_head=dict(type='UPerHead', pool_scales=(1, 2, 3, 6), num_classes=8))"
    torch.save({"state_dict": held, "meta": {"cfg": config.format(7)}}, tmp_path / "right.pth")
    said = identify(tmp_path / "right.pth").said
    assert {name: said.get(f"backbone.{name}") for name in ("width", "depths", "heads", "window", "eps")} == {
        "width": 12, "depths": (2, 2, 2, 2), "heads": (1, 2, 4, 8), "window": 7, "eps": 1e-5,
    }  # fmt: skip
    assert (said.get("head.bins"), said.notes) == ((1, 2, 3, 6), ())
    (tmp_path / "wrong.py").write_text(config.format(12))
    with pytest.raises(UsageError, match=r"window_size says window 12, the tensors show 7"):
        identify(tmp_path / "right.pth", config=tmp_path / "wrong.py")


@pytest.mark.parametrize(("folder", "bins"), [("hf", None), ("hf_backbone", None), ("hf_upernet", (1, 2, 3, 6))])
def test_transformers_config_is_read(folder, bins):
    said = identify(PEERS / folder / "model.safetensors").said
    assert {name: said.get(f"backbone.{name}") for name in ("width", "depths", "heads", "window", "patch", "eps")} == {
        "width": 4, "depths": (2, 1, 3, 2), "heads": (1, 2, 2, 4), "window": 3, "patch": 4, "eps": 1e-5,
    }  # fmt: skip
    assert (said.get("head.bins"), said.notes) == (bins, ())


def test_every_swin_table_is_registered():
    assert list(LAYOUTS["swin"]) == ["official", "timm", "mmseg", "hf", "torchvision"]
