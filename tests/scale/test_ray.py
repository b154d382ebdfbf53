"""Runs on a Ray cluster, through the same seam. Skipped where ray is not installed: the extra `test` does without its 250 MB."""

import os
import subprocess
import sys
import time

import pytest
from clusters import TOKEN, cluster, end, free_port, joining
from server import serve
from small_release import FAMILIES, release, write_index

from segzoo.scale import rows
from segzoo.scale.make import of_rows
from segzoo.scale.place import place_of
from segzoo.scale.plan import Doing, freeze, thaw
from segzoo.scale.query import Query, query

pytest.importorskip("ray")


def planned(folder, base, given):
    index = write_index(folder / "index.csv", given)
    found = query(index, Query(), FAMILIES)
    return freeze(
        of_rows(found.rows, Query(), index, base, Doing(to="timm", numbers="none"), ["mini"], None, FAMILIES), place_of(str(folder / "run"))
    )


def driver(run, on, *options):
    command = [sys.executable, "-m", "segzoo", "--zoo", "mini", "augreg", "run", str(run), "--on", on, "--tries", "9", *options]
    return subprocess.Popen(command, env={**os.environ, **TOKEN}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(process, seconds=120):
    """The exit code of a driver, and what it said on stderr. One that hangs is killed."""
    try:
        _, errors = process.communicate(timeout=seconds)
    finally:
        process.kill()
    return process.returncode, errors


def done(folder):
    place = place_of(str(folder / "run"))
    return rows.read_all(place, thaw(place))


def await_rows(folder, count, seconds):
    until = time.monotonic() + seconds
    while len(list((folder / "run").rglob("rows/*/*/*.json"))) < count and time.monotonic() < until:
        time.sleep(0.1)


def test_no_cluster_at_an_address_is_said_soon(tmp_path):
    planned(tmp_path, "http://127.0.0.1:1", release(1)[0])
    started = time.monotonic()
    with driver(tmp_path / "run", f"ray:127.0.0.1:{free_port()}") as process:
        code, errors = ended(process, 40)
    assert (code, "no cluster answers" in errors) == (3, True)
    assert time.monotonic() - started < 20


@pytest.mark.slow
def test_what_answers_at_an_address_and_is_no_cluster_is_said_soon(tmp_path):
    planned(tmp_path, "http://127.0.0.1:1", release(1)[0])
    with serve({}) as server:
        started = time.monotonic()
        with driver(tmp_path / "run", f"ray:127.0.0.1:{server.server_port}") as process:
            code, errors = ended(process, 40)
    assert (code, "no cluster answers" in errors) == (3, True)
    assert time.monotonic() - started < 20


@pytest.mark.slow
def test_a_cluster_without_room_for_a_task_stalls_and_the_same_command_goes_on_elsewhere(tmp_path):
    given, table = release(3)
    with serve(table) as server, cluster(0) as (port, _):
        planned(tmp_path, server.base, given)
        with driver(tmp_path / "run", f"ray:127.0.0.1:{port}", "--stall", "0.05") as process:
            code, errors = ended(process)
        assert (code, "no worker and no new row" in errors, "a task needs one core" in errors) == (9, True, True)
        with driver(tmp_path / "run", "local:1") as process:
            code, errors = ended(process)
    assert code == 0, errors
    assert len(done(tmp_path)) == 3


@pytest.mark.slow
def test_a_head_that_is_gone_is_said_and_the_same_command_goes_on_elsewhere(tmp_path):
    given, table = release(40)
    with serve(table) as server:
        planned(tmp_path, server.base, given)
        with cluster(1) as (port, first), driver(tmp_path / "run", f"ray:127.0.0.1:{port}") as process:
            await_rows(tmp_path, 1, 60)
            end(first)
            code, errors = ended(process, 30)  # Ray itself would end the process after a minute
        assert (code, "no cluster answers" in errors) == (3, True), errors
        with driver(tmp_path / "run", "local:2") as process:
            code, errors = ended(process)
    assert code == 0, errors
    assert len(done(tmp_path)) == 40


@pytest.mark.thorough
def test_a_node_that_is_killed_loses_no_row(tmp_path):
    given, table = release(40)
    with serve(table) as server, cluster(1) as (port, _):
        planned(tmp_path, server.base, given)
        with joining(port, 2) as second, driver(tmp_path / "run", f"ray:127.0.0.1:{port}") as process:
            await_rows(tmp_path, 8, 120)
            end(second)
            code, errors = ended(process, 300)
    assert code == 0, errors
    assert {row["status"] for row in done(tmp_path).values()} == {"passed"}
    assert len(done(tmp_path)) == 40
