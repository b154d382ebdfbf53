"""ConvNeXt's files in each library's names: one to another and back, what is refused, and what configs say."""

import json
import re
from argparse import Namespace

import numpy as np
import pytest
import torch
from support import GOLDEN, of_the_model, remapped, same, slow_after, specs_of, tensors_of, without

from segzoo.conversion.checkpoint import identify
from segzoo.conversion.config_json import of_json
from segzoo.conversion.convert import convert
from segzoo.conversion.detect import detect
from segzoo.errors import ConversionError, UsageError
from segzoo.layouts import LAYOUTS

PEERS = GOLDEN / "convnext"
CLASSIFIERS = {
    "official": PEERS / "official.pth",
    "timm": PEERS / "timm.pth",
    "hf": PEERS / "hf" / "model.safetensors",
    "torchvision": PEERS / "torchvision.pth",
}
WHOLE = {"mmseg": GOLDEN / "transformers" / "upernet_convnext.pth", "hf": PEERS / "hf_upernet" / "model.safetensors"}
TINY = "widths 4-8-12-20, depths 2-1-3-2, patch 4, a final norm, 5 classes"


@pytest.mark.parametrize("layout", CLASSIFIERS)
def test_a_librarys_own_file_is_told_by_its_names(layout):
    file = identify(CLASSIFIERS[layout])
    assert (file.found.layout.name, str(file.geometry)) == (layout, TINY)
    assert file.geometry.stride == 4


@pytest.mark.parametrize("source", CLASSIFIERS)
@pytest.mark.parametrize("to", CLASSIFIERS)
def test_a_classifier_has_the_names_and_shapes_of_the_targets_own_file_and_comes_back_the_same(source, to):
    tensors = tensors_of(CLASSIFIERS[source])
    made = remapped(tensors, to)
    assert {name: one.shape for name, one in made.items()} == {name: one.shape for name, one in tensors_of(CLASSIFIERS[to]).items()}
    assert same(remapped(made, source), tensors)


@pytest.mark.parametrize("source", CLASSIFIERS)
def test_a_backbone_without_its_classifier_comes_back_the_same_by_way_of_mmsegs_names(source):
    tensors = without(tensors_of(CLASSIFIERS[source]), r"^head\.(fc\.)?(weight|bias)|^classifier\.(2\.)?(weight|bias)")
    assert len(tensors) == len(tensors_of(CLASSIFIERS[source])) - 2
    assert same(remapped(remapped(tensors, "mmseg"), source), tensors)


def test_transformers_plain_model_has_no_prefix():
    tensors = tensors_of(PEERS / "hf_model" / "model.safetensors")
    theirs = {name.removeprefix("convnext."): one for name, one in remapped(remapped(tensors, "timm"), "hf").items()}
    assert same(theirs, tensors)


@pytest.mark.parametrize("to", ["official", "hf"])
def test_a_whole_model_of_mmseg_comes_back_the_same(to):
    tensors = of_the_model(WHOLE["mmseg"])
    there = remapped(tensors, to)
    assert same(remapped(there, "mmseg"), tensors)
    if to == "hf":  # of the same depths but for some blocks
        blocks = re.compile(r"layers\.\d+")
        assert {blocks.sub("", key) for key in there} == {blocks.sub("", key) for key in of_the_model(WHOLE["hf"])}


def test_transformers_whole_model_comes_back_the_same():
    tensors = of_the_model(WHOLE["hf"])
    assert same(remapped(remapped(tensors, "mmseg"), "hf"), tensors)


def test_the_authors_own_segmentation_model_is_read():
    """It has norms on its outputs, and the head's names of MMSegmentation."""
    there = remapped(tensors_of(WHOLE["mmseg"]), "official")
    assert {"backbone.norm0.weight", "backbone.stages.0.0.dwconv.weight", "decode_head.fpn_bottleneck.conv.weight"} <= there.keys()
    assert detect(specs_of(there)).layout.name == "official"


def mmpretrain(tensors):
    """MMPreTrain's classifier: its head is beside the backbone."""
    head = {f"head.fc.{name.removeprefix('head.')}": one for name, one in tensors.items() if name.startswith("head.")}
    return {f"backbone.{name}": one for name, one in remapped(tensors, "mmseg").items()} | head


def as_convolutions(tensors):
    """Of MMPreTrain with linear_pw_conv=False."""
    return {name: one[..., None, None] if re.search(r"pointwise_conv\d\.weight", name) else one for name, one in mmpretrain(tensors).items()}


@pytest.mark.parametrize("form", [mmpretrain, as_convolutions])
def test_mmpretrains_classifiers_are_read(form):
    tensors = tensors_of(CLASSIFIERS["official"])
    assert same(remapped(form(tensors), "official"), tensors)


def test_mmpretrains_backbone_is_read_with_and_without_a_prefix():
    tensors = without(tensors_of(CLASSIFIERS["official"]), "^head")
    made = remapped(tensors, "mmseg")
    assert {"norm3.weight", "downsample_layers.0.0.weight", "stages.2.2.gamma"} <= made.keys()
    for prefix in ("", "backbone."):
        assert same(remapped({prefix + name: one for name, one in made.items()}, "official"), tensors)


def test_timms_small_models_have_matrices_as_convolutions():
    linear, convolutions = tensors_of(CLASSIFIERS["timm"]), tensors_of(PEERS / "timm_conv.pth")
    assert convolutions["stages.0.blocks.0.mlp.fc1.weight"].shape == (16, 4, 1, 1)
    made = remapped(convolutions, "timm")
    assert same(made, {name: one.reshape(linear[name].shape) for name, one in convolutions.items()})


@pytest.mark.parametrize("to", ["timm", "torchvision"])
def test_norms_on_outputs_are_not_given_up(to):
    with pytest.raises(ConversionError, match=f"cannot become {to}: this file has a norm on each stage's output, for which layout '{to}' has no"):
        remapped(tensors_of(WHOLE["mmseg"]), to)


# bad input

GRN = {"official": "grn.gamma", "timm": "mlp.grn.weight", "hf": "grn.weight", "mmseg": "grn.gamma"}


def v2(layout):
    """ConvNeXt V2 in a library's own names: a response normalisation for a layer scale."""
    source = tensors_of(CLASSIFIERS["official"])
    tensors = source if layout == "official" else remapped(source, layout)
    scales = [name for name in tensors if name.endswith(("gamma", "layer_scale_parameter"))]
    made = {name: one for name, one in tensors.items() if name not in scales}
    made |= {name.rpartition(".")[0] + f".{GRN[layout]}": np.ones(4, np.float32) for name in scales}
    return {name.replace("convnext.", "convnextv2."): one for name, one in made.items()}


@pytest.mark.parametrize("layout", GRN)
def test_convnext_v2_is_refused_by_name(layout):
    with pytest.raises(ConversionError) as caught:
        detect(specs_of(v2(layout)))
    assert "ConvNeXt V2" in f"{caught.value.message} {caught.value.hint}"


def reshaped(name, shape):
    return lambda one: one | {name: np.ones(shape, np.float32)}


OFFICIAL = CLASSIFIERS["official"]
ODD = {
    "a block missing": (lambda one: without(one, r"stages\.2\.1\."), r"missing 9: stages\.2\.1\.dwconv\.bias"),
    "the last stage missing": (lambda one: without(one, r"stages\.3\."), r"missing .*stages\.3|no block of stage 3"),
    "a halving missing": (lambda one: without(one, r"downsample_layers\.2\."), r"missing 4: downsample_layers\.2"),
    "no layer scale": (lambda one: without(one, r"gamma"), "no layer scale"),
    "no final norm": (lambda one: without(one, r"^norm"), "no final norm"),
    "another kernel": (reshaped("stages.0.0.dwconv.weight", (4, 1, 5, 5)), "axis '(ky|kx)' is 5 here"),
    "another halving": (reshaped("downsample_layers.1.1.weight", (8, 4, 3, 3)), "axis '(row|col)' is 3 here"),
    "a convolution that is not of each channel alone": (reshaped("stages.0.0.dwconv.weight", (4, 4, 7, 7)), r"stages\.0\.0\.dwconv\.weight"),
    "another ratio": (
        lambda one: one | {f"stages.1.0.pwconv{i}.{part}": np.ones(shape, np.float32) for i, part, shape in PAIR},
        r"stages\.1\.0\.pwconv1\.weight: an MLP is 4 times wider than its stage: 24 is not 4 x 8",
    ),
    "patches that are not square": (reshaped("downsample_layers.0.0.weight", (4, 3, 4, 2)), "patches must be square: 4 is not 2"),
    "another architecture": (lambda one: {"features.0.weight": np.ones((4, 3, 3, 3), np.float32)}, "in no layout that segzoo knows"),
}
PAIR = ((1, "weight", (24, 8)), (1, "bias", (24,)), (2, "weight", (8, 24)))


@pytest.mark.parametrize("what", ODD)
def test_what_is_no_plain_convnext_is_refused_and_nothing_is_written(what, tmp_path):
    change, said = ODD[what]
    np.savez(tmp_path / "odd.npz", **change(tensors_of(OFFICIAL)))
    with pytest.raises(ConversionError) as caught:
        convert(tmp_path / "odd.npz", tmp_path / "out.pth")
    assert re.search(said, f"{caught.value.message}; {caught.value.hint}"), f"{caught.value.message}; {caught.value.hint}"
    assert [path.name for path in tmp_path.iterdir()] == ["odd.npz"]


def test_a_stem_of_overlapping_convolutions_is_refused_by_name():
    tensors = tensors_of(PEERS / "timm_conv.pth")
    tensors |= {f"stem.2.{part}": tensors.pop(f"stem.1.{part}") for part in ("weight", "bias")}
    with pytest.raises(ConversionError) as caught:
        detect(specs_of(tensors | {"stem.1.weight": np.ones((4, 4, 3, 3), np.float32), "stem.1.bias": np.ones(4, np.float32)}))
    assert "a stem of overlapping convolutions" in caught.value.hint


def test_norms_on_some_outputs_are_refused_by_name():
    for gone in ("norm0", "norm[01]"):
        with pytest.raises(ConversionError) as caught:
            detect(specs_of(without(tensors_of(WHOLE["mmseg"]), rf"backbone\.{gone}\.")))
        assert "norms on some of the outputs only" in caught.value.hint


FORMS = {
    "prefixed": lambda model: {"state_dict": {f"module.{name}": one for name, one in model.items()}},
    "of a trained model": lambda model: {"state_dict": {f"module.backbone.{name}": one for name, one in model.items()}},
    "with a Namespace beside": lambda model: {"model": model, "args": Namespace(lr=1.0), "epoch": 299},
    "in half precision": lambda model: {"model": {name: one.half() for name, one in model.items()}},
}


@pytest.mark.parametrize("form", slow_after(4, FORMS))
def test_the_same_weights_in_another_form_are_converted(form, tmp_path):
    torch.save(FORMS[form](torch.load(OFFICIAL, weights_only=True)["model"]), tmp_path / "any name.pth")
    convert(OFFICIAL, tmp_path / "right.pth")
    convert(tmp_path / "any name.pth", tmp_path / "out.pth")
    right, made = (tensors_of(tmp_path / name) for name in ("right.pth", "out.pth"))
    assert same(made, {name: one.astype(np.float16) if form == "in half precision" else one for name, one in right.items()})


def test_a_file_that_is_converted_already_stays_as_it_is(tmp_path):
    convert(OFFICIAL, tmp_path / "once.pth")
    convert(tmp_path / "once.pth", tmp_path / "twice.pth")
    assert (tmp_path / "once.pth").read_bytes() == (tmp_path / "twice.pth").read_bytes()


def test_it_has_no_attention_heads(tmp_path):
    with pytest.raises(ConversionError, match="a ConvNeXt has no attention, but 3 heads were given"):
        convert(OFFICIAL, tmp_path / "out.pth", heads=3)


# what a file says of itself


@pytest.mark.parametrize(("norm", "eps"), [("", 1e-6), (", norm_cfg=dict(type='LN2d', eps=1e-7)", 1e-7), (", norm_cfg=dict(type='LN2d')", 1e-5)])
def test_a_config_of_mmseg_is_held_against_the_tensors(norm, eps, tmp_path):
    held = torch.load(WHOLE["mmseg"], weights_only=True)["state_dict"]
    config = (
        "model = dict(backbone=dict(type='mmpretrain.ConvNeXt', arch=dict(depths=[2, 1, 2, 1], channels={})"
        + norm
        + "), decode_head=dict(type='UPerHead', pool_scales=(1, 2, 3, 6), num_classes=8))"
    )
    torch.save({"state_dict": held, "meta": {"cfg": config.format([16, 32, 48, 64])}}, tmp_path / "right.pth")
    said = identify(tmp_path / "right.pth").said
    assert {name: said.get(f"backbone.{name}") for name in ("widths", "eps")} == {"widths": (16, 32, 48, 64), "eps": eps}
    assert (said.get("head.bins"), said.notes) == ((1, 2, 3, 6), ())
    (tmp_path / "wrong.py").write_text(config.format([16, 32, 64, 128]))
    with pytest.raises(UsageError, match=r"channels says widths \(16, 32, 64, 128\), the tensors show \(16, 32, 48, 64\)"):
        identify(tmp_path / "right.pth", config=tmp_path / "wrong.py")


@pytest.mark.parametrize(("folder", "bins"), [("hf", None), ("hf_model", None), ("hf_backbone", None), ("hf_upernet", (1, 2, 3, 6))])
def test_transformers_config_is_read_but_for_its_eps(folder, bins):
    """Its `layer_norm_eps` of 1e-12 is that of the last norm of a classifier alone."""
    config = json.loads((PEERS / folder / "config.json").read_text())
    assert config.get("backbone_config", config)["layer_norm_eps"] == 1e-12
    said = identify(PEERS / folder / "model.safetensors").said
    assert {name: said.get(f"backbone.{name}") for name in ("widths", "depths", "patch", "eps")} == {
        "widths": (4, 8, 12, 20), "depths": (2, 1, 3, 2), "patch": 4, "eps": 1e-6,
    }  # fmt: skip
    assert (said.get("head.bins"), said.notes) == (bins, ())


@pytest.mark.parametrize(
    ("config", "eps"),
    [
        ({"architecture": "convnext_tiny"}, 1e-6),
        ({"architecture": "convnext_xxlarge"}, 1e-5),
        ({"architecture": "convnext_base", "model_args": {"norm_eps": 1e-5}}, 1e-5),
    ],
)
def test_timms_config_tells_the_eps(config, eps):
    assert of_json(config, "config.json").get("backbone.eps") == eps


def test_every_convnext_table_is_registered():
    assert list(LAYOUTS["convnext"]) == ["official", "timm", "mmseg", "hf", "torchvision"]
