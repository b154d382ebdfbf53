"""One entry of the zoo as a folder that another library loads as it is: weights, config, model card.

The folder appears whole or not at all. Its weights are written by `conversion`, read back and compared; an ONNX graph is held
to the torch model before it is kept.
"""

import hashlib
import json
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from segzoo import configuration
from segzoo.atomic import whole_folder
from segzoo.configuration import Told
from segzoo.conversion.convert import convert
from segzoo.conversion.plan import Plan, plan
from segzoo.errors import ConversionError, EnvironmentFault, UsageError
from segzoo.evidence.keeping import changed
from segzoo.evidence.receipt import facts_of
from segzoo.evidence.receipt import read as read_receipt
from segzoo.formats import naming
from segzoo.formats.arrays import not_finite
from segzoo.layouts import OWN, Layout
from segzoo.manifest.entries import Dataset, Entry, Model
from segzoo.modelcard import Made, card
from segzoo.report import command
from segzoo.zoo.likeness import Known, Said, known
from segzoo.zoo.own.propose import name_of
from segzoo.zoo.zoo import Manifest

_WEIGHTS, _CONFIG = "model.safetensors", "config.json"
_SLOW = {"onnx": "torch traces the graph, which takes it half a minute"}


@dataclass(frozen=True)
class File:
    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Publication:
    """A folder that was written. `left_out` are the sections that did not come along, `verified` whether a receipt of the same
    bytes says that nothing failed, None where there is none, `verify` the command that makes one, with paths as they were given.
    """

    folder: Path
    form: str
    name: str
    like: str
    files: tuple[File, ...]
    left_out: tuple[str, ...]
    remarks: tuple[str, ...]
    verified: bool | None
    verify: str


def publish(
    source: str | Path,
    folder: Path,
    form: str,
    manifest: Manifest,
    like: str | None = None,
    said: Said = lambda done, whole: None,
    note: Callable[[str], None] = lambda text: None,
) -> Publication:
    """Write an entry of the zoo, or a file of one's own that is like one, as a folder of this form, one of `FORMS`. `note` is told what
    will take its time.

    Raises UsageError (the folder is there, no such form), ConversionError (the form cannot hold the model), EnvironmentFault (disk, a missing
    extra), NotFoundError, and what fetching raises.
    """
    if form not in FORMS:
        raise UsageError(f"no form '{form}'; there are {', '.join(FORMS)}")
    with whole_folder(folder) as part:  # refused before anything is fetched
        it = known(source, manifest, manifest.zoo.entries, like, said)
        dataset = manifest.zoo.datasets[it.entry.protocol.dataset] if isinstance(it.entry, Model) else None
        if form in _SLOW:
            note(_SLOW[form])
        zoo = _zoo(manifest)
        reproduce = _reproduce(it, zoo, form, folder)
        verify = _verify(it, zoo, Path(it.name).name)
        made = replace(FORMS[form](it, dataset, part, said), reproduce=reproduce, verify=verify, version=version("segzoo"))
        sha256 = it.fetched.sha256 if it.fetched else _sha256(it.read.opened.path)
        receipt = read_receipt(manifest.receipt_of(it.like))
        other = _other(receipt, sha256, it.entry) if receipt else None
        proved = receipt if not other else None
        if proved and it.fetched:
            made = replace(made, verify=command(it.name, proved, zoo))
        (part / "README.md").write_text(card(it, sha256, made, dataset, proved, other), encoding="utf-8")
        files = tuple(File(path.name, path.stat().st_size, _sha256(path)) for path in sorted(part.iterdir()))
    verified = proved["passed"] if proved else None
    verify = command(it.name, proved, manifest.option) if proved and it.fetched else _verify(it, manifest.option, it.name)
    return Publication(folder, form, it.name, it.like, files, tuple(drop.section for drop in made.dropped), made.remarks, verified, verify)


def _other(receipt: Mapping[str, Any], sha256: str, entry: Entry) -> str | None:
    """Of what else a receipt is than of these bytes as the manifest describes them."""
    if facts_of(receipt, "bytes").get("sha256") != sha256:
        return "other bytes than these"
    what = changed(receipt, entry)
    return f"an earlier state of the manifest ({', '.join(what)})" if what else None


def _transformers(it: Known, dataset: Dataset | None, folder: Path, said: Said) -> Made:
    _only_backbones(it, "transformers")
    steps = _plan(it, "hf")
    told = _told(it, steps)
    _json(folder / _CONFIG, configuration.of_transformers(told))
    remarks = []
    if images := configuration.of_images(told):
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
    _json(folder / _CONFIG, configuration.of_timm(told))
    remarks = () if told.mean else (_UNKNOWN_PIXELS,)
    return replace(_weights(it, folder, "timm", said), form="timm", classes=told.classes, remarks=remarks)


def _plain(it: Known, dataset: Dataset | None, folder: Path, said: Said) -> Made:
    to = OWN if "distilled stem" in it.read.found.sections else "mmseg"  # the same, but for a distillation token
    told = _told(it, _plan(it, to))
    _json(folder / _CONFIG, configuration.of_loader(told, _more(it, dataset)))
    loader = folder / ("segmenter.py" if isinstance(it.entry, Model) else "vit.py")
    loader.write_text(Path(__file__).with_name("standalone.py").read_text(encoding="utf-8"), encoding="utf-8")
    return replace(_weights(it, folder, to, said), form="safetensors", **_pixels(told))


def _onnx(it: Known, dataset: Dataset | None, folder: Path, said: Said) -> Made:
    if lacking := [package for package in ("torch", "onnx", "onnxscript") if find_spec(package) is None]:
        raise EnvironmentFault(f"{' and '.join(lacking)}: not installed, and needed to write ONNX", hint="pip install 'segzoo[export]'")
    from segzoo.graph import AnySize, compared, write
    from segzoo.zoo.loading import module

    steps = _plan(it, OWN)
    told = _told(it, steps)
    _json(folder / _CONFIG, configuration.of_loader(told, _more(it, dataset)))
    model = module(it.read, it.entry, AnySize)
    output = "scores" if isinstance(it.entry, Model) else "features"
    write(model, folder / "model.onnx", told.geometry.patch, output)
    checked = compared(folder / "model.onnx", module(it.read, it.entry), told.geometry.patch, told.side // told.geometry.patch)
    made = Made("onnx", OWN.name, len(it.read.opened), len(steps.steps), steps.dropped, **_pixels(told))
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
    with naming(it.read.opened.path, it.name):
        return plan(it.read.opened.specs, to, found=it.read.found, heads=it.read.geometry.heads)


def _told(it: Known, steps: Plan) -> Told:
    left = {drop.section for drop in steps.dropped}
    told = Told(
        it.read.geometry,
        it.entry.eps,
        [section for section in it.read.found.sections if section not in left],
        dtype=min({spec.dtype for spec in steps.specs.values()}),
        hidden=steps.sizes["r"] if "pre_logits" in it.read.found.sections and "pre_logits" not in left else None,
    )
    if isinstance(it.entry, Model):
        protocol, eps = it.entry.protocol, it.entry.head.eps
        return replace(told, mean=protocol.mean, std=protocol.std, resample=it.entry.resample, decoder_eps=eps)
    if it.fetched and it.read.found.layout.name in ("augreg", "bigvision"):  # both programs scale pixels to -1 .. 1
        return replace(told, mean=(127.5,) * 3, std=(127.5,) * 3)
    return told


def _weights(it: Known, folder: Path, to: str | Layout, said: Said, prefix: str | None = None) -> Made:
    """The tensors in a layout, as model.safetensors, and what that took."""
    with naming(it.read.opened.path, it.name):
        report = convert(
            it.read.opened.path,
            folder / _WEIGHTS,
            to=to,
            source_layout=it.read.found.layout.name,
            heads=it.read.geometry.heads,
            positions=it.read.geometry.positions,
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


def _zoo(manifest: Manifest) -> str:
    """The option that chooses the zoo, with a space after it; of a person's own path only the usual name."""
    return {"shipped": "", "mini": "--zoo mini "}.get(manifest.label, "--zoo zoo.yaml ")


def _reproduce(it: Known, zoo: str, form: str, folder: Path) -> str:
    """What makes it again; of a person's own paths only the last part."""
    return f"segzoo {zoo}export {shlex.quote(Path(it.name).name)}{_like(it)} -o {shlex.quote(folder.absolute().name)} --as {form}"


def _verify(it: Known, zoo: str, file: str) -> str:
    """What verifies it, once a file of one's own has an entry."""
    if it.fetched:
        return f"segzoo {zoo}verify {it.like}"
    own = name_of(Path(it.name).name)
    return f"segzoo {zoo}manifest add {shlex.quote(file)}{_like(it)} --to own.yaml && segzoo --zoo own.yaml {zoo}verify {own}"


def _like(it: Known) -> str:
    return "" if it.fetched else f" --like {it.like}"


def _json(path: Path, facts: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(facts, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
