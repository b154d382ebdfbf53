"""A ConvNeXt of one's own in a manifest, and as a model of the zoo that is run: from files in its libraries' own names."""

import gzip
import json
import shutil

import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from PIL import Image
from support import GOLDEN

from segzoo.cli import main
from segzoo.manifest.document import load_manifest, packaged

TINY = GOLDEN / "transformers"
GEOMETRY = {"family": "convnext", "widths": [4, 8, 12, 20], "depths": [2, 1, 3, 2], "classes": 5}


def segzoo(*words, code=0):
    done = CliRunner().invoke(main, [*map(str, words)], catch_exceptions=False)
    assert done.exit_code == code, done.output
    return done.output


def test_every_convnext_that_mmsegmentation_published_has_a_row():
    facts = {
        one["checkpoint"]["name"]: one for one in json.loads(gzip.decompress((TINY / "facts.json.gz").read_bytes())) if one["family"] == "convnext"
    }
    rows = {name: row for name, row in load_manifest(packaged("zoo.yaml")).models.items() if row.checkpoint.name in facts}
    assert list(rows) == [f"convnext-{size}" for size in ("t-upernet", "s-upernet", "b-upernet", "b-upernet-22k", "l-upernet-22k", "xl-upernet-22k")]
    for name, row in rows.items():
        fact = facts[row.checkpoint.name]
        assert row.backbone.eps == fact["backbone"]["norm_cfg"]["eps"]
        assert list(row.backbone.widths) == fact["decode_head"]["in_channels"]
        assert name.endswith("-22k") == ("in21k" in fact["pretrained"]["file"])


def test_backbones_of_two_libraries_are_entries_of_one_geometry(tmp_path):
    shutil.copy(GOLDEN / "convnext" / "official.pth", tmp_path / "theirs.pth")
    shutil.copytree(GOLDEN / "convnext" / "hf", tmp_path / "hf")
    for name in ("theirs.pth", "hf/model.safetensors"):
        segzoo("manifest", "add", tmp_path / name, "--to", tmp_path / "own.yaml")
    entries = yaml.safe_load((tmp_path / "own.yaml").read_text())["backbones"]
    assert [(one["source"]["layout"], one["geometry"], one["eps"]) for one in entries.values()] == [
        (name, GEOMETRY, 1e-6) for name in ("official", "hf")
    ]
    assert "4, 8, 12, 20" in segzoo("--zoo", tmp_path / "own.yaml", "info", "theirs")


def test_a_model_carried_to_transformers_names_gives_the_same_picture_and_entry(tmp_path):
    Image.fromarray(np.load(TINY / "upernet_convnext" / "65x97.npz")["image"][..., ::-1]).save(tmp_path / "a.png")
    for name in ("zoo.yaml", "upernet_convnext.pth"):
        shutil.copy(TINY / name, tmp_path / name)
    segzoo("convert", TINY / "upernet_convnext.pth", tmp_path / "theirs.safetensors", "--to", "hf")
    zoo = ("--zoo", tmp_path / "zoo.yaml")
    segzoo(*zoo, "predict", "upernet-convnext", tmp_path / "a.png", "-o", tmp_path / "one")
    segzoo(*zoo, "predict", tmp_path / "theirs.safetensors", tmp_path / "a.png", "-o", tmp_path / "two", "--like", "upernet-convnext")
    assert (tmp_path / "one" / "a.labels.png").read_bytes() == (tmp_path / "two" / "a.labels.png").read_bytes()
    segzoo(*zoo, "manifest", "add", tmp_path / "theirs.safetensors", "--to", tmp_path / "own.yaml")
    entry = yaml.safe_load((tmp_path / "own.yaml").read_text())["models"]["theirs"]
    assert entry["backbone"] == {"family": "convnext", "widths": [16, 32, 48, 64], "depths": [2, 1, 2, 1], "eps": 1e-6}


@pytest.mark.slow
def test_verify_climbs_a_convnext(tmp_path):
    for name in ("zoo.yaml", "upernet_convnext.pth"):
        shutil.copy(TINY / name, tmp_path / name)
    said = segzoo("--zoo", tmp_path / "zoo.yaml", "-v", "verify", "upernet-convnext", "--device", "cpu", "--again")
    assert "by way of official, hf: " in said
    assert "widths 16-32-48-64, depths 2-1-2-1" in said
