"""Files of several models: named in the error, and taken out one by one."""

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from segzoo.cli import main
from segzoo.errors import ConversionError
from segzoo.formats import open_weights

NAMES = [f"layers.{index}.{part}" for index in range(4) for part in ("weight", "bias", "norm.scale")]


def model(value):
    return {name: torch.full((2,), float(value + index)) for index, name in enumerate(NAMES)}


def under(prefix, state):
    return {prefix + name: tensor for name, tensor in state.items()}


def averaged(state):
    return {f"ema_{name.replace('.', '_')}": tensor for name, tensor in state.items()}


STUDENT, TEACHER, BESIDE = model(0), model(100), {"head.weight": torch.zeros(3)}
CASES = {
    "two dicts": ({"student": under("module.", STUDENT), "teacher": TEACHER, "epoch": 3}, "student", "teacher"),
    "DeiT": ({"model": STUDENT, "model_ema": TEACHER}, "model", "model_ema"),
    "timm": ({"state_dict": STUDENT, "state_dict_ema": TEACHER}, "state_dict", "state_dict_ema"),
    "mmengine": ({"state_dict": STUDENT, "ema_state_dict": under("module.", TEACHER), "meta": {}}, "state_dict", "ema_state_dict"),
    "deep": ({"nets": {"a": STUDENT, "b": TEACHER}}, "nets.a", "nets.b"),
    "mmcv": ({"state_dict": STUDENT | averaged(TEACHER), "meta": {}}, "plain", "ema"),
    "prefixes": ({"state_dict": under("student.", STUDENT) | under("teacher.", TEACHER)}, "student", "teacher"),
    "prefixes within": (under("model.encoder_q.", STUDENT) | under("model.encoder_k.", TEACHER), "model.encoder_q", "model.encoder_k"),
    "a copy beside": (STUDENT | under("model_ema.module.", TEACHER), "plain", "model_ema"),
    "with something beside": (under("a.", STUDENT) | under("b.", TEACHER) | BESIDE, "a", "b"),
}


@pytest.mark.parametrize("case", CASES)
def test_each_is_named_and_taken_out(case, tmp_path):
    content, first, second = CASES[case]
    torch.save(content, tmp_path / "both.pth")
    with pytest.raises(ConversionError, match=r"which is meant cannot be known|2 models: ") as caught:
        open_weights(tmp_path / "both.pth")
    assert f"'{first}'" in caught.value.message
    assert f"'{second}'" in caught.value.message
    assert f"segzoo convert {tmp_path / 'both.pth'} DST --at " in caught.value.hint
    assert f"--at {first}" in caught.value.hint
    assert f"--at {second}" in caught.value.hint
    for at, expected in ((first, STUDENT), (second, TEACHER)):
        taken = open_weights(tmp_path / "both.pth", at)
        assert {name: array.tolist() for name, array in taken.items()} == {name: tensor.tolist() for name, tensor in expected.items()}


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_other_formats_too(suffix, tmp_path):
    arrays = {name: tensor.numpy() for name, tensor in (under("a.", STUDENT) | under("b.", TEACHER)).items()}
    if suffix == ".npz":
        np.savez(tmp_path / "both.npz", **arrays)
    else:
        from safetensors.numpy import save_file

        save_file(arrays, tmp_path / "both.safetensors")
    with pytest.raises(ConversionError, match=r"2 models: 'a' \(12 tensors\), 'b' \(12 tensors\)"):
        open_weights(tmp_path / f"both{suffix}")
    assert open_weights(tmp_path / f"both{suffix}", "b")["layers.0.weight"].tolist() == [100.0, 100.0]


SINGLE = [
    STUDENT,
    {"state_dict": STUDENT, "optimizer": {"state": {"layers.0.weight": TEACHER["layers.0.weight"]}}},
    STUDENT | {"head.weight": torch.zeros(2), "head.bias": torch.zeros(2), "head_dist.weight": torch.zeros(2), "head_dist.bias": torch.zeros(2)},
    under("backbone.", STUDENT) | {"decode_head.weight": torch.zeros(2)},
    {f"blocks.{index}.{name}": tensor for index in range(2) for name, tensor in STUDENT.items()},
    {f"encoder.encoder_layer_{index}.{name}": tensor for index in range(2) for name, tensor in STUDENT.items()},
    STUDENT | {"ema_decay": torch.zeros(2)},
]


@pytest.mark.parametrize("content", SINGLE)
def test_one_model_is_one_model(content, tmp_path):
    torch.save(content, tmp_path / "one.pth")
    assert len(open_weights(tmp_path / "one.pth")) >= len(STUDENT)


def test_no_such_model(tmp_path):
    torch.save(CASES["two dicts"][0], tmp_path / "both.pth")
    with pytest.raises(ConversionError, match="which is meant cannot be known"):
        open_weights(tmp_path / "both.pth", "tutor")
    torch.save(STUDENT, tmp_path / "one.pth")
    with pytest.raises(ConversionError, match="no tensors at 'tutor': it holds one model") as caught:
        open_weights(tmp_path / "one.pth", "tutor")
    assert "--keys" in caught.value.hint


def test_on_the_command_line(tmp_path):
    from support import TAME

    from segzoo.conversion.convert import convert

    convert(TAME, tmp_path / "vit.pth", to="timm")
    state = torch.load(tmp_path / "vit.pth", weights_only=True)
    torch.save({"student": under("module.", state), "teacher": {name: tensor * 2 for name, tensor in state.items()}}, tmp_path / "both.pth")

    def segzoo(*arguments):
        return CliRunner().invoke(main, [str(argument) for argument in arguments])

    assert segzoo("convert", tmp_path / "both.pth", tmp_path / "a.pth").exit_code == 5
    done = segzoo("convert", tmp_path / "both.pth", tmp_path / "a.pth", "--to", "timm", "--at", "teacher")
    assert done.exit_code == 0, done.stderr
    made = torch.load(tmp_path / "a.pth", weights_only=True)
    assert all(torch.equal(made[name], 2 * tensor) for name, tensor in state.items())
    assert "layout    timm" in segzoo("inspect", tmp_path / "both.pth", "--at", "student").stdout


def test_a_wrapper_within_one_model_loses_no_tensor(tmp_path):
    """`a.module.x` and `a.x` would both be `x`."""
    arrays = {f"a.{wrapper}{place}.w": np.full(2, place) for place in range(9) for wrapper in ("", "module.")}
    np.savez(tmp_path / "a.npz", **arrays)
    assert len(open_weights(tmp_path / "a.npz", "a")) == len(arrays)
