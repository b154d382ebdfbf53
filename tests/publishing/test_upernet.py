"""UPerNets as folders of transformers: a folder that transformers itself saved comes out again, and a model of mmseg gives mmseg's scores there."""

import json
import shutil

import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from support import GOLDEN, arrays, same, tensors_of, without

from segzoo.cli import main

TINY = GOLDEN / "transformers"
CLASSES = {f"class {index}": [index, 0, 0] for index in range(5)}
PROTOCOL = {"scale": None, "crop": None, "stride": None, "mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375]}
BACKBONES = {
    "swin": {"width": 4, "depths": [2, 1, 3, 2], "heads": [1, 2, 2, 4], "window": 3, "mlp_ratio": 2, "eps": 1e-5},
    "convnext": {"widths": [4, 8, 12, 20], "depths": [2, 1, 3, 2], "eps": 1e-6},
}


def segzoo(*words, code=0):
    done = CliRunner().invoke(main, [*map(str, words)], catch_exceptions=False)
    assert done.exit_code == code, done.output
    return done.output


def zoo_of(folder, family, **otherwise):
    """A zoo of one model: the UPerNet that transformers saved."""
    shutil.copy(GOLDEN / family / "hf_upernet" / "model.safetensors", folder / "theirs.safetensors")
    model = {"title": "Theirs", "checkpoint": {"name": "theirs.safetensors", "layout": "hf", "urls": ["theirs.safetensors"]}}
    model |= {"backbone": {"family": family} | BACKBONES[family] | otherwise, "head": {"kind": "uper", "classes": 5, "channels": 8}}
    (folder / "zoo.yaml").write_text(yaml.safe_dump({"version": 1, "models": {"theirs": model | {"protocol": PROTOCOL, "classes": CLASSES}}}))
    return "--zoo", folder / "zoo.yaml"


def within(mine, theirs):
    """Whether all that a config says is what another says, too. What it leaves out is transformers' default."""
    return all(within(one, theirs[name]) if isinstance(one, dict) else one == theirs[name] for name, one in mine.items())


@pytest.mark.parametrize("family", BACKBONES)
def test_a_folder_that_transformers_saved_comes_out_again(family, tmp_path):
    segzoo(*zoo_of(tmp_path, family), "export", "theirs", "-o", tmp_path / "out", "--as", "hf")
    assert same(
        tensors_of(tmp_path / "out" / "model.safetensors"),
        without(tensors_of(tmp_path / "theirs.safetensors"), r"^auxiliary_head|^backbone\.(swin\.)?layernorm\."),
    )
    mine, theirs = (json.loads((folder / "config.json").read_text()) for folder in (tmp_path / "out", GOLDEN / family / "hf_upernet"))
    assert mine.pop("id2label") == {str(index): name for index, name in enumerate(CLASSES)}
    assert mine.pop("label2id") == {name: index for index, name in enumerate(CLASSES)}
    assert (mine.pop("use_auxiliary_head"), mine.pop("torch_dtype")) == (False, theirs["dtype"])
    assert within(mine, theirs)
    images = json.loads((tmp_path / "out" / "preprocessor_config.json").read_text())
    assert (images["do_resize"], images["image_mean"]) == (False, pytest.approx([0.485, 0.456, 0.406]))
    assert "UperNetForSemanticSegmentation.from_pretrained(folder)" in (tmp_path / "out" / "README.md").read_text()


@pytest.mark.parametrize("family", BACKBONES)
def test_another_eps_than_transformers_gives_its_norms_is_refused(family, tmp_path):
    said = segzoo(*zoo_of(tmp_path, family, eps=1e-3), "export", "theirs", "-o", tmp_path / "out", "--as", "hf", code=5)
    assert "its layer norms have eps 0.001, those of transformers' UPerNet" in " ".join(said.split())
    assert not (tmp_path / "out").exists()


def test_a_upernet_that_transformers_has_no_backbone_for_is_refused(tmp_path):
    for file in ("zoo.yaml", "upernet_beit.pth"):
        shutil.copy(TINY / file, tmp_path / file)
    said = segzoo("--zoo", tmp_path / "zoo.yaml", "export", "upernet-beit", "-o", tmp_path / "out", "--as", "hf", code=5)
    assert "transformers has no class for it" in " ".join(said.split())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["upernet-swin", "upernet-swin-w12", "upernet-convnext"])
def test_transformers_opens_a_model_of_mmseg_and_gives_its_scores(name, tmp_path):
    transformers = pytest.importorskip("transformers", reason="it is in the extra 'peers'")
    import torch

    stem = name.replace("-", "_")
    for file in ("zoo.yaml", f"{stem}.pth"):
        shutil.copy(TINY / file, tmp_path / file)
    segzoo("--zoo", tmp_path / "zoo.yaml", "export", name, "-o", tmp_path / "out", "--as", "hf")
    model, info = transformers.UperNetForSemanticSegmentation.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not any(info.values())
    processor = transformers.AutoImageProcessor.from_pretrained(tmp_path / "out")
    data = arrays(TINY / stem / "40x57.npz")
    inputs = processor(np.ascontiguousarray(data["image"][..., ::-1]), return_tensors="pt")
    with torch.inference_mode():
        scores = model.eval()(**inputs).logits[0].numpy()
    theirs = data["logits64@s3"]
    assert np.abs(scores[:, ::3, ::3] - theirs).max() < 1e-5 * np.abs(theirs).max()
