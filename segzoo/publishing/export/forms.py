"""What `export` can write: one form for each library."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from segzoo.conversion.convert import convert
from segzoo.conversion.plan import Dropped, Plan, plan
from segzoo.errors import ConversionError
from segzoo.extras import require
from segzoo.formats import naming
from segzoo.formats.arrays import not_finite
from segzoo.layouts import OWN
from segzoo.layouts.heads.mask import Decoder
from segzoo.layouts.layout import Layout
from segzoo.layouts.vit.geometry import Geometry
from segzoo.manifest.entries import THRESHOLD, Dataset, Model
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
    `remarks` are what a user of the folder must know. `reproduce` is the command that makes the folder again, `verify` the one that
    verifies the model, `version` that of segzoo.
    """

    form: str
    layout: str
    read: int
    written: int
    dropped: tuple[Dropped, ...]
    classes: int | None = None
    remarks: tuple[str, ...] = ()
    pixels: bool = False
    reproduce: str = ""
    verify: str = ""
    version: str = ""


def _transformers(matched: Matched, dataset: Dataset | None, folder: Path, said: ByteProgress) -> Made:
    _only_backbones(matched, "transformers")
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


def _timm(matched: Matched, dataset: Dataset | None, folder: Path, said: ByteProgress) -> Made:
    _only_backbones(matched, "timm")
    facts = _facts(matched, _plan(matched, "timm"))
    _json(folder / _CONFIG, configs.of_timm(facts))
    remarks = () if facts.mean else (_UNKNOWN_PIXELS,)
    return replace(_weights(matched, folder, "timm", said), form="timm", classes=facts.classes, remarks=remarks)


def _plain(matched: Matched, dataset: Dataset | None, folder: Path, said: ByteProgress) -> Made:
    own = OWN[matched.file.family.name]
    whole = not _plan(matched, own).filled and "distilled stem" not in matched.file.found.sections
    to = "mmseg" if whole else own  # both are the same, except for a distillation token, and for biases that a file may lack
    facts = _facts(matched, _plan(matched, to))
    _json(folder / _CONFIG, configs.of_loader(facts, _more(matched)))
    loader = folder / ("segmenter.py" if isinstance(matched.entry, Model) else "vit.py")
    loader.write_text(Path(__file__).with_name("standalone.py").read_text(encoding="utf-8"), encoding="utf-8")
    return replace(_weights(matched, folder, to, said), form="safetensors", **_pixels(facts))


def _onnx(matched: Matched, dataset: Dataset | None, folder: Path, said: ByteProgress) -> Made:
    require("torch", "onnx", "onnxscript")
    from segzoo.publishing.export.onnx import AnySize, compare_with_torch, write_graph
    from segzoo.zoo.loading import module

    own = OWN[matched.file.family.name]
    steps = _plan(matched, own)
    facts = _facts(matched, steps)
    _json(folder / _CONFIG, configs.of_loader(facts, _more(matched)))
    model = module(matched.file, matched.entry, network=AnySize)
    output = "scores" if isinstance(matched.entry, Model) else "features"
    write_graph(model, folder / "model.onnx", facts.geometry.patch, output, channels=facts.geometry.channels)
    image = (facts.geometry.channels, *facts.image)
    checked = compare_with_torch(folder / "model.onnx", module(matched.file, matched.entry), facts.geometry.patch, image)
    made = Made("onnx", own.name, len(matched.file.weights), len(steps.steps), steps.dropped, **_pixels(facts))
    return replace(made, remarks=(f"Position embeddings are resized and sides padded inside the graph. {checked}", *made.remarks))


WRITERS: Mapping[str, Callable[[Matched, Dataset | None, Path, ByteProgress], Made]] = {
    "safetensors": _plain,
    "hf": _transformers,
    "timm": _timm,
    "onnx": _onnx,
}


def _pixels(facts: ModelFacts) -> dict[str, Any]:
    """The fields of `Made` that say whether the normalisation of images is known."""
    return {"pixels": True} if facts.mean else {"remarks": (_UNKNOWN_PIXELS,)}


_UNKNOWN_PIXELS = "How its images were normalised is not known, and so not in the config."


def _only_backbones(matched: Matched, library: str) -> None:
    if isinstance(matched.entry, Model):
        raise ConversionError(
            f"{matched.name} is a Segmenter: {library} has no class for it, and its head would be lost",
            hint="--as safetensors (with a loader in plain torch) and --as onnx keep it whole (form= in Python); segzoo convert writes its backbone",
        )


def _plan(matched: Matched, to: str | Layout) -> Plan:
    """The plan of what will be written. Raises ConversionError for what the layout cannot hold."""
    with naming(matched.file.weights.path, matched.name):
        return plan(matched.file.weights.specs, to, found=matched.file.found, heads=matched.file.geometry.heads)


def _facts(matched: Matched, steps: Plan) -> ModelFacts:
    """The facts of the model for its config. Raises ConversionError for a family or a head that no form can describe."""
    left, geometry = {drop.section for drop in steps.dropped}, matched.file.geometry
    if not isinstance(geometry, Geometry) or not isinstance(geometry.decoder, Decoder | None):
        raise ConversionError(f"{matched.name}: {geometry}: only plain ViTs and Segmenters can be exported", hint="segzoo convert writes its tensors")
    facts = ModelFacts(
        geometry,
        matched.entry.eps,
        [section for section in matched.file.found.sections if section not in left],
        dtype=min({spec.dtype for spec in steps.specs.values()}),
        hidden=steps.sizes["r"] if "pre_logits" in matched.file.found.sections and "pre_logits" not in left else None,
        qkv_bias="qkv bias" in steps.target.sections or "qkv bias" not in steps.layout.sections,
    )
    if isinstance(matched.entry, Model):
        protocol, eps = matched.entry.protocol, matched.entry.head_eps
        return replace(facts, mean=protocol.mean, std=protocol.std, resample=matched.entry.resample, decoder_eps=eps)
    if matched.fetched and matched.file.found.layout.name in ("augreg", "bigvision"):  # both programs scale pixels to -1 .. 1
        return replace(facts, mean=(127.5,) * 3, std=(127.5,) * 3)
    return facts


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
    protocol = {name: value for name, value in matched.entry.protocol.plain.items() if name in ("by", "scale", "crop", "stride")}
    if matched.entry.head.classes == 1:
        protocol["threshold"] = matched.entry.protocol.threshold or THRESHOLD
    return {"protocol": protocol, "classes": [{"name": name, "colour": list(colour)} for name, colour in matched.classes.items()]}


def _json(path: Path, facts: Mapping[str, Any]) -> None:
    path.write_text(json_text(facts, ensure_ascii=False) + "\n", encoding="utf-8")
