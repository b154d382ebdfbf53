"""What a config.json says of its model: that of transformers, of timm, and of `segzoo export`."""

import re
from collections.abc import Mapping
from typing import Any

from segzoo.conversion.config_openmmlab import of_openmmlab
from segzoo.conversion.config_reader import (
    ABSENT,
    Reader,
    Rows,
    activation,
    channels,
    colours,
    counts,
    eps,
    indices,
    names,
    number,
    numbers,
    pair,
    take_rows,
    truth,
    whole,
    word,
)
from segzoo.conversion.said import Fact, Said

_TRANSFORMERS: Rows = (
    ("backbone.heads", whole, "num_attention_heads"),
    ("backbone.width", whole, "hidden_size"),
    ("backbone.depth", whole, "num_hidden_layers"),
    ("backbone.patch", whole, "patch_size"),
    ("backbone.image", pair, "image_size"),
    ("backbone.eps", eps, "layer_norm_eps"),
)
_OF_VIT: Rows = (*_TRANSFORMERS, ("backbone.activation", activation, "hidden_act"))
_TOWER = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "image_size": 224}
_TOWERS: Mapping[str, Mapping[str, Any]] = {
    "clip_vision_model": {**_TOWER, "patch_size": 32, "layer_norm_eps": 1e-5, "hidden_act": "quick_gelu"},
    "siglip_vision_model": {**_TOWER, "patch_size": 16, "layer_norm_eps": 1e-6, "hidden_act": "gelu_pytorch_tanh"},
}
"""What an image tower has where its config leaves it out: beside a text tower's, transformers writes only what differs from this."""


def _outputs(value: Any) -> tuple[int, ...] | None:
    """Blocks counted from 0, of transformers' count of what stands before each block, which begins with 1."""
    found = indices(value)
    if found is not None and min(found) < 2:
        raise ValueError("indices from 2 on: those below stand for no block's output")
    return found and tuple(index - 2 for index in found)


_OF_BEIT: Rows = (*_TRANSFORMERS, ("backbone.out_indices", _outputs, "out_indices"), ("head.bins", indices, "pool_scales"))
_OF_TYPE: Mapping[str, Rows] = {
    "audio-spectrogram-transformer": (*_OF_VIT, ("backbone.stride", whole, "frequency_stride")),
    **dict.fromkeys(("beit", "data2vec-vision"), _OF_BEIT),
    "swin": (
        ("backbone.heads", counts, "num_heads"),
        ("backbone.width", whole, "embed_dim"),
        ("backbone.depths", counts, "depths"),
        ("backbone.window", whole, "window_size"),
        ("backbone.patch", whole, "patch_size"),
        ("backbone.eps", eps, "layer_norm_eps"),
    ),
    "segformer": (
        ("backbone.heads", counts, "num_attention_heads"),
        ("backbone.widths", counts, "hidden_sizes"),
        ("backbone.depths", counts, "depths"),
    ),
    "convnext": (
        ("backbone.widths", counts, "hidden_sizes"),
        ("backbone.depths", counts, "depths"),
        ("backbone.patch", whole, "patch_size"),
    ),
}
"""What transformers' config of a backbone says, by its `model_type`, where it has other names than a ViT's."""
_EPS_OF_TYPE = {"convnext": 1e-6, "segformer": 1e-5}
"""What the norms have whatever a config says; `layer_norm_eps` is that of a classifier's last norm alone."""
_GELU = (("hidden_act", "gelu", "has another activation than GELU"),)
_MUST_OF_TYPE: Mapping[str, tuple[tuple[str, Any, str], ...]] = {
    "segformer": (*_GELU, ("strides", [4, 2, 2, 2], "halves its maps otherwise")),
    **dict.fromkeys(("beit", "data2vec-vision", "swin", "convnext"), _GELU),
}
"""What must stand in a config of this type, if anything does, and what transformers does else, which segzoo does not do."""
_TOWER_TYPES = ("clip", "siglip", "chinese_clip", "altclip", "metaclip_2", "clipseg", "owlvit", "owlv2", "blip")
_KNOWN = {
    *("vit", "vit_mae", "vit_msn", "deit", "dinov2", "dinov2_with_registers", "ijepa", "dpt", *_OF_TYPE),
    *(f"{kind}_vision_model" for kind in _TOWER_TYPES),
}
"""The types of transformers whose networks are those of the families here."""
_UPERNET: Rows = (("head.bins", indices, "pool_scales"),)
_TIMM: Rows = (
    ("backbone.heads", counts, "model_args.num_heads"),
    ("backbone.width", whole, "model_args.embed_dim"),
    ("backbone.depth", whole, "model_args.depth"),
    ("backbone.patch", whole, "model_args.patch_size"),
    ("backbone.image", pair, "model_args.img_size"),
    ("backbone.eps", eps, "model_args.norm_eps"),
    ("backbone.activation", activation, "model_args.act_layer"),
)
_TIMM_VITS = ("vit", "deit", "deit3")
_TIMM_EPS = {**dict.fromkeys(_TIMM_VITS, 1e-6), "swin": 1e-5, "convnext": 1e-6, "convnext_xxlarge": 1e-5, "beit": 1e-6, "beitv2": 1e-6}
_TIMM_TWINS = {
    **dict.fromkeys(("pcpvt_small", "pcpvt_base", "pcpvt_large"), ((1, 2, 5, 8), None)),
    **{f"svt_{size}": (tuple(first << stage for stage in range(4)), 7) for size, first in (("small", 2), ("base", 3), ("large", 4))},
}
"""Attention heads, and the side of the windows where there are any, of timm's Twins by the rest of their names."""
_TIMM_HEADS = {"tiny": 3, "small": 6, "base": 12, "large": 16, "huge": 16, "giant": 16}
"""Attention heads of timm's ViTs by the first word of their size."""
_TIMM_HEADS_OF = {
    "base_patch16_gap_224": 16,
    **dict.fromkeys(("base_patch16_plus_240", "base_patch16_plus_clip_240", "base_patch32_plus_256"), 14),
    **dict.fromkeys(("giant_patch14_dinov2", "giant_patch14_reg4_dinov2", "giant_patch14_reg1_tipsv2", "giant_patch16_radio_v3"), 24),
    **dict.fromkeys(("small_resnet26d_224", "small_resnet50d_s16_224"), 8),
}
"""Attention heads of those of timm's ViTs that have others than that word says."""
_TIMM_OPEN = re.compile("clip|siglip|_gap_|_map_|_rpn_")
"""Of timm's ViTs, those that have no class token, or a norm before their blocks: names of sizes have one of these."""
_TIMM_TANH = re.compile("giantopt_.*siglip|base_patch32_siglip|so400m_patch16_siglip|large_patch16_siglip_(gap_)?512")
"""Those that have the tanh form of GELU."""
_CLIP_EPS = 1e-5
"""What the norms of timm's CLIP towers have; its other ViTs have 1e-6."""
_NETWORK = {"backbone": "network.backbone.arguments", "neck": "network.neck.arguments", "head": "network.decode_head.arguments"}
_EXPORT: Rows = (
    *((f"backbone.{name}", check, f"{_NETWORK['backbone']}.{name}") for name, check in (("heads", counts), ("width", whole), ("depth", whole))),
    *((f"backbone.{name}", check, f"{_NETWORK['backbone']}.{name}") for name, check in (("depths", counts), ("window", whole), ("patch", whole))),
    ("backbone.widths", counts, f"{_NETWORK['backbone']}.widths"),
    ("backbone.eps", eps, f"{_NETWORK['backbone']}.eps"),
    ("backbone.conv_eps", eps, f"{_NETWORK['backbone']}.conv_eps"),
    ("backbone.out_indices", indices, f"{_NETWORK['backbone']}.out_indices"),
    ("backbone.resample", word, f"{_NETWORK['backbone']}.resample"),
    ("backbone.class_token", truth, f"{_NETWORK['backbone']}.class_token"),
    ("backbone.activation", activation, f"{_NETWORK['backbone']}.activation"),
    ("neck.scales", numbers, f"{_NETWORK['neck']}.scales"),
    ("neck.eps", eps, f"{_NETWORK['neck']}.eps"),
    ("head.heads", whole, f"{_NETWORK['head']}.heads"),
    ("head.groups", whole, f"{_NETWORK['head']}.groups"),
    ("head.eps", eps, f"{_NETWORK['head']}.eps"),
    ("head.bins", indices, f"{_NETWORK['head']}.bins"),
    ("head.scale", whole, f"{_NETWORK['head']}.scale"),
    ("protocol.by", str, "protocol.by"),
    ("protocol.scale", pair, "protocol.scale"),
    ("protocol.crop", pair, "protocol.crop"),
    ("protocol.stride", pair, "protocol.stride"),
    ("protocol.min_size", whole, "protocol.min_size"),
    ("protocol.multiple", whole, "protocol.multiple"),
    ("protocol.threshold", eps, "protocol.threshold"),
    ("protocol.pad", whole, "protocol.pad"),
    ("protocol.mean", channels, "mean"),
    ("protocol.std", channels, "std"),
)


def of_json(nest: Any, source: str, images: Any = None) -> Said:
    """What the config.json of transformers, of timm or of `segzoo export` says; `images` is transformers' preprocessor_config.json."""
    reader = Reader(nest, source)
    if isinstance(reader.nest, dict) and isinstance(reader.nest.get("model"), dict):
        return of_openmmlab(nest, source)
    if reader.at("architecture")[0] is not ABSENT:
        _of_timm(reader)
    elif reader.at("network")[0] is not ABSENT:
        _of_export(reader)
    else:
        _of_transformers(reader)
        if isinstance(images, dict):
            reader.facts |= _of_images(images, source.replace("config.json", "preprocessor_config.json"))
    return reader.said


def _of_transformers(reader: Reader) -> None:
    """The config of a model, or of a segmentation model or a pair of towers with that of its backbone inside."""
    inside = next((f"{place}." for place in ("backbone_config", "vision_config") if isinstance(reader.at(place)[0], dict)), "")
    kind = reader.at(f"{inside}model_type")[0]
    if inside == "vision_config." and kind is ABSENT:
        kind = f"{reader.at('model_type')[0]}_vision_model"
    tower = _TOWERS.get(kind, {}) if isinstance(kind, str) else {}
    rows = _OF_TYPE.get(kind, () if inside and not tower else _OF_VIT) if isinstance(kind, str) else _OF_VIT
    if reader.at("use_swiglu_ffn")[0] is True:
        rows = _TRANSFORMERS  # its gate has SiLU, whatever hidden_act says
    take_rows(reader, tuple((name, check, f"{inside}{place}") for name, check, place in rows))
    for name, check, place in rows:
        if place in tower and name not in reader.facts:
            reader.put(name, check, tower[place], f"{reader.source}: {inside}{place} is not there, so transformers' own default")
    if isinstance(kind, str) and kind in _EPS_OF_TYPE:
        reader.facts["backbone.eps"] = Fact(_EPS_OF_TYPE[kind], f"{reader.source}: {inside}model_type is {kind}")
    for place, right, what in _MUST_OF_TYPE.get(kind, ()) if isinstance(kind, str) else ():
        if reader.at(f"{inside}{place}")[0] not in (ABSENT, right):
            reader.unlike.append(f"{reader.source}: {inside}{place}: the model's program {what}")
    if isinstance(kind, str) and kind not in _KNOWN:
        reader.notes.append(
            f"{reader.source}: {inside}model_type is {kind!a}, which segzoo does not know: it is taken for what its tensors are named as"
        )
    if reader.at("model_type")[0] == "upernet":
        take_rows(reader, _UPERNET)


def _of_timm(reader: Reader) -> None:
    take_rows(reader, _TIMM)
    architecture = reader.at("architecture")[0]
    kind, _, size = architecture.partition("_") if isinstance(architecture, str) else ("", "", "")
    if kind in _TIMM_EPS and "backbone.eps" not in reader.facts:
        usual = _CLIP_EPS if kind in _TIMM_VITS and "clip" in size else _TIMM_EPS[kind]
        reader.facts["backbone.eps"] = Fact(_TIMM_EPS.get(architecture, usual), f"{reader.source}: architecture is timm's {architecture}")
    if kind in _TIMM_VITS and "backbone.heads" not in reader.facts and (heads := _heads_of_timm(size)):
        reader.facts["backbone.heads"] = Fact(heads, f"{reader.source}: architecture is timm's {architecture}")
        reader.take("backbone.width", whole, "model_args.embed_dim", "num_features")
    if kind in _TIMM_VITS and _TIMM_OPEN.search(size) and "backbone.activation" not in reader.facts:
        form = "quick_gelu" if "quickgelu" in size else "gelu_tanh" if _TIMM_TANH.search(size) else "gelu"
        reader.facts["backbone.activation"] = Fact(form, f"{reader.source}: architecture is timm's {architecture}")
    if kind == "twins" and size in _TIMM_TWINS:
        for name, value in zip(("heads", "window"), _TIMM_TWINS[size], strict=True):
            if value is not None:
                reader.facts[f"backbone.{name}"] = Fact(value, f"{reader.source}: architecture is timm's {architecture}")
    for side, name in (("mean", "protocol.mean"), ("std", "protocol.std")):
        reader.take(name, lambda value: _of_255(channels(value)), f"pretrained_cfg.{side}", side)


def _heads_of_timm(size: str) -> int | None:
    """Attention heads of timm's ViT whose name is this after its first word; None for a name of no known size."""
    return _TIMM_HEADS_OF.get(size) or _TIMM_HEADS.get(size.split("_")[0])


def _of_export(reader: Reader) -> None:
    take_rows(reader, _EXPORT)
    for side in ("scale", "crop", "stride"):  # none: images keep their size, or are seen in one piece
        if reader.at(f"protocol.{side}")[0] is None:
            reader.facts[f"protocol.{side}"] = Fact(None, f"{reader.source}: protocol.{side}")
    listed = reader.at("classes")[0]
    if isinstance(listed, list) and all(isinstance(one, dict) for one in listed):
        reader.put("classes", names, [one.get("name") for one in listed], f"{reader.source}: classes")
        reader.put("palette", colours, [one.get("colour") for one in listed], f"{reader.source}: classes")


def _of_images(images: Mapping[str, Any], source: str) -> dict[str, Fact]:
    """Mean and deviation for pixels from 0 to 255."""
    reader = Reader(dict(images), source)
    factor = reader.at("rescale_factor")[0] if images.get("do_rescale", True) is not False else 1
    factor = factor if number(factor) and factor > 1e-6 else 1 / 255
    for side, name, none in (("mean", "protocol.mean", 0.0), ("std", "protocol.std", 1.0)):
        if images.get("do_normalize", True) is False:
            reader.facts[name] = Fact((none / factor,) * 3, f"{source}: do_normalize is False")
        else:
            reader.take(name, lambda value: tuple(one / factor for one in channels(value)), f"image_{side}")
    return reader.facts


def _of_255(values: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(255 * value for value in values)
