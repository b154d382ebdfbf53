"""Mask2Former of one's own in a manifest, and as a model of the zoo that is run, exported and verified."""

import importlib.util
import json
import shutil

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import yaml
from click.testing import CliRunner
from PIL import Image
from support import GOLDEN, arrays

from segzoo.cli import main
from segzoo.manifest.document import load_manifest, packaged

TINY = GOLDEN / "transformers"
NAMES = ("mask2former-swin", "mask2former-resnet")
PARTS = ("backbone", "head", "protocol")
ENTRIES = yaml.safe_load((TINY / "zoo.yaml").read_text())["models"]
PIPELINE = [{"type": "LoadImageFromFile"}, {"type": "LoadAnnotations"}, {"type": "PackSegInputs"}]


def segzoo(*words, code=0):
    done = CliRunner().invoke(main, [*map(str, words)], catch_exceptions=False)
    assert done.exit_code == code, done.output
    return done.output


def file_of(name):
    return TINY / f"{name.replace('-', '_')}.pth"


def config(name, path):
    model = json.loads((TINY / name.replace("-", "_") / "config.json").read_text())
    path.write_text(f"model = {model!r}\ntest_dataloader = dict(dataset=dict(pipeline={PIPELINE!r}))\n")
    return path


def image_of(name, size):
    """The model's input for a golden's image, padded as its protocol says."""
    data, (mean, std) = arrays(TINY / name.replace("-", "_") / f"{size}.npz"), (ENTRIES[name]["protocol"][side] for side in ("mean", "std"))
    image = torch.from_numpy((data["image"][..., ::-1] - np.array(mean)) / np.array(std)).permute(2, 0, 1)[None].float()
    return data, F.pad(image, (0, -image.shape[3] % 32, 0, -image.shape[2] % 32))


def test_the_shipped_names():
    zoo = load_manifest(packaged("zoo.yaml")).models
    assert [name for name in zoo if "mask2former" in name] == [
        *("swin-t-mask2former", "swin-s-mask2former"),
        *("swin-b-mask2former-384", "swin-b-mask2former-384-22k", "swin-l-mask2former-384-22k"),
        *("swin-t-mask2former-cityscapes", "swin-s-mask2former-cityscapes"),
        *("swin-b-mask2former-384-22k-cityscapes", "swin-l-mask2former-384-22k-cityscapes"),
        *("r50-mask2former", "r101-mask2former", "r50-mask2former-cityscapes", "r101-mask2former-cityscapes"),
    ]
    unpadded = [name for name, row in zoo.items() if row.head.named == "mask2former" and row.protocol.pad is None]
    assert unpadded == ["swin-b-mask2former-384", "swin-b-mask2former-384-22k", "swin-l-mask2former-384-22k"]
    assert [zoo[f"r{depth}-mask2former"].backbone.depths for depth in (50, 101)] == [(3, 4, 6, 3), (3, 4, 23, 3)]


@pytest.mark.parametrize("name", NAMES)
def test_a_file_with_its_config_becomes_the_entry_that_the_zoo_has(name, tmp_path):
    segzoo("manifest", "add", file_of(name), "--config", config(name, tmp_path / "c.py"), "--name", "own", "--to", tmp_path / "own.yaml")
    entry, expected = yaml.safe_load((tmp_path / "own.yaml").read_text())["models"]["own"], ENTRIES[name]
    assert {part: entry[part] for part in PARTS} == {part: expected[part] for part in PARTS}


@pytest.mark.parametrize("name", NAMES)
def test_a_file_with_its_config_gives_mmsegs_picture(name, tmp_path):
    data = arrays(TINY / name.replace("-", "_") / "72x72.npz")  # its own size is that of the scores
    Image.fromarray(data["image"][..., ::-1]).save(tmp_path / "a.png")
    segzoo("predict", file_of(name), tmp_path / "a.png", "-o", tmp_path / "out", "--config", config(name, tmp_path / "c.py"))
    labels = np.asarray(Image.open(tmp_path / "out" / "a.labels.png"))
    assert (labels == data["pred"]).mean() > 0.999


def test_an_image_is_padded_as_the_entry_says(tmp_path):
    data = arrays(TINY / "mask2former_swin" / "65x97.npz")
    Image.fromarray(data["image"][..., ::-1]).save(tmp_path / "a.png")
    shutil.copy(file_of("mask2former-swin"), tmp_path)
    for pad in ("32", "null"):
        (tmp_path / f"{pad}.yaml").write_text((TINY / "zoo.yaml").read_text().replace("pad: 32", f"pad: {pad}"))
        segzoo("--zoo", tmp_path / f"{pad}.yaml", "predict", "mask2former-swin", tmp_path / "a.png", "-o", tmp_path / pad)
    one, other = (np.asarray(Image.open(tmp_path / pad / "a.labels.png")) for pad in ("32", "null"))
    assert (one != other).any()


@pytest.mark.parametrize("name", NAMES)
def test_an_exported_folder_gives_mmsegs_scores_and_is_read_again_as_the_same_model(name, tmp_path):
    segzoo("--zoo", TINY / "zoo.yaml", "export", name, "-o", tmp_path / "out", "--as", "safetensors")
    assert "to multiples of 32 pixels" in (tmp_path / "out" / "README.md").read_text()
    spec = importlib.util.spec_from_file_location("exported", tmp_path / "out" / "model.py")
    loader = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loader)
    data, image = image_of(name, "40x57")
    with torch.inference_mode():
        scores = loader.load(tmp_path / "out")(image)[0, :, ::3, ::3].numpy()
    assert np.abs(scores - data["logits64@s3"]).max() < 1e-5 * np.abs(data["logits64@s3"]).max()
    segzoo("manifest", "add", tmp_path / "out" / "model.safetensors", "--name", "own", "--to", tmp_path / "own.yaml")
    entry = yaml.safe_load((tmp_path / "own.yaml").read_text())["models"]["own"]
    assert {part: entry[part] for part in PARTS} == {part: ENTRIES[name][part] for part in PARTS}


@pytest.mark.parametrize(
    ("head", "said"), [({"heads": 3}, "heads do not divide"), ({"groups": 5}, "groups do not divide"), ({"classes": 1}, "fewer than 2")]
)
def test_a_head_that_does_not_fit_together_is_a_fault_of_its_entry(head, said, tmp_path):
    model = {**ENTRIES["mask2former-swin"], "head": ENTRIES["mask2former-swin"]["head"] | head}
    (tmp_path / "zoo.yaml").write_text(yaml.safe_dump({"version": 1, "models": {"own": model}}))
    assert said in segzoo("--zoo", tmp_path / "zoo.yaml", "info", "own", code=2)


@pytest.mark.slow
def test_verify_climbs_each(tmp_path):
    said = segzoo("--zoo", TINY / "zoo.yaml", "-v", "verify", *NAMES, "--device", "cpu", "--again")
    assert "by way of official, hf: 245 of 253 tensors" in said
    assert "by way of torchvision, timm, hf: 174 of 296 tensors" in said
    assert "there is no independent reference of the family 'resnet'" in said


@pytest.mark.thorough
@pytest.mark.parametrize("name", NAMES)
def test_a_graph_gives_mmsegs_scores(name, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    segzoo("--zoo", TINY / "zoo.yaml", "export", name, "-o", tmp_path / "out", "--as", "onnx")
    session = onnxruntime.InferenceSession(tmp_path / "out" / "model.onnx", providers=["CPUExecutionProvider"])
    data, image = image_of(name, "40x57")
    (scores,) = session.run(None, {"image": image.numpy()})
    assert np.abs(scores[0, :, ::3, ::3] - data["logits64@s3"]).max() < 1e-4 * np.abs(data["logits64@s3"]).max()
