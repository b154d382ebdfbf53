"""A SegFormer of one's own in a manifest, and as a model of the zoo that is run: MMSegmentation's, NVlabs' and transformers'."""

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
PEERS = GOLDEN / "mit"
ROWS = load_manifest(packaged("zoo.yaml")).models
CONFIG = (
    "model = dict(backbone=dict(type='MixVisionTransformer', embed_dims=4, num_layers=[2, 1, 1, 2], num_heads=[1, 2, 3, 4], mlp_ratio=2), "
    "decode_head=dict(type='SegformerHead', in_index=[0, 1, 2, 3]), data_preprocessor=dict(bgr_to_rgb=True))"
)
PIXELS = {"mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375]}


def segzoo(*words, code=0):
    done = CliRunner().invoke(main, [*map(str, words)], catch_exceptions=False)
    assert done.exit_code == code, done.output
    return done.output


def tiny(folder):
    for file in ("zoo.yaml", "segformer.pth"):
        shutil.copy(TINY / file, folder / file)
    return "--zoo", folder / "zoo.yaml"


def normalised(data):
    image = (data["image"][..., ::-1] - np.array(PIXELS["mean"])) / np.array(PIXELS["std"])
    return torch.from_numpy(image).permute(2, 0, 1)[None].float()


# the rows


def test_every_segformer_that_mmsegmentation_published_has_a_row():
    facts = {
        one["checkpoint"]["name"]: one for one in json.loads(gzip.decompress((TINY / "facts.json.gz").read_bytes())) if one["family"] == "segformer"
    }
    rows = {name: row for name, row in ROWS.items() if row.checkpoint.name in facts}
    sizes = [f"b{size}" for size in range(6)]
    names = [*sizes, "b5-640", *(f"{size}-cityscapes" for size in sizes), *(f"{size}-202206" for size in (*sizes[:5], "b5-640"))]
    assert list(rows) == [f"segformer-{name}" for name in names]
    for name, row in rows.items():
        fact = facts[row.checkpoint.name]
        backbone, head = fact["backbone"], fact["decode_head"]
        assert row.backbone.widths == tuple(backbone["embed_dims"] * heads for heads in backbone["num_heads"])
        for side, theirs in (("depths", "num_layers"), ("heads", "num_heads"), ("patches", "patch_sizes"), ("reductions", "sr_ratios")):
            assert list(getattr(row.backbone, side)) == backbone[theirs]
        assert row.backbone.mlp_ratio == backbone["mlp_ratio"]
        assert (row.head.named, row.head.channels) == ("segformer", head["channels"])
        assert (row.protocol.multiple, "cityscapes" in name) == (None, fact["dataset"] == "Cityscapes")
        assert ("202206" in name) == (fact["listed_by"] != "1.2.2")


def test_nvlabs_own_have_rows_by_the_protocol_of_their_own_program():
    """On ADE20K sides are brought up to multiples of 32; on Cityscapes windows slide. Sizes are held against transformers' class elsewhere."""
    rows = {name: row for name, row in ROWS.items() if name.endswith("-nvlabs")}
    assert [name.removeprefix("segformer-").removesuffix("-nvlabs") for name in rows] == [
        *("b0", "b1", "b2", "b3", "b4", "b5-640"), *(f"b{size}-cityscapes" for size in range(6)),
    ]  # fmt: skip
    for name, row in rows.items():
        city = "cityscapes" in name
        assert (row.backbone.heads, row.backbone.eps, row.backbone.conv_eps) == ((1, 2, 5, 8), 1e-6, 1e-5)
        assert (row.protocol.multiple, row.protocol.crop, row.protocol.stride) == ((None, 1024, 768) if city else (32, None, None))
        assert row.checkpoint.sha256 is row.checkpoint.sha256_prefix is row.checkpoint.size is None


# files of one's own


def test_backbones_of_three_libraries_are_entries_of_one_geometry(tmp_path):
    geometry = {"family": "mit", "widths": [4, 8, 12, 16], "depths": [2, 1, 1, 2], "heads": [1, 2, 3, 4], "mlp_ratio": 2}
    (tmp_path / "config.py").write_text(CONFIG)
    for file in ("official.pth", "mit2mmseg.pth", "hf/model.safetensors"):
        shutil.copy(PEERS / file, tmp_path / file.replace("/", "-"))
        segzoo("manifest", "add", tmp_path / file.replace("/", "-"), "--to", tmp_path / "own.yaml", "--config", tmp_path / "config.py")
    entries = yaml.safe_load((tmp_path / "own.yaml").read_text())["backbones"]
    assert [(one["source"]["layout"], one["geometry"], one["eps"]) for one in entries.values()] == [
        ("official", geometry | {"classes": 5}, 1e-6), ("mmseg", geometry, 1e-6), ("hf", geometry | {"classes": 5}, 1e-6),
    ]  # fmt: skip
    assert "4, 8, 12, 16" in segzoo("--zoo", tmp_path / "own.yaml", "info", "official")


def test_a_backbone_of_which_nobody_tells_the_heads_is_no_entry(tmp_path):
    said = segzoo("manifest", "add", PEERS / "official.pth", "--to", tmp_path / "own.yaml", code=2)
    assert "no tensor shows its attention heads" in said
    assert not (tmp_path / "own.yaml").exists()


def own_zoo(folder, file, layout, **eps):
    """A manifest with one SegFormer of its authors' or transformers' in it, and a picture."""
    shutil.copy(PEERS / file, folder / file.split("/")[-1])
    sizes = {"widths": [4, 8, 12, 16], "depths": [2, 1, 1, 2], "heads": [1, 2, 3, 4], "mlp_ratio": 2}
    model = {
        "title": "A SegFormer of its authors",
        "checkpoint": {"name": file.split("/")[-1], "layout": layout, "urls": [file.split("/")[-1]]},
        "backbone": {"family": "mit", **sizes, **eps},
        "head": {"kind": "segformer-nvlabs", "classes": 5, "channels": 10},
        "protocol": {"scale": None, "crop": None, "stride": None, "multiple": 32, **PIXELS},
        "classes": {f"c{one}": [one, 0, 0] for one in range(5)},
    }
    (folder / "own.yaml").write_text(yaml.safe_dump({"version": 1, "models": {"mine": model}}))
    Image.fromarray(arrays(TINY / "segformer_whole" / "65x97.npz")["image"][..., ::-1]).save(folder / "a.png")
    return "--zoo", folder / "own.yaml"


@pytest.mark.parametrize(
    ("file", "layout", "to", "eps"),
    [
        ("official_segformer.pth", "official", "hf", {"eps": 1e-6, "conv_eps": 1e-5}),
        ("hf_segformer/model.safetensors", "hf", "official", {"eps": 1e-5}),
    ],
)
def test_nvlabs_segformer_is_run_verified_and_carried_to_the_other_library(file, layout, to, eps, tmp_path):
    zoo = own_zoo(tmp_path, file, layout, **eps)
    segzoo(*zoo, "predict", "mine", tmp_path / "a.png", "-o", tmp_path / "one")
    segzoo(*zoo, "convert", "mine", tmp_path / "theirs.safetensors", "--to", to)
    segzoo(*zoo, "predict", tmp_path / "theirs.safetensors", tmp_path / "a.png", "-o", tmp_path / "two", "--like", "mine")
    assert (tmp_path / "one" / "a.labels.png").read_bytes() == (tmp_path / "two" / "a.labels.png").read_bytes()
    said = segzoo(*zoo, "-v", "verify", "mine", "--device", "cpu", "--again", "--no-receipt")
    assert f"by way of {'mmseg, hf' if layout == 'official' else 'official, mmseg'}: " in said
    assert "in this layout only" not in said
    segzoo(*zoo, "manifest", "add", tmp_path / "theirs.safetensors", "--to", tmp_path / "second.yaml", "--like", "mine")
    (entry,) = yaml.safe_load((tmp_path / "second.yaml").read_text())["models"].values()
    origin = yaml.safe_load((tmp_path / "own.yaml").read_text())["models"]["mine"]
    assert entry["backbone"] == origin["backbone"]
    assert entry["protocol"]["multiple"] == 32
    assert {name: entry["head"][name] for name in origin["head"]} == origin["head"]


def test_a_head_of_the_other_kind_than_its_entrys_is_refused(tmp_path):
    zoo = own_zoo(tmp_path, "official_segformer.pth", "official", eps=1e-6)
    shutil.copy(TINY / "segformer.pth", tmp_path / "official_segformer.pth")
    said = segzoo(*zoo, "convert", "mine", tmp_path / "out.pth", code=4)
    assert "layout 'mmseg', the manifest says 'official'" in said
    assert not (tmp_path / "out.pth").exists()


# export


def loaded(folder):
    spec = importlib.util.spec_from_file_location("model", folder / "model.py")
    loader = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loader)
    return loader.load(folder)


def test_an_exported_segformer_gives_mmsegs_scores_in_plain_torch(tmp_path):
    segzoo(*tiny(tmp_path), "export", "segformer-whole", "-o", tmp_path / "out", "--as", "safetensors")
    data = arrays(TINY / "segformer_whole" / "65x97.npz")
    with torch.inference_mode():
        scores = loaded(tmp_path / "out")(normalised(data))[0].numpy()
    assert np.abs(scores[:, ::2, ::2] - data["logits@s2"]).max() < 1e-5 * np.abs(data["logits@s2"]).max()


def test_an_exported_segformer_of_nvlabs_gives_their_scores_and_is_read_again(tmp_path):
    zoo = own_zoo(tmp_path, "official_segformer.pth", "official", eps=1e-6, conv_eps=1e-5)
    segzoo(*zoo, "export", "mine", "-o", tmp_path / "out", "--as", "safetensors")
    image = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (1, 3, 61, 93)).astype(np.float32))
    theirs = arrays(PEERS / "official_segformer.npz")["logits"]
    with torch.inference_mode():
        scores = loaded(tmp_path / "out").scores(image).numpy()
    assert np.abs(scores - theirs).max() < 1e-5 * np.abs(theirs).max()
    for name, model in (("one", "mine"), ("two", tmp_path / "out" / "model.safetensors")):
        segzoo(*zoo, "predict", model, tmp_path / "a.png", "-o", tmp_path / name)
    assert (tmp_path / "one" / "a.labels.png").read_bytes() == (tmp_path / "two" / "a.labels.png").read_bytes()
    assert json.loads((tmp_path / "out" / "config.json").read_text())["protocol"]["multiple"] == 32


@pytest.mark.slow
@pytest.mark.parametrize("name", ["segformer-whole", "segformer-slide"])
def test_verify_climbs_a_segformer(name, tmp_path):
    said = segzoo(*tiny(tmp_path), "-v", "verify", name, "--device", "cpu", "--again")
    assert "by way of official, hf: " in said
    assert "SegFormer decoder: in this layout only" in said
    assert "widths 12-24-48-60" in said


@pytest.mark.thorough
@pytest.mark.parametrize("head", ["mmseg", "nvlabs"])
def test_a_graph_gives_the_programs_scores_at_odd_sizes(head, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    if head == "mmseg":
        segzoo(*tiny(tmp_path), "export", "segformer-whole", "-o", tmp_path / "out", "--as", "onnx")
    else:
        zoo = own_zoo(tmp_path, "official_segformer.pth", "official", eps=1e-6, conv_eps=1e-5)
        segzoo(*zoo, "export", "mine", "-o", tmp_path / "out", "--as", "onnx")
        segzoo(*zoo, "export", "mine", "-o", tmp_path / "plain", "--as", "safetensors")
    session = onnxruntime.InferenceSession(tmp_path / "out" / "model.onnx", providers=["CPUExecutionProvider"])
    for size in ("40x57", "65x97", "72x72"):
        data = arrays(TINY / "segformer_whole" / f"{size}.npz")
        (scores,) = session.run(None, {"image": normalised(data).numpy()})
        if head == "mmseg":
            theirs = data["logits"] if "logits" in data else data["logits@s2"]
            step = 1 if "logits" in data else 2
        else:
            with torch.inference_mode():
                theirs, step = loaded(tmp_path / "plain")(normalised(data))[0].numpy(), 1
        assert np.abs(scores[0, :, ::step, ::step] - theirs).max() < 1e-4 * np.abs(theirs).max()
