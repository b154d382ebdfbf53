"""What is said of a file that fits no layout: the variant by name, and a `--drop` only for what no forward pass needs."""

import re
import shlex

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from support import TAME

from segzoo.cli import main
from segzoo.conversion.compare import compare
from segzoo.conversion.convert import convert
from segzoo.conversion.inspect import inspect
from segzoo.errors import ConversionError
from segzoo.formats import open_weights
from segzoo.layouts import LAYOUTS


@pytest.fixture(scope="module", params=["timm", "mmseg", "hf"])
def plain(request, tmp_path_factory):
    """The mini ViT in a layout: its layout, and its tensors by name."""
    path = tmp_path_factory.mktemp("plain") / "plain.npz"
    convert(TAME, path, to=request.param)
    return request.param, dict(np.load(path))


def refused(tensors, folder):
    """The hint for these tensors."""
    np.savez(folder / "odd.npz", **tensors)
    with pytest.raises(ConversionError, match="nearest to layout") as caught:
        convert(folder / "odd.npz", folder / "out.npz", to="timm")
    assert not (folder / "out.npz").exists()
    return caught.value.hint


def blocks(layout, tensors):
    """What the name of each block begins with."""
    start = next(rule.key for rule in LAYOUTS["vit"][layout].sections["encoder"] if "{i}" in rule.key).split("{i}")[0]
    found = {re.match(r"\d+", name.split(start.replace("{p}", ""), 1)[1])[0] for name in tensors if start.replace("{p}", "") in name}
    prefix = next(name for name in tensors if start.replace("{p}", "") in name).split(start.replace("{p}", ""))[0]
    return [f"{prefix}{start.replace('{p}', '')}{index}." for index in sorted(found)]


SMALL = np.ones(64, np.float32)
IN_BLOCKS = {
    "mlp.ls1.gamma": "LayerScale",
    "gamma_2": "LayerScale",
    "layer_scale1.lambda1": "LayerScale",
    "attn.q_norm.weight": "norms of queries and keys",
    "attn.relative_position_bias_table": "relative positions",
    "mlp.w12.weight": "a gated MLP",
    "attn.qkv.lora_A": "LoRA",
    "attn.qkv.weight_scale": "scales of quantised weights",
    "attn.gate.weight": "a variant that segzoo does not know",
}


@pytest.mark.parametrize(("name", "said"), IN_BLOCKS.items())
def test_what_is_in_every_block_is_a_variant_and_is_never_offered(name, said, plain, tmp_path):
    layout, tensors = plain
    hint = refused(tensors | {start + name: SMALL for start in blocks(layout, tensors)}, tmp_path)
    assert said in hint
    assert "--drop" not in hint


AT_THE_TOP = {"storage_tokens": "register tokens", "norm_pre_blocks.pre_norm.weight": "a norm before the blocks"}


@pytest.mark.parametrize(("name", "said"), AT_THE_TOP.items())
def test_tokens_and_norms_beside_the_blocks(name, said, plain, tmp_path):
    hint = refused(plain[1] | {name: SMALL}, tmp_path)
    assert said in hint
    assert "--drop" not in hint


def without(tensors, *endings):
    return {name: array for name, array in tensors.items() if not name.endswith(endings)}


FINAL_NORM = {"timm": "norm", "mmseg": "ln1", "hf": "layernorm"}


def test_no_final_norm_is_said_and_not_filled_in(plain, tmp_path):
    layout, tensors = plain
    lacking = {name: array for name, array in tensors.items() if name.removeprefix("vit.").rpartition(".")[0] != FINAL_NORM[layout]}
    assert len(lacking) == len(tensors) - 2
    if layout == "hf":
        assert "no final norm" in refused(lacking, tmp_path)
    else:
        np.savez(tmp_path / "bare.npz", **lacking)
        assert "no final norm: another model than with it" in inspect(tmp_path / "bare.npz").notes
        same = "mmseg" if layout == "timm" else "timm"
        assert "no final norm" in str(convert(tmp_path / "bare.npz", tmp_path / "same.pth", to=same).notes)
        with pytest.raises(ConversionError, match="this file has no norm after its last block, for which layout 'augreg' has no place"):
            convert(tmp_path / "bare.npz", tmp_path / "other.npz", to="augreg", heads=2)
    if layout != "timm":  # timm has a place for it
        moved = lacking | {"fc_norm.weight": SMALL, "fc_norm.bias": SMALL}
        assert "a final norm behind the pooling" in refused(moved, tmp_path)


def test_one_block_that_lacks_something_is_a_damaged_file(plain, tmp_path):
    layout, tensors = plain
    first = next(name for name in tensors if name.startswith(blocks(layout, tensors)[0]))
    assert "cut short, edited" in refused({name: array for name, array in tensors.items() if name != first}, tmp_path)


TRAINING = ["criterion.weight", "loss.center", "ema_decay", "train_metrics.total", "val_acc.correct", "total_ops", "mask_token", "head.mlp.0.weight"]


@pytest.mark.parametrize("name", TRAINING)
def test_what_belongs_to_training_is_offered_and_the_offer_works(name, plain, tmp_path):
    layout, tensors = plain
    if layout == "timm" and name in ("mask_token", "head.mlp.0.weight"):
        pytest.skip("such a file is DINO's, which has a place for it")
    hint = refused(without(tensors, "head.weight", "head.bias") | {name: SMALL}, tmp_path)
    offered = shlex.split(re.search(r"convert (--drop .*) leaves them out", hint)[1])
    done = CliRunner().invoke(main, ["convert", str(tmp_path / "odd.npz"), str(tmp_path / "out.npz"), "--to", layout, *offered])
    assert done.exit_code == 0, done.output
    np.savez(tmp_path / "plain.npz", **without(tensors, "head.weight", "head.bias"))
    assert compare(open_weights(tmp_path / "out.npz"), open_weights(tmp_path / "plain.npz")).same


@pytest.mark.parametrize("outer", ["model.", "module.net.", "student.encoder_q."])
@pytest.mark.parametrize("stray", ["criterion.weight", "weights_of_classes", "projector.0.weight"])
def test_a_stray_beside_a_prefix_hides_nothing(outer, stray, plain, tmp_path):
    layout, tensors = plain
    hint = refused({outer + name: array for name, array in tensors.items()} | {stray: SMALL}, tmp_path)
    offered = shlex.split(re.search(r"convert (--drop .*) leaves them out", hint)[1])
    done = CliRunner().invoke(main, ["convert", str(tmp_path / "odd.npz"), str(tmp_path / "out.npz"), "--to", layout, *offered])
    assert done.exit_code == 0, done.output
    assert all(np.array_equal(array, tensors[name]) for name, array in np.load(tmp_path / "out.npz").items())


@pytest.mark.parametrize("stray", ["head.layers.0.weight", "neck.conv.weight", "fc.weight"])
def test_a_head_beside_a_prefix_is_never_offered(stray, plain, tmp_path):
    hint = refused({f"backbone.encoder.{name}": array for name, array in plain[1].items()} | {stray: SMALL}, tmp_path)
    assert "--drop" not in hint or "--force-drop" in hint


def test_what_the_model_may_need_is_dropped_by_force_only(plain, tmp_path):
    layout, tensors = plain
    odd = tensors | {start + "ls1.gamma": SMALL for start in blocks(layout, tensors)} | {"reg_token": SMALL}
    np.savez(tmp_path / "odd.npz", **odd)
    drop = ["*.ls1.gamma", "reg_token"]
    with pytest.raises(ConversionError, match=r"ls1\.gamma and \d more: not left out, since the forward pass may need it") as caught:
        convert(tmp_path / "odd.npz", tmp_path / "out.npz", to=layout, drop=drop)
    assert "--force-drop" in caught.value.hint
    report = convert(tmp_path / "odd.npz", tmp_path / "out.npz", to=layout, drop=drop, force_drop=True)
    assert set(report.dropped[-1].keys) == odd.keys() - tensors.keys()


def test_a_classifier_is_left_out_without_force(tmp_path):
    convert(TAME, tmp_path / "plain.pth", to="timm")
    assert convert(tmp_path / "plain.pth", tmp_path / "out.pth", to="timm", drop=["head.*"]).dropped[-1].keys == ("head.weight", "head.bias")


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.int64, torch.bool])
def test_integers_are_no_weights(dtype, tmp_path):
    convert(TAME, tmp_path / "plain.pth", to="timm")
    state = torch.load(tmp_path / "plain.pth", weights_only=True)
    state["blocks.0.mlp.fc1.weight"] = state["blocks.0.mlp.fc1.weight"].to(dtype)
    torch.save(state, tmp_path / "quantised.pth")
    with pytest.raises(ConversionError, match=r"blocks\.0\.mlp\.fc1\.weight: its dtype is .*, expected floats"):
        convert(tmp_path / "quantised.pth", tmp_path / "out.pth", to="mmseg")
