"""MiT's files in each library's names: one to another and back, against the real mit2mmseg.py, what is refused, and what configs say."""

import json
import re
import shutil
from argparse import Namespace

import numpy as np
import pytest
import torch
from support import GOLDEN, of_the_model, remapped, same, specs_of, tensors_of, without

from segzoo.conversion.checkpoint import identify
from segzoo.conversion.convert import convert
from segzoo.conversion.detect import detect
from segzoo.conversion.plan import plan
from segzoo.errors import ConversionError, UsageError
from segzoo.layouts import LAYOUTS

PEERS = GOLDEN / "mit"
OFFICIAL, WHOLE = PEERS / "official.pth", GOLDEN / "transformers" / "segformer.pth"
FILES = {
    "official": OFFICIAL,
    "official segformer": PEERS / "official_segformer.pth",
    "mmseg": PEERS / "mit2mmseg.pth",
    "hf": PEERS / "hf" / "model.safetensors",
    "hf model": PEERS / "hf_model" / "model.safetensors",
    "hf segformer": PEERS / "hf_segformer" / "model.safetensors",
}
SIZES = "widths 4-8-12-16, depths 2-1-1-2, mlp ratio 2, patches 7-3-3-3, reductions 8-4-2-1"
HEAD = ", NVlabs SegFormer head of 10 channels on 4 levels, 5 classes"


@pytest.mark.parametrize("name", FILES)
def test_a_librarys_own_file_is_told_by_its_names(name):
    file = identify(FILES[name])
    layout, _, kind = name.partition(" ")
    more = HEAD if kind == "segformer" else ", 5 classes" if name in ("official", "hf") else ""
    assert (file.found.layout.name, str(file.geometry), file.geometry.stride) == (layout, SIZES + more, 4)


def test_a_backbone_is_what_the_real_mit2mmseg_makes():
    tensors = tensors_of(OFFICIAL)
    theirs = tensors_of(FILES["mmseg"])
    assert same(remapped(tensors, "mmseg"), theirs)
    assert same(remapped(theirs, "official"), without(tensors, r"^head\."))


@pytest.mark.parametrize(
    ("name", "to", "like"), [("official", "hf", "hf"), ("hf", "official", "official"), ("hf segformer", "official", "official segformer")]
)
def test_a_file_gets_the_names_and_shapes_of_the_targets_own_file(name, to, like):
    tensors = tensors_of(FILES[name])
    made, theirs = remapped(tensors, to), without(tensors_of(FILES[like]), r"conv_seg")
    assert {key: one.shape for key, one in made.items()} == {key: one.shape for key, one in theirs.items()}
    assert same(remapped(made, name.split()[0]), tensors)


def test_a_backbone_alone_comes_back_the_same_by_way_of_every_other_layout():
    tensors = tensors_of(FILES["hf model"])
    for name in ("official", "mmseg"):
        assert same(remapped(remapped(tensors, name), "hf", prefix=""), tensors)


def test_the_layer_that_nvlabs_head_does_not_use_is_dropped_by_name():
    steps = plan(specs_of(tensors_of(FILES["official segformer"])), "hf")
    assert [(drop.section, drop.keys) for drop in steps.dropped] == [("unused layer", ("decode_head.conv_seg.weight", "decode_head.conv_seg.bias"))]


@pytest.mark.parametrize(("file", "to", "section"), [
    (WHOLE, "hf", "SegFormer decoder"), (WHOLE, "official", "SegFormer decoder"),
    (FILES["hf segformer"], "mmseg", "NVlabs SegFormer decoder"), (FILES["official segformer"], "mmseg", "NVlabs SegFormer decoder"),
])  # fmt: skip
def test_a_trained_head_does_not_become_another_network(file, to, section, tmp_path):
    with pytest.raises(ConversionError) as caught:
        convert(file, tmp_path / "out.pth", to=to)
    assert f"cannot become {to} with its {section}" in caught.value.message
    assert "has BatchNorm and ReLU after the matrix of each level" in caught.value.message
    assert caught.value.hint == f"--drop '{section}' converts the backbone alone"
    assert not list(tmp_path.iterdir())
    report = convert(file, tmp_path / "backbone.pth", to=to, drop=[section])
    assert section in [drop.section for drop in report.dropped]
    back = remapped(tensors_of(tmp_path / "backbone.pth"), identify(file).found.layout.name)
    assert all(any(name.endswith(mine) and np.array_equal(one, back[mine]) for name, one in of_the_model(file).items()) for mine in back)


# bad input


def reshaped(name, shape):
    return lambda one: one | {name: np.ones(shape, np.float32)}


def wider(tensors, ratios=(2, 2, 1, 1)):
    """The names of a MiT with the MLPs of PVT v2: twice as wide in the first two stages."""
    for stage, ratio in enumerate(ratios, 1):
        for name in [name for name in tensors if re.match(rf"block{stage}\.\d+\.mlp", name)]:
            axis = 1 if name.endswith("fc2.weight") else 0
            if not name.endswith("fc2.bias"):
                tensors[name] = np.repeat(tensors[name], ratio, axis)
    return tensors


ODD = {
    "a block missing": (lambda one: without(one, r"block1\.0\."), r"missing 20: block1\.0\.attn\.kv\.bias"),
    "the last stage missing": (lambda one: without(one, r"(block|patch_embed|norm)4\."), "fewer than four stages"),
    "a patch embedding missing": (lambda one: without(one, r"patch_embed2\."), r"missing 4: patch_embed2"),
    "no biases": (lambda one: without(one, r"attn\.(q|kv)\.bias"), "no bias of query, key and value"),
    "no reduction": (lambda one: without(one, r"attn\.(sr|norm)\."), "a key for each token in every stage or in some"),
    "no convolutions": (lambda one: without(one, r"dwconv"), "no convolution in its MLPs"),
    "no norms on the outputs": (lambda one: without(one, r"^norm\d\."), "no norm on some of the outputs"),
    "a reduction in the last stage": (
        lambda one: one | {f"block4.{block}.attn.sr.{part}": np.ones(shape, np.float32) for block in (0, 1) for part, shape in SR},
        "keys of fewer tokens in the last stage too, as PVT v2 Linear has",
    ),
    "position tables": (lambda one: one | {f"pos_embed{stage}": np.ones((1, 9, 4), np.float32) for stage in range(1, 5)}, "PVT, which has tables"),
    "PVT v2": (wider, "all MLPs must be as many times wider than their stage: 24 is not 48; PVT v2 has a MiT's names"),
    "reductions that are not square": (
        lambda one: one | {f"block1.{block}.attn.sr.weight": np.ones((4, 4, 8, 4), np.float32) for block in range(2)},
        r"block1\.0\.attn\.sr\.weight: keys must be of squares of tokens: 8 is not 4",
    ),
    "two reductions in a stage": (reshaped("block1.1.attn.sr.weight", (4, 4, 4, 4)), "axis '(ry0|rx0)' is 4 here, but 8 in"),
    "patches that are not square": (reshaped("patch_embed1.proj.weight", (4, 3, 7, 3)), "patches must be square: 7 is not 3"),
    "a convolution of all channels": (reshaped("block1.0.mlp.dwconv.dwconv.weight", (8, 8, 3, 3)), r"block1\.0\.mlp\.dwconv"),
    "another architecture": (lambda one: {"features.0.weight": np.ones((4, 3, 3, 3), np.float32)}, "in no layout that segzoo knows"),
}
SR = (("weight", (16, 16, 2, 2)), ("bias", (16,)))


@pytest.mark.parametrize("what", ODD)
def test_what_is_no_plain_mit_is_refused_and_nothing_is_written(what, tmp_path):
    change, said = ODD[what]
    np.savez(tmp_path / "odd.npz", **change(tensors_of(OFFICIAL)))
    with pytest.raises(ConversionError) as caught:
        convert(tmp_path / "odd.npz", tmp_path / "out.pth")
    assert re.search(said, f"{caught.value.message}; {caught.value.hint}"), f"{caught.value.message}; {caught.value.hint}"
    assert [path.name for path in tmp_path.iterdir()] == ["odd.npz"]


def test_a_head_whose_channels_do_not_add_up_is_refused():
    tensors = of_the_model(WHOLE) | {"decode_head.fusion_conv.conv.weight": np.ones((32, 96, 1, 1), np.float32)}
    with pytest.raises(ConversionError, match="SegFormer's head: expected 128 channels, of 4 levels, found 96"):
        remapped(tensors, "mmseg")


def test_weights_that_are_no_numbers_are_told(tmp_path):
    tensors = tensors_of(OFFICIAL)
    tensors["block1.0.attn.q.weight"] = tensors["block1.0.attn.q.weight"] * np.nan
    np.savez(tmp_path / "nan.npz", **tensors)
    assert convert(tmp_path / "nan.npz", tmp_path / "out.pth").not_finite


FORMS = {
    "prefixed": lambda model: {"state_dict": {f"module.{name}": one for name, one in model.items()}},
    "of a trained model": lambda model: {
        "state_dict": {f"module.backbone.{name}": one for name, one in model.items() if not name.startswith("head")}
    },
    "nested": lambda model: {"model": model},
    "with a Namespace beside": lambda model: {"model": model, "args": Namespace(lr=1.0), "epoch": 299},
    "in half precision": lambda model: {"model": {name: one.half() for name, one in model.items()}},
}


@pytest.mark.parametrize("form", FORMS)
def test_the_same_weights_in_another_form_are_converted(form, tmp_path):
    """mit2mmseg.py passes prefixed names through, as they are, and stops at a Namespace."""
    torch.save(FORMS[form](torch.load(OFFICIAL, weights_only=True)), tmp_path / "mit_b5.pth")
    convert(OFFICIAL, tmp_path / "right.pth")
    convert(tmp_path / "mit_b5.pth", tmp_path / "out.pth")
    right, made = (tensors_of(tmp_path / name) for name in ("right.pth", "out.pth"))
    assert same(made, {name: one.astype(np.float16) if form == "in half precision" else one for name, one in right.items()})


def test_a_file_that_is_converted_already_stays_as_it_is(tmp_path):
    convert(OFFICIAL, tmp_path / "once.pth")
    convert(tmp_path / "once.pth", tmp_path / "twice.pth")
    assert (tmp_path / "once.pth").read_bytes() == (tmp_path / "twice.pth").read_bytes()


def test_heads_are_one_number_a_stage(tmp_path):
    with pytest.raises(ConversionError, match="a MiT has a number of heads for each of its 4 stages, but 3 were given"):
        convert(OFFICIAL, tmp_path / "out.pth", heads=3)


# what a file says of itself

CONFIG = (
    "model = dict(backbone=dict(type='MixVisionTransformer', embed_dims={}, num_layers=[2, 1, 1, 2], num_heads=[1, 2, 4, 5], mlp_ratio=2{}), "
    "decode_head=dict(type='SegformerHead', in_index=[0, 1, 2, 3], channels=32, num_classes=8{}), test_cfg=dict(mode='whole'))\n"
    "test_pipeline = [dict(type='LoadImageFromFile'), dict(type='Resize', scale=(2048, 512), keep_ratio=True), {}dict(type='PackSegInputs')]"
)
STEP = "dict(type='ResizeToMultiple', size_divisor=32), "


def saved(path, *config):
    torch.save({"state_dict": torch.load(WHOLE, weights_only=True)["state_dict"], "meta": {"cfg": CONFIG.format(*config)}}, path)
    return identify(path).said


def test_a_config_of_mmseg_is_held_against_the_tensors(tmp_path):
    said = saved(tmp_path / "right.pth", 12, "", "", "")
    found = {
        name: said.get(name) for name in ("backbone.widths", "backbone.depths", "backbone.heads", "backbone.eps", "protocol.crop", "protocol.scale")
    }
    assert found == {
        "backbone.widths": (12, 24, 48, 60), "backbone.depths": (2, 1, 1, 2), "backbone.heads": (1, 2, 4, 5), "backbone.eps": 1e-6,
        "protocol.crop": None, "protocol.scale": (2048, 512),
    }  # fmt: skip
    assert ("protocol.multiple" in said, said.get("protocol.multiple")) == (True, None)
    assert (said.notes, [one for one in said.unlike if "bgr_to_rgb" not in one]) == ((), [])
    (tmp_path / "wrong.py").write_text(CONFIG.format(64, "", "", ""))
    with pytest.raises(UsageError, match=r"embed_dims for each of num_heads says widths \(64, 128, 256, 320\), the tensors show \(12, 24, 48, 60\)"):
        identify(tmp_path / "right.pth", config=tmp_path / "wrong.py")


@pytest.mark.parametrize(
    ("config", "name", "value"),
    [
        ((12, ", norm_cfg=dict(type='LN')", "", ""), "backbone.eps", 1e-5),
        ((12, "", "", STEP), "protocol.multiple", 32),
        ((12, "", "", STEP.replace("32", "64")), "protocol.multiple", 64),
    ],
)
def test_what_a_config_says_otherwise_is_read(config, name, value, tmp_path):
    said = saved(tmp_path / "other.pth", *config)
    assert said.get(name) == value
    assert not [one for one in said.unlike if "bgr_to_rgb" not in one]


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ((12, ", strides=[4, 2, 2, 1]", "", ""), "halves its maps otherwise"),
        ((12, "", ", interpolate_mode='nearest'", ""), "enlarges maps otherwise than bilinear"),
        ((12, "", ", act_cfg=dict(type='GELU')", ""), "has another activation than ReLU"),
        (
            (12, "", "), data_preprocessor=dict(bgr_to_rgb=True, test_cfg=dict(size=(64, 64))", ""),
            "test_cfg.size is there: the model's program pads images to that size",
        ),
        ((12, "", "", STEP + "dict(type='Resize', scale=(64, 64), keep_ratio=True), "), "resizes images once more"),
        ((12, "", "", STEP.replace("=32", "=32, interpolation='nearest'")), "resizes images once more, or otherwise than bilinear"),
    ],
)
def test_what_a_config_says_that_segzoo_does_otherwise_is_told(config, said, tmp_path):
    assert any(said in one for one in saved(tmp_path / "other.pth", *config).unlike)


def test_the_authors_own_config_tells_heads_eps_and_size():
    """Their classes have their heads; `AlignedResize` resizes, and brings sides up to multiples."""
    from segzoo.conversion.config_openmmlab import of_openmmlab

    pipeline = [{"type": "LoadImageFromFile"}, {"type": "MultiScaleFlipAug", "img_scale": (2048, 512), "transforms": [
        {"type": "AlignedResize", "keep_ratio": True, "size_divisor": 32}, {"type": "RandomFlip"},
    ]}]  # fmt: skip
    said = of_openmmlab(
        {"model": {"backbone": {"type": "mit_b0", "style": "pytorch"}}, "data": {"test": {"pipeline": pipeline}}}, "config", ["base.py"]
    )
    names = ("backbone.heads", "backbone.eps", "backbone.conv_eps", "protocol.scale", "protocol.multiple")
    assert [said.get(name) for name in names] == [(1, 2, 5, 8), 1e-6, 1e-5, (2048, 512), 32]
    assert said.unlike == ()


def test_transformers_config_tells_heads_and_that_all_norms_have_torchs_eps(tmp_path):
    said = identify(FILES["hf segformer"]).said
    assert [said.get(f"backbone.{name}") for name in ("heads", "widths", "depths", "eps")] == [(1, 2, 3, 4), (4, 8, 12, 16), (2, 1, 1, 2), 1e-5]
    shutil.copy(FILES["hf segformer"], tmp_path / "model.safetensors")
    config = json.loads((PEERS / "hf_segformer" / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"strides": [4, 2, 2, 1], "hidden_act": "relu"}))
    said = identify(tmp_path / "model.safetensors").said
    assert [one.split(": ", 1)[1] for one in said.unlike] == [
        "hidden_act: the model's program has another activation than GELU", "strides: the model's program halves its maps otherwise",
    ]  # fmt: skip


def test_every_mit_table_is_registered():
    assert list(LAYOUTS["mit"]) == ["official", "mmseg", "hf"]
    assert detect(specs_of(of_the_model(WHOLE))).layout.name == "mmseg"


def test_a_mit_of_segmentation_models_pytorch_is_the_authors_without_a_classifier(tmp_path):
    """Its encoders have the authors' names. Its decoder is a part of the model, so its tensors are left out only by force, all by the same line."""
    plain = {f"encoder.{name}": one for name, one in tensors_of(OFFICIAL).items() if not name.startswith("head.")}
    np.savez(tmp_path / "encoder.npz", **plain)
    assert convert(tmp_path / "encoder.npz", tmp_path / "encoder.pth").source_layout == "official"
    more = {"decoder.mlp_stage.0.linear.weight": np.ones((4, 4), np.float32), "segmentation_head.0.bias": np.ones(4, np.float32)}
    np.savez(tmp_path / "model.npz", **plain, **more)
    with pytest.raises(ConversionError) as caught:
        convert(tmp_path / "model.npz", tmp_path / "model.pth")
    assert "convert --force-drop --drop 'decoder.*' --drop 'segmentation_head.*' leaves them out" in caught.value.hint
    convert(tmp_path / "model.npz", tmp_path / "model.pth", drop=["decoder.*", "segmentation_head.*"], force_drop=True)
    assert same(tensors_of(tmp_path / "model.pth"), tensors_of(tmp_path / "encoder.pth"))
