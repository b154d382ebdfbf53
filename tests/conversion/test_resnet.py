"""ResNet's files in each library's names: one to another and back, what is refused, and what configs of Mask2Former on one say."""

import json
import re

import numpy as np
import pytest
from support import GOLDEN, remapped, same, tensors_of, without

from segzoo.conversion.checkpoint import identify
from segzoo.conversion.config_openmmlab import of_openmmlab
from segzoo.conversion.convert import convert
from segzoo.errors import ConversionError

PEERS = GOLDEN / "resnet"
LIBRARIES = ("torchvision", "timm", "hf")
WHOLE = GOLDEN / "transformers" / "mask2former_resnet.pth"


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_librarys_own_file_is_told_by_its_names(library):
    """timm has torchvision's names."""
    file = identify(PEERS / f"{library}.pth")
    assert (file.found.layout.name, str(file.geometry)) == ("hf" if library == "hf" else "torchvision", "width 4, depths 2-1-3-2, 5 classes")
    assert (file.geometry.widths, file.geometry.stride) == ((16, 32, 64, 128), 4)


@pytest.mark.parametrize("source", LIBRARIES)
@pytest.mark.parametrize("to", LIBRARIES)
def test_a_classifier_has_the_names_and_shapes_of_the_targets_own_file_and_comes_back_the_same(source, to):
    tensors, theirs = (tensors_of(PEERS / f"{library}.pth") for library in (source, to))
    made = remapped(tensors, to)
    assert {name: one.shape for name, one in made.items()} == {name: one.shape for name, one in theirs.items()}
    assert same(remapped(made, source), tensors)


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_backbone_comes_back_the_same_by_way_of_mmsegs_names(library):
    tensors = without(tensors_of(PEERS / f"{library}.pth"), r"^(fc|classifier)\.")
    there = remapped(tensors_of(PEERS / f"{library}.pth"), "mmseg")
    assert same(remapped(there, library), tensors)


def test_mmpretrains_classifier_is_read():
    tensors = tensors_of(PEERS / "torchvision.pth")
    theirs = {(f"head.{name}" if name.startswith("fc") else f"backbone.{name}"): one for name, one in tensors.items()}
    assert same(remapped(theirs, "torchvision"), tensors)


@pytest.mark.parametrize("to", ["torchvision", "hf"])
def test_a_file_without_counts_of_batches_is_the_same_model(to):
    """As torch before 0.4.1 saved them: torchvision's first resnet50."""
    tensors = without(tensors_of(PEERS / "torchvision.pth"), "num_batches_tracked")
    made = remapped(tensors, to)
    assert not [name for name in made if "num_batches" in name]
    assert same(remapped(made, "torchvision"), tensors)


def test_a_whole_mask2former_goes_to_no_other_layout(tmp_path):
    """Its head has no place there, and is left out by name."""
    report = convert(WHOLE, tmp_path / "backbone.pth", to="torchvision")
    assert {drop.section for drop in report.dropped} == {"Mask2Former decoder"}
    assert identify(tmp_path / "backbone.pth").geometry.decoder is None


# bad input


def renamed(one, old, new):
    return {re.sub(old, new, name): array for name, array in one.items()}


ODD = {
    "a block missing": (lambda one: without(one, r"layer3\.1\."), r"missing 18: layer3\.1\.bn1\.bias|missing 15: layer3\.1"),
    "a shortcut missing": (lambda one: without(one, r"layer2\.0\.downsample"), r"missing 6: layer2\.0\.downsample|missing 5: layer2"),
    "a stem of three convolutions": (lambda one: renamed(one, r"^conv1\.", "stem.0."), r"a stem of three convolutions"),
    "channel attention": (lambda one: one | {"layer1.0.se.fc1.weight": np.ones((2, 4, 1, 1), np.float32)}, r"channel attention"),
    "blocks of two convolutions": (lambda one: without(one, r"(conv3|bn3)\.|layer1\.0\.downsample"), "ResNet-18"),
    "no statistics": (lambda one: without(one, r"running_|num_batches"), "group norms"),
    "a ResNeXt": (
        lambda one: one | {f"layer1.{block}.conv2.weight": np.ones((4, 2, 3, 3), np.float32) for block in range(2)},
        r"layer1\.0\.conv2\.weight: a second convolution takes all channels, unlike a ResNeXt's: 2 is not 4",
    ),
    "another stem": (lambda one: one | {"conv1.weight": np.ones((4, 3, 3, 3), np.float32)}, r"axis '(sy|sx)' is 3 here"),
    "another input of a block": (
        lambda one: one | {"layer3.1.conv1.weight": np.ones((16, 32, 1, 1), np.float32)},
        r"layer3\.1\.conv1\.weight: a block takes what comes before it: 32 is not 64",
    ),
    "another architecture": (lambda one: {"features.0.weight": np.ones((4, 3, 3, 3), np.float32)}, "in no layout that segzoo knows"),
}


@pytest.mark.parametrize("what", ODD)
def test_what_is_no_plain_resnet_of_bottlenecks_is_refused_and_nothing_is_written(what, tmp_path):
    change, said = ODD[what]
    np.savez(tmp_path / "odd.npz", **change(tensors_of(PEERS / "torchvision.pth")))
    with pytest.raises(ConversionError) as caught:
        convert(tmp_path / "odd.npz", tmp_path / "out.pth", to="mmseg")
    assert re.search(said, f"{caught.value.message}; {caught.value.hint}"), f"{caught.value.message}; {caught.value.hint}"
    assert [path.name for path in tmp_path.iterdir()] == ["odd.npz"]


PARTS = "decode_head.pixel_decoder.encoder.layers.0.self_attn"
ODD_HEADS = {
    "points that do not fit": (
        {f"{PARTS}.attention_weights.{part}": np.ones(shape, np.float32) for part, shape in (("weight", (17, 16)), ("bias", (17,)))},
        "expected 34 offsets, of rows and columns of 17 points, found 36",
    ),
    "a single class": (
        {f"decode_head.cls_embed.{part}": np.ones(shape, np.float32) for part, shape in (("weight", (2, 16)), ("bias", (2,)))},
        "expected two classes and one for nothing, or more, found 2 in all",
    ),
    "two scales": ({"decode_head.level_embed.weight": np.ones((2, 16), np.float32)}, "axis 'scales' is"),
    "a fifth map": ({"decode_head.pixel_decoder.input_convs.3.conv.weight": np.ones((16, 8, 1, 1), np.float32)}, "unexpected 1"),
}


@pytest.mark.parametrize("what", ODD_HEADS)
def test_what_is_no_head_of_mmsegs_is_refused(what, tmp_path):
    change, said = ODD_HEADS[what]
    np.savez(tmp_path / "odd.npz", **tensors_of(WHOLE) | change)
    with pytest.raises(ConversionError) as caught:
        convert(tmp_path / "odd.npz", tmp_path / "out.pth", to="mmseg")
    assert said in f"{caught.value.message}; {caught.value.hint}", f"{caught.value.message}; {caught.value.hint}"
    assert [path.name for path in tmp_path.iterdir()] == ["odd.npz"]


# what configs say


def config_of(name, **changes):
    """The model's own config, with places changed: `decode_head__num_queries=3`; None takes a place away."""
    model = json.loads((GOLDEN / "transformers" / name / "config.json").read_text())
    for place, value in changes.items():
        *outer, last = place.split("__")
        inner = model
        for one in outer:
            inner = inner[one]
        if value is None:
            del inner[last]
        else:
            inner[last] = value
    return of_openmmlab({"model": model}, "config.py")


def test_a_config_is_read():
    said = config_of("mask2former_resnet")
    facts = {name: said.get(name) for name in ("backbone.eps", "head.heads", "head.groups", "head.outputs", "protocol.pad", "protocol.crop")}
    assert facts == {"backbone.eps": 1e-5, "head.heads": 2, "head.groups": 4, "head.outputs": 6, "protocol.pad": 32, "protocol.crop": None}
    assert not said.unlike
    assert config_of("mask2former_swin").get("head.heads") == 4


def test_a_config_that_pads_no_image_says_so():
    said = config_of("mask2former_swin", data_preprocessor__test_cfg=None)
    assert "protocol.pad" in said
    assert said.get("protocol.pad") is None


PIXELS, QUERIES = "decode_head__pixel_decoder", "decode_head__transformer_decoder__layer_cfg"
UNLIKE = {
    "backbone__style": ("caffe", "halves maps in the first convolution"),
    "backbone__strides": ([1, 2, 2, 1], "halves maps elsewhere"),
    "backbone__dilations": ([1, 1, 1, 2], "dilated"),
    "data_preprocessor__pad_val": (255, "pads images with it"),
    "data_preprocessor__test_cfg": ({"size": [64, 64]}, "pads images to that size"),
    f"{PIXELS}__norm_cfg__eps": (1e-6, "variances of groups"),
    f"{PIXELS}__encoder__layer_cfg__ffn_cfg__act_cfg__type": ("GELU", "another activation"),
    f"{PIXELS}__encoder__layer_cfg__self_attn_cfg__num_heads": (4, "other heads there than 2"),
    f"{PIXELS}__positional_encoding__normalize": (False, "counts positions in pixels"),
    "decode_head__positional_encoding__normalize": (None, "counts positions in pixels"),
    f"{QUERIES}__cross_attn_cfg__num_heads": (4, "other heads there than 2"),
    f"{QUERIES}__ffn_cfg__act_cfg__type": ("GELU", "another activation"),
}


@pytest.mark.parametrize("place", UNLIKE)
def test_what_the_models_program_does_otherwise_is_said(place):
    value, said = UNLIKE[place]
    unlike = config_of("mask2former_resnet", **{place: value}).unlike
    assert any(said in one for one in unlike), unlike
