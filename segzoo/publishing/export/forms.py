"""What `export` can write, a form a library."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from segzoo.conversion.convert import convert
from segzoo.conversion.plan import Dropped, Plan, plan
from segzoo.errors import ConversionError, EnvironmentFault
from segzoo.formats import naming
from segzoo.formats.arrays import not_finite
from segzoo.layouts import OWN
from segzoo.layouts.heads.mask import Decoder
from segzoo.layouts.layout import Layout
from segzoo.layouts.vit.geometry import Geometry
from segzoo.manifest.entries import Dataset, Model
from segzoo.publishing.export import configs
from segzoo.publishing.export.configs import Told
from segzoo.zoo.likeness import Known, Said

_WEIGHTS, _CONFIG = "model.safetensors", "config.json"


@dataclass(frozen=True)
class Made:
    """What was written: the form, the layout of its tensors, how many were read and written, what did not come along.

    `classes` are those of an image classifier, where one came along; `pixels` says whether it is known how images were normalised,
    `remarks` what whoever uses it must know; `reproduce` is the command that makes the folder again.
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


def _transformers(it: Known, dataset: Dataset | None, folder: Path, said: Said) -> Made:
    _only_backbones(it, "transformers")
    steps = _plan(it, "hf")
    told = _told(it, steps)
    _json(folder / _CONFIG, configs.of_transformers(told))
    remarks = []
    if images := configs.of_images(told):
        _json(folder / "preprocessor_config.json", images)
    else:
        remarks.append(_UNKNOWN_PIXELS)
    if told.classes:
        remarks.append(
            "For features alone, `AutoModel.from_pretrained(folder, add_pooling_layer=False)`; transformers then says that it leaves the classifier."
        )
    prefix = "vit." if told.classes else ""  # as transformers itself writes them
    return replace(_weights(it, folder, "hf", said, prefix), form="hf", classes=told.classes, remarks=tuple(remarks))


def _timm(it: Known, dataset: Dataset | None, folder: Path, said: Said) -> Made:
    _only_backbones(it, "timm")
    told = _told(it, _plan(it, "timm"))
    _json(folder / _CONFIG, configs.of_timm(told))
    remarks = () if told.mean else (_UNKNOWN_PIXELS,)
    return replace(_weights(it, folder, "timm", said), form="timm", classes=told.classes, remarks=remarks)


def _plain(it: Known, dataset: Dataset | None, folder: Path, said: Said) -> Made:
    own = OWN[it.file.family.name]
    to = own if "distilled stem" in it.file.found.sections else "mmseg"  # the same, but for a distillation token
    told = _told(it, _plan(it, to))
    _json(folder / _CONFIG, configs.of_loader(told, _more(it, dataset)))
    loader = folder / ("segmenter.py" if isinstance(it.entry, Model) else "vit.py")
    loader.write_text(Path(__file__).with_name("standalone.py").read_text(encoding="utf-8"), encoding="utf-8")
    return replace(_weights(it, folder, to, said), form="safetensors", **_pixels(told))


def _onnx(it: Known, dataset: Dataset | None, folder: Path, said: Said) -> Made:
    if lacking := [package for package in ("torch", "onnx", "onnxscript") if find_spec(package) is None]:
        raise EnvironmentFault(f"{' and '.join(lacking)}: not installed, and needed to write ONNX", hint="pip install 'segzoo[export]'")
    from segzoo.publishing.export.onnx import AnySize, compared, write
    from segzoo.zoo.loading import module

    own = OWN[it.file.family.name]
    steps = _plan(it, own)
    told = _told(it, steps)
    _json(folder / _CONFIG, configs.of_loader(told, _more(it, dataset)))
    model = module(it.file, it.entry, network=AnySize)
    output = "scores" if isinstance(it.entry, Model) else "features"
    write(model, folder / "model.onnx", told.geometry.patch, output)
    checked = compared(folder / "model.onnx", module(it.file, it.entry), told.geometry.patch, told.side // told.geometry.patch)
    made = Made("onnx", own.name, len(it.file.weights), len(steps.steps), steps.dropped, **_pixels(told))
    return replace(made, remarks=(f"Position embeddings are resized and sides padded inside the graph. {checked}", *made.remarks))


FORMS: Mapping[str, Callable[[Known, Dataset | None, Path, Said], Made]] = {
    "safetensors": _plain,
    "hf": _transformers,
    "timm": _timm,
    "onnx": _onnx,
}


def _pixels(told: Told) -> dict[str, Any]:
    """What a card says of how images were normalised, of which the example in it makes use."""
    return {"pixels": True} if told.mean else {"remarks": (_UNKNOWN_PIXELS,)}


_UNKNOWN_PIXELS = "How its images were normalised is not known, and so not in the config."


def _only_backbones(it: Known, library: str) -> None:
    if isinstance(it.entry, Model):
        raise ConversionError(
            f"{it.name} is a Segmenter, for which {library} has no class: its head would be lost",
            hint="--as safetensors (with a loader in plain torch) or --as onnx hold it whole (in Python form=); segzoo convert writes its backbone",
        )


def _plan(it: Known, to: str | Layout) -> Plan:
    """What will be written; refuses what the layout cannot hold."""
    with naming(it.file.weights.path, it.name):
        return plan(it.file.weights.specs, to, found=it.file.found, heads=it.file.geometry.heads)


def _told(it: Known, steps: Plan) -> Told:
    """The model as its config describes it. Raises ConversionError for a family or a head that no form is written for."""
    left, geometry = {drop.section for drop in steps.dropped}, it.file.geometry
    if not isinstance(geometry, Geometry) or not isinstance(geometry.decoder, Decoder | None):
        raise ConversionError(f"{it.name}: {geometry}: exports are of plain ViTs and Segmenters", hint="segzoo convert writes its tensors")
    told = Told(
        geometry,
        it.entry.eps,
        [section for section in it.file.found.sections if section not in left],
        dtype=min({spec.dtype for spec in steps.specs.values()}),
        hidden=steps.sizes["r"] if "pre_logits" in it.file.found.sections and "pre_logits" not in left else None,
    )
    if isinstance(it.entry, Model):
        protocol, eps = it.entry.protocol, it.entry.head_eps
        return replace(told, mean=protocol.mean, std=protocol.std, resample=it.entry.resample, decoder_eps=eps)
    if it.fetched and it.file.found.layout.name in ("augreg", "bigvision"):  # both programs scale pixels to -1 .. 1
        return replace(told, mean=(127.5,) * 3, std=(127.5,) * 3)
    return told


def _weights(it: Known, folder: Path, to: str | Layout, said: Said, prefix: str | None = None) -> Made:
    """The tensors in a layout, as model.safetensors, and what that took."""
    with naming(it.file.weights.path, it.name):
        report = convert(
            it.file.weights.path,
            folder / _WEIGHTS,
            to=to,
            source_layout=it.file.found.layout.name,
            heads=it.file.geometry.heads,
            positions=getattr(it.file.geometry, "positions", None),
            eps=it.entry.eps,
            prefix=prefix,
            progress=lambda doing, done, whole: said(done, whole),
        )
    if report.not_finite:
        raise not_finite(report.not_finite)
    return Made("", report.target_layout, report.read, report.written, report.dropped)


def _more(it: Known, dataset: Dataset | None) -> dict[str, Any]:
    """What a user of a Segmenter needs beside its sizes: how images are seen, and what the classes are."""
    if not isinstance(it.entry, Model) or dataset is None:
        return {}
    protocol = it.entry.protocol.model_dump(mode="json", include={"by", "scale", "crop", "stride"})
    return {"protocol": protocol, "classes": [{"name": name, "colour": list(colour)} for name, colour in dataset.classes.items()]}


def _json(path: Path, facts: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(facts, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
