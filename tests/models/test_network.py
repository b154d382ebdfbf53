"""The Segmenter against the real mmseg's own intermediates, and its strictness about names."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from support import CROPS, GOLDEN, TAME, golden_model

from segzoo.conversion.convert import convert
from segzoo.conversion.plan import plan
from segzoo.conversion.run import run
from segzoo.errors import ConversionError
from segzoo.formats import open_weights
from segzoo.layouts.vit import VIT
from segzoo.models.segmentor import build

ONLY_THEIRS = {"image_rgb", "normalised", "block0_ln1", "block0_after_attn"}
TOLERANCE = 1e-5


@pytest.mark.parametrize("crop", CROPS)
@pytest.mark.parametrize("head", ["mask", "linear"])
def test_every_intermediate_is_mmsegs(head, crop):
    golden = np.load(GOLDEN / "mmseg" / "expected" / "mini_intermediates.npz")
    expected = {key.split("/")[2]: golden[key] for key in golden.files if key.startswith(f"{head}/{crop}/")}
    seen = {}
    with torch.inference_mode():
        golden_model(head)(torch.from_numpy(expected["normalised"]), seen)
    compared = expected.keys() - ONLY_THEIRS
    assert compared <= seen.keys()
    assert len(compared) == (16 if head == "mask" else 9)
    for name in compared:
        assert seen[name].shape == expected[name].shape
        assert np.abs(seen[name].numpy() - expected[name]).max() <= TOLERANCE, name


@pytest.mark.parametrize("crop", CROPS)
def test_features_are_mmsegs_blocks_and_the_norm_is_in_the_last_alone(crop):
    golden = np.load(GOLDEN / "mmseg" / "expected" / "mini_intermediates.npz")
    names = {0: "block0", 2: "block2", -1: "final_norm", -3: "block1"}
    image = torch.from_numpy(golden[f"mask/{crop}/normalised"])
    with torch.inference_mode():
        grids = golden_model("mask").features(image, tuple(names))
    side = [-(-length // 16) for length in image.shape[-2:]]
    for grid, name in zip(grids, names.values(), strict=True):
        expected = golden[f"mask/{crop}/{name}"][:, 1:].transpose(0, 2, 1).reshape(1, 64, *side)
        assert grid.shape == expected.shape
        assert np.abs(grid.numpy() - expected).max() <= TOLERANCE


@pytest.mark.parametrize("head", ["mask", "linear"])
def test_an_official_checkpoint_gives_the_official_logits(head):
    """rstrudel's model and ours, decoder included; with MMSegmentation's eps in the backbone they part, as the note says."""
    weights = open_weights(GOLDEN / "segmenter" / f"{head}.pth")
    steps = plan(weights.specs, "mmseg", heads=3)
    decoder = replace(steps.geometry.decoder, heads=3 if head == "mask" else None)
    image, logits = (torch.from_numpy(np.load(GOLDEN / "segmenter" / name)) for name in ("input.npy", f"{head}.logits.npy"))
    with torch.inference_mode():
        same, other = (build(VIT, replace(steps.geometry, decoder=decoder), dict(run(steps, weights)), eps=eps)(image) for eps in (1e-5, 1e-6))
    assert steps.source.layout.name == "segmenter"
    assert (same - logits).abs().max() <= TOLERANCE
    assert (other - logits).abs().max() > TOLERANCE


def test_loading_is_strict():
    weights = open_weights(GOLDEN / "mmseg" / "checkpoints" / "mini_linear.pth")
    geometry = plan(weights.specs, "mmseg", heads=2).geometry
    tensors = dict(weights)
    bias = tensors.pop("backbone.patch_embed.projection.bias")
    with pytest.raises(ConversionError, match=r"Missing key.*patch_embed\.projection\.bias"):
        build(VIT, geometry, tensors)
    with pytest.raises(ConversionError, match=r"Unexpected key.*one_more"):
        build(VIT, geometry, {**weights, "one_more": bias})
    with pytest.raises(ConversionError, match="size mismatch"):
        build(VIT, geometry, {**weights, "backbone.patch_embed.projection.bias": bias[:3]})


@pytest.mark.parametrize("suffix", [".pth", ".npz", ".safetensors"])
def test_a_large_model_is_in_memory_once(tmp_path, suffix):
    """What a reader gives needs no copy to become a parameter."""
    convert(GOLDEN / "mmseg" / "checkpoints" / "mini_linear.pth", tmp_path / f"a{suffix}", heads=2)
    weights = open_weights(tmp_path / f"a{suffix}")
    tensors = dict(weights)
    model = build(VIT, plan(weights.specs, "mmseg", heads=2).geometry, tensors)
    apart = [name for name, parameter in model.named_parameters() if not np.shares_memory(parameter.numpy(), tensors[name])]
    assert not apart


def test_what_tensors_do_not_show_must_be_known():
    weights = open_weights(GOLDEN / "mmseg" / "checkpoints" / "mini_mask.pth")
    geometry = plan(weights.specs, "mmseg").geometry
    with pytest.raises(ConversionError, match="attention heads is not known"):
        build(VIT, geometry, weights)
    with pytest.raises(ConversionError, match="mask transformer is not known"):
        build(VIT, replace(geometry, heads=2), weights)
    with pytest.raises(ConversionError, match="no square grid"):
        build(VIT, replace(geometry, heads=2, positions=13), weights)


def test_the_number_of_heads_matters():
    weights = open_weights(TAME)
    steps = plan(weights.specs, "mmseg")
    tensors = dict(run(steps, weights))
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        four, two = (build(VIT, replace(steps.geometry, heads=heads), tensors)(image) for heads in (4, 2))
    assert (four - two).abs().max() > 0.01


def test_half_precision_weights_run_in_float32():
    weights = open_weights(GOLDEN / "mmseg" / "checkpoints" / "mini_linear.pth")
    halves = {name: array.astype(np.float16) for name, array in weights.items()}
    model = build(VIT, plan(weights.specs, "mmseg", heads=2).geometry, halves)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


@pytest.mark.parametrize("resample", ["bicubic", "bilinear"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_position_embeddings_in_half_precision_are_rounded_once(dtype, resample):
    """The table is; resizing it is computed in float32, as on every other way to the same grid."""
    rounded = golden_model("mask").backbone
    rounded.resample = resample
    rounded.pos_embed = torch.nn.Parameter(rounded.pos_embed.to(dtype).float(), requires_grad=False)
    expected = rounded.positions(6, 11).to(dtype)
    assert torch.equal(rounded.to(dtype).positions(6, 11), expected)


def test_position_tables_of_many_grids_do_not_pile_up():
    """Images seen in one piece have a grid each: two thousand tables of ViT-L would be gigabytes."""
    backbone = golden_model("mask").backbone.requires_grad_(False)
    tables = [backbone.positions(7, width) for width in range(2, 100)]
    assert len(backbone._resized) == 64
    assert torch.equal(backbone.positions(7, 2), tables[0])
    assert backbone.positions(7, 99) is tables[-1]
