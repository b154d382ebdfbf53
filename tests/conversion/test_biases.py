"""Biases that a file lacks: zero exactly, said, and written or not by what the target's library can build without."""

import numpy as np
import pytest
import torch
from support import GOLDEN, MINI

from segzoo.conversion.compare import compare
from segzoo.conversion.convert import convert
from segzoo.errors import ConversionError
from segzoo.formats import open_weights
from segzoo.layouts import LAYOUTS

WIDTH, HEADS = 8, 2
MASK = MINI / "segmenter_mini_mask-6a6bc5f4.pth"
EVERY = sorted(LAYOUTS["vit"])


def numbers(*shape, start=[0]):  # noqa: B006 - no number twice, so that no permutation can hide
    start[0] += 1
    return torch.arange(start[0], start[0] + int(np.prod(shape)), dtype=torch.float32).reshape(shape) / 64


def timm_file(path, bias):
    """A timm ViT of two blocks. `bias` names the attention's biases of each block."""
    block = {"norm1.weight": (WIDTH,), "norm1.bias": (WIDTH,), "attn.qkv.weight": (3 * WIDTH, WIDTH), "attn.proj.weight": (WIDTH, WIDTH)}
    block |= {"attn.proj.bias": (WIDTH,), "norm2.weight": (WIDTH,), "norm2.bias": (WIDTH,), "mlp.fc1.weight": (16, WIDTH), "mlp.fc1.bias": (16,)}
    block |= {"mlp.fc2.weight": (WIDTH, 16), "mlp.fc2.bias": (WIDTH,)} | {f"attn.{name}": (WIDTH * (3 if "k" in name else 1),) for name in bias}
    shapes = {"cls_token": (1, 1, WIDTH), "pos_embed": (1, 5, WIDTH), "patch_embed.proj.weight": (WIDTH, 3, 4, 4), "patch_embed.proj.bias": (WIDTH,)}
    shapes |= {f"blocks.{i}.{name}": shape for i in range(2) for name, shape in block.items()} | {"norm.weight": (WIDTH,), "norm.bias": (WIDTH,)}
    torch.save({name: numbers(*shape) for name, shape in shapes.items()}, path)
    return path


def mmseg_file(path, without, start="backbone."):
    """What begins with `start` in the mini Segmenter, as its library saves it with `patch_bias=False` or `qkv_bias=False`."""
    state = torch.load(MASK, weights_only=True)["state_dict"]
    backbone = {name for name in state if name.startswith("backbone.") and name.endswith(without)}
    torch.save({name.removeprefix(start): tensor for name, tensor in state.items() if name.startswith(start) and name not in backbone}, path)
    return path


LACKING = {
    "timm, no qkv bias": (lambda path: timm_file(path, ()), "no qkv bias in it, which means the same as zeros"),
    "timm, q and v bias": (lambda path: timm_file(path, ("q_bias", "v_bias")), None),
    "mmseg, no patch bias": (lambda path: mmseg_file(path, "projection.bias"), "no patch bias in it, which means the same as zeros"),
    "mmseg, no qkv bias": (
        lambda path: mmseg_file(path, ("in_proj_bias", "out_proj.bias")),
        "no attention bias in it, which means the same as zeros",
    ),
}


@pytest.mark.parametrize("to", EVERY)
@pytest.mark.parametrize("case", LACKING)
def test_a_file_without_biases_in_every_layout(case, to, tmp_path):
    """The same weights there and back, whichever library must have the biases."""
    make, said = LACKING[case]
    source = make(tmp_path / "source.pth")
    heads = HEADS if case.startswith("timm") else 4
    if to in ("bigvision", "openclip"):
        pytest.skip("it has no position for the class token, or needs a norm before the blocks")
    there = convert(source, tmp_path / "there.npz", to=to, heads=heads)
    assert [note for note in there.notes if note.startswith("no ")] == ([said] if said else [])
    assert compare(open_weights(source), open_weights(there.target)).same
    back = convert(there.target, tmp_path / "back.pth", to=case.split(",")[0], heads=heads)
    assert compare(open_weights(source), open_weights(back.target)).same
    kept = open_weights(back.target)
    assert all(np.array_equal(array, kept[name]) for name, array in open_weights(source).items() if name in kept)


@pytest.mark.parametrize(("to", "written"), [("mmseg", False), ("timm", True), ("augreg", True), ("hf", True), ("segmenter", True)])
def test_a_patch_bias_is_written_where_the_library_always_has_one(to, written, tmp_path):
    source = mmseg_file(tmp_path / "source.pth", "projection.bias")
    report = convert(source, tmp_path / "there.pth", to=to, heads=4)
    made = open_weights(report.target)
    biases = {name: made[name] for name in made if name.endswith(("projection.bias", "patch_embed.proj.bias", "embedding/bias"))}
    assert len(biases) == written
    assert not any(bias.any() for bias in biases.values())
    assert any("written as zeros" in note and next(iter(biases)) in note for note in report.notes) == written


@pytest.mark.parametrize(
    ("to", "fused"), [("mmseg", "layers.{}.attn.attn.in_proj_bias"), ("torchvision", "encoder.layers.encoder_layer_{}.self_attention.in_proj_bias")]
)
def test_q_and_v_biases_are_fused_around_zeros(to, fused, tmp_path):
    source = timm_file(tmp_path / "source.pth", ("q_bias", "v_bias"))
    report = convert(source, tmp_path / "there.pth", to=to)
    held, made = open_weights(source), open_weights(report.target)
    for block in range(2):
        q, v = (held[f"blocks.{block}.attn.{part}_bias"] for part in "qv")
        assert np.array_equal(made[fused.format(block)], np.concatenate([q, np.zeros(WIDTH, np.float32), v]))
    assert f"not in timm's file, and written as zeros, which means the same: k in {fused.format(0)}, k in {fused.format(1)}" in report.notes


def test_other_numbers_than_zeros_are_another_model(tmp_path):
    source = open_weights(mmseg_file(tmp_path / "source.pth", "projection.bias", start=""))
    assert not compare(source, open_weights(MASK)).same


def test_a_bias_that_a_library_always_has_is_missed(tmp_path):
    """In rstrudel/segmenter no file lacks it: there it is lost, not absent."""
    tensors = dict(open_weights(GOLDEN / "segmenter" / "mask.pth"))
    del tensors["encoder.patch_embed.proj.bias"]
    np.savez(tmp_path / "lost.npz", **tensors)
    with pytest.raises(ConversionError, match=r"missing 1: encoder\.patch_embed\.proj\.bias"):
        convert(tmp_path / "lost.npz", tmp_path / "out.pth")
