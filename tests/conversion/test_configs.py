"""What a file says of itself: configs as Python text and as JSON, and the meta of mmengine and mmcv. None of it is run."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from support import MINI

from segzoo.conversion.checkpoint import identify
from segzoo.conversion.config_json import of_json
from segzoo.conversion.config_openmmlab import of_meta, of_openmmlab
from segzoo.conversion.config_text import UNREAD, read_config
from segzoo.errors import NotFoundError, UsageError

MASK = MINI / "segmenter_mini_mask-6a6bc5f4.pth"

# As mmengine 0.10.7's `Config.pretty_text` writes a Segmenter's config (mmseg 1.2.2, configs/segmenter), cut to size.
MODERN = """\
crop_size = (64, 64)
data_preprocessor = dict(bgr_to_rgb=True, mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], type='SegDataPreProcessor')
model = dict(
    backbone=dict(embed_dims=128, img_size=(64, 64), norm_cfg=dict(eps=1e-06, requires_grad=True, type='LN'),
        num_heads=4, num_layers=3, patch_size=8, type='VisionTransformer'),
    data_preprocessor=dict(bgr_to_rgb=True, mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], type='SegDataPreProcessor'),
    decode_head=dict(in_channels=128, num_classes=8, num_heads=4, type='SegmenterMaskTransformerHead'),
    pretrained=None, test_cfg=dict(crop_size=(64, 48), mode='slide', stride=(48, 32)), type='EncoderDecoder')
test_cfg = dict(type='TestLoop')
test_pipeline = [
    dict(type='LoadImageFromFile'), dict(keep_ratio=True, scale=(256, 64), type='Resize'),
    dict(reduce_zero_label=False, type='LoadAnnotations'), dict(type='PackSegInputs')]
test_dataloader = dict(dataset=dict(metainfo=dict(classes=('a', 'b')), pipeline=test_pipeline, type='BaseSegDataset'))
"""
# The same in the form of mmcv 1.x and mmseg 0.x.
OLD = """\
norm_cfg = dict(type='LN', eps=1e-6, requires_grad=True)
model = dict(
    backbone=dict(type='VisionTransformer', img_size=(64, 64), patch_size=8, embed_dims=128, num_layers=3, num_heads=4, norm_cfg=norm_cfg),
    decode_head=dict(type='FCNHead', num_classes=2, out_channels=1, threshold=0.4), test_cfg=dict(mode='whole'))
img_norm_cfg = dict(mean=[127.5, 127.5, 127.5], std=[127.5, 127.5, 127.5], to_rgb=True)
data = dict(test=dict(classes=['no', 'yes'], pipeline=[
    dict(type='LoadImageFromFile'),
    dict(type='MultiScaleFlipAug', img_scale=(2048, 512), flip=False, transforms=[
        dict(type='Resize', keep_ratio=True), dict(type='RandomFlip'), dict(type='Normalize', **img_norm_cfg),
        dict(type='ImageToTensor', keys=['img']), dict(type='Collect', keys=['img'])])]))
"""


def said(text):
    config = read_config(text)
    return of_openmmlab(config.values, "cfg", config.bases)


def values(found):
    return {name: fact.value for name, fact in found.facts.items()}


def test_a_config_of_mmseg_1():
    found = said(MODERN)
    assert values(found) == {
        "backbone.heads": 4, "backbone.width": 128, "backbone.depth": 3, "backbone.patch": 8, "backbone.image": (64, 64), "backbone.eps": 1e-6,
        "head.heads": 4, "head.eps": 1e-5, "head.outputs": 8, "protocol.pad": None,
        "protocol.crop": (64, 48), "protocol.stride": (48, 32), "protocol.scale": (256, 64),
        "protocol.mean": (123.675, 116.28, 103.53), "protocol.std": (58.395, 57.12, 57.375), "classes": ("a", "b"), "labels.reduce_zero": False,
        "protocol.multiple": None,
    }  # fmt: skip
    assert (found.notes, found.unlike) == ((), ())
    assert found.facts["backbone.heads"].source == "cfg: model.backbone.num_heads"


def test_a_config_of_mmseg_0():
    found = said(OLD)
    assert values(found) == {
        "backbone.heads": 4, "backbone.width": 128, "backbone.depth": 3, "backbone.patch": 8, "backbone.image": (64, 64), "backbone.eps": 1e-6,
        "head.outputs": 1, "protocol.threshold": 0.4, "protocol.crop": None, "protocol.stride": None, "protocol.scale": (2048, 512),
        "protocol.mean": (127.5,) * 3, "protocol.std": (127.5,) * 3, "classes": ("no", "yes"), "protocol.multiple": None,
    }  # fmt: skip
    assert (found.notes, found.unlike) == ((), ())


def test_mmsegs_defaults_count_where_the_config_is_whole():
    """mmseg 1.2.2: VisionTransformer(num_heads=12, norm_cfg=dict(type='LN')), whose LayerNorm has torch's eps of 1e-5."""
    bare = "model = dict(backbone=dict(type='mmseg.VisionTransformer'), decode_head=dict(type='SegmenterMaskTransformerHead', num_heads=3))\n"
    found = said(bare)
    assert (found.get("backbone.heads"), found.get("backbone.eps"), found.get("head.eps")) == (12, 1e-5, 1e-5)
    based = said("_base_ = ['../base.py']\n" + bare)
    assert "backbone.heads" not in based
    assert "builds on ../base.py, which is not read, and may say backbone.heads, backbone.eps" in based.notes[0]


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("bgr_to_rgb=True", "bgr_to_rgb=False", "blue before red"),
        ("num_classes=8", "num_classes=8, align_corners=True", "aligned corners"),
        ("keep_ratio=True, ", "", "does not keep the ratio"),
        ("scale=(256, 64)", "scale_factor=0.5", "by a factor"),
        ("scale=(256, 64)", "scale=(256, 64), interpolation='nearest'", "otherwise than bilinear"),
        ("scale=(256, 64)", "scale=(256, 64), backend='pillow'", "otherwise than cv2"),
        ("type='LoadImageFromFile'", "type='LoadImageFromFile', to_float32=True", "before it rounds them"),
        ("type='LoadImageFromFile'", "type='LoadImageFromFile', color_type='color_ignore_orientation'", "as their camera says"),
        ("type='LoadImageFromFile'", "type='LoadImageFromFile', imdecode_backend='tifffile'", "decodes pictures otherwise"),
        ("dict(type='PackSegInputs')", "dict(type='CLAHE')", "the step CLAHE"),
        ("patch_size=8", "patch_size=8, pre_norm=True", "before the first block"),
        ("patch_size=8", "patch_size=8, out_origin=True", "the first block's input"),
        ("patch_size=8", "patch_size=8, patch_pad='same'", "pads images on all sides"),
        ("patch_size=8", "patch_size=8, act_cfg=dict(type='ReLU')", "another activation than GELU"),
        ("patch_size=8", "patch_size=8, act_cfg=dict(type='GELU', approximate='tanh')", "approximates GELU"),
        ("patch_size=8", "patch_size=8, conv_cfg=dict(type='ConvWS')", "another kind of convolution"),
        ("num_classes=8", "num_classes=8, act_cfg=dict(type='ReLU')", "another activation than GELU"),
        ("num_classes=8", "num_classes=8, conv_cfg=dict(type='ConvAWS')", "another kind of convolution"),
        ("EncoderDecoder", "CascadeEncoderDecoder", "'CascadeEncoderDecoder': the model's program may run backbone and head otherwise"),
        ("type='EncoderDecoder'", "neck=dict(type='FPN', act_cfg=dict(type='ReLU'))", "activates the neck's maps"),
        ("type='EncoderDecoder'", "neck=dict(type='FPN', end_level=2)", "leaves the coarsest maps out"),
        ("type='EncoderDecoder'", "neck=dict(type='MultiLevelNeck', act_cfg=dict(type='ReLU'))", "activates the neck's maps"),
        ("type='EncoderDecoder'", "neck=dict(type='Feature2Pyramid', rescales=[4, 2, 1, 0.25])", "maps of other sizes"),
        ("VisionTransformer", "ResNet', multi_grid=(1, 2, 4), style='pytorch", "dilated convolutions"),
        ("SegmenterMaskTransformerHead", "Mask2FormerHead', positional_encoding=dict(normalize=True, offset=-0.5), x='", "other waves of positions"),
    ],
)
def test_what_segzoo_does_otherwise_is_named(old, new, what):
    assert what in " ".join(said(MODERN.replace(old, new)).unlike)


def test_what_the_program_does_by_itself_may_be_written_out():
    written = (
        ("patch_size=8", "patch_size=8, act_cfg=dict(type='GELU'), patch_pad='corner', out_origin=False, conv_cfg=None"),
        ("num_classes=8", "num_classes=8, act_cfg=dict(type='GELU'), conv_cfg=dict(type='Conv2d'), align_corners=False"),
        ("type='EncoderDecoder'", "type='EncoderDecoder', neck=dict(type='MultiLevelNeck', act_cfg=None, conv_cfg=None)"),
        ("type='LoadImageFromFile'", "type='LoadImageFromFile', to_float32=False, color_type='color', imdecode_backend='cv2'"),
        ("scale=(256, 64)", "scale=(256, 64), backend='cv2', interpolation='bilinear'"),
    )
    text = MODERN
    for old, new in written:
        text = text.replace(old, new)
    assert said(text).unlike == ()


@pytest.mark.parametrize("kind", ["beit", "data2vec-vision", "swin", "convnext", "segformer"])
@pytest.mark.parametrize("outer", [False, True])
def test_transformers_activations_other_than_gelu_are_named(kind, outer):
    for act in ("relu", "gelu_new"):
        config = {"model_type": kind, "hidden_act": act}
        found = of_json({"model_type": "upernet", "backbone_config": config} if outer else config, "config.json")
        assert "another activation than GELU" in " ".join(found.unlike)


def test_a_part_that_is_not_mmsegs_is_named():
    (note,) = said(MODERN.replace("VisionTransformer", "MyTransformer")).notes
    assert "model.backbone.type is 'MyTransformer', which segzoo does not know" in note


def test_no_resize_and_no_normalisation_are_said_too():
    found = said(MODERN.replace("dict(keep_ratio=True, scale=(256, 64), type='Resize'),", "").replace("mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], ", ""))  # fmt: skip  # noqa: E501
    assert found.facts["protocol.scale"].value is None
    assert (found.get("protocol.mean"), found.get("protocol.std")) == ((0.0,) * 3, (1.0,) * 3)


@pytest.mark.parametrize(
    "change",
    [
        "model['backbone']['num_heads'] = 4",
        "model.backbone.update(num_heads=4)",
        "backbone['num_heads'] = 4",  # the same dict by another name
        "if True:\n    model = dict()",
        "model |= dict()",
        "for name in model: pass",
        "del model",
        "def change():\n    model.clear()",
    ],
)
def test_what_a_statement_may_have_changed_is_not_read(change):
    text = f"backbone = dict(num_heads=2)\nmodel = dict(backbone=backbone)\nother = dict(a=1)\n{change}\n"
    config = read_config(text)
    assert config.values["model"] is UNREAD
    assert config.values["other"] == {"a": 1}


def test_only_literals_dicts_and_names_are_read():
    text = "a = 2\nb = dict(x=-1.5, y=[a, (True, None)], **dict(z='s' 't'))\nc = {'k': a, **b}\nd = a + 1\ne = open('x')\nf = [*b]\ng = dict(h=d)\n"
    found = read_config(text).values
    assert found["b"] == {"x": -1.5, "y": [2, (True, None)], "z": "st"}
    assert found["c"] == {"k": 2, "x": -1.5, "y": [2, (True, None)], "z": "st"}
    assert [found[name] for name in "def"] == [UNREAD] * 3
    assert found["g"] == {"h": UNREAD}
    facts = said("model = dict(backbone=dict(num_heads=3 * 4, embed_dims='wide'))")
    assert facts.facts == {}
    assert "num_heads would have to be computed" in facts.notes[0]
    assert "embed_dims: expected a positive whole number" in facts.notes[1]


@pytest.mark.parametrize(
    "text", ["model = (", "\0", "(" * 500, "x = " + "-" * 20000 + "1", "x = " + "9" * 5000, "a = '\\d'\nb = ", "- yaml: 1\n  x: ["]
)
def test_a_text_that_is_no_python_is_none(text):
    assert read_config(text) is None


def test_nothing_in_a_text_is_run(tmp_path):
    path = tmp_path / "made"
    assert read_config(f"import os\nx = open({str(path)!r}, 'w')\nos.system('touch {path}')\ny = __import__('os').system('touch {path}')\n")
    assert not path.exists()
    doubled = "a0 = dict(x=1)\n" + "".join(f"a{n + 1} = dict(x=a{n}, y=a{n})\n" for n in range(60)) + "a60.update(z=1)\n"
    assert read_config(doubled).values["a0"] is UNREAD or read_config(doubled).values["a60"] is UNREAD  # at once, though it is 2**60 wide


class HistoryBuffer:  # of mmengine, by its name: opened as data, never called
    def __init__(self):
        self._log_history = np.arange(3.0)


class Cut:
    """An array that is pickled with fewer bytes than its shape wants."""

    def __reduce__(self):
        make, start, (version, _, dtype, fortran, block) = np.zeros((2, 3), np.uint8).__reduce__()
        return make, start, (version, (5, 3), dtype, fortran, block)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(
    ("meta", "count"),
    [
        ({"CLASSES": ("a", "b"), "PALETTE": np.array([[1, 2, 3], [4, 5, 6]])}, True),
        ({"CLASSES": ["a", "b"], "PALETTE": np.array([[1, 2, 3], [4, 5, 6]], np.uint8)}, True),
        ({"dataset_meta": {"classes": ("a", "b"), "palette": [(1, 2, 3), [4, 5, 6]], "reduce_zero_label": True}, "hub": HistoryBuffer()}, True),
        ({"CLASSES": None, "PALETTE": HistoryBuffer(), "cfg": HistoryBuffer()}, False),
        ({"CLASSES": Cut(), "PALETTE": Cut()}, False),
        ({"CLASSES": ("a", "a")}, False),
        ({"CLASSES": 3, "PALETTE": [[1, 2, 300]], "cfg": "# text", "config": ""}, False),
    ],
)
def test_the_meta_of_mmcv_and_of_mmengine(meta, count, legacy, tmp_path):
    whole = torch.load(MASK, weights_only=True)
    whole["meta"] = meta
    torch.save(whole, tmp_path / "own.pth", _use_new_zipfile_serialization=not legacy)
    found = identify(tmp_path / "own.pth").said
    if count:
        assert (found.get("classes"), found.get("palette")) == (("a", "b"), ((1, 2, 3), (4, 5, 6)))
        assert found.get("labels.reduce_zero") is (True if "dataset_meta" in meta else None)
    else:
        assert "classes" not in found


def own(folder, **meta):
    whole = torch.load(MASK, weights_only=True)
    whole["meta"] = meta
    torch.save(whole, folder / "own.pth")
    return folder / "own.pth"


@pytest.mark.parametrize("meta", [{"cfg": MODERN}, {"config": MODERN}, {"cfg": read_config(MODERN).values}])
def test_a_config_in_a_checkpoint(meta, tmp_path):
    found = identify(own(tmp_path, **meta)).said
    assert found.get("backbone.heads") == 4
    assert found.get("protocol.scale") == (256, 64)


def test_the_config_of_another_model_is_not_used(tmp_path):
    other = MODERN.replace("embed_dims=128", "embed_dims=192")
    found = identify(own(tmp_path, cfg=other)).said
    assert "backbone.heads" not in found
    assert "says width 192, the tensors show 128: it is another model's config" in found.notes[0]
    (tmp_path / "other.py").write_text(other)
    with pytest.raises(UsageError, match=r"not the config of this file: .* width 192"):
        identify(own(tmp_path), config=tmp_path / "other.py")


def test_what_the_caller_says_comes_first_and_the_difference_is_said(tmp_path):
    (tmp_path / "mine.py").write_text(MODERN.replace("num_heads=4", "num_heads=2"))
    found = identify(own(tmp_path, cfg=MODERN), config=tmp_path / "mine.py").said
    assert found.get("backbone.heads") == 2
    assert any("backbone.heads: 2 in mine.py: model.backbone.num_heads, but 4 in meta.cfg" in note for note in found.notes)


@pytest.mark.parametrize(
    ("text", "error", "what"),
    [
        (None, NotFoundError, "no such file"),
        ("x = 1", UsageError, "nothing that it says"),
        ("{", UsageError, "expected a config"),
        ("[1]", UsageError, "expected a config"),
    ],
)
def test_what_is_no_config(text, error, what, tmp_path):
    if text is not None:
        (tmp_path / "c.py").write_text(text)
    with pytest.raises(error, match=what):
        identify(MASK, config=tmp_path / "c.py")


def test_configs_of_transformers_and_timm_and_of_our_export():
    hf = {"model_type": "vit", "hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4, "layer_norm_eps": 1e-12, "image_size": 64}
    images = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.25, 0.5], "do_rescale": True, "rescale_factor": 1 / 255}
    found = values(of_json(hf, "config.json", images))
    assert (found["backbone.heads"], found["backbone.eps"], found["backbone.image"]) == (4, 1e-12, (64, 64))
    assert found["protocol.mean"] == pytest.approx((127.5,) * 3)
    assert found["protocol.std"] == pytest.approx((127.5, 63.75, 127.5))
    timm = {"architecture": "vit_small_patch16_384", "num_features": 384, "pretrained_cfg": {"mean": [0.5] * 3, "std": [0.5] * 3}}
    found = values(of_json(timm, "config.json"))
    assert (found["backbone.heads"], found["backbone.width"], found["backbone.eps"], found["protocol.mean"]) == (6, 384, 1e-6, (127.5,) * 3)
    sized = values(of_json({"architecture": "vit_base_patch16_224", "model_args": {"num_heads": 4, "embed_dim": 64}}, "config.json"))
    assert (sized["backbone.heads"], sized["backbone.width"]) == (4, 64)
    assert of_json([1], "config.json").facts == {}
    assert of_meta({}).facts == {}


def test_a_config_beside_the_weights(tmp_path):
    """What `export` writes is read again; of other sizes it is another model's."""
    import segzoo

    folder = Path(segzoo.export("mini-mask", tmp_path / "out", form="safetensors", zoo="mini").folder)
    found = identify(folder / "model.safetensors").said
    assert (found.get("head.heads"), found.get("protocol.stride"), found.get("classes")[0]) == (2, (48, 48), "sky")
    config = json.loads((folder / "config.json").read_text())
    config["network"]["backbone"]["arguments"] |= {"width": 64, "heads": 1}
    (folder / "config.json").write_text(json.dumps(config))
    found = identify(folder / "model.safetensors").said
    assert "head.heads" not in found
    assert "another model's config" in found.notes[0]
    (folder / "config.json").write_text("{" * 5000)
    assert "classes" not in identify(folder / "model.safetensors").said


def test_the_config_says_how_a_square_number_of_positions_lies(tmp_path):
    assert identify(own(tmp_path, cfg=MODERN)).grid == (8, 8)
    wide = own(tmp_path, cfg=MODERN.replace("img_size=(64, 64)", "img_size=(32, 128)"))
    assert identify(wide).grid == (4, 16)
    assert identify(wide, positions=(2, 32)).grid == (2, 32)  # what the caller says comes first
    other = own(tmp_path, cfg=MODERN.replace("img_size=(64, 64)", "img_size=(96, 96)"))  # resized since
    assert identify(other).grid == (8, 8)
