"""The BEiTs and the MAE of the zoo: their rows, a model that is carried to other names, verified, exported, and described from its config."""

import gzip
import importlib.util
import json
import shutil

import numpy as np
import pytest
import torch
import yaml
from click.testing import CliRunner
from PIL import Image
from support import GOLDEN, arrays

from segzoo.cli import main
from segzoo.manifest.document import load_manifest, packaged

TINY = GOLDEN / "transformers"
NAMES = ("upernet-beit", "upernet-mae")
MEAN, STD = np.float32([123.675, 116.28, 103.53]), np.float32([58.395, 57.12, 57.375])


def segzoo(*words, code=0):
    done = CliRunner().invoke(main, [*map(str, words)], catch_exceptions=False)
    assert done.exit_code == code, done.output
    return done.output


def alone(folder, name):
    """A zoo in this folder of the tiny models, of which one is there: the option that names it."""
    for file in ("zoo.yaml", f"{name.replace('-', '_')}.pth"):
        shutil.copy(TINY / file, folder / file)
    return "--zoo", folder / "zoo.yaml"


def picture(path, name, size="65x97"):
    Image.fromarray(arrays(TINY / name.replace("-", "_") / f"{size}.npz")["image"][..., ::-1]).save(path)
    return path


def one_window(name):
    """A golden's image as a model takes it, and mmseg's scores of every third pixel."""
    data = arrays(TINY / name.replace("-", "_") / "64x64.npz")
    image = (data["image"][..., ::-1].astype(np.float32) - MEAN) / STD
    return np.ascontiguousarray(image.transpose(2, 0, 1)[None]), data["logits64@s3"]


def test_every_beit_and_mae_that_mmsegmentation_published_has_a_row():
    facts = {one["checkpoint"]["name"]: one for one in json.loads(gzip.decompress((TINY / "facts.json.gz").read_bytes()))}
    facts = {name: one for name, one in facts.items() if one["family"] in ("beit", "mae")}
    rows = {name: row for name, row in load_manifest(packaged("zoo.yaml")).models.items() if row.checkpoint.name in facts}
    assert list(rows) == ["beit-b-upernet", "beit-l-upernet", "mae-b-upernet"]
    for name, row in rows.items():
        fact = facts[row.checkpoint.name]
        backbone, own = fact["backbone"], row.backbone
        assert (own.variant, name.split("-")[0]) == (backbone["type"].lower(), fact["family"])
        found = (own.width, own.depth, own.heads, own.mlp // own.width, own.patch, [own.image] * 2, list(own.out_indices))
        assert found == tuple(
            backbone[side] for side in ("embed_dims", "num_layers", "num_heads", "mlp_ratio", "patch_size", "img_size", "out_indices")
        )
        assert (own.eps, own.final_norm) == (backbone["norm_cfg"]["eps"], backbone["final_norm"])
        assert (row.neck.named, row.neck.width, fact["neck"]["rescales"]) == ("pyramid", fact["neck"]["embed_dim"], [4, 2, 1, 0.5])
        assert (row.head.named, row.head.channels, fact["decode_head"]["type"]) == ("uper", fact["decode_head"]["channels"], "UPerHead")
        assert row.protocol.windows[0] == (own.image, own.image) == (row.protocol.min_size,) * 2


@pytest.mark.parametrize(("name", "to"), [("upernet-beit", "official"), ("upernet-mae", "mmseg")])
def test_a_model_carried_to_other_names_gives_the_same_picture_and_entry(name, to, tmp_path):
    zoo, image, theirs = alone(tmp_path, name), picture(tmp_path / "a.png", name), tmp_path / "theirs.pth"
    segzoo("convert", TINY / f"{name.replace('-', '_')}.pth", theirs, "--to", to)
    segzoo(*zoo, "predict", name, image, "-o", tmp_path / "one")
    segzoo(*zoo, "predict", theirs, image, "-o", tmp_path / "two", "--like", name)
    assert (tmp_path / "one" / "a.labels.png").read_bytes() == (tmp_path / "two" / "a.labels.png").read_bytes()
    segzoo(*zoo, "manifest", "add", theirs, "--to", tmp_path / "own.yaml", "--like", name)
    (entry,) = yaml.safe_load((tmp_path / "own.yaml").read_text())["models"].values()
    origin = yaml.safe_load((TINY / "zoo.yaml").read_text())["models"][name]
    assert entry["backbone"] == {"variant": "beit"} | origin["backbone"]
    assert (entry["neck"], entry["head"]["kind"], entry["head"]["channels"]) == (origin["neck"], "uper", 16)


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_that_no_window_fits_into_is_refused_in_words(name, tmp_path):
    zoo = alone(tmp_path, name)
    Image.fromarray(np.zeros((40, 90, 3), np.uint8)).save(tmp_path / "small.png")
    said = segzoo(*zoo, "predict", name, tmp_path / "small.png", "-o", tmp_path / "out", code=8)
    assert "takes images, or windows of them, of 64 x 64 pixels only, found 64 x 40" in " ".join(said.split())
    assert not list((tmp_path / "out").glob("*.png"))


def test_a_mae_under_a_beits_entry_is_refused(tmp_path):
    zoo = alone(tmp_path, "upernet-mae")
    (tmp_path / "upernet_mae.pth").rename(tmp_path / "upernet_beit.pth")
    assert "variant mae, expected beit" in segzoo(*zoo, "convert", "upernet-beit", tmp_path / "out.pth", code=4)
    assert not (tmp_path / "out.pth").exists()


def test_a_maes_own_file_is_an_entry_and_its_layout_is_the_manifests(tmp_path):
    shutil.copy(GOLDEN / "beit" / "mae.pth", tmp_path / "mae.pth")
    geometry = {"family": "beit", "variant": "mae", "width": 12, "depth": 3, "heads": 3, "mlp": 24, "patch": 4, "image": 12, "final_norm": True}
    entry = {"title": "MAE", "file": "own.pth", "source": {"name": "mae.pth", "layout": "mae", "urls": ["mae.pth"]}, "geometry": geometry}
    (tmp_path / "zoo.yaml").write_text(yaml.safe_dump({"version": 1, "backbones": {"mae-own": entry}}))
    zoo = ("--zoo", tmp_path / "zoo.yaml")
    segzoo(*zoo, "convert", "mae-own", tmp_path / "one.pth")
    segzoo("convert", tmp_path / "mae.pth", tmp_path / "two.pth", "--from", "mae", "--heads", "3")
    assert (tmp_path / "one.pth").stat().st_size == (tmp_path / "two.pth").stat().st_size
    assert "same weights" in segzoo("diff", tmp_path / "one.pth", tmp_path / "two.pth")
    assert "1 verified: 3 passed, 2 n/a" in segzoo(*zoo, "verify", "mae-own", "--device", "cpu")


@pytest.mark.parametrize("name", NAMES)
def test_an_exported_model_gives_mmsegs_scores_by_its_own_loader(name, tmp_path):
    segzoo(*alone(tmp_path, name), "export", name, "-o", tmp_path / "out", "--as", "safetensors")
    spec = importlib.util.spec_from_file_location("exported", tmp_path / "out" / "model.py")
    loader = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loader)
    model, (image, theirs) = loader.load(tmp_path / "out"), one_window(name)
    with torch.inference_mode():
        scores = model(torch.from_numpy(image))[0].numpy()
    assert np.abs(scores[:, ::3, ::3] - theirs).max() < 1e-5 * np.abs(theirs).max()
    with pytest.raises(ValueError, match="of 64 x 64 pixels only, found 80 x 64"):
        model(torch.zeros(1, 3, 64, 80))
    assert "of 64 x 64 pixels only" in (tmp_path / "out" / "README.md").read_text()
    said = segzoo("--zoo", tmp_path / "zoo.yaml", "predict", tmp_path / "out", picture(tmp_path / "a.png", name), "-o", tmp_path / "made")
    assert (tmp_path / "made" / "a.labels.png").exists(), said


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_verify_climbs_it(name, tmp_path):
    said = segzoo(*alone(tmp_path, name), "-v", "verify", name, "--device", "cpu", "--again")
    assert f"by way of {'mae' if name == 'upernet-mae' else 'official, timm, hf'}: " in said
    assert ("MAE" if name == "upernet-mae" else "BEiT") in said
    numbers = "torch against transformers, 6 intermediates" if importlib.util.find_spec("transformers") else "transformers is not installed"
    assert ("no library but mmseg has a MAE with relative positions" if name == "upernet-mae" else numbers) in said


@pytest.mark.thorough
@pytest.mark.parametrize("name", NAMES)
def test_a_graph_gives_mmsegs_scores(name, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    segzoo(*alone(tmp_path, name), "export", name, "-o", tmp_path / "out", "--as", "onnx")
    session = onnxruntime.InferenceSession(tmp_path / "out" / "model.onnx", providers=["CPUExecutionProvider"])
    image, theirs = one_window(name)
    (scores,) = session.run(None, {"image": np.concatenate([image, image[:, :, ::-1]])})
    assert np.abs(scores[0, :, ::3, ::3] - theirs).max() < 1e-4 * np.abs(theirs).max()
    assert session.get_inputs()[0].shape[1:] == [3, 64, 64]
