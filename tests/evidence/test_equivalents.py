"""A second source of a model's tensors: it is compared where it is here or asked for, and one wrong number in it fails the round trip."""

import json
import shutil

import numpy as np
import pytest
import torch
import yaml
from click.testing import CliRunner
from ports import port
from safetensors.numpy import load_file, save_file
from server import body, serve
from support import GOLDEN

from segzoo.cli import main
from segzoo.store.hashing import hashed

TINY = GOLDEN / "transformers"
PORT = "port.safetensors"


def segzoo(*words, code=0):
    done = CliRunner().invoke(main, [*map(str, words)], catch_exceptions=False)
    assert done.exit_code == code, done.output
    return done


def write_port(folder, model):
    tensors = {name: one.numpy() for name, one in torch.load(TINY / f"{model.replace('-', '_')}.pth", weights_only=True)["state_dict"].items()}
    save_file(port(tensors, model.removeprefix("upernet-")), folder / PORT)


def own_zoo(folder, model, url=PORT, **known):
    """A zoo of one model of the goldens, with a file in transformers' names that holds the same tensors."""
    plain = yaml.safe_load((TINY / "zoo.yaml").read_text())
    entry = plain["models"][model]
    shutil.copy(TINY / entry["checkpoint"]["name"], folder)
    write_port(folder, model)
    entry["equivalents"] = [{"name": PORT, "layout": "hf", "urls": [url], **known}]
    (folder / "zoo.yaml").write_text(yaml.safe_dump({"version": 1, "models": {model: entry}}))
    return ("--zoo", folder / "zoo.yaml")


def climbed(zoo, model, *more, code=0):
    done = segzoo(*zoo, "verify", model, "--device", "cpu", "--json", *more, code=code)
    [receipt] = json.loads(done.stdout)["result"]
    return {check["rung"]: check for check in receipt["checks"]}["round trip"]


@pytest.mark.parametrize("model", ["upernet-swin", "upernet-convnext"])
def test_a_port_that_is_here_is_compared(tmp_path, model):
    check = climbed(own_zoo(tmp_path, model), model, "--again")
    shared = len(load_file(tmp_path / PORT))
    assert check["status"] == "passed"
    assert f"; the same {check['facts']['equivalents'][PORT]} tensors as {PORT}" in check["detail"]
    assert check["facts"]["equivalents"][PORT] <= shared
    assert check["basis"]["equivalents"] == {PORT: hashed(tmp_path / PORT)[0]}


def test_one_wrong_number_fails_the_round_trip_and_is_named(tmp_path):
    zoo = own_zoo(tmp_path, "upernet-swin")
    tensors = load_file(tmp_path / PORT)
    name = "decode_head.fpn_bottleneck.conv.weight"
    tensors[name] = tensors[name].copy()
    tensors[name].flat[7] = np.nextafter(tensors[name].flat[7], np.float32(9))
    save_file(tensors, tmp_path / PORT)
    check = climbed(zoo, "upernet-swin", code=5)
    assert check["status"] == "failed"
    assert f"{PORT}: 1 tensors are not those of the checkpoint: " in check["detail"]
    assert "decoder.fusion.conv.weight" in check["detail"] or name in check["detail"]


def test_a_port_that_is_of_another_model_fails(tmp_path):
    zoo = own_zoo(tmp_path, "upernet-swin")
    write_port(tmp_path, "upernet-convnext")
    assert climbed(zoo, "upernet-swin", code=5)["status"] == "failed"


def test_a_port_elsewhere_is_fetched_only_if_asked_for(tmp_path):
    with serve({}) as server:
        zoo = own_zoo(tmp_path, "upernet-swin", url=f"{server.base}/{PORT}")
        server.table[f"/{PORT}"] = body((tmp_path / PORT).read_bytes())
        (tmp_path / PORT).unlink()
        plain = climbed(zoo, "upernet-swin")
        assert f"not compared with {PORT}, not on this machine: --equivalents fetches what is lacking" in plain["detail"]
        assert "equivalents" not in plain["facts"]
        asked = climbed(zoo, "upernet-swin", "--equivalents")
        assert f"tensors as {PORT}" in asked["detail"]
        assert f"tensors as {PORT}" in climbed(zoo, "upernet-swin", "--again")["detail"]  # it is in the store now


def test_a_port_that_no_address_has_is_an_error_if_asked_for(tmp_path):
    with serve({}) as server:
        zoo = own_zoo(tmp_path, "upernet-swin", url=f"{server.base}/{PORT}")
    check = climbed(zoo, "upernet-swin", "--equivalents", code=3)
    assert check["status"] == "failed"


def test_neighbours_merged_in_mmsegs_order_are_seen(tmp_path):
    """No name and no shape tells it: 45 of 100 pixels change their class."""
    zoo = own_zoo(tmp_path, "upernet-swin")
    held = torch.load(TINY / "upernet_swin.pth", weights_only=True)["state_dict"]
    merged = "downsample.reduction.weight"
    wrong = {f"backbone.encoder.layers.{stage}.{merged}": held[f"backbone.stages.{stage}.{merged}"].numpy() for stage in range(3)}
    save_file(load_file(tmp_path / PORT) | wrong, tmp_path / PORT)
    assert f"{PORT}: 3 tensors are not those of the checkpoint: " in climbed(zoo, "upernet-swin", code=5)["detail"]
