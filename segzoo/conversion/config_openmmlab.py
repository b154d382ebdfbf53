"""What a config of MMSegmentation says of its model, 0.x and 1.x, and what mmengine and mmcv write into a checkpoint beside it.

What the program's own default is counts as said, but only where the config is whole.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from segzoo.conversion.config_reader import (
    ABSENT,
    Reader,
    Rows,
    alike,
    channels,
    colours,
    counts,
    eps,
    indices,
    names,
    numbers,
    pair,
    truth,
    whole,
    word,
)
from segzoo.conversion.config_text import UNREAD
from segzoo.conversion.said import Fact, Said, shown
from segzoo.formats.pickled import content

_LONGEST = 200  # characters of a type's name
_MOST_STEPS = 100
_MODEL: Rows = (
    ("backbone.heads", counts, "model.backbone.num_heads"),
    ("backbone.width", whole, "model.backbone.embed_dims"),
    ("backbone.depth", whole, "model.backbone.num_layers"),
    ("backbone.depths", counts, "model.backbone.depths"),
    ("backbone.widths", counts, "model.backbone.arch.channels"),
    ("backbone.window", whole, "model.backbone.window_size"),
    ("backbone.patch", whole, "model.backbone.patch_size"),
    ("backbone.image", pair, "model.backbone.img_size"),
    ("backbone.eps", eps, "model.backbone.norm_cfg.eps"),
    ("backbone.out_indices", indices, "model.backbone.out_indices"),
    ("backbone.resample", word, "model.backbone.interpolate_mode"),
    ("backbone.class_token", truth, "model.backbone.with_cls_token"),
    ("neck.scales", numbers, "model.neck.scales"),
    ("neck.eps", eps, "model.neck.norm_layer.eps"),
    ("head.heads", whole, "model.decode_head.num_heads"),
    ("head.bins", indices, "model.decode_head.pool_scales"),
    ("head.groups", whole, "model.decode_head.pixel_decoder.norm_cfg.num_groups"),
    ("head.eps", eps, "model.decode_head.norm_cfg.eps"),
    ("head.scale", whole, "model.decode_head.up_scale"),
    ("protocol.threshold", eps, "model.decode_head.threshold"),
)
_TWINS: Rows = (("backbone.widths", counts, "model.backbone.embed_dims"), ("backbone.window", alike, "model.backbone.windiow_sizes"))
_OF_TYPE: Mapping[str, Rows] = {
    "PCPVT": _TWINS,
    "SVT": _TWINS,
    "MixVisionTransformer": (("backbone.depths", counts, "model.backbone.num_layers"),),
}
"""What stands at these places in a config of a backbone of this type; the word is misspelt in mmseg itself."""
_NVLABS = {"backbone.heads": (1, 2, 5, 8), "backbone.eps": 1e-6, "backbone.conv_eps": 1e-5}
_OF_CLASS: Mapping[str, Mapping[str, Any]] = {f"mit_b{size}": _NVLABS for size in range(6)}
"""What a class of NVlabs' own program has, whatever a config says."""
_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "VisionTransformer": {"backbone.heads": 12, "backbone.eps": 1e-5},
    "SwinTransformer": {"backbone.eps": 1e-5},
    "ConvNeXt": {"backbone.eps": 1e-6},
    "PCPVT": {"backbone.heads": (1, 2, 4, 8), "backbone.eps": 1e-5},
    "SVT": {"backbone.eps": 1e-5},
    "BEiT": {"backbone.heads": 12, "backbone.eps": 1e-5},
    "MAE": {"backbone.heads": 12, "backbone.eps": 1e-5},
    "MixVisionTransformer": {"backbone.heads": (1, 2, 4, 8), "backbone.eps": 1e-6},
    "ResNet": {"backbone.eps": 1e-5},
    "SegmenterMaskTransformerHead": {"head.eps": 1e-5},
    "SETRUPHead": {"head.eps": 1e-6, "head.scale": 4},
    "SETRMLAHead": {"head.scale": 4},
    "MLANeck": {"neck.eps": 1e-6, "backbone.class_token": True},
    "MultiLevelNeck": {"neck.scales": (0.5, 1.0, 2.0, 4.0)},
    "UPerHead": {"head.bins": (1, 2, 3, 6)},
    "Mask2FormerHead": {"head.heads": 8, "head.groups": 32},
}
"""What mmseg 1.2.2 takes where a config says nothing, by the type of the part. torch's LayerNorm has eps 1e-5."""
_NETWORKS = {*_DEFAULTS, *_OF_CLASS, "ResNetV1c", "FPN", "Feature2Pyramid", "FCNHead", "FPNHead", "SegformerHead", "SegFormerHead", "DPTHead"}
"""The types of parts that are computed here as the program does, or refused by their tensors."""
_EPS = 1e-5
"""What a norm has whose `norm_cfg` says nothing: torch's own."""
_POSITIONS = ("model.decode_head.pixel_decoder.positional_encoding", "model.decode_head.positional_encoding")
_PLAIN = (None, {"type": "Conv2d"}, {"type": "Conv"})
_MUST: tuple[tuple[str, tuple[Any, ...], str], ...] = (
    ("model.type", ("EncoderDecoder", "mmseg.EncoderDecoder"), "may run backbone and head otherwise"),
    ("model.decode_head.align_corners", (False,), "resizes scores with aligned corners"),
    ("model.data_preprocessor.bgr_to_rgb", (True,), "feeds blue before red"),
    ("model.data_preprocessor.rgb_to_bgr", (False,), "feeds blue before red"),
    *((f"model.{part}.conv_cfg", _PLAIN, "has another kind of convolution") for part in ("backbone", "neck", "decode_head")),
    *((f"model.{part}.approximate", ("none",), "approximates GELU by tanh") for part in ("backbone.act_cfg", "decode_head.act_cfg")),
    ("model.backbone.act_cfg.type", ("GELU",), "has another activation than GELU"),
    ("model.backbone.out_origin", (False,), "gives the head the first block's input too"),
    ("model.backbone.patch_pad", ("corner",), "pads images on all sides"),
    ("model.backbone.pre_norm", (False,), "normalises before the first block"),
    ("model.backbone.qk_scale", (None,), "scales queries by another number"),
    ("model.backbone.strides", ([4, 2, 2, 2], (4, 2, 2, 2)), "halves its maps otherwise"),
    ("model.decode_head.interpolate_mode", ("bilinear",), "enlarges maps otherwise than bilinear"),
    ("model.neck.start_level", (0,), "leaves the finest maps out"),
    ("model.neck.upsample_cfg.mode", ("nearest",), "enlarges maps otherwise than by nearest neighbours"),
    ("model.decode_head.feature_strides", ([4, 8, 16, 32], (4, 8, 16, 32)), "doubles its maps another number of times"),
)
"""What must stand at a place, if anything stands there, and what the model does else, which segzoo does not do."""
_COUNTED, _WAVES = "counts positions in pixels", "has other waves of positions"
_PIXELS, _QUERIES = "model.decode_head.pixel_decoder", "model.decode_head.transformer_decoder"
_MUST_OF: Mapping[str, tuple[tuple[str, tuple[Any, ...], str], ...]] = {
    "ResNet": (
        ("model.backbone.style", ("pytorch",), "halves maps in the first convolution of a bottleneck"),
        ("model.backbone.strides", ([1, 2, 2, 2], (1, 2, 2, 2)), "halves maps elsewhere"),
        ("model.backbone.dilations", ([1, 1, 1, 1], (1, 1, 1, 1)), "has dilated convolutions"),
        ("model.backbone.multi_grid", (None,), "has dilated convolutions"),
    ),
    **{
        kind: (("model.neck.act_cfg", (None,), "activates the neck's maps"), ("model.neck.end_level", (-1,), "leaves the coarsest maps out"))
        for kind in ("FPN", "MultiLevelNeck")
    },
    "Feature2Pyramid": (("model.neck.rescales", ([4, 2, 1, 0.5], (4, 2, 1, 0.5)), "makes maps of other sizes"),),
    "SegmenterMaskTransformerHead": (("model.decode_head.act_cfg.type", ("GELU",), "has another activation than GELU"),),
    "Mask2FormerHead": (
        *((f"{part}.layer_cfg.ffn_cfg.act_cfg.type", ("ReLU",), "has another activation") for part in (f"{_PIXELS}.encoder", _QUERIES)),
        (f"{_PIXELS}.act_cfg.type", ("ReLU",), "has another activation"),
        (f"{_PIXELS}.norm_cfg.type", ("GN",), "has other norms"),
        (f"{_PIXELS}.norm_cfg.eps", (_EPS,), "adds it to variances of groups"),
        *((f"{part}.normalize", (True,), _COUNTED) for part in _POSITIONS),
        *((f"{part}.temperature", (10000,), _WAVES) for part in _POSITIONS),
        *((f"{part}.scale", (2 * math.pi,), _WAVES) for part in _POSITIONS),
        *((f"{part}.offset", (0, 0.0), _WAVES) for part in _POSITIONS),
    ),
}
"""The same for parts of a type, in place of what stands above for all."""
_CLASS_TOKEN = ("model.backbone.output_cls_token", (False,), "gives the class token to the head")
"""The same for all heads but DPT's, which takes the class token."""
_PLACES = {
    "SETRUPHead": {"head.eps": "model.decode_head.norm_layer.eps"},
    "Mask2FormerHead": {"head.heads": f"{_QUERIES}.layer_cfg.self_attn_cfg.num_heads", "head.outputs": "model.decode_head.num_classes"},
}
"""By the type of a part: facts that stand at another place than in other parts."""
_RELU = ("UPerHead", "FCNHead", "FPNHead", "SegformerHead", "SETRUPHead", "SETRMLAHead", "DPTHead", "MLANeck")
"""Types whose activation is taken for ReLU."""
_STEPS = {
    *(
        "LoadImageFromFile",
        "LoadAnnotations",
        "PackSegInputs",
        "Resize",
        "AlignedResize",
        "ResizeToMultiple",
        "Normalize",
        "MultiScaleFlipAug",
        "RandomFlip",
    ),
    *("ImageToTensor", "DefaultFormatBundle", "Collect", "TestTimeAug"),
}
"""Steps of a pipeline that are followed here, or that change nothing at a single scale."""

_STEP_MUST: Mapping[str, tuple[tuple[str, tuple[Any, ...], str], ...]] = {
    "LoadImageFromFile": (
        ("to_float32", (False,), "resizes images before it rounds them"),
        ("color_type", ("color",), "reads other channels, or does not turn pictures as their camera says"),
        ("imdecode_backend", ("cv2", "pillow", "turbojpeg"), "decodes pictures otherwise"),
    ),
    "Resize": (
        ("interpolation", ("bilinear",), "resizes images otherwise than bilinear"),
        ("backend", ("cv2",), "resizes images otherwise than cv2"),
    ),
}
"""What a step must say, if it says anything, and what the program does else."""


def of_openmmlab(nest: Any, source: str, bases: Sequence[str] = ()) -> Said:
    """What a config of MMSegmentation says. `bases` are the files that it builds on: with them its own defaults say nothing."""
    reader = Reader(nest, source)
    kinds = {part: _kind(reader.at(f"model.{part}.type")[0]) for part in ("backbone", "neck", "decode_head")}
    defaults = {} if bases else {name: value for kind in kinds.values() for name, value in _DEFAULTS.get(kind, {}).items()}
    elsewhere = {name: place for kind in kinds.values() for name, place in _PLACES.get(kind, {}).items()}
    own = _OF_TYPE.get(kinds["backbone"], ())
    for name, check, usual in (*own, *(row for row in _MODEL if row[2] not in {place for *_, place in own})):
        place = elsewhere.get(name, usual)
        if name in defaults and name.endswith(".eps") and reader.at(place.removesuffix(".eps"))[0] is not ABSENT:
            defaults[name] = _EPS
        if reader.at(place)[0] is not None:  # None is mmseg's word for its default
            reader.take(name, check, place, default=defaults.get(name, ABSENT))
    outputs = ("model.decode_head.out_channels", "model.decode_head.num_classes")
    reader.take("head.outputs", whole, *((elsewhere["head.outputs"],) if "head.outputs" in elsewhere else outputs))
    common = _MUST if kinds["decode_head"] == "DPTHead" else (*_MUST, _CLASS_TOKEN)
    must = {row[0]: row for row in (*common, *(row for kind in kinds.values() for row in _MUST_OF.get(kind, ())))}
    for place, right, what in must.values():
        value = reader.at(place)[0]
        if value is UNREAD:
            reader.notes.append(f"{source}: {place} would have to be computed, and is not read")
        elif value is not ABSENT and value not in right:
            reader.unlike.append(f"{source}: {place} is {_told(value)}: the model's program {what}")
    for part, kind in kinds.items():
        if kind and kind not in _NETWORKS:
            reader.notes.append(f"{source}: model.{part}.type is {kind!a}, which segzoo does not know: it is taken for what its tensors are named as")
    reader.facts |= {
        name: Fact(value, f"{source}: model.backbone.type is {kinds['backbone']}") for name, value in _OF_CLASS.get(kinds["backbone"], {}).items()
    }
    if kinds["backbone"] == "MixVisionTransformer":
        _widths(reader)
    if own == _TWINS and reader.facts.get("backbone.eps", Fact(_EPS, "")).value != _EPS:
        reader.unlike.append(f"{source}: model.backbone.norm_cfg.eps is not {_EPS:g}: the model's program gives it to some norms only")
    if kinds["decode_head"] == "Mask2FormerHead":
        _queries(reader)
    else:
        _inputs(reader, bases)
    _convolutions(reader, kinds, bases)
    steps = _pipeline(reader)
    _windows(reader)
    _scale(reader, steps, bases)
    _pixels(reader, steps, bases)
    _classes(reader, steps)
    missing = [name for name in ("backbone.heads", "backbone.eps", "protocol.scale", "protocol.crop", "protocol.mean") if name not in reader.facts]
    if bases and missing:
        reader.notes.append(f"{source}: builds on {', '.join(bases)}, which is not read, and may say {', '.join(missing)}")
    return reader.said


def _widths(reader: Reader) -> None:
    """The widths of a MiT's stages: in mmseg each head of a stage is `embed_dims` wide."""
    each, heads = reader.facts.pop("backbone.width", None), reader.facts.get("backbone.heads")
    if each and heads and isinstance(heads.value, tuple):
        reader.facts["backbone.widths"] = Fact(tuple(each.value * number for number in heads.value), f"{each.source} for each of num_heads")


def _queries(reader: Reader) -> None:
    """Note where a Mask2Former's attentions have other numbers of heads than one another, and where positions are not scaled."""
    known = reader.facts.get("head.heads")
    for place in (f"{_QUERIES}.layer_cfg.cross_attn_cfg.num_heads", f"{_PIXELS}.encoder.layer_cfg.self_attn_cfg.num_heads"):
        value = reader.at(place)[0]
        if known is not None and value not in (ABSENT, UNREAD, known.value):
            reader.unlike.append(f"{reader.source}: {place} is {_told(value)}: the model's program has other heads there than {known.value}")
    for place in _POSITIONS:
        if isinstance(reader.at(place)[0], dict) and reader.at(f"{place}.normalize")[0] is ABSENT:
            reader.unlike.append(f"{reader.source}: {place}.normalize is not there, so False: the model's program {_COUNTED}")


def _inputs(reader: Reader, bases: Sequence[str]) -> None:
    """Which blocks' outputs the head takes: `in_index` chooses among those that the backbone gives. With a neck it must take them all."""
    chosen, place = reader.at("model.decode_head.in_index")
    given = reader.facts.get("backbone.out_indices")
    if chosen is ABSENT and not bases:
        chosen = -1  # BaseDecodeHead's own
    listed = content(chosen)
    taken = [listed] if type(listed) is int else listed
    if given is None or given.value is None or not isinstance(taken, list | tuple) or not all(type(one) is int for one in taken):
        return
    outputs = given.value
    if not all(-len(outputs) <= one < len(outputs) for one in taken):
        reader.notes.append(f"{reader.source}: {place} names outputs that the backbone does not give, and is not read")
    elif isinstance(reader.at("model.neck")[0], dict):
        if list(taken) != list(range(len(outputs))):
            reader.unlike.append(f"{reader.source}: {place} is not all that the neck gives, in its order: the model's program gives the head others")
    else:
        blocks = tuple(outputs[one] for one in taken)
        depth = reader.facts.get("backbone.depth")
        last = type(listed) is int and depth is not None and blocks == (depth.value - 1,)
        reader.facts["backbone.out_indices"] = Fact(None if last else blocks, f"{given.source}, of which the head takes {shown(taken)}")


def _convolutions(reader: Reader, kinds: Mapping[str, str], bases: Sequence[str]) -> None:
    """Note the convolutions of neck and head that are normalised or activated otherwise than here."""
    for part in ("neck", "decode_head"):
        norm, found = (reader.at(f"model.{part}.norm_cfg.{side}")[0] for side in ("type", "eps"))
        if _kind(norm).endswith("BN") and found not in (ABSENT, UNREAD, _EPS):
            reader.unlike.append(f"{reader.source}: model.{part}.norm_cfg.eps is {_told(found)}: the model's program adds it to variances of batches")
        act = reader.at(f"model.{part}.act_cfg")[0]
        missing = kinds[part] == "MLANeck" and not bases and act in (ABSENT, None)  # other parts have ReLU by themselves
        name = content(act).get("type") if isinstance(content(act), dict) else None
        if kinds[part] in _RELU and (missing or (name is not None and name != "ReLU")):
            said = "is not there" if missing else f"is {name}"
            reader.unlike.append(f"{reader.source}: model.{part}.act_cfg {said}: the model's program has another activation than ReLU")


def _kind(value: Any) -> str:
    """The last part of a type's name; a long text is no name."""
    return value.rpartition(".")[2] if isinstance(value, str) and len(value) <= _LONGEST else ""


def _told(value: Any) -> str:
    """A value for people. A nest is not written out: its parts may repeat one another without end."""
    short = isinstance(value, bool | int | float) or (isinstance(value, str) and len(value) <= _LONGEST)
    return ascii(value) if short else f"a {type(value).__name__}"


def _datasets(reader: Reader) -> Iterator[str]:
    """The places of the data sets that a config speaks of; wrapped ones too."""
    for part in ("test_dataloader.dataset", "val_dataloader.dataset", "data.test", "data.val", "train_dataloader.dataset", "data.train"):
        for place in (part, f"{part}.dataset"):
            if isinstance(reader.at(place)[0], dict):
                yield place


def _pipeline(reader: Reader) -> list[Mapping[str, Any]] | None:
    """The steps of the pipeline for testing, those inside MultiScaleFlipAug too; None where there is none that can be read."""
    places = [f"{place}.pipeline" for place in _datasets(reader) if "train" not in place]
    value, place = reader.at(*places, "test_pipeline", "val_pipeline")
    if value is UNREAD:
        reader.notes.append(f"{reader.source}: {place} would have to be computed, and is not read")
    if not isinstance(value, list | tuple):
        return None
    steps: list[Mapping[str, Any]] = []
    left = list(value)
    while left and len(steps) < _MOST_STEPS:
        step = content(left.pop(0))
        if not isinstance(step, dict):
            reader.notes.append(f"{reader.source}: a step of {place} would have to be computed, and is not read")
            return None
        steps.append(step)
        inner = content(step.get("transforms"))
        if _kind(step.get("type")) == "MultiScaleFlipAug" and isinstance(inner, list | tuple):
            left = [*inner, *left]
    for step in steps:
        for key, right, what in _STEP_MUST.get(_kind(step.get("type")), ()):
            where, value = f"{reader.source}: {key} of {_kind(step['type'])} in {place}", content(step.get(key))
            if value is UNREAD:
                reader.notes.append(f"{where} would have to be computed, and is not read")
            elif value not in (None, *right):
                reader.unlike.append(f"{where} is {_told(value)}: the model's program {what}")
    for name in dict.fromkeys(_kind(step.get("type")) for step in steps):
        if name not in _STEPS:
            reader.unlike.append(f"{reader.source}: {place} has the step {name or 'without a name'}: the model's program prepares images by it")
    return steps


def _windows(reader: Reader) -> None:
    """Crop and stride of the windows; None each where an image is seen in one piece."""
    for place in ("model.test_cfg", "test_cfg"):
        mode = reader.at(f"{place}.mode")[0]
        if mode == "slide":
            reader.take("protocol.crop", pair, f"{place}.crop_size")
            reader.take("protocol.stride", pair, f"{place}.stride")
        elif mode == "whole":
            for name in ("protocol.crop", "protocol.stride"):
                reader.facts[name] = Fact(None, f"{reader.source}: {place}.mode is whole")
        elif mode is not ABSENT:
            reader.notes.append(f"{reader.source}: {place}.mode: expected slide or whole, and is not read")
        if mode is not ABSENT:
            return


def _scale(reader: Reader, steps: Sequence[Mapping[str, Any]] | None, bases: Sequence[str]) -> None:
    """The size that images are resized to; None where no step resizes them."""
    if steps is None:
        return
    sizes = [(step, key) for step in steps for key in ("scale", "img_scale") if content(step.get(key)) is not None]
    resizing = [step for step in steps if _kind(step.get("type")) in ("Resize", "AlignedResize")]
    if any(step.get("scale_factor") is not None for step in resizing):
        reader.unlike.append(f"{reader.source}: the pipeline resizes images by a factor")
    for step in resizing:
        modern = "scale" in step or "scale_factor" in step  # keep_ratio is True by default in 0.x, and False in 1.x
        if step.get("keep_ratio", not modern) is not True:
            reader.unlike.append(f"{reader.source}: the pipeline's Resize does not keep the ratio of an image's sides")
    if least := next((one for step in resizing if (one := content(step.get("min_size"))) is not None), None):
        reader.put("protocol.min_size", whole, least, f"{reader.source}: min_size of Resize in the pipeline")
    if sizes:
        step, key = sizes[0]
        where = f"{reader.source}: {key} of {_kind(step.get('type'))} in the pipeline"
        if step[key] is UNREAD:
            reader.notes.append(f"{where} would have to be computed, and is not read")
        else:
            reader.put("protocol.scale", pair, content(step[key]), where)
    elif not resizing:
        reader.facts["protocol.scale"] = Fact(None, f"{reader.source}: the pipeline resizes no image")
    _multiple(reader, steps)


def _multiple(reader: Reader, steps: Sequence[Mapping[str, Any]]) -> None:
    """The number whose multiples the sides of a resized image are brought up to; None where no step does that."""
    kinds = [_kind(step.get("type")) for step in steps]
    places = [place for place, kind in enumerate(kinds) if kind in ("ResizeToMultiple", "AlignedResize")]
    if not places:
        reader.facts["protocol.multiple"] = Fact(None, f"{reader.source}: the pipeline brings sides up to no multiples")
        return
    step, where = steps[places[0]], f"{reader.source}: size_divisor of {kinds[places[0]]} in the pipeline"
    reader.put("protocol.multiple", whole, step.get("size_divisor", 32), where)  # 32 is the default of both
    if "Resize" in kinds[places[0] :] or len(places) > 1 or step.get("interpolation") not in (None, "bilinear"):
        reader.unlike.append(f"{where}: the model's program resizes images once more, or otherwise than bilinear")


def _pixels(reader: Reader, steps: Sequence[Mapping[str, Any]] | None, bases: Sequence[str]) -> None:
    """Mean and deviation: of 1.x's data_preprocessor, of 0.x's Normalize, or of the variable that both are usually made of."""
    normalize = next((step for step in steps or () if _kind(step.get("type")) == "Normalize"), None)
    if normalize is not None:
        inner = Reader(normalize, f"{reader.source}: Normalize in the pipeline")
        for side, name in (("mean", "protocol.mean"), ("std", "protocol.std")):
            inner.take(name, channels, side)
        if inner.at("to_rgb")[0] is False:
            reader.unlike.append(f"{inner.source}: to_rgb is False: the model's program feeds blue before red")
        reader.facts |= inner.facts
        reader.notes += inner.notes
        return
    processor = reader.at("model.data_preprocessor", "data_preprocessor")[0]
    for side, none in (("mean", 0.0), ("std", 1.0)):
        places = (f"model.data_preprocessor.{side}", f"data_preprocessor.{side}", f"img_norm_cfg.{side}")
        value = reader.at(*places)[0]
        unscaled = isinstance(processor, dict) and not bases and (value is None or value is ABSENT)
        if unscaled:
            reader.facts[f"protocol.{side}"] = Fact((none,) * 3, f"{reader.source}: data_preprocessor has no {side}")
        else:
            reader.take(f"protocol.{side}", channels, *places)
    _padding(reader, isinstance(processor, dict) and not bases)
    if isinstance(processor, dict) and not bases and reader.at("model.data_preprocessor.bgr_to_rgb", "data_preprocessor.bgr_to_rgb")[0] is ABSENT:
        reader.unlike.append(f"{reader.source}: data_preprocessor.bgr_to_rgb is not there, so False: the model's program feeds blue before red")


def _padding(reader: Reader, whole_config: bool) -> None:
    """The multiple to which 1.x's data_preprocessor pads images; None where it pads none."""
    places = [f"{part}.test_cfg" for part in ("model.data_preprocessor", "data_preprocessor")]
    reader.take("protocol.pad", whole, *(f"{place}.size_divisor" for place in places))
    filling, where = reader.at("model.data_preprocessor.pad_val", "data_preprocessor.pad_val")
    if "protocol.pad" in reader.facts and filling not in (ABSENT, 0):
        reader.unlike.append(f"{reader.source}: {where} is {_told(filling)}: the model's program pads images with it")
    size, place = reader.at(*(f"{place}.size" for place in places))
    if size not in (ABSENT, None):
        reader.unlike.append(f"{reader.source}: {place} is there: the model's program pads images to that size")
    elif whole_config and "protocol.pad" not in reader.facts and reader.at(*places)[0] in (ABSENT, None):
        reader.facts["protocol.pad"] = Fact(None, f"{reader.source}: data_preprocessor pads no image")


def _classes(reader: Reader, steps: Sequence[Mapping[str, Any]] | None) -> None:
    """Names and colours of the classes, and whether 0 is no class in the labels."""
    places = list(_datasets(reader))
    for name, check, keys in (
        ("classes", names, ("metainfo.classes", "metainfo.CLASSES", "classes")),
        ("palette", colours, ("metainfo.palette", "metainfo.PALETTE", "palette")),
        ("labels.reduce_zero", truth, ("reduce_zero_label",)),
    ):
        if found := [f"{place}.{key}" for place in places for key in keys if reader.at(f"{place}.{key}")[0] not in (ABSENT, None)]:
            reader.take(name, check, found[0])
    reduce = next((step["reduce_zero_label"] for step in steps or () if isinstance(step.get("reduce_zero_label"), bool)), None)
    if "labels.reduce_zero" not in reader.facts and reduce is not None:
        reader.facts["labels.reduce_zero"] = Fact(reduce, f"{reader.source}: LoadAnnotations in the pipeline")


def of_meta(meta: Mapping[str, Any]) -> Said:
    """What mmengine and mmcv themselves write into a checkpoint, beside the config's text."""
    reader = Reader(dict(meta), "meta")
    reader.take("classes", names, *_given(reader, "dataset_meta.classes", "dataset_meta.CLASSES", "CLASSES", "classes"))
    reader.take("palette", colours, *_given(reader, "dataset_meta.palette", "dataset_meta.PALETTE", "PALETTE", "palette"))
    reader.take("labels.reduce_zero", truth, "dataset_meta.reduce_zero_label")
    return reader.said


def _given(reader: Reader, *places: str) -> tuple[str, ...]:
    """The places where something stands, or the first of all."""
    return tuple(place for place in places if reader.at(place)[0] not in (ABSENT, None)) or places[:1]
