"""A model in the wrappings of training programs, made by these programs: found, said, or refused with the line to type."""

import re
import shlex
import shutil

import numpy as np
import pytest
import torch
import torch.distributed.checkpoint as dcp
from click.testing import CliRunner
from safetensors.torch import load_file
from support import GOLDEN, same, tensors_of
from torch.distributed.checkpoint.format_utils import dcp_to_torch_save

from segzoo.cli import main
from segzoo.formats import open_weights

PEERS = GOLDEN / "wrappings"
BASE, OTHER = PEERS / "base.safetensors", PEERS / "other.safetensors"


def segzoo(*words, code=0):
    done = CliRunner().invoke(main, [*map(str, words)])
    assert done.exit_code == code, done.output + done.stderr
    return " ".join((done.output + done.stderr).split())


FOUND = {  # the file, how much is beside the model in it, what is said
    "compiled.pth": "'_orig_mod.', by torch.compile, left out of 32 names",
    "accelerate": None,
}


@pytest.mark.parametrize("name", FOUND)
def test_one_model_is_found_and_said(name, tmp_path):
    assert same(tensors_of(PEERS / name), tensors_of(BASE))
    said = segzoo("convert", PEERS / name, tmp_path / "m.pth", "--to", "timm")
    assert (FOUND[name] or "") in said


ASIDE = {  # what a program keeps in the state of its own module is left out by the line that is named
    "lightning.ckpt": "--drop 'criterion.*'",
    "averaged.pth": "--drop n_averaged",
}


@pytest.mark.parametrize("name", ASIDE)
def test_what_belongs_to_training_is_left_out_by_the_line_that_is_named(name, tmp_path):
    said = segzoo("convert", PEERS / name, tmp_path / "m.pth", "--to", "timm", code=5)
    assert f"convert {ASIDE[name]} leaves them out" in said
    segzoo("convert", PEERS / name, tmp_path / "m.pth", "--to", "timm", *shlex.split(ASIDE[name]))
    assert same(tensors_of(tmp_path / "m.pth"), tensors_of(BASE))


SEVERAL = {  # what is refused, and what each model in it holds
    "lightning_averaged.ckpt": {"state_dict": BASE, "current_model_state": BASE},
    "compiled_beside.pth": {"model": OTHER, "model_ema": BASE},
    "ema_pytorch.pth": {"ema_model": BASE, "online_model": OTHER},
}


@pytest.mark.parametrize("name", SEVERAL)
def test_of_several_models_each_is_taken_by_the_line_that_is_named(name, tmp_path):
    said = segzoo("convert", PEERS / name, tmp_path / "m.pth", "--to", "timm", code=5)
    assert "2 models" in said
    assert set(re.findall(r"--at (\S+?)(?=[ ;,])", said)) == SEVERAL[name].keys()
    line = re.search(r"segzoo (convert \S+) DST (--at \S+) takes", said)
    drop = ("--drop", "criterion.*") if "lightning" in name else ()
    for at, expected in SEVERAL[name].items():
        segzoo(*shlex.split(line[1]), tmp_path / f"{at}.pth", "--at", at, "--to", "timm", *drop)
        mine, theirs = tensors_of(tmp_path / f"{at}.pth"), tensors_of(expected)
        assert mine.keys() == theirs.keys()
        assert all(np.allclose(mine[key], one, rtol=0, atol=1e-7) for key, one in theirs.items())  # an average of equals is rounded


def test_of_two_models_of_accelerate_none_is_taken_in_silence():
    said = segzoo("inspect", PEERS / "accelerate_two", code=2)
    assert "a folder of 2 files of weights; which is meant cannot be known" in said
    assert "name one: " in said
    assert same(tensors_of(PEERS / "accelerate_two" / "model_1.safetensors"), tensors_of(BASE))


def test_accelerates_whole_state_of_fsdp_is_a_file_of_weights(tmp_path):
    torch.save(load_file(BASE), tmp_path / "pytorch_model_fsdp.bin")
    torch.save({"state": {}}, tmp_path / "optimizer.bin")
    assert same(tensors_of(tmp_path), tensors_of(BASE))


@pytest.mark.filterwarnings("ignore:torch.distributed is disabled")
def test_a_distributed_checkpoint_is_named_with_the_line_that_joins_it(tmp_path):
    dcp.save(load_file(BASE), checkpoint_id=tmp_path / "dist", no_dist=True)
    said = segzoo("inspect", tmp_path / "dist", code=2)
    assert "a distributed checkpoint of torch" in said
    line = re.search(r"python -m torch\.distributed\.checkpoint\.format_utils dcp_to_torch (\S+) whole\.pth", said)
    dcp_to_torch_save(line[1], tmp_path / "whole.pth")
    assert same(tensors_of(tmp_path / "whole.pth"), tensors_of(BASE))


def deepspeed(folder, state, **more):
    """As DeepSpeedEngine.save_checkpoint writes it (0.16, engine.py `_save_checkpoint`): the model in one file, the optimiser in another."""
    whole = {"module": state, "buffer_names": [], "optimizer": None, "param_shapes": [], "frozen_param_shapes": None, "lr_scheduler": None}
    folder.mkdir()
    torch.save(whole | {"ds_config": {}, "ds_version": "0.16.0", "global_steps": 3} | more, folder / "mp_rank_00_model_states.pt")
    torch.save({"optimizer_state_dict": {"x": torch.ones(9)}, "ds_config": {}}, folder / "bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt")
    return folder


def test_deepspeeds_model_is_found_in_its_folder_with_frozen_parameters_beside(tmp_path):
    state = load_file(BASE)
    frozen = {"frozen_param_fragments": {name: state[name] for name in list(state)[:9]}}
    opened = open_weights(deepspeed(tmp_path / "global_step3", state, **frozen))
    assert same(opened, tensors_of(BASE))
    assert "tensors found under 'module'" in opened.notes
    assert any("9 tensors under 'frozen_param_fragments' passed over" in note for note in opened.notes)


def test_what_holds_a_part_of_the_model_only_is_named(tmp_path):
    empty = deepspeed(tmp_path / "global_step3", {name: one.new_empty(0) for name, one in load_file(BASE).items()})
    assert "ZeRO stage 3" in segzoo("inspect", empty)
    assert "python zero_to_fp32.py FOLDER OUT" in segzoo("convert", empty, tmp_path / "m.pth", code=5)
    torch.save({"_fsdp_wrapped_module._flat_param": torch.ones(9), "_fsdp_wrapped_module.head._flat_param": torch.ones(3)}, tmp_path / "flat.pth")
    assert "FULL_STATE_DICT" in segzoo("convert", tmp_path / "flat.pth", tmp_path / "m.pth", code=5)
    assert not (tmp_path / "m.pth").exists()


def test_averages_in_a_dict_of_a_dict(tmp_path):
    """As DETA and its kin save them: the average has its own state."""
    torch.save({"model": load_file(OTHER), "ema": {"decay": 0.999, "module": load_file(BASE)}}, tmp_path / "deta.pth")
    assert "--at model takes one of them out, or --at ema.module" in segzoo("convert", tmp_path / "deta.pth", tmp_path / "m.pth", code=5)
    assert same(open_weights(tmp_path / "deta.pth", "ema.module"), tensors_of(BASE))


def test_a_folder_of_accelerate_is_one_file_for_every_command(tmp_path):
    shutil.copytree(PEERS / "accelerate", tmp_path / "run")
    assert "same weights" in segzoo("diff", tmp_path / "run", BASE)
