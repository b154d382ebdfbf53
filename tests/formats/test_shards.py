"""Weights in shards: a folder or an index is a file of weights, and holds what its shards hold."""

import json
import shutil

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file
from support import in_shards, same

from segzoo.cli import main
from segzoo.errors import IntegrityError, NotFoundError, UsageError
from segzoo.formats import open_weights


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A model in one file, as transformers saves one, with its config beside it."""
    folder = tmp_path_factory.mktemp("shards") / "whole"
    assert CliRunner().invoke(main, ["--zoo", "mini", "export", "mini-vit", "-o", str(folder), "--as", "hf"]).exit_code == 0
    return folder


@pytest.fixture(params=["safetensors", "bin"])
def sharded(request, whole, tmp_path):
    """The same model as `save_pretrained(max_shard_size=...)` leaves it, in either of its formats."""
    folder = tmp_path / "sharded"
    in_shards(load_file(whole / "model.safetensors"), folder, request.param)
    shutil.copy(whole / "config.json", folder)
    return folder


def index_of(folder):
    return next(folder.glob("*.index.json"))


def run(*args):
    done = CliRunner().invoke(main, [str(one) for one in args])
    return done.exit_code, " ".join((done.output + done.stderr).split())


def test_a_folder_and_its_index_are_what_their_shards_hold(sharded, whole):
    expected = open_weights(whole / "model.safetensors")
    for path in (sharded, index_of(sharded)):
        opened = open_weights(path)
        assert same(opened, expected)
        assert opened.notes[0] == "3 shards"
        assert opened.size == sum(one.stat().st_size for one in sharded.glob("*-of-*"))


def test_a_folder_with_one_file_is_that_file(whole):
    assert open_weights(whole).path == whole / "model.safetensors"


@pytest.mark.parametrize("command", ["inspect", "convert", "diff"])
def test_every_command_that_takes_a_file_takes_them(command, sharded, whole, tmp_path):
    more = {"inspect": [], "convert": [tmp_path / "out.pth"], "diff": [whole]}[command]
    for number, source in enumerate((sharded, index_of(sharded))):
        code, said = run(command, source, *more, *(["--force"] if number and command == "convert" else []))
        assert code == 0, said
    if command == "convert":
        run("convert", whole / "model.safetensors", tmp_path / "one.pth")
        assert (tmp_path / "out.pth").read_bytes() == (tmp_path / "one.pth").read_bytes()


def test_a_lone_shard_is_named(sharded, tmp_path):
    shard = sorted(sharded.glob("*-of-*"))[1]
    code, said = run("convert", shard, tmp_path / "out.pth")
    assert (code, f"it is shard 2 of 3: name their index, {index_of(sharded)}" in said) == (5, True), said
    assert "shard 2 of 3: the others are not in it" in run("inspect", shard)[1]
    index_of(sharded).unlink()
    assert "put all shards and their index into one folder" in run("convert", shard, tmp_path / "out.pth")[1]
    assert not (tmp_path / "out.pth").exists()


def edited(folder, change):
    content = json.loads(index_of(folder).read_text())
    change(content["weight_map"])
    index_of(folder).write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda places: places.pop(min(places)), "has, but the index does not name,"),
        (lambda places: places.update({"vit.more": places[min(places)]}), "has not 'vit.more'"),
        (lambda places: places.update({min(places): places[max(places)]}), "has not|does not name"),
        (lambda places: places.update({min(places): "../a.safetensors"}), "is no file beside it"),
        (lambda places: places.update({min(places): "/etc/passwd"}), "is no file beside it"),
        (lambda places: places.update({min(places): 3}), "expected a weight_map"),
        (lambda places: places.clear(), "expected a weight_map"),
        (lambda places: places.update({min(places): "model.safetensors.index.json"}), "is no file beside it"),
        (lambda places: places.update({str(one): f"{one}.safetensors" for one in range(1001)}), "more than 1000 shards"),
    ],
)
def test_an_index_that_is_not_of_its_shards(change, complaint, sharded):
    edited(sharded, change)
    with pytest.raises(IntegrityError, match=complaint):
        open_weights(sharded)


def test_a_shard_that_is_not_there(sharded):
    shard = sorted(sharded.glob("*-of-*"))[2]
    shard.unlink()
    with pytest.raises(NotFoundError, match=rf"{shard.name}: no such file, but .* names it"):
        open_weights(sharded)


def test_a_damaged_shard(sharded):
    shard = sorted(sharded.glob("*-of-*"))[2]
    shard.write_bytes(shard.read_bytes()[:-50])
    with pytest.raises(IntegrityError, match=shard.name):
        open_weights(sharded)


def test_folders_that_stand_for_no_file_or_for_several(tmp_path):
    with pytest.raises(NotFoundError, match="a folder, not a file"):
        open_weights(tmp_path)
    for name in ("a.pth", "b.pth"):
        torch.save({"x": torch.ones(1)}, tmp_path / name)
    with pytest.raises(UsageError, match="a folder of 2 files of weights"):
        open_weights(tmp_path)
    (tmp_path / "b.pth").unlink()
    assert list(open_weights(tmp_path)) == ["x"]
