"""A Twins of one's own in a manifest, and as a model of the zoo that is run: from files in its libraries' own names."""

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
PEERS = GOLDEN / "twins"
CONFIG = "model = dict(backbone=dict(type='{}', embed_dims=[4, 8, 12, 16], depths=[2, 1, 3, 2], num_heads=[1, 2, 3, 4]{}))"


def segzoo(*words, code=0):
    done = CliRunner().invoke(main, [*map(str, words)], catch_exceptions=False)
    assert done.exit_code == code, done.output
    return done.output


def test_every_twins_that_mmsegmentation_published_has_a_row():
    facts = {one["checkpoint"]["name"]: one for one in json.loads(gzip.decompress((TINY / "facts.json.gz").read_bytes())) if one["family"] == "twins"}
    rows = {name: row for name, row in load_manifest(packaged("zoo.yaml")).models.items() if row.checkpoint.name in facts}
    assert list(rows) == [f"twins-{variant}-{size}-{head}" for variant in ("pcpvt", "svt") for size in "sbl" for head in ("fpn", "upernet")]
    for name, row in rows.items():
        fact, backbone = facts[row.checkpoint.name], facts[row.checkpoint.name]["backbone"]
        assert name.split("-")[1] == row.backbone.variant == backbone["type"].lower()
        for side, theirs in (
            ("widths", "embed_dims"),
            ("depths", "depths"),
            ("heads", "num_heads"),
            ("mlp_ratios", "mlp_ratios"),
            ("reductions", "sr_ratios"),
        ):
            assert list(getattr(row.backbone, side)) == backbone[theirs]
        assert row.backbone.eps == backbone["norm_cfg"].get("eps", 1e-5)
        assert row.backbone.output_norms == backbone["norm_after_stage"]
        assert row.backbone.window == next(iter(backbone.get("windiow_sizes", [None])))
        head = fact["decode_head"]
        assert (row.head.named, row.head.channels) == ({"FPNHead": "fpn", "UPerHead": "uper"}[head["type"]], head["channels"])
        if fact["neck"]:
            assert (row.neck.named, row.neck.width, row.neck.levels) == ("fpn", fact["neck"]["out_channels"], fact["neck"]["num_outs"])
            assert head["feature_strides"] == [4, 8, 16, 32]
        else:
            assert row.neck is None


def test_the_file_that_the_metafile_lists_under_another_name_has_its_own_row():
    row = load_manifest(packaged("zoo.yaml")).models["twins-svt-l-upernet"]
    assert row.checkpoint.name == "twins_svt-l_uperhead_8x2_512x512_160k_ade20k_20211130_141005-3e2cae61.pth"
    assert row.config.endswith("twins_svt-l_uperhead_8xb2-160k_ade20k-512x512.py")


def test_backbones_of_three_libraries_are_entries_of_one_geometry(tmp_path):
    geometry = {"family": "twins", "variant": "svt", "widths": [4, 8, 12, 16], "depths": [2, 1, 3, 2], "heads": [1, 2, 3, 4], "window": 2}
    geometry |= {"mlp_ratios": [3, 2, 2, 2], "reductions": [8, 1, 2, 1], "classes": 5}
    (tmp_path / "config.py").write_text(CONFIG.format("SVT", ", windiow_sizes=[2, 2, 2, 2]"))
    for library in ("official", "timm", "mmpretrain"):
        segzoo("manifest", "add", PEERS / f"{library}_svt.pth", "--to", tmp_path / "own.yaml", "--config", tmp_path / "config.py")
    entries = yaml.safe_load((tmp_path / "own.yaml").read_text())["backbones"]
    assert [(one["source"]["layout"], one["geometry"], one["eps"]) for one in entries.values()] == [
        (name, geometry, 1e-5) for name in ("official", "official", "mmseg")
    ]
    assert "4, 8, 12, 16" in segzoo("--zoo", tmp_path / "own.yaml", "info", "official-svt")


def test_a_backbone_of_which_nobody_tells_the_heads_is_no_entry(tmp_path):
    said = segzoo("manifest", "add", PEERS / "official_svt.pth", "--to", tmp_path / "own.yaml", code=2)
    assert "no tensor shows its attention heads" in said
    assert not (tmp_path / "own.yaml").exists()


@pytest.mark.parametrize("name", ["upernet-twins-pcpvt", "fpn-twins-svt"])
def test_a_model_carried_to_the_authors_names_gives_the_same_picture_and_entry(name, tmp_path):
    stem = name.replace("-", "_")
    Image.fromarray(arrays(TINY / stem / "65x97.npz")["image"][..., ::-1]).save(tmp_path / "a.png")
    for file in ("zoo.yaml", f"{stem}.pth"):
        shutil.copy(TINY / file, tmp_path / file)
    segzoo("convert", TINY / f"{stem}.pth", tmp_path / "theirs.pth", "--to", "official")
    zoo = ("--zoo", tmp_path / "zoo.yaml")
    segzoo(*zoo, "predict", name, tmp_path / "a.png", "-o", tmp_path / "one")
    segzoo(*zoo, "predict", tmp_path / "theirs.pth", tmp_path / "a.png", "-o", tmp_path / "two", "--like", name)
    assert (tmp_path / "one" / "a.labels.png").read_bytes() == (tmp_path / "two" / "a.labels.png").read_bytes()
    segzoo(*zoo, "manifest", "add", tmp_path / "theirs.pth", "--to", tmp_path / "own.yaml", "--like", name)
    models = yaml.safe_load((tmp_path / "own.yaml").read_text())["models"]
    entry, origin = models["theirs"], yaml.safe_load((TINY / "zoo.yaml").read_text())["models"][name]
    assert entry["backbone"] == origin["backbone"]
    assert entry.get("neck", {}).get("width") == origin.get("neck", {}).get("width")
    assert (entry["head"]["kind"], entry["head"]["channels"]) == (origin["head"]["kind"], origin["head"]["channels"])


@pytest.mark.parametrize("name", ["upernet-twins-svt", "fpn-twins-svt"])
def test_a_file_of_another_variant_than_its_entry_is_refused(name, tmp_path):
    """A PCPVT's file under an SVT's name, as the metafile has it the other way round."""
    stem = name.replace("-", "_")
    shutil.copy(TINY / "upernet_twins_pcpvt.pth", tmp_path / f"{stem}.pth")
    shutil.copy(TINY / "zoo.yaml", tmp_path / "zoo.yaml")
    said = segzoo("--zoo", tmp_path / "zoo.yaml", "convert", name, tmp_path / "out.pth", code=4)
    assert "variant pcpvt, expected svt" in said
    assert not (tmp_path / "out.pth").exists()


def test_an_exported_model_gives_the_same_scores_by_its_own_loader(tmp_path):
    for file in ("zoo.yaml", "fpn_twins_svt.pth"):
        shutil.copy(TINY / file, tmp_path / file)
    segzoo("--zoo", tmp_path / "zoo.yaml", "export", "fpn-twins-svt", "-o", tmp_path / "out", "--as", "safetensors")
    spec = importlib.util.spec_from_file_location("exported", tmp_path / "out" / "model.py")
    loader = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loader)
    data = arrays(TINY / "fpn_twins_svt" / "65x97.npz")
    mean, std = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])
    image = torch.from_numpy((data["image"][..., ::-1] - mean) / std).permute(2, 0, 1)[None].float()
    with torch.inference_mode():
        scores = loader.load(tmp_path / "out")(image)[0].numpy()
    assert np.abs(scores[:, ::2, ::2] - data["logits@s2"]).max() < 1e-5 * np.abs(data["logits@s2"]).max()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["upernet-twins-pcpvt", "upernet-twins-svt", "fpn-twins-svt"])
def test_verify_climbs_a_twins(name, tmp_path):
    for file in ("zoo.yaml", f"{name.replace('-', '_')}.pth"):
        shutil.copy(TINY / file, tmp_path / file)
    said = segzoo("--zoo", tmp_path / "zoo.yaml", "-v", "verify", name, "--device", "cpu", "--again")
    assert f"by way of official{', timm' if 'pcpvt' in name else ''}: " in said
    assert "widths 16-32-48-64" in said


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["upernet-twins-pcpvt", "upernet-twins-svt", "fpn-twins-svt"])
def test_a_graph_gives_mmsegs_scores_where_none_one_or_both_sides_of_a_map_are_padded(name, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    stem = name.replace("-", "_")
    for file in ("zoo.yaml", f"{stem}.pth"):
        shutil.copy(TINY / file, tmp_path / file)
    segzoo("--zoo", tmp_path / "zoo.yaml", "export", name, "-o", tmp_path / "out", "--as", "onnx")
    session = onnxruntime.InferenceSession(tmp_path / "out" / "model.onnx", providers=["CPUExecutionProvider"])
    mean, std = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])
    for size in ("40x57", "65x97", "72x72"):
        data = arrays(TINY / stem / f"{size}.npz")
        image = ((data["image"][..., ::-1] - mean) / std).transpose(2, 0, 1)[None].astype(np.float32)
        (scores,) = session.run(None, {"image": image})
        theirs = data["logits"] if "logits" in data else data["logits@s2"]
        step = 1 if "logits" in data else 2
        assert np.abs(scores[0, :, ::step, ::step] - theirs).max() < 1e-4 * np.abs(theirs).max()
