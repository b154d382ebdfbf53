"""A run at an address of an S3 server, moto's. Skipped where moto and s3fs are not installed: with what they bring they are 300 MB."""

import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress

import pytest
from clusters import free_port
from server import serve
from small_release import FAMILIES, release, write_index

from segzoo.errors import EnvironmentFault
from segzoo.scale import rows
from segzoo.scale.make import of_rows
from segzoo.scale.place import place_of
from segzoo.scale.plan import Doing, freeze, thaw
from segzoo.scale.query import Query, query

pytest.importorskip("moto")
s3fs = pytest.importorskip("s3fs")


@pytest.fixture
def bucket(monkeypatch):
    """A bucket on a server of its own process, at an address that all processes of the test are told by their environment."""
    port = free_port()
    for name, value in {
        "ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "ACCESS_KEY_ID": "a",
        "SECRET_ACCESS_KEY": "b",
        "DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            until = time.monotonic() + 30
            while time.monotonic() < until:
                with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                    break
                time.sleep(0.05)
            s3fs.S3FileSystem.clear_instance_cache()
            s3fs.S3FileSystem().mkdir("bucket")
            yield "s3://bucket"
        finally:
            process.kill()


def driver(*arguments):
    command = [sys.executable, "-m", "segzoo", "--zoo", "mini", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def done(*arguments):
    with driver(*arguments) as process:
        said, errors = process.communicate(timeout=120)
    return process.returncode, said + errors


def planned(folder, base, given, address):
    index = write_index(folder / "index.csv", given)
    found = query(index, Query(), FAMILIES)
    made = of_rows(found.rows, Query(), index, base, Doing(to="timm", numbers="none"), ["mini"], None, FAMILIES)
    return freeze(made, place_of(address))[0]


@pytest.mark.slow
def test_a_run_lies_in_a_bucket_and_goes_on_there_after_its_driver_was_killed(bucket, tmp_path):
    given, table = release(16)
    run = f"{bucket}/lab/run"
    with serve(table) as server:
        plan = planned(tmp_path, server.base, given, run)
        place = place_of(run)
        assert thaw(place) == plan
        with driver("augreg", "run", run, "--on", "local:2") as process:
            until = time.monotonic() + 60
            while not list(place.names(rows.folder_of(plan.digest))) and time.monotonic() < until:
                time.sleep(0.05)
            process.send_signal(signal.SIGKILL)
            process.communicate()
        before = {row["key"] for row in rows.each(place, plan)}
        assert 0 < len(before) < 16
        code, said = done("augreg", "run", run, "--on", "local:2")
        assert (code, f"16 files: 16 passed, 0 failed; {16 - len(before)} done now, {len(before)} were done before" in said) == (0, True), said
    assert "16 files: 16 passed, 0 failed, 0 not done" in done("augreg", "status", run)[1]
    code, said = done("catalogue", run, "select count(distinct key) n, count(*) rungs from files")
    assert (code, said.split()) == (0, ["n", "rungs", "16", "64"])
    names = list(place.names(""))
    assert sum(name.startswith("converted/") for name in names) == 16
    assert sorted({name.partition("/")[0] for name in names}) == ["catalogue.parquet", "converted", "plan.json", "rows", "work.jsonl"]
    code, said = done("report", "--catalogue", run, "-o", str(tmp_path / "page"))
    assert (code, "Ti/16: 16 of 16 passed" in said) == (0, True)


@pytest.mark.slow
def test_a_bucket_that_is_not_there_or_not_ours_is_said(bucket, tmp_path, monkeypatch):
    with pytest.raises(EnvironmentFault, match="s3://nowhere/run/"):
        planned(tmp_path, "http://127.0.0.1:1", release(1)[0], "s3://nowhere/run")
    code, said = done("augreg", "run", f"{bucket}/no/run")
    assert (code, "no plan of a run" in said) == (7, True)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    code, said = done("augreg", "run", f"{bucket}/lab/run")
    assert (code, "error: s3://bucket/lab/run/plan.json: Unable to locate credentials" in said) == (8, True), said
