"""What the README.md of an exported folder says: what the model is, its origin, its conversion and its verification.

A manifest may be written by a stranger. Its texts reach the card as text, never as markup.
"""

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from segzoo.evidence.check import came_of
from segzoo.evidence.receipt import check_of, facts_of
from segzoo.layouts import HEADS, OWN
from segzoo.manifest.entries import THRESHOLD, Backbone, Dataset, Model
from segzoo.publishing.export.forms import Made, loader_of
from segzoo.publishing.markdown import code, fenced, link, prose
from segzoo.text import legible
from segzoo.zoo.likeness import Matched

_LIBRARY = {"hf": "transformers", "timm": "timm", "onnx": "onnx", "safetensors": "pytorch"}
_FLAX = ("augreg", "bigvision")  # layouts of models trained in flax, where GELU has the tanh form


def card(matched: Matched, sha256: str, made: Made, dataset: Dataset | None, proved: Mapping[str, Any] | None, other: str | None) -> str:
    """The whole text. `proved` is a receipt of these bytes, as the manifest describes them now. `other` says why a
    receipt that is there does not count.
    """
    blocks = [
        _front_matter(matched, made, dataset, proved),
        f"# {prose(_title(matched))}",
        _what(matched, made),
        "## Use",
        _use(matched, made),
        *(["## Input and output", *_protocol(matched, matched.entry, dataset)] if isinstance(matched.entry, Model) else []),
        "## Origin",
        _list(_origin(matched, sha256)),
        "## Conversion",
        _list(_conversion(matched, made, proved)),
        "## Verification",
        *_verification(made, proved, other),
        "## Licence",
        _licence(matched, dataset),
        "## Make it again",
        fenced([made.reproduce, made.verify], "sh"),
    ]
    return "\n\n".join(blocks) + "\n"


def _list(lines: Iterator[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _front_matter(matched: Matched, made: Made, dataset: Dataset | None, proved: Mapping[str, Any] | None) -> str:
    """The block that hubs read. It is written as JSON, which is valid YAML, so that no text can break out of it."""
    segmenter = isinstance(matched.entry, Model)
    task = "image-segmentation" if segmenter else "image-classification" if made.classes else "image-feature-extraction"
    facts: dict[str, Any] = {"license": "unknown", "library_name": _LIBRARY[made.form], "pipeline_tag": task}
    facts["tags"] = ["segzoo", "vision-transformer", *(["semantic-segmentation", "segmenter"] if segmenter else ["backbone"])]
    if isinstance(matched.entry, Model) and dataset is not None:
        facts["datasets"] = [matched.entry.protocol.dataset]
        facts["metrics"] = ["mean_iou"]
        whole = {mode: one["measured"]["mIoU"] for mode, one in _modes(proved).items() if one.get("verdict") in ("confirmed", "refuted")}
        if whole:  # only figures of all images: a subset's figure is not one of the data set
            results = {
                "task": {"type": "image-segmentation"},
                "dataset": {"name": dataset.title, "type": matched.entry.protocol.dataset, "split": dataset.split},
                "metrics": [{"type": "mean_iou", "name": f"mIoU, {mode}", "value": figure} for mode, figure in whole.items()],
            }
            facts["model-index"] = [{"name": _title(matched), "results": [results]}]
    return "---\n" + "\n".join(f"{key}: {json.dumps(_legible(value), ensure_ascii=False)}" for key, value in facts.items()) + "\n---"


def _legible(value: Any) -> Any:
    """The value with every text in it legible: YAML breaks lines at signs that JSON leaves as they are."""
    if isinstance(value, dict):
        return {_legible(key): _legible(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_legible(one) for one in value]
    return legible(value) if isinstance(value, str) else value


def _title(matched: Matched) -> str:
    """The title of an entry; for a file of one's own its file name, since it is not the model that it is like."""
    return matched.entry.title if matched.fetched else matched.file.weights.path.name


def _what(matched: Matched, made: Made) -> str:
    sizes = f"{matched.file.geometry}."
    if isinstance(matched.entry, Backbone):
        what = f"A Vision Transformer with a classifier of {made.classes} classes" if made.classes else "A Vision Transformer without a classifier"
    else:
        head, family = HEADS[matched.entry.head.named], matched.file.family
        what = f"{head.title} on a {family.title}, from an image to scores of {matched.entry.head.classes} classes of pixels"
    like = f"a file like {code(matched.like)} of segzoo's zoo" if matched.like else "a file of somebody's own"
    named = f"{code(matched.like)} of segzoo's zoo" if matched.fetched and matched.like else like
    return f"{what}: {named}, written by segzoo {made.version} for {_LIBRARY[made.form]}. {sizes[0].upper()}{sizes[1:]}"


def _use(matched: Matched, made: Made) -> str:
    segmenter = isinstance(matched.entry, Model)
    output, module = "scores" if segmenter else "features", loader_of(matched)
    before, after = _PIXELS if made.pixels else _NO_PIXELS, _labels(matched.entry) if isinstance(matched.entry, Model) else ""
    if made.only:
        before = before.replace("any H and W", f"H and W {made.only}")
    shown = {
        "hf": _TRANSFORMERS_UPERNET if segmenter else _TRANSFORMERS if made.classes else _TRANSFORMERS_FEATURES,
        "timm": _TIMM,
        "onnx": before + _ONNX.format(output=output) + after,
        "safetensors": before + _TORCH.format(output=output, module=module) + after,
    }[made.form]
    return fenced(shown.strip().split("\n"), "python") + "".join(f"\n\n{remark}" for remark in made.remarks)


def _sides(sides: tuple[int, int]) -> str:
    return str(sides[0]) if sides[0] == sides[1] else f"{sides[0]} x {sides[1]}"


def _protocol(matched: Matched, entry: Model, dataset: Dataset | None) -> Iterator[str]:
    protocol = entry.protocol
    mean, std = (" ".join(f"{value:g}" for value in values) for values in (protocol.mean, protocol.std))
    yield (
        f"Input: RGB, float32, (b, 3, H, W), from 0 to 255, minus the mean ({mean}), divided by the deviation ({std}). Output: scores at the "
        f"size of the input, before any softmax{'; their arg-max is the class' if entry.head.classes > 1 else ''}."
    )
    by = {"mmseg": "MMSegmentation", "rstrudel": "rstrudel/segmenter, which enlarges images until a window fits"}[protocol.by]
    crop, stride = protocol.windows
    sized = f"on images resized to fit {protocol.scale[0]} x {protocol.scale[1]}" if protocol.scale else "on images of their own size"
    sized += f", both sides then brought up to multiples of {protocol.multiple}" if protocol.multiple else ""
    seen = (
        "in one piece"
        if not crop or not stride
        else f"through windows of {_sides(crop)} pixels every {_sides(stride)}, whose scores are averaged where they overlap"
    )
    yield f"Its figures are measured by the protocol of {by}: {sized}, seen {seen}." + (" One window is one input here." if crop else "")
    if entry.head.classes == 1:
        yield f"Its one score is that of the foreground: a pixel is foreground where the sigmoid of it is above {protocol.threshold or THRESHOLD:g}."
    whose = f", of {prose(dataset.title)}" if dataset is not None else ""
    yield f"Classes{whose}: {', '.join(prose(name) for name in matched.classes)}. config.json has them with their colours."


def _origin(matched: Matched, sha256: str) -> Iterator[str]:
    """Where the weights come from: for an entry what the manifest says, for a file of one's own only its name."""
    artifact, fetched = matched.entry.artifact, matched.fetched
    yield f"File: {code(matched.file.weights.path.name if fetched is None else artifact.name)}, layout {code(matched.file.found.layout.name)}"
    yield f"SHA-256: {code(sha256)}"
    if fetched is None:
        whose = f"are those of {code(matched.like)}, where the file does not say otherwise" if matched.like else "are as the file says"
        yield f"A file of somebody's own. Heads, eps and protocol, which no tensor shows, {whose}."
        return
    yield f"Held to: {prose(fetched.evidence)}" + (f" ({prose(artifact.provenance)})" if artifact.provenance else "")
    for mirror in artifact.urls:
        yield f"From: {link(mirror.url)}" + (f" ({prose(mirror.unverified)})" if mirror.unverified else "")
    if isinstance(matched.entry, Model):
        reported = matched.entry.reported.source if matched.entry.reported else None
        for what, url in (("Config", matched.entry.config), ("Log", matched.entry.log), ("Reported in", reported)):
            if url is not None and url.startswith("http"):
                yield f"{what}: {link(url)}"


def _conversion(matched: Matched, made: Made, proved: Mapping[str, Any] | None) -> Iterator[str]:
    source = matched.file.found.layout.name
    target = "the names of segzoo's own torch model" if made.layout == OWN[matched.file.family.name].name else code(made.layout)
    yield f"{code(source)} to {target}: {made.read} tensors read, {made.written} written. Numbers were moved, never computed."
    for drop in made.dropped:
        yield f"Left out: {prose(drop.section)} ({prose(drop.reason)}): {', '.join(code(key) for key in drop.keys)}"
    yield f"Layer norms have eps {matched.entry.eps:g}, which shows in no tensor" + (
        f"; those of the head {matched.entry.head_eps:g}" if isinstance(matched.entry, Model) and matched.entry.head_eps else ""
    )
    if source in _FLAX:
        drift = facts_of(proved, "numbers").get("gelu_tanh_drift") if proved else None
        moved = f": measured, it moves the tokens by {drift:.1e}" if drift else ""
        yield f"GELU: flax trained it with the tanh form; here it is the exact, erf form, as in timm, transformers and MMSegmentation{moved}"


def _verification(made: Made, proved: Mapping[str, Any] | None, other: str | None) -> Iterator[str]:
    """What the receipt of these bytes says, rung by rung."""
    if proved is None:
        there = f"There is a receipt, but it is {other}. " if other else ""
        yield f"{there}Not verified yet: {code(made.verify)}"
        return
    if not proved["passed"]:
        failed = ", ".join(check["rung"] for check in proved["checks"] if check["status"] == "failed")
        yield f"**Verification failed**, at: {prose(failed)}."
    rows = ["| rung | status | |", "|---|---|---|"]
    for check in proved["checks"]:  # the detail of a failed or skipped check may name folders of this machine
        status = came_of(check["status"], check["basis"])
        rows.append(f"| {prose(check['rung'])} | {prose(status)} | {prose(check['detail'] if status == 'passed' else check['short'])} |")
    yield "\n".join(rows)
    if modes := _modes(proved):
        score = check_of(proved, "mIoU")
        basis, facts = score["basis"], score["facts"]
        rows = ["| mode | mIoU measured | reported | verdict |", "|---|---|---|---|"]
        for mode, one in modes.items():
            reported = "" if one.get("reported") is None else f"{one['reported']:.{basis['reported']['decimals']}f}"
            rows.append(f"| {prose(mode)} | {one['measured']['mIoU']:.2f} | {reported} | {prose(one.get('verdict') or '')} |")
        yield "\n".join(rows)
        yield (
            f"On {facts['images']} of {facts['of']} images of {prose(basis['loader'])} {prose(basis['split'])}, in {prose(basis['precision'])} on "
            f"{prose(basis['device'])}; digest of the data {code(basis['data_digest'])}."
        )
    versions = ", ".join(f"{name} {version}" for name, version in proved["versions"].items() if version)
    yield f"The receipt is of {prose(proved['time'])}, by {prose(versions)}, on {prose(proved['machine'])}."


def _modes(receipt: Mapping[str, Any] | None) -> Mapping[str, Any]:
    return facts_of(receipt, "mIoU").get("modes", {}) if receipt else {}


def _licence(matched: Matched, dataset: Dataset | None) -> str:
    own = matched.entry.licence if matched.fetched else None
    weights = f"{prose(own)}." if own else "not stated in the zoo; ask whoever published them."
    said = f" Of its data set, {prose(dataset.title)}: {prose(dataset.licence)}." if dataset is not None and dataset.licence else ""
    return f"Of the weights: {weights}{said} segzoo, which wrote this folder, is under Apache-2.0."


_TRANSFORMERS = """
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageClassification

folder = "path/to/this/folder"
model = AutoModelForImageClassification.from_pretrained(folder).eval()
inputs = AutoImageProcessor.from_pretrained(folder)(Image.open("image.jpg").convert("RGB"), return_tensors="pt")
logits = model(**inputs).logits
"""
_TRANSFORMERS_UPERNET = """
from PIL import Image
from transformers import AutoImageProcessor, UperNetForSemanticSegmentation

folder = "path/to/this/folder"
model = UperNetForSemanticSegmentation.from_pretrained(folder).eval()
inputs = AutoImageProcessor.from_pretrained(folder)(Image.open("image.jpg").convert("RGB"), return_tensors="pt")
scores = model(**inputs).logits  # (b, classes, H, W)
"""
_TRANSFORMERS_FEATURES = """
from transformers import AutoModel

model = AutoModel.from_pretrained("path/to/this/folder", add_pooling_layer=False).eval()
tokens = model(pixel_values).last_hidden_state  # the class token, then the patches
"""
_TIMM = """
import timm

model = timm.create_model("local-dir:path/to/this/folder", pretrained=True).eval()
transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
"""
_PIXELS = """
import json
from pathlib import Path

import numpy as np
from PIL import Image

config = json.loads(Path("config.json").read_text())
pixels = np.asarray(Image.open("image.jpg").convert("RGB"), np.float32)
pixels = (pixels - np.float32(config["mean"])) / np.float32(config["std"])
image = pixels.transpose(2, 0, 1)[None]  # (b, 3, H, W): any H and W
"""
_NO_PIXELS = """
image = ...  # float32, (b, 3, H, W), any H and W, normalised as in its training
"""
_ONNX = """
import onnxruntime

session = onnxruntime.InferenceSession("model.onnx")
({output},) = session.run(None, {{"image": image}})
"""
_TORCH = """
import torch
from {module} import load  # the file in this folder; needs torch and safetensors

{output} = load()(torch.tensor(image))
"""
_LABELS = "labels = scores.argmax(1)  # (b, H, W), in the order of the classes\n"


def _labels(entry: Model) -> str:
    """The line that makes labels of scores. The sigmoid is above a threshold where the score is above the threshold's logit."""
    if entry.head.classes > 1:
        return _LABELS
    threshold = entry.protocol.threshold or THRESHOLD
    logit = math.log(threshold / (1 - threshold))
    return f"labels = scores[:, 0] > {logit:.9g}  # (b, H, W): foreground, where the sigmoid is above {threshold:g}\n"
