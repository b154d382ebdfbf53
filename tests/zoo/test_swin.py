"""A Swin of one's own in a manifest, and as a model of the zoo that is run: from files in its libraries' own names."""

import shutil

import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from PIL import Image
from support import GOLDEN

from segzoo.cli import main

TINY = GOLDEN / "transformers"
GEOMETRY = {"family": "swin", "width": 4, "depths": [2, 1, 3, 2], "heads": [1, 2, 2, 4], "window": 3, "mlp_ratio": 2, "classes": 5}


def segzoo(*words, code=0):
    done = CliRunner().invoke(main, [*map(str, words)], catch_exceptions=False)
    assert done.exit_code == code, done.output
    return done.output


def test_backbones_of_two_libraries_are_entries_of_one_geometry(tmp_path):
    shutil.copy(GOLDEN / "swin" / "official.pth", tmp_path / "theirs.pth")
    shutil.copytree(GOLDEN / "swin" / "hf", tmp_path / "hf")
    for name in ("theirs.pth", "hf/model.safetensors"):
        segzoo("manifest", "add", tmp_path / name, "--to", tmp_path / "own.yaml")
    entries = yaml.safe_load((tmp_path / "own.yaml").read_text())["backbones"]
    assert [(one["source"]["layout"], one["geometry"], one["eps"]) for one in entries.values()] == [
        (name, GEOMETRY, 1e-5) for name in ("official", "hf")
    ]
    shown = segzoo("--zoo", tmp_path / "own.yaml", "info", "theirs")
    assert "2, 1, 3, 2" in shown


def test_a_model_carried_to_transformers_names_gives_the_same_picture_and_entry(tmp_path):
    Image.fromarray(np.load(TINY / "upernet_swin" / "65x97.npz")["image"][..., ::-1]).save(tmp_path / "a.png")
    segzoo("convert", TINY / "upernet_swin.pth", tmp_path / "theirs.safetensors", "--to", "hf")
    zoo = ("--zoo", TINY / "zoo.yaml")
    segzoo(*zoo, "predict", "upernet-swin", tmp_path / "a.png", "-o", tmp_path / "one")
    segzoo(*zoo, "predict", tmp_path / "theirs.safetensors", tmp_path / "a.png", "-o", tmp_path / "two")
    assert (tmp_path / "one" / "a.labels.png").read_bytes() == (tmp_path / "two" / "a.labels.png").read_bytes()
    segzoo(*zoo, "manifest", "add", tmp_path / "theirs.safetensors", "--to", tmp_path / "own.yaml")
    entry = yaml.safe_load((tmp_path / "own.yaml").read_text())["models"]["theirs"]
    assert entry["backbone"] == {"family": "swin", "width": 12, "depths": [2] * 4, "heads": [1, 2, 4, 8], "window": 7, "mlp_ratio": 2, "eps": 1e-5}


@pytest.mark.slow
def test_verify_climbs_a_swin():
    said = segzoo("--zoo", TINY / "zoo.yaml", "-v", "verify", "upernet-swin-w12", "--device", "cpu", "--again")
    assert "by way of official, hf: " in said
    assert "width 12, depths 2-1-1-1, heads 1-2-4-8, window 12" in said
