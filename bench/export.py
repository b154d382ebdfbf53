"""Each form of `segzoo export`, loaded by the library it is for, in a process and an environment of its own.

    python bench/export.py [--base] [--hf PYTHON ...] [--timm PYTHON] [--ort PYTHON] [--torch PYTHON] [--record]

Without PYTHONs it makes throw-away environments, with the newest release of each library. Exports the mini zoo, and with
`--base` a ViT-B/16 and a Segmenter of true size with random weights; each library then loads its folder strictly and computes, and
what comes out is compared: backbones with google-research's own flax model (golden outputs, exact GELU) where there are any,
else with segzoo's torch model, Segmenters with segzoo's. Prints the largest absolute difference and what the loading said.
Needs `segzoo[export]` here.
"""

import argparse
import json
import math
import subprocess
import tempfile
import venv
from pathlib import Path

import numpy as np
import record
import torch
from true_size import shapes

import segzoo
from segzoo.layouts.vit.geometry import Geometry
from segzoo.manifest.document import load_manifest
from segzoo.manifest.entries import geometry_of
from segzoo.zoo.likeness import match_entry
from segzoo.zoo.loading import module
from segzoo.zoo.zoo import open_zoo

CLAIM = (
    "Exported folders, loaded strictly by the library that they are for, in an environment of its own: the largest difference of what comes out from "
    "flax's golden outputs where there are any, else from segzoo's torch model, over all sizes tried; and the largest number of that output."
)
GOLDEN = Path(__file__).parent.parent / "tests" / "data" / "augreg"
TORCH = f"torch=={torch.__version__.split('+')[0]}"
WANTED = {
    "hf": [TORCH, "transformers", "pillow"],
    "timm": [TORCH, "timm", "torchvision"],
    "ort": ["onnxruntime"],
    "torch": [TORCH, "safetensors", "numpy"],
}

# What runs over there. Each prints one line of JSON: how it was loaded, what the library said of it; outputs go to a file.
PEERS = {
    "hf": """
import sys, json, numpy as np, torch, transformers
from transformers import AutoModelForImageClassification
model, said = AutoModelForImageClassification.from_pretrained(sys.argv[1], output_loading_info=True)
with torch.inference_mode():
    np.save(sys.argv[3], model.eval()(torch.from_numpy(np.load(sys.argv[2]))).logits.numpy())
said = {key: sorted(map(str, value)) for key, value in said.items() if value}
try:
    transformers.AutoImageProcessor.from_pretrained(sys.argv[1])
    said["image processor"] = "loads"
except Exception as error:
    said["image processor"] = str(error).strip().splitlines()[0]
print(json.dumps(["transformers " + transformers.__version__, said]))
""",
    "hf features": """
import sys, json, numpy as np, torch, transformers
model, said = transformers.AutoModel.from_pretrained(sys.argv[1], add_pooling_layer=False, output_loading_info=True)
with torch.inference_mode():
    tokens = model.eval()(torch.from_numpy(np.load(sys.argv[2]))).last_hidden_state
np.save(sys.argv[3], tokens[:, 1:].transpose(1, 2).numpy())
print(json.dumps(["transformers " + transformers.__version__, {key: sorted(map(str, value)) for key, value in said.items() if value}]))
""",
    "timm": """
import sys, json, numpy as np, torch
library = torch.library.Library("torchvision", "DEF")  # a CPU torchvision fails to import without these schemas
library.define("nms(Tensor a, Tensor b, float c) -> Tensor")
library.define("qnms(Tensor a, Tensor b, float c) -> Tensor")
import timm
model = timm.create_model("local-dir:" + sys.argv[1], pretrained=True).eval()
with torch.inference_mode():
    np.save(sys.argv[3], model(torch.from_numpy(np.load(sys.argv[2]))).numpy())
print(json.dumps(["timm " + timm.__version__, timm.data.resolve_model_data_config(model)]))
""",
    "onnx": """
import sys, json, numpy as np, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1] + "/model.onnx", providers=["CPUExecutionProvider"])
(out,) = session.run(None, {"image": np.load(sys.argv[2])})
np.save(sys.argv[3], out)
print(json.dumps(["onnxruntime " + onnxruntime.__version__, {"input": session.get_inputs()[0].shape, "output": session.get_outputs()[0].shape}]))
""",
    "safetensors": """
import sys, json, numpy as np, torch
sys.path.insert(0, sys.argv[1])
loader = __import__("segmenter" if "mask" in sys.argv[1] or "linear" in sys.argv[1] else "vit")
with torch.inference_mode():
    np.save(sys.argv[3], loader.load()(torch.from_numpy(np.load(sys.argv[2]))).numpy())
print(json.dumps(["torch " + torch.__version__, {"segzoo imported": "segzoo" in sys.modules}]))
""",
}


ZOO = """
version: 1
datasets:
  drawn: {title: none, loader: ade20k, root: none, split: validation, images: 1, label_rule: none, path: none, classes: {CLASSES}}
backbones:
  base-vit:
    title: ViT-B/16, random
    file: vit.pth
    source: {name: vit.npz, layout: augreg, urls: [vit.npz]}
    geometry: {width: 768, depth: 12, heads: 12, mlp: 3072, patch: 16, grid: 24, classes: 1000}
models:
  base-mask:
    title: Segmenter Mask, ViT-B/16, random
    checkpoint: {name: mask.pth, layout: mmseg, urls: [mask.pth]}
    backbone: {width: 768, depth: 12, heads: 12, mlp: 3072, patch: 16, image: 512, eps: 1.0e-6}
    head: {kind: mask, depth: 2, heads: 12, mlp: 3072, classes: 150, eps: 1.0e-5}
    protocol: {dataset: drawn, scale: [2048, 512], crop: 512, stride: 480, mean: 127.5, std: 127.5}
    reported: {miou: 0.0, source: "https://example.org/none"}
"""


def environment(folder: Path, name: str) -> str:
    """The Python of a new environment with a library in it."""
    venv.create(folder / name, with_pip=True)
    python = str(folder / name / "bin" / "python")
    subprocess.run([python, "-m", "pip", "install", "-q", *WANTED[name]], check=True)
    return python


def true_size(folder: Path) -> Path:
    """A zoo of one ViT-B/16 at 384 px and one Segmenter Mask on it at 512 px, of random numbers."""
    path = folder / "zoo.yaml"
    path.write_text(ZOO.replace("CLASSES", ", ".join(f"class {number}: [{number}, 0, 0]" for number in range(150))))
    random, manifest = np.random.default_rng(0), load_manifest(path)
    for entry in (*manifest.backbones.values(), *manifest.models.values()):
        artifact = entry.artifact
        wanted = shapes("vit", str(artifact.layout), geometry_of(entry))
        tensors = {key: _numbers(random, key, shape) for key, shape in wanted.items()}
        if artifact.layout == "augreg":
            np.savez(folder / artifact.name, **tensors)
        else:
            torch.save({"state_dict": {key: torch.from_numpy(array) for key, array in tensors.items()}}, folder / artifact.name)
    return path


def _numbers(random: np.random.Generator, key: str, shape: tuple[int, ...]) -> np.ndarray:
    """Of a size at which a network of them neither dies nor explodes; the scales of layer norms are about one."""
    scale = any(part in key for part in ("scale", "ln1.weight", "ln2.weight", "norm.weight"))
    return (scale + random.standard_normal(shape, dtype=np.float32) * 0.02).astype(np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", action="store_true", help="a ViT-B/16 and a Segmenter on it too")
    parser.add_argument("--hf", nargs="+", metavar="PYTHON")
    for name in ("timm", "ort", "torch"):
        parser.add_argument(f"--{name}", metavar="PYTHON")
    record.add_option(parser)
    options = parser.parse_args()
    figures: dict[str, dict[str, float]] = {}
    failed = False
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        python = {peer: getattr(options, peer) or environment(folder, peer) for peer in WANTED}
        hf = python["hf"] if isinstance(python["hf"], list) else [python["hf"]]
        pythons = {"hf": hf, "hf features": hf, "timm": [python["timm"]], "onnx": [python["ort"]], "safetensors": [python["torch"]]}
        print(f"{'entry':<12} {'form':<12} {'size':<17} {'loaded by':<20} {'max abs':>8} {'of':>7}  against; what loading said")
        for zoo in ["mini", *([str(true_size(folder))] if options.base else [])]:
            opened = open_zoo(zoo)
            for entry in opened.manifest.entries:
                forms = ["hf", "hf features", "timm", "safetensors", "onnx"] if entry in opened.manifest.backbones else ["safetensors", "onnx"]
                for form in forms:
                    out = folder / entry / form.replace(" ", "-")
                    segzoo.export(entry, out, form=form.split()[0], zoo=zoo)
                    for peer in pythons[form]:
                        for size in sizes(form, geometry_of(opened.manifest.entries[entry])):
                            if (found := one(peer, form, entry, out, size, opened)) is None:
                                failed = True
                                continue
                            library, *numbers = found
                            worst = figures.setdefault(f"{entry}, {form}, {library}", {"largest difference": 0.0, "of": 0.0})
                            worst |= {name: max(worst[name], number) for name, number in zip(worst, numbers, strict=True)}
    if options.record and not failed:
        record.keep(CLAIM, figures, {})
    raise SystemExit(failed)


def sizes(form: str, geometry: Geometry) -> list[tuple[int, int, int]]:
    """Batch, height and width to try; other grids than the stored where the form takes them."""
    side, patch = math.isqrt(geometry.positions) * geometry.patch, geometry.patch
    stored = [(2, side, side)]
    return [*stored, (1, 5 * patch + 3, 3 * patch), (1, side // 2, 2 * side)] if form in ("safetensors", "onnx") else stored


def one(peer: str, form: str, entry: str, out: Path, size: tuple[int, int, int], opened: object) -> tuple[str, float, float] | None:
    """One folder, loaded and run elsewhere, and a line about it. The library, the largest difference and the largest number; None where it failed."""
    batch, height, width = size
    golden = entry == "mini-vit" and size == (2, 64, 64)
    image = np.random.default_rng(1).standard_normal((batch, 3, height, width), np.float32)
    if golden:
        image = np.load(GOLDEN / "mini.input.npy").transpose(0, 3, 1, 2).astype(np.float32)
    np.save(out.parent / "image.npy", np.ascontiguousarray(image))
    command = [peer, "-c", PEERS[form], str(out), str(out.parent / "image.npy"), str(out.parent / "out.npy")]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        print(f"{entry:<12} {form:<12} FAILED: {done.stderr.strip().splitlines()[-1]}")
        return None
    library, said = json.loads(done.stdout.strip().splitlines()[-1])
    found = np.load(out.parent / "out.npy")
    expected, against = wanted(form, entry, image, golden, opened)
    difference, largest = np.abs(found - expected.reshape(found.shape)).max(), np.abs(expected).max()
    print(f"{entry:<12} {form:<12} {f'{batch}x3x{height}x{width}':<17} {library:<20} {difference:8.1e} {largest:7.2f}  {against}; {json.dumps(said)}")
    return library, float(difference), float(largest)


def wanted(form: str, entry: str, image: np.ndarray, golden: bool, opened: object) -> tuple[np.ndarray, str]:
    """What should come out, and who says so."""
    logits = form in ("hf", "timm")
    if golden:
        flax = np.load(GOLDEN / "mini.tame.flax_f64erf.npz")
        return (flax["logits"] if logits else flax["tokens"][:, 1:].swapaxes(1, 2)), "flax"
    matched = match_entry(entry, opened, opened.manifest.entries, None, lambda done, whole: None)  # type: ignore[attr-defined, arg-type]
    model = module(matched.file, matched.entry)
    with torch.inference_mode():
        out = model(torch.from_numpy(image))
        if logits:
            weights = [torch.from_numpy(matched.file.weights[key].copy()) for key in ("head/kernel", "head/bias")]
            out = model.tokens(torch.from_numpy(image))[:, 0] @ weights[0] + weights[1]
    return out.numpy(), "segzoo"


if __name__ == "__main__":
    main()
