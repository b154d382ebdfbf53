"""SETR and DPT of one's own and in the zoo: what no tensor shows is what the config says, and is never guessed."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml
from click.testing import CliRunner
from PIL import Image
from support import GOLDEN, arrays

from segzoo.cli import main
from segzoo.conversion.checkpoint import identify
from segzoo.conversion.plan import plan
from segzoo.conversion.run import run
from segzoo.evaluation.protocols import sizes
from segzoo.layouts import LAYOUTS
from segzoo.manifest.document import load_manifest, packaged

TINY = GOLDEN / "transformers"
NAMES = ("setr-naive", "setr-pup", "setr-mla", "dpt")
ENTRIES = yaml.safe_load((TINY / "zoo.yaml").read_text())["models"]
PIPELINE = [{"type": "LoadImageFromFile"}, {"type": "LoadAnnotations"}, {"type": "PackSegInputs"}]


def segzoo(*words, code=0):
    done = CliRunner().invoke(main, [*map(str, words)], catch_exceptions=False)
    assert done.exit_code == code, done.output
    return done.output


def config(name, path, **backbone):
    """The golden's own config, as mmengine writes it: Python, with the pipeline of a golden, whose image is resized already."""
    model = json.loads((TINY / name.replace("-", "_") / "config.json").read_text())
    model["backbone"] |= backbone
    path.write_text(f"model = {model!r}\ntest_dataloader = dict(dataset=dict(pipeline={PIPELINE!r}))\n")
    return path


def file_of(name):
    return TINY / f"{name.replace('-', '_')}.pth"


@pytest.mark.parametrize("name", NAMES)
def test_a_file_with_its_config_becomes_the_entry_that_the_zoo_has(name, tmp_path):
    segzoo("manifest", "add", file_of(name), "--config", config(name, tmp_path / "c.py"), "--name", "own", "--to", tmp_path / "own.yaml")
    entry, expected = yaml.safe_load((tmp_path / "own.yaml").read_text())["models"]["own"], ENTRIES[name]
    assert entry["backbone"] == expected["backbone"]
    usual = {"setr": {"eps": 1e-6}, "setr-mla": {"levels": 4, "scale": 4}, "dpt": {}}[expected["head"]["kind"]]
    assert entry["head"] == expected["head"] | usual
    assert entry.get("neck") == (expected["neck"] | {"levels": 4, "eps": 1e-6} if "neck" in expected else None)
    assert entry["protocol"] == expected["protocol"]


@pytest.mark.parametrize("name", NAMES)
def test_a_file_with_its_config_gives_mmsegs_picture(name, tmp_path):
    data = arrays(TINY / name.replace("-", "_") / "72x72.npz")  # its own size is that of the scores
    Image.fromarray(data["image"][..., ::-1]).save(tmp_path / "a.png")
    segzoo("predict", file_of(name), tmp_path / "a.png", "-o", tmp_path / "out", "--config", config(name, tmp_path / "c.py"))
    labels = np.asarray(Image.open(tmp_path / "out" / "a.labels.png"))
    assert (labels == data["pred"]).mean() > 0.999


def test_positions_are_resized_as_the_config_says(tmp_path):
    """An image of 3 x 4 patches, where bilinear and bicubic positions give other scores."""
    data = arrays(TINY / "setr_naive" / "40x57.npz")
    Image.fromarray(data["image"][..., ::-1]).save(tmp_path / "a.png")
    for mode in ("bilinear", "bicubic"):
        path = config("setr-naive", tmp_path / f"{mode}.py", interpolate_mode=mode)
        segzoo("predict", file_of("setr-naive"), tmp_path / "a.png", "-o", tmp_path / mode, "--config", path)
    segzoo("--zoo", TINY / "zoo.yaml", "predict", "setr-naive", tmp_path / "a.png", "-o", tmp_path / "zoo")
    zoo, one, two = (np.asarray(Image.open(tmp_path / folder / "a.labels.png")) for folder in ("zoo", "bilinear", "bicubic"))
    assert np.array_equal(zoo, one)
    assert not np.array_equal(zoo, two)


def test_an_mla_whose_class_token_nobody_speaks_of_is_not_guessed(tmp_path):
    """With the class token in the blocks it is another model, of the same names and shapes."""
    model = json.loads((TINY / "setr_mla" / "config.json").read_text())
    del model["backbone"]["with_cls_token"]
    (tmp_path / "c.py").write_text(f"_base_ = ['x.py']\nmodel = {model!r}\ntest_dataloader = dict(dataset=dict(pipeline={PIPELINE!r}))\n")
    said = segzoo("manifest", "add", file_of("setr-mla"), "--config", tmp_path / "c.py", code=2)
    assert "no tensor shows its class_token" in said


def test_a_model_whose_head_takes_another_block_is_run_so(tmp_path):
    """in_index=1 of out_indices=(0, 1, 2, 3): the second block's output goes to the head."""
    model = json.loads((TINY / "setr_naive" / "config.json").read_text())
    model["decode_head"]["in_index"] = 1
    (tmp_path / "c.py").write_text(f"model = {model!r}\ntest_dataloader = dict(dataset=dict(pipeline={PIPELINE!r}))\n")
    segzoo("manifest", "add", file_of("setr-naive"), "--config", tmp_path / "c.py", "--name", "own", "--to", tmp_path / "own.yaml")
    assert yaml.safe_load((tmp_path / "own.yaml").read_text())["models"]["own"]["backbone"]["out_indices"] == [1]
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(image).save(tmp_path / "a.png")
    segzoo("--zoo", tmp_path / "own.yaml", "predict", "own", tmp_path / "a.png", "-o", tmp_path / "one")
    segzoo("--zoo", TINY / "zoo.yaml", "predict", "setr-naive", tmp_path / "a.png", "-o", tmp_path / "two")
    assert (tmp_path / "one" / "a.labels.png").read_bytes() != (tmp_path / "two" / "a.labels.png").read_bytes()


@pytest.mark.parametrize("name", ["setr-mla", "dpt"])
def test_an_exported_folder_is_read_again_as_the_same_model(name, tmp_path):
    """What no tensor shows stands in its config.json."""
    zoo = ("--zoo", TINY / "zoo.yaml")
    segzoo(*zoo, "export", name, "-o", tmp_path / "out", "--as", "safetensors")
    segzoo("manifest", "add", tmp_path / "out" / "model.safetensors", "--name", "own", "--to", tmp_path / "own.yaml")
    entry = yaml.safe_load((tmp_path / "own.yaml").read_text())["models"]["own"]
    assert entry["backbone"] == {"resample": "bicubic"} | ENTRIES[name]["backbone"]
    assert entry["protocol"] == ENTRIES[name]["protocol"]


@pytest.mark.parametrize("form", ["hf", "timm"])
def test_forms_without_such_a_model_are_refused(form, tmp_path):
    said = segzoo("--zoo", TINY / "zoo.yaml", "export", "dpt", "-o", tmp_path / "out", "--as", form, code=5)
    assert "dpt is a segmentation model" in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", NAMES)
def test_the_shipped_names(name):
    typed = {"dpt": "dpt-vit-b", "setr-pup": "setr-pup-ade", "setr-mla": "cityscapes-setr-mla"}.get(name, name)
    shown = segzoo("info", typed)
    assert {"setr-pup": "setr_pup_512x512", "setr-mla": "setr_mla_vit-large_8x1_768x768", "dpt": "dpt_vit-b16"}.get(
        name, "setr_naive_512x512"
    ) in shown


def test_cityscapes_is_resized_to_2049_by_1025_first():
    """As mmcv's rescale_size does with SETR's configs, whose position tables want 2049 x 1025."""
    protocol = load_manifest(packaged("zoo.yaml")).models["setr-pup-cityscapes"].protocol
    assert sizes((1024, 2048), protocol.scale, "ss") == [(1025, 2049)]
    assert protocol.windows == ((768, 768), (512, 512))


@pytest.mark.slow
def test_verify_climbs_each_and_its_numbers_are_jaxs():
    pytest.importorskip("jax")
    said = segzoo("--zoo", TINY / "zoo.yaml", "-v", "verify", *NAMES, "--device", "cpu", "--again")
    assert said.count("torch against JAX, 6 intermediates of the backbone") == len(NAMES)
    assert "no class token in its blocks, MLA neck of width 32" in said


def test_jax_cuts_the_class_token_off_as_mmseg_does():
    pytest.importorskip("jax")
    from segzoo.models.vit.reference import intermediates

    file = identify(file_of("setr-mla"), heads=3)
    layout = replace(LAYOUTS["vit"]["augreg"], sections={"no final norm": (), **LAYOUTS["vit"]["augreg"].sections})
    drop = [one for one in file.found.sections if one in ("MLA neck", "SETR-MLA decoder")]
    tensors = dict(run(plan(file.weights.specs, layout, found=file.found, drop=drop, heads=3), file.weights))
    data = arrays(TINY / "setr_mla" / "65x97.npz")
    top, left, bottom, right = data["windows"][0]
    mean, std = (torch.tensor(ENTRIES["setr-mla"]["protocol"][side]) for side in ("mean", "std"))
    image = ((torch.from_numpy(data["image"][top:bottom, left:right, ::-1].astype(np.float32)) - mean) / std)[None].numpy()
    cut, kept = (intermediates(tensors, image, eps=1e-6, dtype=np.float32, class_token=one)["block3"][0] for one in (False, None))
    theirs = data["w0/backbone.out.3"].reshape(36, -1).T
    assert np.abs(cut - theirs).max() <= 1e-5 * np.abs(theirs).max()
    assert np.abs(kept[1:] - theirs).max() > 1e-2 * np.abs(theirs).max()
