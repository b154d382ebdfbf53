"""Several processes, real ones: the same counts bit for bit, and nobody waits for who fails or dies."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress

import pytest
from support import MINI

from segzoo.evaluation.counts import Counts
from segzoo.evaluation.processes import interface

RUN = ["--zoo", "mini", "verify", "mini-linear", "--images", "all", "--device", "cpu"]


def environment(**more):
    return {**os.environ, "OMP_NUM_THREADS": "1", **{name: str(value) for name, value in more.items()}}


def torchrun(processes, *arguments, home):
    command = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={processes}", "--standalone", "-m", "segzoo", *RUN, *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment(SEGZOO_HOME=home), timeout=300)


def members(count, home, own, zoos=None, main=()):
    """The processes of one run, each with its own arguments besides and perhaps its own zoo, as torchrun starts them; `main` are
    options of the program itself.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    shared = {"WORLD_SIZE": count, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "SEGZOO_HOME": home}
    apart = {rank: {"SEGZOO_HOME": home / "apart"} for rank in zoos or {}}  # or it would find the file that another has fetched
    command = [sys.executable, "-m", "segzoo", *main, *RUN]
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


@pytest.mark.parametrize("processes", [pytest.param(2, marks=pytest.mark.slow), pytest.param(3, marks=pytest.mark.thorough)])
def test_several_processes_count_what_one_does(processes, tmp_path):
    alone = subprocess.run([sys.executable, "-m", "segzoo", *RUN], capture_output=True, text=True, env=environment(SEGZOO_HOME=tmp_path / "1"))
    assert alone.returncode == 0, alone.stderr
    expected = facts(tmp_path / "1")
    done = torchrun(processes, home=tmp_path / str(processes))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("1 verified: 5 passed") == 1  # the first process speaks, the others do not
    found = facts(tmp_path / str(processes))
    assert found["processes"] == processes
    for part in ("per_image", "confusion", "per_class", "measured"):
        assert found["modes"]["ss"][part] == expected["modes"]["ss"][part]


@pytest.mark.slow
def test_a_process_without_the_data_says_so_and_quiet_does_not_silence_it(tmp_path):
    """It would be skipped, were it alone: the first process ends without the other's word for it."""
    lab = shutil.copytree(MINI, tmp_path / "lab")
    (lab / "zoo.yaml").write_text((lab / "zoo.yaml").read_text().replace("    path: ade_mini\n", ""))
    first, second = members(2, tmp_path, {}, {1: str(lab / "zoo.yaml")}, main=("-q",))
    _, mine = first.communicate(timeout=120)
    _, theirs = second.communicate(timeout=120)
    assert (first.returncode, second.returncode) == (8, 8)
    assert mine == "error: 1 of 2 processes failed; each says why\n"
    assert theirs.startswith("mini-linear: mIoU: failed: ")
    assert "data set ade-mini is not here: " in theirs
    assert not list(tmp_path.rglob("mini-linear.json"))


@pytest.mark.slow
def test_what_no_process_has_is_skipped_and_said_once(tmp_path):
    lab = shutil.copytree(MINI, tmp_path / "lab")
    (lab / "zoo.yaml").write_text((lab / "zoo.yaml").read_text().replace("    path: ade_mini\n", ""))
    first, second = members(2, tmp_path, {}, {rank: str(lab / "zoo.yaml") for rank in range(2)})
    said, _ = first.communicate(timeout=120)
    assert "mini-linear: mIoU: skipped: data set ade-mini is not here" in said
    assert second.communicate(timeout=120) == ("", "")
    assert (first.returncode, second.returncode) == (0, 0)


@pytest.mark.slow
def test_of_an_error_that_all_have_there_is_one_answer_for_programs(tmp_path):
    first, second = members(2, tmp_path, {rank: ("--smoke", "4", "--json") for rank in range(2)})
    answer, mine = first.communicate(timeout=120)
    assert json.loads(answer)["error"]["message"].startswith("--smoke is a matter of seconds")
    assert second.communicate(timeout=120) == ("", "")
    assert (json.loads(answer)["command"], first.returncode, second.returncode) == ("verify", 2, 2)
    assert "error: --smoke is a matter of seconds" in mine


@pytest.mark.slow
def test_an_error_of_one_process_is_said_by_it_and_answered_by_the_first(tmp_path):
    first, second = members(2, tmp_path, {0: ("--json",), 1: ("--json", "--data", str(tmp_path / "nowhere"))})
    answer, _ = first.communicate(timeout=120)
    nothing, theirs = second.communicate(timeout=120)
    assert json.loads(answer)["error"]["message"] == "1 of 2 processes failed; each says why"
    assert (nothing, first.returncode, second.returncode) == ("", 8, 8)
    assert not list(tmp_path.rglob("mini-linear.json"))
    assert f"error: {tmp_path}/nowhere: no such folder" in theirs


def test_a_command_of_one_process_answers_in_a_job_of_several(tmp_path):
    command = [sys.executable, "-m", "segzoo", "--zoo", "mini", "info", "mini-vot", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(SEGZOO_HOME=tmp_path, WORLD_SIZE=2, RANK=1))
    assert json.loads(done.stdout)["exit_code"] == done.returncode == 7


@pytest.mark.slow
def test_a_process_without_its_gpu_takes_all_with_it_before_the_next_entry(tmp_path):
    first, second = members(2, tmp_path, {0: ("mini-mask",), 1: ("mini-mask", "--device", "cuda:99")})
    _, mine = first.communicate(timeout=120)
    _, theirs = second.communicate(timeout=120)
    assert (first.returncode, second.returncode) == (8, 8)
    assert "1 of 2 processes failed; each says why" in mine
    assert "mini-linear: mIoU: failed: device 'cuda:99' cannot be used" in theirs
    assert not list(tmp_path.rglob("mini-*.json"))


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_process_that_dies_is_an_error_and_leaves_no_receipt(tmp_path):
    first, second = members(2, tmp_path, {})
    found, until = tmp_path / "receipts" / "mini" / "mini-linear.unfinished", time.monotonic() + 60
    while not (found.exists() and '"names"' in found.read_text()) and time.monotonic() < until:
        time.sleep(0.02)
    second.send_signal(signal.SIGKILL)
    second.communicate(timeout=120)
    _, said = first.communicate(timeout=120)
    assert first.returncode == 8
    assert "another process of this run is gone" in said
    assert not list(tmp_path.rglob("mini-linear.json"))
    part = json.loads((tmp_path / "receipts" / "mini" / "mini-linear.unfinished").read_text())
    assert [check["rung"] for check in part["checks"]] == ["bytes", "names", "round trip", "numbers"]  # where the next run goes on


@pytest.mark.parametrize(
    ("more", "said"),
    [
        pytest.param({"WORLD_SIZE": 2}, "RANK is not", marks=pytest.mark.slow),
        pytest.param({"WORLD_SIZE": 2, "RANK": 0}, "MASTER_ADDR is not set", marks=pytest.mark.slow),
        pytest.param({"SLURM_STEP_NUM_TASKS": 4, "SLURM_PROCID": 2}, "srun started 4 tasks", marks=pytest.mark.slow),
    ],
)
def test_half_an_environment(more, said, tmp_path):
    done = subprocess.run([sys.executable, "-m", "segzoo", *RUN], capture_output=True, text=True, env=environment(SEGZOO_HOME=tmp_path, **more))
    assert done.returncode in (2, 8)
    assert said in done.stderr


@pytest.fixture
def machines():
    """Two network namespaces joined by a cable: as far as the network goes, two machines. Their own names are of no use."""
    names = [f"segzoo-{os.getpid()}-{side}" for side in "ab"]
    ends = [f"sz{os.getpid()}{side}" for side in "ab"]

    def ip(*words):
        subprocess.run(["ip", *words], check=True, capture_output=True)

    try:
        for name in names:
            ip("netns", "add", name)
        ip("link", "add", ends[0], "netns", names[0], "type", "veth", "peer", "name", ends[1], "netns", names[1])
        for number, (name, end) in enumerate(zip(names, ends, strict=True), 1):
            ip("-n", name, "addr", "add", f"10.77.0.{number}/24", "dev", end)
            ip("-n", name, "link", "set", end, "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield list(zip(names, ends, strict=True))
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no network namespaces here: {error}")
    finally:
        for name in names:
            with suppress(OSError):
                subprocess.run(["ip", "netns", "delete", name], capture_output=True)


@pytest.mark.slow
def test_two_machines_count_what_mmseg_does(machines, tmp_path):
    joined = [f"--nnodes={len(machines)}", "--nproc-per-node=1", "--master-addr=10.77.0.1", "--master-port=29555"]
    nodes = [
        subprocess.Popen(
            ["ip", "netns", "exec", name, sys.executable, "-m", "torch.distributed.run", *joined, f"--node-rank={rank}", "-m", "segzoo", *RUN],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(SEGZOO_HOME=tmp_path / f"machine-{rank}"),  # nothing is shared but the network
        )
        for rank, (name, _) in enumerate(machines)
    ]
    for node in nodes:
        _, said = node.communicate(timeout=300)
        assert node.returncode == 0, said
    found = facts(tmp_path / "machine-0")
    assert found["processes"] == 2
    stored = json.loads((MINI / "expected" / "metrics.json").read_text())["linear/ss"]["per_image"]
    for name, rows in found["modes"]["ss"]["per_image"].items():
        assert [one.tolist() for one in Counts.from_sparse(rows, 8).arrays] == [stored[name][kind] for kind in ("intersect", "pred", "label")]
    assert found["modes"]["ss"]["per_image"].keys() == stored.keys()
    assert not list((tmp_path / "machine-1").rglob("mini-linear.json"))  # the first of all writes the receipt


def test_alone_no_network_interface_is_chosen():
    assert interface("localhost") is None
    assert interface("::1") is None  # an address of IPv6
