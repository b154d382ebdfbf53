"""Several processes, real ones: the same counts bit for bit, and nobody waits for who fails or dies."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys

import pytest
from conftest import MINI

RUN = ["--zoo", "mini", "verify", "mini-linear", "--images", "all", "--device", "cpu"]


def environment(**more):
    return {**os.environ, "OMP_NUM_THREADS": "1", **{name: str(value) for name, value in more.items()}}


def torchrun(processes, *arguments, home):
    command = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={processes}", "--standalone", "-m", "segzoo", *RUN, *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment(SEGZOO_HOME=home), timeout=300)


def members(count, home, own, zoos=None):
    """The processes of one run, each with its own arguments besides and perhaps its own zoo, as torchrun starts them."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    shared = {"WORLD_SIZE": count, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "SEGZOO_HOME": home}
    apart = {rank: {"SEGZOO_HOME": home / "apart"} for rank in zoos or {}}  # or it would find the file that another has fetched
    command = [sys.executable, "-m", "segzoo", *RUN]
    return [
        subprocess.Popen(
            [(zoos or {}).get(rank, word) if word == "mini" else word for word in command] + [*own.get(rank, ())],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(RANK=rank, LOCAL_RANK=rank, **{**shared, **apart.get(rank, {})}),
        )
        for rank in range(count)
    ]


def facts(home):
    record = json.loads((home / "receipts" / "mini" / "mini-linear.json").read_text())
    return {check["rung"]: check for check in record["checks"]}["mIoU"]["facts"]


def test_two_and_three_processes_count_what_one_does(tmp_path):
    alone = subprocess.run([sys.executable, "-m", "segzoo", *RUN], capture_output=True, text=True, env=environment(SEGZOO_HOME=tmp_path / "1"))
    assert alone.returncode == 0, alone.stderr
    expected = facts(tmp_path / "1")
    for processes in (2, 3):
        done = torchrun(processes, home=tmp_path / str(processes))
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("1 verified: 5 passed") == 1  # the first process speaks, the others do not
        found = facts(tmp_path / str(processes))
        assert found["processes"] == processes
        for part in ("per_image", "confusion", "per_class", "measured"):
            assert found["modes"]["ss"][part] == expected["modes"]["ss"][part]


def test_a_process_that_fails_takes_all_with_it(tmp_path):
    first, second = members(2, tmp_path, {1: ("--data", str(tmp_path / "nowhere"))})
    _, mine = first.communicate(timeout=120)
    _, theirs = second.communicate(timeout=120)
    assert (first.returncode, second.returncode) == (8, 8)
    assert "1 of 2 processes failed; each says why" in mine
    assert "nowhere: no such folder" in theirs
    assert not list(tmp_path.rglob("mini-linear.json"))


def test_a_process_without_its_gpu_takes_all_with_it_before_the_next_entry(tmp_path):
    first, second = members(2, tmp_path, {0: ("mini-mask",), 1: ("mini-mask", "--device", "cuda:99")})
    _, mine = first.communicate(timeout=120)
    _, theirs = second.communicate(timeout=120)
    assert (first.returncode, second.returncode) == (8, 8)
    assert "1 of 2 processes failed; each says why" in mine
    assert "mini-linear: mIoU: failed: device 'cuda:99' cannot be used" in theirs
    assert not list(tmp_path.rglob("mini-*.json"))


def test_a_file_that_only_one_process_finds_damaged_leaves_no_receipt(tmp_path):
    lab = shutil.copytree(MINI, tmp_path / "lab")
    checkpoint = next(lab.glob("segmenter_mini_linear-*.pth"))
    checkpoint.write_bytes(checkpoint.read_bytes()[:-1] + b"x")
    first, second = members(2, tmp_path, {}, {1: str(lab / "zoo.yaml")})
    _, mine = first.communicate(timeout=120)
    _, theirs = second.communicate(timeout=120)
    assert (first.returncode, second.returncode) == (8, 4)
    assert "a rung failed in another process" in mine
    assert "mini-linear: bytes: failed" in theirs
    assert not list(tmp_path.rglob("mini-linear.json"))


def test_a_process_that_dies_is_an_error_and_leaves_no_receipt(tmp_path):
    first, second = members(2, tmp_path, {})
    for line in first.stderr:
        if "names: passed" in line:
            second.send_signal(signal.SIGKILL)
            break
    second.communicate(timeout=120)
    _, said = first.communicate(timeout=120)
    assert first.returncode == 8
    assert "another process of this run is gone" in said
    assert not list(tmp_path.rglob("mini-linear.json"))
    part = json.loads((tmp_path / "receipts" / "mini" / "mini-linear.unfinished").read_text())
    assert [check["rung"] for check in part["checks"]] == ["bytes", "names", "round trip", "numbers"]  # where the next run goes on


@pytest.mark.parametrize(
    ("more", "said"), [({"WORLD_SIZE": 2}, "RANK is not"), ({"WORLD_SIZE": 2, "RANK": 0}, "another process of this run is gone")]
)
def test_half_an_environment(more, said, tmp_path):
    done = subprocess.run([sys.executable, "-m", "segzoo", *RUN], capture_output=True, text=True, env=environment(SEGZOO_HOME=tmp_path, **more))
    assert done.returncode in (2, 8)
    assert said in done.stderr
