"""Adapters of peft's LoRA: named, refused as models, and merged into their base as peft itself merges them."""

import json
import shutil

import ml_dtypes
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.numpy import load_file, save_file
from support import GOLDEN, remapped, tensors_of, without

from segzoo.cli import main
from segzoo.conversion.convert import convert

PEERS = GOLDEN / "peft"
CASES = {  # the base, peft's own merge, how many matrices change
    "hf_adapter": (PEERS / "hf_base", PEERS / "hf_merged", "hf", 6),
    "timm_adapter": (PEERS / "timm_base.safetensors", PEERS / "timm_adapter_merged.safetensors", "timm", 5),
}
CLOSE = {"rtol": 0, "atol": 1e-6}  # of numbers up to 4: peft multiplies in float32


def segzoo(*words, code=0):
    done = CliRunner().invoke(main, [*map(str, words)])
    assert done.exit_code == code, done.output + done.stderr
    return " ".join((done.output + done.stderr).split())


def close(mine, theirs):
    return mine.keys() == theirs.keys() and all(np.allclose(mine[name], one, **CLOSE) for name, one in theirs.items())


@pytest.mark.parametrize("case", CASES)
def test_it_is_merged_as_peft_merges_it(case, tmp_path):
    """The second with a rank and an alpha of their own for some modules, scaled by the root of the rank, on a convolution too, with biases."""
    base, expected, layout, changed = CASES[case]
    segzoo("convert", base, tmp_path / "m.safetensors", "--to", layout, "--heads", 2, "--merge-lora", PEERS / case)
    before, mine, theirs = tensors_of(base), load_file(tmp_path / "m.safetensors"), tensors_of(expected)
    assert close(mine, theirs)
    assert sum(not np.allclose(one, mine[name], **CLOSE) and one.ndim > 1 and "classifier" not in name for name, one in before.items()) == changed
    assert all(np.array_equal(mine[name], theirs[name]) for name in mine if np.array_equal(before[name], theirs[name]))


def test_it_goes_to_another_layout_and_the_report_says_what_was_computed(tmp_path):
    base, expected, *_ = CASES["hf_adapter"]
    said = segzoo(
        "convert", base, tmp_path / "m.npz", "--to", "augreg", "--heads", 2, "--merge-lora", PEERS / "hf_adapter" / "adapter_model.safetensors"
    )
    assert "computed lora: 6 matrices changed by the LoRA adapter adapter_model.safetensors, 2 tensors taken from it" in said
    assert close(tensors_of(tmp_path / "m.npz"), remapped(tensors_of(expected), "augreg", heads=2))


@pytest.fixture
def adapter(tmp_path):
    return shutil.copytree(PEERS / "hf_adapter", tmp_path / "adapter")


def reconfigured(folder, **fields):
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps(config | fields))


def edited(folder, change):
    tensors = load_file(folder / "adapter_model.safetensors")
    save_file(change(tensors) or tensors, folder / "adapter_model.safetensors")


def merge(adapter, tmp_path, base=PEERS / "hf_base", code=0):
    said = segzoo("convert", base, tmp_path / "m.safetensors", "--to", "hf", "--heads", 2, "--merge-lora", adapter, code=code)
    assert (tmp_path / "m.safetensors").exists() == (code == 0)
    return said


def test_a_pickled_adapter_under_the_names_in_memory(adapter, tmp_path):
    tensors = load_file(adapter / "adapter_model.safetensors")
    renamed = {
        name.replace("lora_A.", "lora_A.default.").replace("lora_B.", "lora_B.default."): torch.from_numpy(one) for name, one in tensors.items()
    }
    torch.save(renamed, adapter / "adapter_model.bin")
    (adapter / "adapter_model.safetensors").unlink()
    merge(adapter / "adapter_model.bin", tmp_path)
    assert close(load_file(tmp_path / "m.safetensors"), tensors_of(PEERS / "hf_merged"))


def test_names_of_transformers_4_and_other_prefixes(adapter, tmp_path):
    def as_on_disk(tensors):
        there = {
            "layers.": "encoder.layer.",
            "q_proj": "attention.query",
            "v_proj": "attention.value",
            "mlp.fc1": "intermediate.dense",
            "model.vit.": "model.",
        }
        made = dict(tensors)
        for one, other in there.items():
            made = {name.replace(one, other): array for name, array in made.items()}
        return made

    edited(adapter, as_on_disk)
    merge(adapter, tmp_path)
    assert close(load_file(tmp_path / "m.safetensors"), tensors_of(PEERS / "hf_merged"))


def test_a_head_that_the_base_lacks_is_taken_from_it(adapter, tmp_path):
    save_file(without(tensors_of(PEERS / "hf_base"), "^classifier"), tmp_path / "headless.safetensors")
    merge(adapter, tmp_path, tmp_path / "headless.safetensors")
    assert close(load_file(tmp_path / "m.safetensors"), tensors_of(PEERS / "hf_merged"))


def test_a_base_in_bfloat16_is_rounded_once(adapter, tmp_path):
    half = {name: one.astype(ml_dtypes.bfloat16) for name, one in tensors_of(PEERS / "hf_base").items()}
    save_file(half, tmp_path / "half.safetensors")
    edited(adapter, lambda tensors: without(tensors, "classifier"))
    merge(adapter, tmp_path, tmp_path / "half.safetensors")
    a, b = (load_file(adapter / "adapter_model.safetensors")[f"base_model.model.vit.layers.0.attention.q_proj.lora_{part}.weight"] for part in "AB")
    name = "vit.encoder.layer.0.attention.attention.query.weight"
    expected = (half[name].astype(np.float64) + 5 / 3 * b.astype(np.float64) @ a).astype(ml_dtypes.bfloat16)
    assert np.array_equal(tensors_of(tmp_path / "m.safetensors")[name], expected)


def test_an_adapter_is_named_as_one_and_is_no_model(tmp_path):
    alone, unmerged = PEERS / "hf_adapter", PEERS / "hf_unmerged.pth"
    assert "a LoRA adapter for 6 matrices of a model, and no model by itself" in segzoo("inspect", alone)
    assert "segzoo convert BASE DST --merge-lora ADAPTER" in segzoo("convert", alone, tmp_path / "m.pth", code=5)
    assert "a model with LoRA adapters for 6 of its matrices, which are not merged" in segzoo("convert", unmerged, tmp_path / "m.pth", code=5)
    assert not (tmp_path / "m.pth").exists()


def cut(tensors):
    del tensors[next(name for name in tensors if "lora_B" in name)]


def narrow(tensors):
    name = next(name for name in tensors if "lora_A" in name)
    tensors[name] = tensors[name][:, :4].copy()


def foreign(tensors):
    tensors["base_model.model.vit.layernorm.weight"] = np.ones(8, np.float32)


REFUSED = {
    "no config": (lambda folder: (folder / "adapter_config.json").unlink(), 7, "nothing else says by what scale"),
    "another kind of adapter": (lambda folder: reconfigured(folder, peft_type="IA3"), 5, "expected the config of a LoRA adapter"),
    "DoRA": (lambda folder: reconfigured(folder, use_dora=True), 5, "use_dora: segzoo does not merge such an adapter"),
    "a field of the future": (lambda folder: reconfigured(folder, use_qora="yes"), 5, "use_qora"),
    "a base that was changed": (lambda folder: reconfigured(folder, init_lora_weights="pissa_niter_4"), 5, "began by changing the base"),
    "another rank": (lambda folder: reconfigured(folder, r=4), 5, "rank 4 by adapter_config.json, 3 by its tensors"),
    "no rank": (lambda folder: reconfigured(folder, r=None), 5, "expected positive numbers"),
    "a rank of nan": (lambda folder: reconfigured(folder, lora_alpha=float("nan")), 4, ""),
    "a pattern": (lambda folder: reconfigured(folder, rank_pattern={"(a+)+$": 3}), 5, "a pattern that is no plain name"),
    "a list of ranks": (lambda folder: reconfigured(folder, rank_pattern=[3]), 5, "expected objects"),
    "cut short": (lambda folder: edited(folder, cut), 5, "lora_A without lora_B"),
    "another width": (lambda folder: edited(folder, narrow), 5, "make no matrix [8, 8]"),
    "a tensor beside": (lambda folder: edited(folder, foreign), 5, "neither a part of LoRA nor a tensor"),
    "no adapter": (lambda folder: edited(folder, lambda tensors: {"x": np.ones(2, np.float32)}), 5, "no name has lora_A and lora_B"),
    "of another library": (lambda folder: shutil.copytree(PEERS / "timm_adapter", folder, dirs_exist_ok=True), 5, "has no such matrix"),
    "a real DoRA": (lambda folder: shutil.copytree(PEERS / "dora", folder, dirs_exist_ok=True), 5, "use_dora"),
    "a real PiSSA": (lambda folder: shutil.copytree(PEERS / "pissa", folder, dirs_exist_ok=True), 5, "began by changing the base"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_merged_is_refused_and_nothing_is_written(case, adapter, tmp_path):
    change, code, said = REFUSED[case]
    change(adapter)
    assert said in merge(adapter, tmp_path, code=code)


def test_a_base_in_integers_and_several_sources_are_refused(adapter, tmp_path):
    whole = {name: (one * 100).astype(np.int8) if name.endswith("query.weight") else one for name, one in tensors_of(PEERS / "hf_base").items()}
    save_file(whole, tmp_path / "quantised.safetensors")
    assert "is int8, expected floats" in merge(adapter, tmp_path, tmp_path / "quantised.safetensors", code=5)
    (tmp_path / "out").mkdir()
    two = (PEERS / "hf_base" / "model.safetensors", PEERS / "timm_base.safetensors")
    assert "--merge-lora goes with one SRC" in segzoo("convert", *two, tmp_path / "out", "--merge-lora", adapter, code=2)


def test_in_python(adapter, tmp_path):
    report = convert(PEERS / "hf_base", tmp_path / "m.pth", to="hf", heads=2, merge_lora=adapter)
    assert list(report.computed) == ["lora"]
