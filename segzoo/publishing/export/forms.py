"""What `export` can write: one form for each library."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from segzoo.conversion.convert import convert
from segzoo.conversion.fit import refusal, unlike
from segzoo.conversion.plan import Dropped, Plan, plan
from segzoo.errors import ConversionError
from segzoo.extras import require
from segzoo.formats import naming
from segzoo.formats.arrays import not_finite
from segzoo.layouts import LAYOUTS, OWN
from segzoo.layouts.layout import Layout
from segzoo.layouts.vit.geometry import Geometry
from segzoo.manifest.entries import THRESHOLD, Dataset, Entry, Model
from segzoo.publishing.export import configs
from segzoo.publishing.export.configs import ModelFacts
from segzoo.text import json_text
from segzoo.zoo.likeness import Matched
from segzoo.zoo.zoo import ByteProgress

_WEIGHTS, _CONFIG = "model.safetensors", "config.json"


@dataclass(frozen=True)
class Made:
    """What was written: the form, the layout of its tensors, how many tensors were read and written, and what was left out.

    `classes` is the number of an exported image classifier's classes. `pixels` tells whether the normalisation of images is known.
    `only` is the side in pixels of the images of a model that takes no others. `remarks` are what a user of the folder must know. `reproduce`
    is the command that makes the folder again, `verify` the one that verifies the model, `version` that of segzoo.
    """

    form: str
    layout: str
    read: int
    written: int
    dropped: tuple[Dropped, ...]
    classes: int | None = None
    remarks: tuple[str, ...] = ()
    pixels: bool = False
    only: int | None = None
    reproduce: str = ""
    verify: str = ""
    version: str = ""


def _transformers(matched: Matched, dataset: Dataset | None, folder: Path, said: ByteProgress) -> Made:
    if isinstance(matched.entry, Model):
        return _upernet(matched, matched.entry, folder, said)
    steps = _plan(matched, "hf")
    facts = _facts(matched, steps)
    _json(folder / _CONFIG, configs.of_transformers(facts))
    remarks = []
    if images := configs.of_images(facts):
        _json(folder / "preprocessor_config.json", images)
    else:
        remarks.append(_UNKNOWN_PIXELS)
    if facts.classes:
        remarks.append(
            "For features alone, `AutoModel.from_pretrained(folder, add_pooling_layer=False)`; transformers then says that it leaves the classifier."
        )
    prefix = "vit." if facts.classes else ""  # transformers itself writes this prefix
    return replace(_weights(matched, folder, "hf", said, prefix), form="hf", classes=facts.classes, remarks=tuple(remarks))


def _upernet(matched: Matched, entry: Model, folder: Path, said: ByteProgress) -> Made:
    """A UPerNet as transformers' UperNetForSemanticSegmentation, whose backbone computes as MMSegmentation's."""
    family, geometry = matched.file.family.name, matched.file.geometry
    labels = list(matched.classes)[-entry.head.classes :]  # of a single output, the foreground's
    dtype = min({spec.dtype for spec in _plan(matched, "hf").specs.values() if "float" in spec.dtype})
    _json(folder / _CONFIG, configs.of_upernet(family, geometry, entry.eps, entry.head.bins, labels, dtype))
    _json(folder / "preprocessor_config.json", configs.of_own_size((entry.protocol.mean, entry.protocol.std)))
    return replace(_weights(matched, folder, "hf", said), form="hf", pixels=True)


def _timm(matched: Matched, dataset: Dataset | None, folder: Path, said: ByteProgress) -> Made:
    facts = _facts(matched, _plan(matched, "timm"))
    _json(folder / _CONFIG, configs.of_timm(facts))
    remarks = () if facts.mean else (_UNKNOWN_PIXELS,)
    return replace(_weights(matched, folder, "timm", said), form="timm", classes=facts.classes, remarks=remarks)


def _plain(matched: Matched, dataset: Dataset | None, folder: Path, said: ByteProgress) -> Made:
    require("torch")
    from segzoo.publishing.export.loader import source
    from segzoo.zoo.loading import module

    own, mmseg = OWN[matched.file.family.name], LAYOUTS[matched.file.family.name].get("mmseg")
    holds = mmseg and not refusal(matched.file.found, mmseg) and not unlike(matched.file.found, mmseg)
    alike = mmseg and holds and _plan(matched, mmseg).specs.keys() == _plan(matched, own).specs.keys()
    to = "mmseg" if alike else own  # the network has tensors that mmseg's file has not, or does without some that it has
    model = module(matched.file, matched.entry)
    _json(folder / _CONFIG, _loaders(matched, model))
    (folder / f"{loader_of(matched)}.py").write_text(source(model), encoding="utf-8")
    made, only = _weights(matched, folder, to, said), _only(model)
    made = replace(made, form="safetensors", **_seen(matched))
    return replace(made, only=only, remarks=(_ONE_SIZE.format("model", only), *made.remarks)) if only else made


def loader_of(matched: Matched) -> str:
    """The name of the Python module beside a model's tensors."""
    if not isinstance(matched.entry, Model):
        return matched.file.family.name
    return "segmenter" if matched.entry.head.named in ("mask", "linear") else "model"


def _loaders(matched: Matched, model: Any) -> dict[str, Any]:
    """The config of a model for a plain loader."""
    from segzoo.publishing.export.loader import described

    return configs.of_loader(matched.file.family.name, described(model), pixels_of(matched), _more(matched))


def _onnx(matched: Matched, dataset: Dataset | None, folder: Path, said: ByteProgress) -> Made:
    require("torch", "onnx", "onnxscript")
    from segzoo.publishing.export.onnx import TRACED, compare_with_torch, for_any_size, write_graph
    from segzoo.zoo.loading import module

    family, geometry = matched.file.family, matched.file.geometry
    steps = _plan(matched, OWN[family.name])
    model = module(matched.file, matched.entry)
    _json(folder / _CONFIG, _loaders(matched, model))
    output = "scores" if isinstance(matched.entry, Model) else "features"
    height, width, channels = family.image(geometry)
    least = 2 if geometry.neck else 1  # half a patch has no size
    traced = for_any_size(module(matched.file, matched.entry, **TRACED.get(family.name, {})))
    backbone: Any = getattr(traced, "backbone", traced)
    side = int(getattr(backbone, "coarsest", backbone.stride))  # a map of one token would be traced as one of always one
    only = _only(traced)
    write_graph(traced, folder / "model.onnx", side, output, channels=channels, only=only)
    smallest = int(getattr(backbone, "least", 0))  # of the sides that the backbone takes, if it does not take all
    patch, least = (smallest, 2) if smallest else (int(backbone.stride), least)
    checked = compare_with_torch(folder / "model.onnx", model, patch, (channels, height, width), least, only)
    made = Made("onnx", steps.layout.name, len(matched.file.weights), len(steps.steps), steps.dropped, **_seen(matched))
    size = _ANY_SIZE if not smallest else _SOME_SIZE.format(smallest) + ("" if getattr(backbone, "pads", False) else _UNSEEN)
    size = _ONE_SIZE.format("graph", only) if only else size
    return replace(made, only=only, remarks=(f"{size} {checked}", *made.remarks))


def _only(model: Any) -> int | None:
    """The side in pixels of the images that a model takes, if it takes those of one size only."""
    return getattr(getattr(model, "backbone", model), "only", None)


_ONE_SIZE = "The {0} takes images, or windows of them, of {1} x {1} pixels only."
_ANY_SIZE = "The graph takes images of any size: it pads sides and resizes position embeddings itself."
_SOME_SIZE = "The graph takes images of any size from {0} x {0} pixels on."
_UNSEEN = " What is no whole patch at their right and bottom is not seen."


WRITERS: Mapping[str, Callable[[Matched, Dataset | None, Path, ByteProgress], Made]] = {
    "safetensors": _plain,
    "hf": _transformers,
    "timm": _timm,
    "onnx": _onnx,
}


OF_BACKBONES: Mapping[str, str] = {"hf": "transformers", "timm": "timm"}
"""The forms for libraries that have no class for most segmentation models, and what they are called."""


def takes(form: str, entry: Entry) -> bool:
    """Whether a form has a place for an entry's head: transformers' UperNetForSemanticSegmentation computes as segzoo does on some backbones."""
    if not isinstance(entry, Model) or form not in OF_BACKBONES:
        return True
    return form == "hf" and entry.head.named == "uper" and entry.neck is None and entry.backbone.named in configs.UPERNET_EPS


def write(form: str, matched: Matched, dataset: Dataset | None, folder: Path, said: ByteProgress) -> Made:
    """Write a model in a form. Raises ConversionError for a segmentation model in one that has no place for its head."""
    if not takes(form, matched.entry):
        raise ConversionError(
            f"{matched.name} is a segmentation model: {OF_BACKBONES[form]} has no class for it, and its head would be lost",
            hint="--as safetensors (with a loader in plain torch) and --as onnx keep it whole (form= in Python); segzoo convert writes its backbone",
        )
    return WRITERS[form](matched, dataset, folder, said)


def _seen(matched: Matched) -> dict[str, Any]:
    """The fields of `Made` that say whether the normalisation of images is known, and how they are padded."""
    if isinstance(matched.entry, Model) and (pad := matched.entry.protocol.pad):
        return {"pixels": True, "remarks": (_PADDED.format(pad),)}
    return {"pixels": True} if pixels_of(matched) else {"remarks": (_UNKNOWN_PIXELS,)}


def pixels_of(matched: Matched) -> configs.Pixels | None:
    """Mean and deviation of a model's pixels; None where nobody knows them."""
    if isinstance(matched.entry, Model):
        return matched.entry.protocol.mean, matched.entry.protocol.std
    if matched.fetched and matched.file.found.layout.name in ("augreg", "bigvision"):  # both programs scale pixels to -1 .. 1
        return (127.5,) * 3, (127.5,) * 3
    return None


_PADDED = "Pad normalised images with zeros, right and bottom, to multiples of {0} pixels, and cut the scores of that padding off."
_UNKNOWN_PIXELS = "How its images were normalised is not known, and so not in the config."


def _plan(matched: Matched, to: str | Layout) -> Plan:
    """The plan of what will be written. Raises ConversionError for what the layout cannot hold."""
    with naming(matched.file.weights.path, matched.name):
        return plan(matched.file.weights.specs, to, found=matched.file.found, heads=matched.file.geometry.heads)


def _facts(matched: Matched, steps: Plan) -> ModelFacts:
    """The facts of a plain ViT for its config. Raises ConversionError for another family."""
    left, geometry = {drop.section for drop in steps.dropped}, matched.file.geometry
    if not isinstance(geometry, Geometry):
        raise ConversionError(f"{matched.name}: {geometry}: only plain ViTs can be exported so", hint="segzoo convert writes its tensors")
    mean, std = pixels_of(matched) or (None, None)
    return ModelFacts(
        geometry,
        matched.entry.eps,
        [section for section in matched.file.found.sections if section not in left],
        dtype=min({spec.dtype for spec in steps.specs.values()}),
        mean=mean,
        std=std,
        hidden=steps.sizes["r"] if "pre_logits" in matched.file.found.sections and "pre_logits" not in left else None,
        qkv_bias="qkv bias" in steps.target.sections or "qkv bias" not in steps.layout.sections,
    )


def _weights(matched: Matched, folder: Path, to: str | Layout, said: ByteProgress, prefix: str | None = None) -> Made:
    """Write the tensors in a layout, as model.safetensors."""
    with naming(matched.file.weights.path, matched.name):
        report = convert(
            matched.file.weights.path,
            folder / _WEIGHTS,
            to=to,
            source_layout=matched.file.found.layout.name,
            heads=matched.file.geometry.heads,
            positions=matched.file.grid or getattr(matched.file.geometry, "positions", None),
            eps=matched.entry.eps,
            prefix=prefix,
            progress=lambda doing, done, whole: said(done, whole),
        )
    if report.not_finite:
        raise not_finite(report.not_finite)
    return Made("", report.target_layout, report.read, report.written, report.dropped)


def _more(matched: Matched) -> dict[str, Any]:
    """The protocol and the classes of a Segmenter, for its config."""
    if not isinstance(matched.entry, Model):
        return {}
    protocol = {
        name: value
        for name, value in matched.entry.protocol.plain.items()
        if name in ("by", "scale", "crop", "stride", "multiple", "pad", "min_size")
    }
    if matched.entry.head.classes == 1:
        protocol["threshold"] = matched.entry.protocol.threshold or THRESHOLD
    return {"protocol": protocol, "classes": [{"name": name, "colour": list(colour)} for name, colour in matched.classes.items()]}


def _json(path: Path, facts: Mapping[str, Any]) -> None:
    path.write_text(json_text(facts, ensure_ascii=False) + "\n", encoding="utf-8")
