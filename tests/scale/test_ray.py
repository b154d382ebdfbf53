"""Runs on a Ray cluster, through the same seam. Skipped where ray is not installed: the extra `test` does without its 250 MB."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest
from server import serve
from small_release import FAMILIES, release, write_index

from segzoo.scale import rows
from segzoo.scale.make import of_rows
from segzoo.scale.place import place_of
from segzoo.scale.plan import Doing, freeze, thaw
from segzoo.scale.query import Query, query

pytest.importorskip("ray")

TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0123456789abcdef" * 2, "RAY_USAGE_STATS_ENABLED": "0"}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def node(*options):
    """A node of a cluster, in the foreground of a session of its own, which ends with the block."""
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats", *options]
    process = subprocess.Popen(command, env={**os.environ, **TOKEN}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        yield process
    finally:
        end(process)


def end(process, number=signal.SIGKILL):
    if process.poll() is None:
        os.killpg(process.pid, number)
        process.wait()


def planned(folder, base, given):
    index = write_index(folder / "index.csv", given)
    found = query(index, Query(), FAMILIES)
    return freeze(
        of_rows(found.rows, Query(), index, base, Doing(to="timm", numbers="none"), ["mini"], None, FAMILIES), place_of(str(folder / "run"))
    )


def driver(run, on):
    command = [sys.executable, "-m", "segzoo", "--zoo", "mini", "augreg", "run", str(run), "--on", on, "--tries", "9"]
    return subprocess.Popen(command, env={**os.environ, **TOKEN}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def done(folder):
    place = place_of(str(folder / "run"))
    return rows.read_all(place, thaw(place))


def test_no_cluster_at_an_address_is_said_soon(tmp_path):
    planned(tmp_path, "http://127.0.0.1:1", release(1)[0])
    started = time.monotonic()
    with driver(tmp_path / "run", f"ray:127.0.0.1:{free_port()}") as process:
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, "no cluster answers" in errors) == (3, True)
    assert time.monotonic() - started < 20


@pytest.mark.thorough
def test_a_node_that_is_killed_loses_no_row(tmp_path):
    given, table = release(40)
    port = free_port()
    with serve(table) as server, node("--head", f"--port={port}", "--num-cpus=1", "--include-dashboard=false"):
        planned(tmp_path, server.base, given)
        time.sleep(8)
        with node(f"--address=127.0.0.1:{port}", "--num-cpus=2") as second, driver(tmp_path / "run", f"ray:127.0.0.1:{port}") as process:
            until = time.monotonic() + 120
            while len(list((tmp_path / "run").rglob("rows/*/*/*.json"))) < 8 and time.monotonic() < until:
                time.sleep(0.1)
            end(second)
            _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert {row["status"] for row in done(tmp_path).values()} == {"passed"}
    assert len(done(tmp_path)) == 40
