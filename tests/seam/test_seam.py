"""Another family with another head, in files of its own, goes through every command without a line of segzoo's own changed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from support import MINI

TOY = Path(__file__).with_name("toy.py")


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A checkpoint of the made-up model as a training program saves it, and a manifest that has it."""
    folder = tmp_path_factory.mktemp("lab")
    make(folder / "joiner.pth", 8, 12)
    mini = yaml.safe_load((MINI / "zoo.yaml").read_text())
    dataset = mini["datasets"]["ade-mini"]
    (folder / "ade_mini").symlink_to(MINI / "ade_mini")
    protocol = {**mini["models"]["mini-mask"]["protocol"], "crop": 64, "stride": 48}
    model = {
        "title": "A joiner",
        "checkpoint": {"name": "joiner.pth", "layout": "toy", "urls": ["joiner.pth"]},
        "backbone": {"family": "toy", "widths": [8, 12], "units": [1, 2], "patch": 4, "heads": 2, "eps": 1e-3},
        "head": {"kind": "join", "width": 16, "classes": 8, "groups": 4},
        "protocol": protocol,
    }
    plain = {"version": 1, "datasets": {"ade-mini": dataset}, "models": {"joiner": model}}
    (folder / "zoo.yaml").write_text(yaml.safe_dump(plain, sort_keys=False))
    return folder


def make(path, *widths):
    """Write a checkpoint of the made-up model with these widths."""
    made = subprocess.run([sys.executable, "-c", CHECKPOINT, TOY, path, *map(str, widths)], capture_output=True, text=True)
    assert made.returncode == 0, made.stderr


CHECKPOINT = """
import sys, pathlib, torch
sys.path.insert(0, str(pathlib.Path(sys.argv[1]).parent))
import toy, toy_networks
from segzoo.models.segmentor import Segmenter
torch.manual_seed(0)
widths = tuple(map(int, sys.argv[3:]))
backbone = toy_networks.Toy(widths, (1, 2), 4, 1e-3)
with torch.no_grad():
    for parameter in backbone.parameters():
        parameter.normal_()
backbone.stage2.index.copy_(torch.tensor(toy.offsets({}, {})))
head = toy_networks.Join(widths, 16, 4, 8)
for module in (*backbone.modules(), *head.modules()):
    if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
        module.running_mean.normal_(); module.running_var.uniform_(0.5, 2); module.num_batches_tracked.fill_(7)
state = {f"backbone.{name}": tensor for name, tensor in backbone.state_dict().items()}
state |= {f"decode_head.{name}": tensor for name, tensor in head.state_dict().items()}
torch.save({"state_dict": state | {"auxiliary.conv.weight": torch.zeros(3, 3)}}, sys.argv[2])
"""


def segzoo(folder, *words, code=0):
    """The command line with the made-up family, in a folder; its output."""
    done = subprocess.run([sys.executable, TOY, *map(str, words)], cwd=folder, capture_output=True, text=True, env={**os.environ, "COLUMNS": "200"})
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def test_inspect(lab):
    found = json.loads(segzoo(lab, "inspect", "joiner.pth", "--json"))["result"]
    assert found["layout"] == "toy"
    assert found["sections"] == ["stages", "mix bias", "scale", "offsets", "join head"]
    assert found["geometry"]["widths"] == [8, 12]
    assert found["geometry"]["decoder"] == {"kind": "join", "classes": 8, "width": 16, "groups": None}


def test_convert_there_and_back(lab, tmp_path):
    there = json.loads(segzoo(lab, "convert", "joiner.pth", tmp_path / "up.npz", "--to", "upstream", "--json"))["result"][0]
    assert {drop["section"]: drop["reason"] for drop in there["dropped"]} == {
        "unused": "a count of batches, which inference does not use",
        "auxiliary head": "inference does not use it",
    }
    back = json.loads(segzoo(lab, "convert", tmp_path / "up.npz", tmp_path / "back.pth", "--to", "toy", "--json"))["result"][0]
    assert back["notes"] == [
        "not in upstream's file, and written as zeros, which means the same: backbone.stage1.norm.num_batches_tracked, "
        "backbone.stage2.norm.num_batches_tracked"
    ]
    first, again = (torch.load(path, weights_only=True) for path in (lab / "joiner.pth", tmp_path / "back.pth"))  # a peer reads what was written
    first = {name: tensor for name, tensor in first["state_dict"].items() if not name.startswith("auxiliary.")}
    assert first.keys() == again.keys()
    for name, tensor in first.items():
        expected = torch.zeros_like(tensor) if name.startswith("backbone") and name.endswith("num_batches_tracked") else tensor
        assert torch.equal(again[name], expected), name


def test_diff(lab, tmp_path):
    segzoo(lab, "convert", "joiner.pth", tmp_path / "up.npz", "--to", "upstream")
    assert "same weights" in segzoo(lab, "diff", "joiner.pth", tmp_path / "up.npz")
    arrays = dict(np.load(tmp_path / "up.npz"))
    arrays["enc/0/merge"][0, 0, 0, 0] += 1
    np.savez(tmp_path / "other.npz", **arrays)
    assert "differs: backbone.stage1.merge.weight" in segzoo(lab, "diff", "joiner.pth", tmp_path / "other.npz", code=5)


@pytest.mark.slow
def test_another_width_is_another_model(lab, tmp_path):
    """Widths are compared under the family's own name for them. Facts that no tensor shows are not taken from a model of another width."""
    make(tmp_path / "wide.pth", 8, 24)
    segzoo(lab, "convert", "joiner.pth", tmp_path / "up.npz", "--to", "upstream")
    said = segzoo(lab, "diff", "--json", tmp_path / "wide.pth", tmp_path / "up.npz", code=5)
    assert "A has width (8, 24), B has width (8, 12): two models" in said
    said = segzoo(
        lab, "--zoo", "zoo.yaml", "manifest", "add", "--json", tmp_path / "wide.pth", "--like", "joiner", "--to", tmp_path / "own.yaml", code=2
    )
    assert "no tensor shows its attention heads, and joiner is of another width" in said
    assert not (tmp_path / "own.yaml").exists()


def test_what_is_neutral_when_absent(lab, tmp_path):
    """A bias of zeros and a scale of ones are the same model as none; other numbers are another."""
    segzoo(lab, "convert", "joiner.pth", tmp_path / "up.npz", "--to", "upstream")
    arrays = dict(np.load(tmp_path / "up.npz"))
    for name in arrays:
        if name.endswith(("/bias", "/scale")) and name.startswith("enc") and "bn" not in name:
            arrays[name] = np.full_like(arrays[name], name.endswith("/scale"))
    without = {name: array for name, array in arrays.items() if (not name.endswith("/scale") and "/mix/" not in name) or "kernel" in name}
    assert len(without) < len(arrays)
    np.savez(tmp_path / "with.npz", **arrays)
    np.savez(tmp_path / "without.npz", **without)
    assert "same weights" in segzoo(lab, "diff", tmp_path / "with.npz", tmp_path / "without.npz")
    assert "different weights" in segzoo(lab, "diff", tmp_path / "up.npz", tmp_path / "without.npz", code=5)
    segzoo(lab, "convert", tmp_path / "without.npz", tmp_path / "filled.pth", "--to", "toy")
    filled = torch.load(tmp_path / "filled.pth", weights_only=True)
    assert all((filled[f"backbone.stage{stage}.scale"] == 1).all() for stage in (1, 2))
    assert (filled["backbone.stage2.units.1.mix.bias"] == 0).all()
    segzoo(lab, "convert", tmp_path / "filled.pth", tmp_path / "again.npz", "--to", "upstream")
    assert "same weights" in segzoo(lab, "diff", tmp_path / "again.npz", tmp_path / "without.npz")


def test_a_wrong_index_is_refused(lab, tmp_path):
    held = torch.load(lab / "joiner.pth", weights_only=True)["state_dict"]
    held["backbone.stage2.index"][0, 0] += 1
    torch.save(held, tmp_path / "edited.pth")
    said = segzoo(lab, "convert", tmp_path / "edited.pth", tmp_path / "x.npz", "--to", "upstream", "--json", code=5)
    assert "backbone.stage2.index: not what it must be for a model of this size" in said
    assert not (tmp_path / "x.npz").exists()


@pytest.mark.slow
def test_verify_predict_and_a_manifest_of_ones_own(lab, tmp_path):
    shown = segzoo(lab, "--zoo", "zoo.yaml", "-v", "verify", "joiner", "--images", "4", "--device", "cpu")
    assert "widths 8 and 12" in shown
    assert "there is no independent reference of the family 'toy'" in shown
    assert "1 measured" in shown
    picture = MINI / "ade_mini" / "images" / "validation"
    one = sorted(picture.iterdir())[0]
    segzoo(lab, "--zoo", "zoo.yaml", "predict", "joiner", one, "-o", tmp_path / "a")
    segzoo(lab, "convert", "joiner.pth", tmp_path / "mine.npz", "--to", "upstream")
    segzoo(lab, "--zoo", "zoo.yaml", "predict", tmp_path / "mine.npz", one, "-o", tmp_path / "b")
    first, second = ((tmp_path / folder / f"{one.stem}.labels.png").read_bytes() for folder in "ab")
    assert first == second
    added = segzoo(lab, "--zoo", "zoo.yaml", "manifest", "add", tmp_path / "mine.npz", "--to", tmp_path / "own.yaml")
    assert "models.mine" in added
    entry = yaml.safe_load((tmp_path / "own.yaml").read_text())["models"]["mine"]
    assert entry["backbone"] == {"family": "toy", "widths": [8, 12], "units": [1, 2], "patch": 4, "heads": 2, "eps": 1e-3}
    assert entry["head"] == {"kind": "join", "width": 16, "classes": 8, "groups": 4}
    segzoo(lab, "--zoo", tmp_path / "own.yaml", "--zoo", "zoo.yaml", "verify", "mine", "--images", "4", "--device", "cpu")


@pytest.mark.slow
def test_what_another_family_cannot_be_is_refused(lab, tmp_path):
    said = segzoo(lab, "convert", "joiner.pth", tmp_path / "x.pth", "--to", "timm", "--json", code=5)
    assert "Toy has no layout 'timm', only toy, upstream" in said
    said = segzoo(lab, "--zoo", "zoo.yaml", "export", "joiner", "-o", tmp_path / "x", "--as", "timm", "--json", code=5)
    assert "timm has no class for it" in said


@pytest.mark.slow
def test_its_export_computes_the_same(lab, tmp_path):
    """The file beside the tensors is cut out of the family's own networks; the graph was compared with them as it was written."""
    segzoo(lab, "--zoo", "zoo.yaml", "export", "joiner", "-o", tmp_path / "plain", "--as", "safetensors")
    segzoo(lab, "--zoo", "zoo.yaml", "export", "joiner", "-o", tmp_path / "graph", "--as", "onnx")
    assert (tmp_path / "graph" / "model.onnx").exists()
    compared = subprocess.run([sys.executable, "-c", COMPARE, TOY, lab, tmp_path / "plain"], capture_output=True, text=True)
    assert compared.returncode == 0, compared.stderr


COMPARE = """
import sys, pathlib, os, torch
_, toy, lab, folder = map(str, sys.argv)
sys.path[:0] = [str(pathlib.Path(toy).parent), folder]
os.chdir(lab)
import toy_networks, toy
import segzoo
from model import load
image = torch.randn(2, 3, 30, 45)
with torch.inference_mode():
    assert torch.equal(load()(image), segzoo.load("joiner", zoo="zoo.yaml")(image))
"""


def test_the_schema_has_the_family_and_its_head():
    code = f"import runpy; runpy.run_path({str(TOY)!r})\nimport json\nfrom segzoo.manifest.document import schema\nprint(json.dumps(schema()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    plain = json.loads(done.stdout)
    assert {"ToySizes", "ModelBackbone", "JoinHead", "MaskHead", "LinearHead"} <= plain["$defs"].keys()
    assert "upstream" in json.dumps(plain["$defs"]["Artifact"])
