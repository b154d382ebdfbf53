"""Exported folders: the peers' own tensors and configs, a loader that needs no segzoo, cards that say what is known, whole or not at all."""

import hashlib
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
import yaml
from click.testing import CliRunner
from support import GOLDEN, MINI, TAME, odd_zoo, same, slow_after

import segzoo
from segzoo.cli import main
from segzoo.errors import ConversionError, EnvironmentFault, NotFoundError, UsageError
from segzoo.formats import open_weights
from segzoo.manifest.document import load_manifest
from segzoo.publishing.export.card import code, prose
from segzoo.publishing.export.forms import WRITERS
from segzoo.store.store import home
from segzoo.vocabulary import FORMS
from segzoo.zoo.likeness import match_entry
from segzoo.zoo.loading import module
from segzoo.zoo.zoo import open_zoo

ZOO = """
version: 1
datasets:
  drawn:
    {title: Drawn, loader: ade20k, root: none, split: validation, images: 1, label_rule: none, path: none, classes: {CLASSES}}
backbones:
  prelogits:
    title: With a pre-logits layer
    file: prelogits.pth
    source: {name: mini12-i21k-prelogits.npz, layout: augreg, urls: [mini12-i21k-prelogits.npz]}
    geometry: {width: 24, depth: 12, heads: 3, mlp: 96, patch: 16, grid: 4, classes: 30}
  map:
    title: With a MAP head
    file: map.pth
    source: {name: map.npz, layout: bigvision, urls: [map.npz]}
    geometry: {width: 32, depth: 2, heads: 4, mlp: 128, patch: 8, grid: 4, classes: 7, twists: [no class token]}
  tok:
    title: With a class token that has no position
    file: tok.pth
    source: {name: tok.npz, layout: bigvision, urls: [tok.npz]}
    geometry: {width: 32, depth: 2, heads: 4, mlp: 128, patch: 8, grid: 4, classes: 7, twists: [no class position]}
models:
  mask:
    title: Segmenter Mask, random
    checkpoint: {name: mini_mask.pth, layout: mmseg, urls: [mini_mask.pth]}
    backbone: {width: 64, depth: 4, heads: 2, mlp: 256, patch: 16, image: 64, eps: 1.0e-6}
    head: {kind: mask, depth: 2, heads: 2, mlp: 256, classes: 8, eps: 1.0e-5}
    protocol: {dataset: drawn, scale: [256, 64], crop: 64, stride: 48, mean: 127.5, std: 127.5}
    reported: {miou: 1.0, source: "https://example.org/x"}
  linear:
    title: Segmenter Linear, random
    checkpoint: {name: mini_linear.pth, layout: mmseg, urls: [mini_linear.pth]}
    backbone: {width: 64, depth: 4, heads: 2, mlp: 256, patch: 16, image: 64, eps: 1.0e-6}
    head: {kind: linear, classes: 8}
    protocol: {dataset: drawn, scale: [256, 64], crop: 64, stride: 48, mean: 127.5, std: 127.5}
    reported: {miou: 1.0, source: "https://example.org/x"}
  distilled:
    title: Segmenter Mask, DeiT, random
    checkpoint: {name: distilled.pth, layout: segmenter, urls: [distilled.pth]}
    backbone: {width: 64, depth: 2, heads: 2, mlp: 256, patch: 8, image: 64, eps: 1.0e-5, classes: 16}
    head: {kind: mask, depth: 1, heads: 2, mlp: 256, classes: 8, eps: 1.0e-5}
    protocol:
      {dataset: drawn, by: rstrudel, scale: [256, 64], crop: 64, stride: 32, mean: [123.68, 116.28, 103.53], std: [58.4, 57.12, 57.38]}
    reported: {miou: 1.0, source: "https://example.org/x"}
""".replace("CLASSES", ", ".join(f"class {number}: [{number}, 0, 0]" for number in range(8)))
FILES = [
    *("mmseg/convert/mini12-i21k-prelogits.npz", "bigvision/map.npz", "bigvision/tok.npz"),
    *("mmseg/checkpoints/mini_mask.pth", "mmseg/checkpoints/mini_linear.pth", "segmenter/protocol/distilled.pth"),
]


@pytest.fixture
def zoo(tmp_path):
    """A manifest of the golden files."""
    folder = tmp_path / "golden"
    folder.mkdir()
    for file in FILES:
        shutil.copy(GOLDEN / file, folder)
    (folder / "zoo.yaml").write_text(ZOO)
    return folder / "zoo.yaml"


def weights(folder):
    opened = open_weights(folder / "model.safetensors")
    assert opened.metadata["format"] == "pt"  # transformers 4 refuses a file that does not say so
    return dict(opened)


def config(folder):
    return json.loads((folder / "config.json").read_text())


def front_matter(folder):
    _, block, text = (folder / "README.md").read_text().split("---\n", 2)
    return yaml.safe_load(block), text


def test_the_command_offers_what_there_is():
    assert list(FORMS) == list(WRITERS)


def test_transformers_gets_its_own_names_and_the_eps_that_it_would_not_guess(tmp_path):
    segzoo.export("mini-vit", tmp_path / "vit", form="hf", zoo="mini")
    assert same(weights(tmp_path / "vit"), dict(np.load(GOLDEN / "augreg" / "mini.hf_state_dict.npz")))
    told = config(tmp_path / "vit")
    assert told["architectures"] == ["ViTForImageClassification"]
    assert (told["model_type"], told["layer_norm_eps"], told["hidden_act"], told["num_labels"]) == ("vit", 1e-6, "gelu", 11)
    sizes = [told[key] for key in ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "image_size", "patch_size")]
    assert sizes == [64, 3, 4, 256, 64, 16]
    images = json.loads((tmp_path / "vit" / "preprocessor_config.json").read_text())
    assert (images["image_mean"], images["image_std"], images["size"]) == ([0.5] * 3, [0.5] * 3, {"height": 64, "width": 64})


def test_without_a_classifier_it_is_a_vitmodel_under_no_prefix(tmp_path, zoo):
    """transformers' pooler is the pre-logits layer; its classifier would not stand on it, so none is written."""
    made = segzoo.export("prelogits", tmp_path / "vit", form="hf", zoo=zoo)
    names = weights(tmp_path / "vit").keys()
    assert {"embeddings.cls_token", "layernorm.weight", "pooler.dense.weight", "encoder.layer.11.output.dense.bias"} <= names
    assert not any(name.startswith(("vit.", "classifier")) for name in names)
    told = config(tmp_path / "vit")
    assert (told["architectures"], told["pooler_output_size"], told["pooler_act"]) == (["ViTModel"], 24, "tanh")
    assert "num_labels" not in told
    assert made.left_out == ("classifier",)
    assert "Left out: classifier" in front_matter(tmp_path / "vit")[1]


def test_timm_gets_its_own_tensors_and_an_architecture_that_it_knows(tmp_path):
    segzoo.export("mini-vit", tmp_path / "vit", form="timm", zoo="mini")
    assert same(weights(tmp_path / "vit"), dict(np.load(GOLDEN / "augreg" / "mini.tame.timm_state_dict.npz")))
    told = config(tmp_path / "vit")
    arguments = told["model_args"]
    assert told["architecture"] == "vit_base_patch16_224"
    assert [arguments[key] for key in ("embed_dim", "depth", "num_heads", "img_size", "patch_size")] == [64, 3, 4, 64, 16]
    assert int(64 * arguments["mlp_ratio"]) == 256
    assert (told["num_classes"], told["pretrained_cfg"]["mean"], told["pretrained_cfg"]["input_size"]) == (11, [0.5] * 3, [3, 64, 64])


@pytest.mark.parametrize(("name", "token", "pool"), [("map", False, "map"), ("tok", True, "token")])
def test_big_visions_models_are_told_to_timm_as_they_are(name, token, pool, tmp_path, zoo):
    segzoo.export(name, tmp_path / "vit", form="timm", zoo=zoo)
    assert same(weights(tmp_path / "vit"), dict(np.load(GOLDEN / "bigvision" / f"{name}.timm_state_dict.npz")))
    arguments = config(tmp_path / "vit")["model_args"]
    assert (arguments["class_token"], arguments["global_pool"], arguments["no_embed_class"]) == (token, pool, True)


@pytest.mark.parametrize(("width", "mlp"), [(1152, 4304), (192, 768), (49, 145), (1408, 6144)])
def test_timm_makes_the_mlp_of_the_ratio_that_it_is_told(width, mlp, tmp_path):
    from segzoo.layouts.vit.geometry import Geometry
    from segzoo.publishing.export.configs import ModelFacts, of_timm

    told = of_timm(ModelFacts(Geometry(width, 2, 1, mlp, 16, 16), 1e-6, ("stem", "encoder")))
    assert int(width * told["model_args"]["mlp_ratio"]) == mlp  # as timm computes it


def alone(folder, image, loader):
    """What the folder's own loader makes of an image, in a process that has no segzoo."""
    np.save(folder.parent / "image.npy", image)
    script = f"""
import sys
class Refused:
    def find_spec(self, name, path=None, target=None):
        assert name.split(".")[0] not in ("segzoo", "mmseg", "mmcv", "timm", "transformers"), name
sys.meta_path.insert(0, Refused())
sys.path.insert(0, {str(folder)!r})
import numpy, torch
from {loader} import load
with torch.inference_mode():
    numpy.save("out.npy", load()(torch.from_numpy(numpy.load("image.npy"))).numpy())
"""
    subprocess.run([sys.executable, "-I", "-W", "error", "-c", script], cwd=folder.parent, check=True)
    return np.load(folder.parent / "out.npy")


@pytest.mark.parametrize("crop", slow_after(1, ["crop33x64", "crop64x64"]))
@pytest.mark.parametrize("head", slow_after(1, ["mask", "linear"]))
def test_the_loader_gives_mmsegs_scores_and_just_those_of_segzoo(head, crop, tmp_path, zoo):
    golden = np.load(GOLDEN / "mmseg" / "expected" / "mini_intermediates.npz")
    image = golden[f"{head}/{crop}/normalised"]
    segzoo.export(head, tmp_path / "out", form="safetensors", zoo=zoo)
    found = alone(tmp_path / "out", image, "segmenter")
    assert np.abs(found - golden[f"{head}/{crop}/crop_logits"]).max() <= 1e-5
    assert np.array_equal(found, ours(head, zoo, image))


def ours(name, zoo, image):
    opened = open_zoo(zoo)
    matched = match_entry(name, opened, opened.manifest.entries, None, lambda done, whole: None)
    with torch.inference_mode():
        return module(matched.file, matched.entry)(torch.from_numpy(image)).numpy()


@pytest.mark.slow
def test_the_loader_has_the_distillation_token_and_the_bilinear_positions_of_the_authors(tmp_path, zoo):
    segzoo.export("distilled", tmp_path / "out", form="safetensors", zoo=zoo)
    image = np.random.default_rng(0).standard_normal((2, 3, 37, 90), np.float32)
    assert np.array_equal(alone(tmp_path / "out", image, "segmenter"), ours("distilled", zoo, image))
    told = config(tmp_path / "out")
    made_of = told["network"]["backbone"]["arguments"]
    assert (made_of["distilled"], made_of["resample"], made_of["eps"], told["mean"]) == (True, "bilinear", 1e-5, [123.68, 116.28, 103.53])
    assert told["protocol"] == {"by": "rstrudel", "scale": [256, 64], "crop": 64, "stride": 32}
    assert told["classes"][7] == {"name": "class 7", "colour": [7, 0, 0]}


@pytest.mark.slow
def test_a_backbones_loader_gives_flaxs_tokens(tmp_path):
    segzoo.export("mini-vit", tmp_path / "out", form="safetensors", zoo="mini")
    image = np.load(GOLDEN / "augreg" / "mini.input.npy").transpose(0, 3, 1, 2).astype(np.float32)
    tokens = np.load(GOLDEN / "augreg" / "mini.tame.flax_f64erf.npz")["tokens"][:, 1:]
    assert np.abs(alone(tmp_path / "out", image, "vit") - tokens.swapaxes(1, 2).reshape(2, 64, 4, 4)).max() <= 1e-5


@pytest.fixture
def odd(tmp_path):
    return odd_zoo(tmp_path)


def test_other_channels_grids_and_absent_biases_are_exported_whole(odd, tmp_path):
    image = np.random.default_rng(0).standard_normal((2, 4, 13, 22), np.float32)
    segzoo.export("odd", tmp_path / "plain", form="safetensors", zoo=odd)
    assert np.array_equal(alone(tmp_path / "plain", image, "vit"), ours("odd", odd, image))
    made_of = config(tmp_path / "plain")["network"]["backbone"]["arguments"]
    assert (made_of["grid"], made_of["channels"]) == ([2, 8], 4)
    segzoo.export("odd", tmp_path / "timm", form="timm", zoo=odd)
    told = config(tmp_path / "timm")
    assert (told["model_args"]["img_size"], told["model_args"]["in_chans"], told["pretrained_cfg"]["input_size"]) == ([8, 32], 4, [4, 8, 32])
    assert not weights(tmp_path / "timm")["patch_embed.proj.bias"].any()
    segzoo.export("odd", tmp_path / "hf", form="hf", zoo=odd)
    assert (config(tmp_path / "hf")["image_size"], config(tmp_path / "hf")["num_channels"]) == ([8, 32], 4)


@pytest.mark.slow
def test_a_graph_of_other_channels_and_grids(odd, tmp_path):
    segzoo.export("odd", tmp_path / "onnx", form="onnx", zoo=odd)
    image = np.random.default_rng(0).standard_normal((2, 4, 13, 22), np.float32)
    (found,) = onnxruntime.InferenceSession(tmp_path / "onnx" / "model.onnx", providers=["CPUExecutionProvider"]).run(None, {"image": image})
    assert np.abs(found - ours("odd", odd, image)).max() <= 1e-5
    assert "at 1 x 4 x 8 x 32, 2 x 4 x 11 x 12" in (tmp_path / "onnx" / "README.md").read_text()


@pytest.mark.slow
def test_the_loader_is_strict(tmp_path, zoo):
    segzoo.export("linear", tmp_path / "out", form="safetensors", zoo=zoo)
    told = config(tmp_path / "out")
    told["network"]["backbone"]["arguments"]["depth"] += 1
    (tmp_path / "out" / "config.json").write_text(json.dumps(told))
    with pytest.raises(subprocess.CalledProcessError):
        alone(tmp_path / "out", np.zeros((1, 3, 16, 16), np.float32), "segmenter")


@pytest.mark.parametrize("form", ["hf", "timm"])
def test_a_segmenter_is_refused_where_there_is_no_class_for_it_and_nothing_is_left(form, tmp_path):
    with pytest.raises(ConversionError, match="mini-mask is a segmentation model: ") as error:
        segzoo.export("mini-mask", tmp_path / "out", form=form, zoo="mini")
    assert "--as onnx" in error.value.hint
    assert list(tmp_path.iterdir()) == []


def test_what_a_form_cannot_hold_is_refused_and_nothing_is_left(tmp_path, zoo):
    with pytest.raises(ConversionError, match="positions for the patches only"):
        segzoo.export("tok", tmp_path / "out", form="hf", zoo=zoo)
    text = zoo.read_text()
    zoo.write_text(text.replace("grid: 4, classes: 30}", "grid: 4, classes: 30}\n    eps: 1.0e-5"))
    assert zoo.read_text() != text
    with pytest.raises(ConversionError, match=r"eps 1e-05, timm's VisionTransformer has 1e-06"):
        segzoo.export("prelogits", tmp_path / "out", form="timm", zoo=zoo)
    assert [path.name for path in tmp_path.iterdir()] == ["golden"]


def test_a_folder_that_is_there_is_never_written_to(tmp_path):
    (tmp_path / "out").mkdir()
    segzoo.export("mini-vit", tmp_path / "out", form="timm", zoo="mini")  # an empty one is none
    before = {path: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    with pytest.raises(UsageError, match="exists already, and is not empty"):
        segzoo.export("mini-vit", tmp_path / "out", form="hf", zoo="mini")
    again = segzoo.export("mini-vit", tmp_path / "out", form="timm", zoo="mini")  # what would be written is there
    assert (again.already, sorted(file.name for file in again.files)) == (True, sorted(path.name for path in before))
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UsageError, match="is a file"):
        segzoo.export("mini-vit", tmp_path / "file", form="hf", zoo="mini")
    assert {path: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "out"]


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("model.safetensors", lambda data: data[:-1] + bytes([data[-1] ^ 1])),
        ("config.json", lambda data: data + b"\n"),
        ("README.md", lambda data: data.replace(b"## Licence", b"## License")),
        ("mine.txt", lambda data: b"mine"),
        ("config.json", None),
    ],
)
def test_a_folder_that_differs_is_not_replaced(name, change, tmp_path):
    segzoo.export("mini-vit", tmp_path / "out", form="timm", zoo="mini")
    file = tmp_path / "out" / name
    if change:
        file.write_bytes(change(file.read_bytes() if file.exists() else b""))
    else:
        file.unlink()
    before = {path: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    with pytest.raises(UsageError, match=f"exists already, and would not be the same: {name}"):
        segzoo.export("mini-vit", tmp_path / "out", form="timm", zoo="mini")
    assert {path: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_disk_that_fails_leaves_nothing(tmp_path, monkeypatch):
    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(EnvironmentFault, match="No space left"):
        segzoo.export("mini-vit", tmp_path / "out", form="timm", zoo="mini")
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_name_or_form_is_said(tmp_path):
    with pytest.raises(NotFoundError, match="did you mean mini-mask"):
        segzoo.export("mini-mas", tmp_path / "out", form="onnx", zoo="mini")
    with pytest.raises(UsageError, match="there are safetensors, hf, timm, onnx"):
        segzoo.export("mini-mask", tmp_path / "out", form="tflite", zoo="mini")


def test_a_file_of_ones_own_is_taken_for_what_it_is_like(tmp_path):
    """Its pixels are not known to be normalised as AugReg's, so nothing is said of them."""
    segzoo.convert(TAME, tmp_path / "mine.safetensors", to="timm")
    made = segzoo.export(tmp_path / "mine.safetensors", tmp_path / "out", form="hf", zoo="mini")
    assert same(weights(tmp_path / "out"), dict(np.load(GOLDEN / "augreg" / "mini.hf_state_dict.npz")))
    assert (made.like, made.verified) == ("mini-vit", None)
    assert "preprocessor_config.json" not in {file.name for file in made.files}
    text = front_matter(tmp_path / "out")[1]
    assert "How its images were normalised is not known" in text
    assert "A file of somebody's own" in text
    assert str(tmp_path) not in text
    assert "segzoo --zoo mini export mine.safetensors --like mini-vit -o out --as hf" in text
    assert "# mine.safetensors\n" in text
    add = "segzoo --zoo mini manifest add {} --like mini-vit --to own.yaml && segzoo --zoo own.yaml --zoo mini verify mine"
    assert f"Not verified yet: `{add.format('mine.safetensors')}`" in text
    assert made.verify == add.format(tmp_path / "mine.safetensors")


def test_the_next_line_to_type_has_paths_as_they_were_given(tmp_path, monkeypatch):
    lab = shutil.copytree(MINI, tmp_path / "the lab")
    segzoo.convert(TAME, tmp_path / "mine.safetensors", to="timm")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    asked = ["--zoo", "../the lab/zoo.yaml", "export"]
    done = CliRunner().invoke(main, [*asked, "../mine.safetensors", "-o", "out", "--as", "safetensors"])
    zoo = "--zoo '../the lab/zoo.yaml'"
    add = f"segzoo {zoo} manifest add ../mine.safetensors --like mini-vit --to own.yaml"
    assert f"not verified yet, as its card says: {add} && segzoo --zoo own.yaml {zoo} verify mine\n" in done.stderr
    assert CliRunner().invoke(main, shlex.split(add)[1:]).exit_code == 0
    assert str(lab.name) not in (tmp_path / "here" / "out" / "README.md").read_text()
    done = CliRunner().invoke(main, [*asked, "mini-vit", "-o", "vit", "--as", "hf"])
    assert f"as its card says: segzoo {zoo} verify mini-vit\n" in done.stderr


def test_what_is_refused_is_not_said_to_take_its_time(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "file").write_text("here")
    for name, folder, expected in (("mini-vit", "out", 2), ("mini-vot", "new", 7)):
        done = CliRunner().invoke(main, ["--zoo", "mini", "export", name, "-o", str(tmp_path / folder), "--as", "onnx"])
        assert done.exit_code == expected
        assert "torch traces" not in done.stderr


def test_the_card_has_the_licence_that_the_manifest_gives(tmp_path):
    lab = shutil.copytree(MINI, tmp_path / "lab") / "zoo.yaml"
    lab.write_text(lab.read_text().replace("  mini-vit:\n", "  mini-vit:\n    licence: MIT *for all*\n", 1))
    segzoo.export("mini-vit", tmp_path / "out", form="safetensors", zoo=lab)
    assert "Of the weights: MIT \\*for all\\*." in front_matter(tmp_path / "out")[1]


def test_the_card_says_what_a_receipt_proves_of_these_bytes(tmp_path):
    def card(name):
        segzoo.export("mini-linear", tmp_path / name, form="safetensors", zoo="mini")
        return front_matter(tmp_path / name)

    facts, text = card("before")
    assert "Not verified yet: `segzoo --zoo mini verify mini-linear`" in text
    assert facts["license"] == "unknown"
    assert (facts["datasets"], facts["metrics"], facts["pipeline_tag"]) == (["ade-mini"], ["mean_iou"], "image-segmentation")
    assert "model-index" not in facts
    CliRunner().invoke(main, ["--zoo", "mini", "verify", "mini-linear", "--device", "cpu", "--images", "all"])
    facts, text = card("after")
    assert facts["model-index"][0]["results"][0]["metrics"] == [{"type": "mean_iou", "name": "mIoU, ss", "value": 86.71}]
    assert "| ss | 86.71 | 86.71 | confirmed |" in text
    assert re.search(r"\| numbers \| passed \| torch against JAX, .* in float64", text)
    path = home() / "receipts" / "mini" / "mini-linear.json"
    record = json.loads(path.read_text())
    basis = next(check["basis"] for check in record["checks"] if check["rung"] == "mIoU")
    assert basis["data_digest"] in text
    assert record["versions"]["torch"] in text
    assert str(tmp_path) not in text
    assert str(home()) not in text

    fault = {"status": "failed", "short": "failed", "code": 8, "detail": "/home/me/data: differs", "facts": {}, "basis": {}}
    path.write_text(json.dumps(record | {"passed": False, "checks": [*record["checks"][:-1], record["checks"][-1] | fault]}))
    text = card("failed")[1]
    assert "**Verification failed**, at: mIoU." in text
    assert "/home/me" not in text
    path.write_text(json.dumps(record).replace(record["checks"][0]["facts"]["sha256"], "0" * 64))
    facts, text = card("other bytes")
    assert "There is a receipt, but it is of other bytes than these. Not verified yet" in text
    assert "model-index" not in facts


def test_a_subset_gives_no_figure_of_the_data_set(tmp_path):
    CliRunner().invoke(main, ["--zoo", "mini", "verify", "mini-linear", "--device", "cpu", "--images", "20"])
    segzoo.export("mini-linear", tmp_path / "out", form="safetensors", zoo="mini")
    facts, text = front_matter(tmp_path / "out")
    assert "model-index" not in facts
    assert "On 20 of 40 images" in text


def test_a_manifests_text_stays_text(tmp_path):
    lab = shutil.copytree(MINI, tmp_path / "lab") / "zoo.yaml"
    hostile = '"]} <script>alert(1)</script> [x](http://y.example/) | `code` ---'
    text = lab.read_text().replace("title: ViT in AugReg's format, random weights", f"title: {json.dumps(hostile)}")
    text = text.replace("provenance: made for segzoo", f"provenance: {json.dumps(hostile)}")
    lab.write_text(text)
    segzoo.export("mini-vit", tmp_path / "out", form="hf", zoo=lab)
    facts, text = front_matter(tmp_path / "out")
    assert facts["library_name"] == "transformers"
    assert not re.search(r"(?<!\\)<script", text)
    assert not re.search(r"(?<!\\)\[x(?<!\\)\]\(", text)
    assert text.count(prose(hostile)) == 2


def test_code_spans_hold_any_text():
    assert code("a") == "`a`"
    assert code("a`b``c") == "```a`b``c```"
    assert code("`a` ") == "`` `a` ``"


def test_json_names_every_file_with_its_hash(tmp_path):
    done = CliRunner().invoke(main, ["--zoo", "mini", "export", "mini-vit", "-o", str(tmp_path / "out"), "--as", "timm", "--json"])
    result = json.loads(done.stdout)["result"]
    found = {path.name: (path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest()) for path in (tmp_path / "out").iterdir()}
    assert {file["name"]: (file["size"], file["sha256"]) for file in result["files"]} == found
    assert set(found) == {"README.md", "config.json", "model.safetensors"}
    assert (result["as"], result["name"], result["verified"]) == ("timm", "mini-vit", None)


def test_folders_for_other_libraries_are_made_without_torch(tmp_path):
    script = f"import sys; from segzoo.cli import main; main(['--zoo', 'mini', 'export', 'mini-vit', '-o', {str(tmp_path / 'out')!r}, '--as', 'hf'], "
    script += "standalone_mode=False); assert not {'torch', 'jax', 'onnx'} & set(sys.modules), sorted(sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)
    assert (tmp_path / "out" / "model.safetensors").exists()


def test_without_onnx_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr("segzoo.extras.find_spec", lambda package: None)
    done = CliRunner().invoke(main, ["--zoo", "mini", "export", "mini-mask", "-o", str(tmp_path / "out"), "--as", "onnx"])
    assert done.exit_code == 8
    assert "pip install 'segzoo[export]'" in done.stderr
    assert list(tmp_path.iterdir()) == []


TINY = GOLDEN / "transformers" / "zoo.yaml"


@pytest.fixture
def tiny(tmp_path):
    """The zoo of tiny models in a folder of its own: hashes are pinned beside the manifest."""
    shutil.copytree(TINY.parent, tmp_path / "tiny", ignore=shutil.ignore_patterns("*.npz", "*.gz"))
    return tmp_path / "tiny" / "zoo.yaml"


def drawn(name, height, width):
    """Two random images of this size, or of the one size that the model takes."""
    backbone = load_manifest(TINY).models[name].backbone
    sides = (backbone.image, backbone.image) if backbone.named == "beit" else (height, width)
    return np.random.default_rng(0).standard_normal((2, 3, *sides), np.float32)


@pytest.mark.parametrize("name", slow_after(1, reversed(load_manifest(TINY).models)))
def test_the_file_beside_a_models_tensors_computes_what_segzoo_computes(name, tiny, tmp_path):
    segzoo.export(name, tmp_path / "out", form="safetensors", zoo=tiny)
    image = drawn(name, 40, 57)
    assert np.array_equal(alone(tmp_path / "out", image, "model"), ours(name, tiny, image))


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name == "upernet-vit-mln" else pytest.mark.thorough) for name in load_manifest(TINY).models]
)
def test_a_graph_of_each_kind_of_model(name, tiny, tmp_path):
    segzoo.export(name, tmp_path / "out", form="onnx", zoo=tiny)
    image = drawn(name, 65, 97)
    (found,) = onnxruntime.InferenceSession(tmp_path / "out" / "model.onnx", providers=["CPUExecutionProvider"]).run(None, {"image": image})
    expected = ours(name, tiny, image)
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()
