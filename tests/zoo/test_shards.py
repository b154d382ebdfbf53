"""An index of shards, and a folder, in a zoo: one set of weights to verify, to describe and to fetch, known by the hashes of all files."""

import json
import shutil
import subprocess

import pytest
import yaml
from click.testing import CliRunner
from safetensors.torch import load_file, save_file
from server import body, serve
from support import in_shards

from segzoo.cli import main
from segzoo.errors import UsageError
from segzoo.evidence.in_toto import statement
from segzoo.manifest.document import load_manifest
from segzoo.store.store import home

INDEX = "model.safetensors.index.json"


def segzoo(*words, code=0):
    done = CliRunner().invoke(main, [*map(str, words)])
    assert done.exit_code == code, done.output + done.stderr + repr(done.exception)
    return done


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A backbone in three shards, with its config beside."""
    folder = tmp_path_factory.mktemp("exported")
    segzoo("--zoo", "mini", "export", "mini-vit", "-o", folder / "whole", "--as", "hf")
    in_shards(load_file(folder / "whole" / "model.safetensors"), folder / "big-vit")
    shutil.copy(folder / "whole" / "config.json", folder / "big-vit")
    return folder / "big-vit"


@pytest.fixture
def sharded(exported, tmp_path):
    return shutil.copytree(exported, tmp_path / "big-vit")


def other_shard(folder):
    """One number of one shard is another one. The index stays, byte for byte, as that of a fine-tuned model would."""
    shard = max(folder.glob("*.safetensors"))
    tensors = load_file(shard)
    next(iter(tensors.values())).view(-1)[0] += 1
    save_file(tensors, shard)
    return shard


def hash_by_coreutils(folder):
    names = sorted(path.name for path in folder.glob("model*"))
    lines = subprocess.run(["sha256sum", *names], cwd=folder, capture_output=True, check=True).stdout
    return subprocess.run(["sha256sum"], input=lines, capture_output=True, check=True).stdout.split()[0].decode()


def receipts(*words, code=0):
    done = segzoo("--zoo", "mini", "verify", *words, "--device", "cpu", "--json", code=code)
    return json.loads(done.stdout)["result"]


@pytest.mark.parametrize(("source", "name"), [("", "big-vit"), (INDEX, "model")])
def test_a_folder_or_an_index_is_verified_with_all_its_shards(source, name, sharded):
    [receipt] = receipts(sharded / source)
    checks = {check["rung"]: check for check in receipt["checks"]}
    assert receipt["name"] == name
    assert [check["status"] for check in checks.values()] == [*["passed"] * 4, "n/a"]
    facts = checks["bytes"]["facts"]
    assert facts["sha256"] == checks["numbers"]["basis"]["sha256"] == hash_by_coreutils(sharded)
    assert facts["size"] == sum(path.stat().st_size for path in sharded.glob("model*"))
    assert len(facts["files"]) == 4
    assert "in an index and 3 shards" in checks["bytes"]["detail"]
    [path] = home().glob(f"receipts/mini/{name}.json")
    assert "broken" not in segzoo("receipt", "check", path).output
    assert {one["name"]: one["digest"]["sha256"] for one in statement(receipt)["subject"]} == facts["files"]


def test_a_model_with_the_same_index_is_another_one(sharded):
    [first] = receipts(sharded)
    other_shard(sharded)
    [second] = receipts(sharded)
    assert second["name"] == f"big-vit-{hash_by_coreutils(sharded)[:8]}"
    files = [one["checks"][0]["facts"]["files"] for one in (first, second)]
    assert files[0][INDEX] == files[1][INDEX]
    assert all(check["time"] is None for check in second["checks"])  # no rung is taken from the other's receipt


def test_an_edited_receipt_is_caught(sharded):
    receipts(sharded)
    [path] = home().glob("receipts/mini/big-vit.json")
    record = json.loads(path.read_text())
    record["checks"][0]["facts"]["files"][INDEX] = "0" * 64
    path.write_text(json.dumps(record))
    assert "its sha256 is not that of its files" in segzoo("receipt", "check", path, code=4).output


def test_an_entry_names_all_shards_and_a_zoo_carries_them(sharded, tmp_path):
    zoo = ("--zoo", tmp_path / "zoo.yaml")
    segzoo("--zoo", "mini", "manifest", "add", sharded, "--to", tmp_path / "zoo.yaml")
    entry = yaml.safe_load((tmp_path / "zoo.yaml").read_text())["backbones"]["big-vit"]["source"]
    assert entry["urls"] == [f"big-vit/{INDEX}"]
    assert {one["name"]: one["urls"] for one in entry["shards"]} == {path.name: [f"big-vit/{path.name}"] for path in sharded.glob("*.safetensors")}
    assert "is there already" in segzoo("--zoo", "mini", "manifest", "add", sharded, "--to", tmp_path / "zoo.yaml").output
    plan = json.loads(segzoo(*zoo, "fetch", "--dry-run", "--json", "big-vit").stdout)["result"]
    assert (plan[0]["here"], plan[0]["size"]) == (False, sum(path.stat().st_size for path in sharded.glob("model*")))
    segzoo(*zoo, "fetch", "big-vit", "-o", tmp_path / "copies")
    assert sorted(path.name for path in (tmp_path / "copies").iterdir()) == sorted(path.name for path in sharded.glob("model*"))
    assert "yes" in segzoo(*zoo, "list").output
    segzoo(*zoo, "convert", "big-vit", tmp_path / "one.pth")
    segzoo(*zoo, "bundle", "create", tmp_path / "b.tar", "big-vit")
    assert "is big-vit by its sha256" in segzoo(*zoo, "verify", sharded, "--device", "cpu").stderr
    for path in (home() / "blobs").iterdir():
        path.unlink()
    shutil.rmtree(sharded)
    assert "4 files" in segzoo(*zoo, "bundle", "load", tmp_path / "b.tar").output
    segzoo(*zoo, "verify", "big-vit", "--device", "cpu", "--again")


def test_a_shard_with_other_bytes_is_named(sharded, tmp_path):
    segzoo("--zoo", "mini", "manifest", "add", sharded, "--to", tmp_path / "zoo.yaml")
    shard = other_shard(sharded)
    done = segzoo("--zoo", tmp_path / "zoo.yaml", "verify", "big-vit", "--device", "cpu", code=4)
    assert f"{shard.name}: no address delivered it" in done.output + done.stderr


def test_a_shard_that_is_not_there_is_named_and_nothing_is_written(sharded, tmp_path):
    shard = min(sharded.glob("*.safetensors"))
    shard.unlink()
    for words in (("verify", sharded), ("manifest", "add", sharded, "--to", tmp_path / "zoo.yaml")):
        assert shard.name in segzoo("--zoo", "mini", *words, code=7).stderr
    assert not (tmp_path / "zoo.yaml").exists()


def test_an_address_of_an_index_is_fetched_with_its_shards(sharded, tmp_path):
    with serve({}) as server:
        for path in sharded.glob("model*"):
            server.table[f"/v1/{path.name}"] = body(path.read_bytes())
        address = f"{server.base}/v1/{INDEX}"
        words = ("--zoo", "mini", "manifest", "add", address, "--to", tmp_path / "zoo.yaml", "--heads", 4, "--name", "far")
        segzoo(*words)
        assert "is there already" in segzoo(*words).output
    entry = load_manifest(tmp_path / "zoo.yaml").backbones["far"].source
    assert [one.urls[0].url for one in entry.files] == [f"{server.base}/v1/{one.name}" for one in entry.files]
    assert entry.joint_sha256 == hash_by_coreutils(sharded)
    segzoo("--zoo", tmp_path / "zoo.yaml", "verify", "far", "--device", "cpu")  # from the store


FAULTS = {
    "a shard without a hash": (lambda source: source["shards"][0].pop("sha256"), "need a full sha256 each"),
    "an index without a hash": (lambda source: source.pop("sha256"), "need a full sha256 each"),
    "a shard of shards": (lambda source: source["shards"][0].update(shards=source["shards"][1:]), "have no shards themselves"),
    "a shard twice": (lambda source: source["shards"].append(source["shards"][0]), "of different names"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_shards_that_no_manifest_may_have(fault, sharded, tmp_path):
    segzoo("--zoo", "mini", "manifest", "add", sharded, "--to", tmp_path / "zoo.yaml")
    written = yaml.safe_load((tmp_path / "zoo.yaml").read_text())
    FAULTS[fault][0](written["backbones"]["big-vit"]["source"])
    (tmp_path / "zoo.yaml").write_text(json.dumps(written))
    with pytest.raises(UsageError, match=FAULTS[fault][1]):
        load_manifest(tmp_path / "zoo.yaml")
