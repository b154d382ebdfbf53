"""Configs of other programs, read as facts: MMSegmentation's (0.x and 1.x), transformers', timm's, and what `export` writes.

A row of a table ties a fact to its place in a config, and to what must stand there. What a program's own default is counts as said,
but only where the config is whole.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from segzoo.conversion.config_text import UNREAD
from segzoo.conversion.said import Fact, Said
from segzoo.formats.pickled import content

_ABSENT = object()
Check = Callable[[Any], Any]


class _Reader:
    """Takes facts from a nest of dicts, and remembers what could not be read."""

    def __init__(self, nest: Any, source: str):
        self.nest, self.source = content(nest), source
        self.facts: dict[str, Fact] = {}
        self.notes: list[str] = []
        self.unlike: list[str] = []

    def at(self, *places: str) -> tuple[Any, str]:
        """The value at the first of these places where there is one, and the place; `_ABSENT` where there is none. A dot goes one dict deeper."""
        for place in places:
            value = self.nest
            for step in place.split("."):
                value = content(value)
                value = value.get(step, _ABSENT) if isinstance(value, dict) else UNREAD if value is UNREAD else _ABSENT
                if value is _ABSENT or value is UNREAD:
                    break
            if value is not _ABSENT:
                return content(value), place
        return _ABSENT, places[0]

    def take(self, name: str, check: Check, *places: str, default: Any = _ABSENT) -> None:
        """Take the fact `name` from the first of these places, if `check` accepts what stands there: it gives the value, or raises ValueError."""
        value, place = self.at(*places)
        if value is UNREAD:
            self.notes.append(f"{self.source}: {place} would have to be computed, and is not read")
        elif value is not _ABSENT:
            self.put(name, check, value, f"{self.source}: {place}")
        elif default is not _ABSENT:
            self.facts[name] = Fact(default, f"{self.source}: {place} is not there, so the program's own default")

    def put(self, name: str, check: Check, value: Any, source: str) -> None:
        try:
            self.facts[name] = Fact(check(value), source)
        except ValueError as error:
            self.notes.append(f"{source}: expected {error}, and is not read")

    @property
    def said(self) -> Said:
        return Said(self.facts, tuple(self.notes), tuple(self.unlike))


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def whole(value: Any) -> int:
    if type(value) is not int or value < 1:
        raise ValueError("a positive whole number")
    return value


def eps(value: Any) -> float:
    if not _number(value) or not 0 < value < 1:
        raise ValueError("a number between 0 and 1")
    return float(value)


def pair(value: Any) -> tuple[int, int]:
    """One or two sizes. A list with one pair in it is that pair."""
    value = value[0] if isinstance(value, list) and len(value) == 1 and isinstance(value[0], list | tuple) else value
    sides = (value, value) if type(value) is int else value
    if not isinstance(sides, list | tuple) or len(sides) != 2 or not all(type(side) is int and side > 0 for side in sides):
        raise ValueError("one or two positive whole numbers")
    return (sides[0], sides[1])


def channels(value: Any) -> tuple[float, ...]:
    values = content(value)
    values = (values,) if _number(values) else values
    if not isinstance(values, list | tuple) or not values or not all(map(_number, values)):
        raise ValueError("one number, or one for each channel")
    return tuple(map(float, values)) * (3 if len(values) == 1 else 1)


def names(value: Any) -> tuple[str, ...]:
    values = content(value)
    if not isinstance(values, list | tuple) or not values or not all(isinstance(one, str) and one.strip() for one in values):
        raise ValueError("a list of names")
    if len(set(values)) < len(values):
        raise ValueError("a list of names without one that is there twice")
    return tuple("".join(letter if letter.isprintable() else " " for letter in one) for one in values)


def colours(value: Any) -> tuple[tuple[int, int, int], ...]:
    rows = [content(row) for row in values] if isinstance(values := content(value), list | tuple) else []
    if not rows or not all(
        isinstance(row, list | tuple) and len(row) == 3 and all(type(one) is int and 0 <= one <= 255 for one in row) for row in rows
    ):
        raise ValueError("a list of colours, three numbers from 0 to 255 each")
    return tuple((row[0], row[1], row[2]) for row in rows)


def truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("True or False")
    return value


# MMSegmentation

_MODEL: tuple[tuple[str, Check, str], ...] = (
    ("backbone.heads", whole, "model.backbone.num_heads"),
    ("backbone.width", whole, "model.backbone.embed_dims"),
    ("backbone.depth", whole, "model.backbone.num_layers"),
    ("backbone.patch", whole, "model.backbone.patch_size"),
    ("backbone.image", pair, "model.backbone.img_size"),
    ("backbone.eps", eps, "model.backbone.norm_cfg.eps"),
    ("head.heads", whole, "model.decode_head.num_heads"),
    ("head.eps", eps, "model.decode_head.norm_cfg.eps"),
    ("protocol.threshold", eps, "model.decode_head.threshold"),
)
_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "VisionTransformer": {"backbone.heads": 12, "backbone.eps": 1e-5},
    "SegmenterMaskTransformerHead": {"head.eps": 1e-5},
}
"""What mmseg 1.2.2 takes where a config says nothing, by the type of the part. torch's LayerNorm has eps 1e-5."""
_MUST: tuple[tuple[str, tuple[Any, ...], str], ...] = (
    ("model.decode_head.align_corners", (False,), "resizes scores with aligned corners"),
    ("model.data_preprocessor.bgr_to_rgb", (True,), "feeds blue before red"),
    ("model.backbone.pre_norm", (False,), "normalises before the first block"),
)
"""What must stand at a place, if anything stands there, and what the model does else, which segzoo does not do."""
_STEPS = {
    *("LoadImageFromFile", "LoadAnnotations", "PackSegInputs", "Resize", "Normalize", "MultiScaleFlipAug", "RandomFlip"),
    *("ImageToTensor", "DefaultFormatBundle", "Collect", "TestTimeAug"),
}
"""Steps of a pipeline that are followed here, or that change nothing at a single scale."""


def of_openmmlab(nest: Any, source: str, bases: Sequence[str] = ()) -> Said:
    """What a config of MMSegmentation says. `bases` are the files that it builds on: with them its own defaults say nothing."""
    reader = _Reader(nest, source)
    kinds = {part: _kind(reader.at(f"model.{part}.type")[0]) for part in ("backbone", "decode_head")}
    defaults = {} if bases else {name: value for kind in kinds.values() for name, value in _DEFAULTS.get(kind, {}).items()}
    for name, check, place in _MODEL:
        if reader.at(place)[0] is not None:  # None is mmseg's word for its default
            reader.take(name, check, place, default=defaults.get(name, _ABSENT))
    reader.take("head.outputs", whole, "model.decode_head.out_channels", "model.decode_head.num_classes")
    for place, right, what in _MUST:
        value = reader.at(place)[0]
        if value is UNREAD:
            reader.notes.append(f"{source}: {place} would have to be computed, and is not read")
        elif value is not _ABSENT and value not in right:
            reader.unlike.append(f"{source}: {place} is {value!r}: the model's program {what}")
    steps = _pipeline(reader)
    _windows(reader)
    _scale(reader, steps, bases)
    _pixels(reader, steps, bases)
    _classes(reader, steps)
    missing = [name for name in ("backbone.heads", "backbone.eps", "protocol.scale", "protocol.crop", "protocol.mean") if name not in reader.facts]
    if bases and missing:
        reader.notes.append(f"{source}: builds on {', '.join(bases)}, which is not read, and may say {', '.join(missing)}")
    return reader.said


def _kind(value: Any) -> str:
    """The last part of a type's name."""
    return value.rpartition(".")[2] if isinstance(value, str) else ""


def _datasets(reader: _Reader) -> Iterator[str]:
    """The places of the data sets that a config speaks of; wrapped ones too."""
    for part in ("test_dataloader.dataset", "val_dataloader.dataset", "data.test", "data.val", "train_dataloader.dataset", "data.train"):
        for place in (part, f"{part}.dataset"):
            if isinstance(reader.at(place)[0], dict):
                yield place


def _pipeline(reader: _Reader) -> list[Mapping[str, Any]] | None:
    """The steps of the pipeline for testing, those inside MultiScaleFlipAug too; None where there is none that can be read."""
    places = [f"{place}.pipeline" for place in _datasets(reader) if "train" not in place]
    value, place = reader.at(*places, "test_pipeline", "val_pipeline")
    if value is UNREAD:
        reader.notes.append(f"{reader.source}: {place} would have to be computed, and is not read")
    if not isinstance(value, list | tuple):
        return None
    steps: list[Mapping[str, Any]] = []
    left = list(value)
    while left and len(steps) < 1000:
        step = content(left.pop(0))
        if not isinstance(step, dict):
            reader.notes.append(f"{reader.source}: a step of {place} would have to be computed, and is not read")
            return None
        steps.append(step)
        inner = content(step.get("transforms"))
        if _kind(step.get("type")) == "MultiScaleFlipAug" and isinstance(inner, list | tuple):
            left = [*inner, *left]
    for name in dict.fromkeys(_kind(step.get("type")) for step in steps):
        if name not in _STEPS:
            reader.unlike.append(f"{reader.source}: {place} has the step {name or 'without a name'}: the model's program prepares images by it")
    return steps


def _windows(reader: _Reader) -> None:
    """Crop and stride of the windows; None each where an image is seen in one piece."""
    for place in ("model.test_cfg", "test_cfg"):
        mode = reader.at(f"{place}.mode")[0]
        if mode == "slide":
            reader.take("protocol.crop", pair, f"{place}.crop_size")
            reader.take("protocol.stride", pair, f"{place}.stride")
        elif mode == "whole":
            for name in ("protocol.crop", "protocol.stride"):
                reader.facts[name] = Fact(None, f"{reader.source}: {place}.mode is whole")
        elif mode is not _ABSENT:
            reader.notes.append(f"{reader.source}: {place}.mode: expected slide or whole, and is not read")
        if mode is not _ABSENT:
            return


def _scale(reader: _Reader, steps: Sequence[Mapping[str, Any]] | None, bases: Sequence[str]) -> None:
    """The size that images are resized to; None where no step resizes them."""
    if steps is None:
        return
    sizes = [(step, key) for step in steps for key in ("scale", "img_scale") if content(step.get(key)) is not None]
    resizing = [step for step in steps if _kind(step.get("type")) == "Resize"]
    if any(step.get("scale_factor") is not None for step in resizing):
        reader.unlike.append(f"{reader.source}: the pipeline resizes images by a factor")
    for step in resizing:
        modern = "scale" in step or "scale_factor" in step  # keep_ratio is True by default in 0.x, and False in 1.x
        if step.get("keep_ratio", not modern) is not True:
            reader.unlike.append(f"{reader.source}: the pipeline's Resize does not keep the ratio of an image's sides")
    if sizes:
        step, key = sizes[0]
        where = f"{reader.source}: {key} of {_kind(step.get('type'))} in the pipeline"
        if step[key] is UNREAD:
            reader.notes.append(f"{where} would have to be computed, and is not read")
        else:
            reader.put("protocol.scale", pair, content(step[key]), where)
    elif not resizing:
        reader.facts["protocol.scale"] = Fact(None, f"{reader.source}: the pipeline resizes no image")


def _pixels(reader: _Reader, steps: Sequence[Mapping[str, Any]] | None, bases: Sequence[str]) -> None:
    """Mean and deviation: of 1.x's data_preprocessor, of 0.x's Normalize, or of the variable that both are usually made of."""
    normalize = next((step for step in steps or () if _kind(step.get("type")) == "Normalize"), None)
    if normalize is not None:
        inner = _Reader(normalize, f"{reader.source}: Normalize in the pipeline")
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
        unscaled = isinstance(processor, dict) and not bases and (value is None or value is _ABSENT)
        if unscaled:
            reader.facts[f"protocol.{side}"] = Fact((none,) * 3, f"{reader.source}: data_preprocessor has no {side}")
        else:
            reader.take(f"protocol.{side}", channels, *places)
    if isinstance(processor, dict) and not bases and reader.at("model.data_preprocessor.bgr_to_rgb", "data_preprocessor.bgr_to_rgb")[0] is _ABSENT:
        reader.unlike.append(f"{reader.source}: data_preprocessor.bgr_to_rgb is not there, so False: the model's program feeds blue before red")


def _classes(reader: _Reader, steps: Sequence[Mapping[str, Any]] | None) -> None:
    """Names and colours of the classes, and whether 0 is no class in the labels."""
    places = list(_datasets(reader))
    for name, check, keys in (
        ("classes", names, ("metainfo.classes", "metainfo.CLASSES", "classes")),
        ("palette", colours, ("metainfo.palette", "metainfo.PALETTE", "palette")),
        ("labels.reduce_zero", truth, ("reduce_zero_label",)),
    ):
        if found := [f"{place}.{key}" for place in places for key in keys if reader.at(f"{place}.{key}")[0] not in (_ABSENT, None)]:
            reader.take(name, check, found[0])
    reduce = next((step["reduce_zero_label"] for step in steps or () if isinstance(step.get("reduce_zero_label"), bool)), None)
    if "labels.reduce_zero" not in reader.facts and reduce is not None:
        reader.facts["labels.reduce_zero"] = Fact(reduce, f"{reader.source}: LoadAnnotations in the pipeline")


def of_meta(meta: Mapping[str, Any]) -> Said:
    """What mmengine and mmcv themselves write into a checkpoint, beside the config's text."""
    reader = _Reader(dict(meta), "meta")
    reader.take("classes", names, *_given(reader, "dataset_meta.classes", "dataset_meta.CLASSES", "CLASSES", "classes"))
    reader.take("palette", colours, *_given(reader, "dataset_meta.palette", "dataset_meta.PALETTE", "PALETTE", "palette"))
    reader.take("labels.reduce_zero", truth, "dataset_meta.reduce_zero_label")
    return reader.said


def _given(reader: _Reader, *places: str) -> tuple[str, ...]:
    """The places where something stands, or the first of all."""
    return tuple(place for place in places if reader.at(place)[0] not in (_ABSENT, None)) or places[:1]


# transformers, timm, and segzoo's own export

_TRANSFORMERS: tuple[tuple[str, Check, str], ...] = (
    ("backbone.heads", whole, "num_attention_heads"),
    ("backbone.width", whole, "hidden_size"),
    ("backbone.depth", whole, "num_hidden_layers"),
    ("backbone.patch", whole, "patch_size"),
    ("backbone.image", pair, "image_size"),
    ("backbone.eps", eps, "layer_norm_eps"),
)
_TIMM: tuple[tuple[str, Check, str], ...] = (
    ("backbone.heads", whole, "model_args.num_heads"),
    ("backbone.width", whole, "model_args.embed_dim"),
    ("backbone.depth", whole, "model_args.depth"),
    ("backbone.patch", whole, "model_args.patch_size"),
    ("backbone.image", pair, "model_args.img_size"),
)
_TIMM_HEADS = {"tiny": 3, "small": 6, "base": 12, "large": 16, "huge": 16, "giant": 16}
_EXPORT: tuple[tuple[str, Check, str], ...] = (
    *((f"backbone.{name}", whole, name) for name in ("heads", "width", "depth", "patch")),
    ("backbone.eps", eps, "eps"),
    ("head.heads", whole, "head.heads"),
    ("head.eps", eps, "head.eps"),
    ("protocol.by", str, "protocol.by"),
    ("protocol.scale", pair, "protocol.scale"),
    ("protocol.crop", pair, "protocol.crop"),
    ("protocol.stride", pair, "protocol.stride"),
    ("protocol.threshold", eps, "protocol.threshold"),
    ("protocol.mean", channels, "mean"),
    ("protocol.std", channels, "std"),
)


def of_json(nest: Any, source: str, images: Any = None) -> Said:
    """What the config.json of transformers, of timm or of `segzoo export` says; `images` is transformers' preprocessor_config.json."""
    reader = _Reader(nest, source)
    if isinstance(reader.nest, dict) and isinstance(reader.nest.get("model"), dict):
        return of_openmmlab(nest, source)
    if reader.at("architecture")[0] is not _ABSENT:
        _of_timm(reader)
    elif reader.at("gelu")[0] is not _ABSENT:
        _of_export(reader)
    else:
        _rows(reader, _TRANSFORMERS)
        if isinstance(images, dict):
            reader.facts |= _of_images(images, source.replace("config.json", "preprocessor_config.json"))
    return reader.said


def _rows(reader: _Reader, rows: Sequence[tuple[str, Check, str]]) -> None:
    for name, check, place in rows:
        if reader.at(place)[0] is not None:
            reader.take(name, check, place)


def _of_timm(reader: _Reader) -> None:
    _rows(reader, _TIMM)
    architecture = reader.at("architecture")[0]
    kind, _, size = architecture.partition("_") if isinstance(architecture, str) else ("", "", "")
    if kind in ("vit", "deit", "deit3"):
        reader.facts["backbone.eps"] = Fact(1e-6, f"{reader.source}: architecture is timm's {architecture}")
        if "backbone.heads" not in reader.facts and (heads := _TIMM_HEADS.get(size.split("_")[0])):
            reader.facts["backbone.heads"] = Fact(heads, f"{reader.source}: architecture is timm's {architecture}")
            reader.take("backbone.width", whole, "model_args.embed_dim", "num_features")
    for side, name in (("mean", "protocol.mean"), ("std", "protocol.std")):
        reader.take(name, lambda value: _of_255(channels(value)), f"pretrained_cfg.{side}", side)


def _of_export(reader: _Reader) -> None:
    _rows(reader, _EXPORT)
    listed = reader.at("classes")[0]
    if isinstance(listed, list) and all(isinstance(one, dict) for one in listed):
        reader.put("classes", names, [one.get("name") for one in listed], f"{reader.source}: classes")
        reader.put("palette", colours, [one.get("colour") for one in listed], f"{reader.source}: classes")


def _of_images(images: Mapping[str, Any], source: str) -> dict[str, Fact]:
    """Mean and deviation for pixels from 0 to 255."""
    reader = _Reader(dict(images), source)
    factor = reader.at("rescale_factor")[0] if images.get("do_rescale", True) is not False else 1
    factor = factor if _number(factor) and factor > 0 else 1 / 255
    for side, name, none in (("mean", "protocol.mean", 0.0), ("std", "protocol.std", 1.0)):
        if images.get("do_normalize", True) is False:
            reader.facts[name] = Fact((none / factor,) * 3, f"{source}: do_normalize is False")
        else:
            reader.take(name, lambda value: tuple(one / factor for one in channels(value)), f"image_{side}")
    return reader.facts


def _of_255(values: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(255 * value for value in values)
