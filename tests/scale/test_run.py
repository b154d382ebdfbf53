"""Runs of many files: planned, done, killed, gone on with. Files are small, their names are those of the release, the server is real."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from click.testing import CliRunner
from killed import alive, children
from server import Ranged, body, serve, status
from small_release import FAMILIES, TINY, npz, release, tensors, write_index
from support import MINI, TAME, same, tensors_of

from segzoo.cli import main
from segzoo.conversion.convert import convert
from segzoo.errors import IntegrityError, NotFoundError, UsageError
from segzoo.scale import rows
from segzoo.scale.engine import ENGINES
from segzoo.scale.make import of_rows
from segzoo.scale.place import place_of
from segzoo.scale.plan import Doing, freeze, thaw
from segzoo.scale.query import Query, query
from segzoo.scale.release import Family
from segzoo.scale.run import alone
from segzoo.store.store import home

DOING = Doing(to="timm", numbers="none")


def segzoo(*arguments):
    return CliRunner().invoke(main, ["--zoo", "mini", *(str(argument) for argument in arguments)], catch_exceptions=False)


def planned(folder, base, rows_of_index, doing=DOING, listing=None):
    """A plan for made files, in folder/run."""
    index = write_index(folder / "index.csv", rows_of_index)
    found = query(index, Query(), FAMILIES)
    plan = of_rows(found.rows, Query(), index, base, doing, ["mini"], listing, FAMILIES)
    return freeze(plan, place_of(str(folder / "run")))[0]


def rows_in(folder):
    place = place_of(str(folder / "run"))
    return {row["key"]: row for row in rows.each(place, thaw(place))}


def unfinished(*folders):
    return [path for folder in folders for path in Path(folder).rglob("*") if path.name.endswith((".part", ".held"))]


# what a run does


def test_a_run_fetches_proves_and_converts_each_file_once_and_leaves_nothing_else(tmp_path):
    given, table = release(6)
    with serve(table) as server:
        plan = planned(tmp_path, server.base, given, Doing(to="timm"))
        done = segzoo("augreg", "run", tmp_path / "run", "--on", "local:2")
        assert (done.exit_code, done.stdout) == (0, "6 files: 6 passed, 0 failed; 6 done now, 0 were done before\n")
        again = segzoo("augreg", "run", tmp_path / "run", "--on", "local:2")
        assert (again.exit_code, again.stdout) == (0, "6 files: 6 passed, 0 failed; 0 done now, 6 were done before\n")
        assert Counter(server.seen) == dict.fromkeys(table, 1)
    there = rows_in(tmp_path)
    assert set(there) == {one["adapt_filename"] for one in given}
    for item in plan.items:
        row = there[item.key]
        source = tmp_path / item.file
        source.write_bytes(table[f"/{item.file}"].data)
        convert(source, tmp_path / "ours.safetensors", to="timm", force=True)
        assert same(tensors_of(tmp_path / "run" / row["converted"]["path"]), tensors_of(tmp_path / "ours.safetensors"))
        assert (row["size"], row["params"]) == (source.stat().st_size, sum(array.size for array in tensors_of(source).values()))
    rungs = Counter(check["rung"] for row in there.values() for check in row["checks"])
    assert rungs == {"bytes": 6, "names": 6, "round trip": 6, "convert": 6, "numbers": 1}  # once for the one kind
    assert not [path for path in home().rglob("*") if path.is_file() and "locks" not in path.parts]
    assert not unfinished(tmp_path, home())
    found = json.loads(segzoo("augreg", "status", tmp_path / "run", "--json").stdout)["result"]
    assert (found["passed"], found["missing"], list(found["kinds"].values()), found["running"]) == (6, 0, ["passed"], [])


@pytest.mark.parametrize("keep", ["source", "none"])
def test_what_is_not_kept_is_gone_and_its_hash_is_in_the_row(keep, tmp_path):
    given, table = release(3)
    with serve(table) as server:
        planned(tmp_path, server.base, given, Doing(to="timm", keep=keep, numbers="none"))
        assert segzoo("augreg", "run", tmp_path / "run", "--on", "local:1").exit_code == 0
    assert not (tmp_path / "run" / "converted").exists()
    there = rows_in(tmp_path)
    blobs = {path.name for path in (home() / "blobs").glob("*")}
    assert blobs == ({row["sha256"] for row in there.values()} if keep == "source" else set())
    assert all(len(row["converted"]["sha256"]) == 64 and row["converted"]["path"] is None for row in there.values())
    assert not (home() / "segzoo.lock").exists()


def test_failures_are_rows_with_a_reason_and_do_not_keep_the_others(tmp_path):
    given, table = release(8)
    names = [f"/{one['adapt_filename']}.npz" for one in given]
    table[names[0]] = status(404)
    table[names[1]] = Ranged(npz(tensors(FAMILIES["Ti/16"], 37)))  # of another row: 37 classes, not 4
    table[names[2]] = Ranged(table[names[2]].data[:-1000])
    wide = Family(32, 1, 2, 16, 112, 0, 0)  # the bytes would fit, the geometry does not
    made = npz(tensors(wide, 4))
    other = {**tensors(TINY, 4), "head/kernel": np.full((TINY.width, 4), np.nan, np.float32)}
    table[names[3]] = Ranged(npz(other))
    table[names[4]] = body(b"<html>" + made[6:])
    with serve(table) as server:
        planned(tmp_path, server.base, given)
        done = segzoo("augreg", "run", tmp_path / "run", "--on", "local:2", "--json")
        answer = json.loads(done.stdout)
        assert done.exit_code == answer["exit_code"] == 3
        assert Counter(server.seen)[names[0]] == 3  # what says nothing of the file is tried again, so often
        assert Counter(server.seen)[names[3]] == 1
    there = rows_in(tmp_path)
    failed = {f"/{key}.npz": row for key, row in there.items() if row["status"] == "failed"}
    assert {name: failed[name]["code"] for name in failed} == dict(zip(names[:5], (3, 4, 4, 5, 4), strict=True))
    assert "HTTP 404" in failed[names[0]]["reason"]
    assert "not finite" in failed[names[3]]["reason"] or "NaN" in failed[names[3]]["reason"]
    assert failed[names[0]]["attempts"] == 3
    assert len([record for record in answer["result"]["records"] if record["final"]]) == 8
    said = segzoo("augreg", "status", tmp_path / "run").stdout
    assert "8 files: 3 passed, 5 failed, 0 not done" in said
    assert "exit 4: 3 files, such as" in said
    with serve({name: Ranged(release(8)[1][name].data) for name in names}) as server:  # mended; the address in the plan is the old one
        again = segzoo("augreg", "run", tmp_path / "run", "--again", "--mirror", server.base)
        assert (again.exit_code, "8 passed, 0 failed; 5 done now, 3 were done before" in again.stdout) == (0, True)


def test_a_file_of_another_geometry_than_its_row_fails_by_name(tmp_path):
    given, table = release(1)
    (name,) = table
    arrays = {**tensors(TINY, 4)}
    moved = dict(arrays)  # as many bytes in as many tensors: width and heads trade places in nothing but the heads
    for key, array in arrays.items():
        if "MultiHead" in key and array.ndim == 3:
            moved[key] = array.reshape(4, 4, 16) if "out" in key else array.reshape(16, 4, 4)
        elif "MultiHead" in key and array.ndim == 2:
            moved[key] = array.reshape(4, 4)
    table[name] = Ranged(npz(moved))
    assert len(table[name].data) == len(npz(arrays))
    with serve(table) as server:
        planned(tmp_path, server.base, given)
        assert segzoo("augreg", "run", tmp_path / "run").exit_code == 5
    (row,) = rows_in(tmp_path).values()
    assert "geometry is not that of its row: heads 4, expected 2" in row["reason"]


# kills


def worker_pids(pid):
    try:
        return [one for one in children(pid) if "segzoo.scale.worker" in Path(f"/proc/{one}/cmdline").read_bytes().decode()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def driver(run, *options):
    command = [sys.executable, "-m", "segzoo", "--zoo", "mini", "augreg", "run", str(run), "--on", "local:2", *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def survives(tmp_path, files, worker_kills, driver_kills, seed):
    """A run whose workers and whose drivers are killed at random moments, each driver by the same command again."""
    random.seed(seed)
    given, table = release(files)
    killed = 0
    with serve(table) as server:
        planned(tmp_path, server.base, given)
        for turn in range(driver_kills + 1):
            process = driver(tmp_path / "run", "--tries", "100")
            reading = Thread(target=process.communicate)
            reading.start()
            begun, crew = time.monotonic(), []
            span = random.uniform(0.3, 3)
            while process.poll() is None:
                if crew := worker_pids(process.pid) or crew:
                    if turn < driver_kills and time.monotonic() - begun > span:
                        process.kill()
                        break
                    if killed < worker_kills and (there := worker_pids(process.pid)):
                        os.kill(random.choice(there), signal.SIGKILL)
                        killed += 1
                time.sleep(random.uniform(0.02, 0.4))
            reading.join()
            until = time.monotonic() + 20
            while any(alive(one) for one in crew) and time.monotonic() < until:
                time.sleep(0.02)
            assert not [one for one in crew if alive(one)], "an orphan"
        assert process.returncode == 0
        sent = sum(one.sent for one in table.values())
    there = rows_in(tmp_path)
    assert set(there) == {one["adapt_filename"] for one in given}
    assert {row["status"] for row in there.values()} == {"passed"}
    assert len(list((tmp_path / "run" / "converted").iterdir())) == files
    assert not unfinished(tmp_path, home())
    assert not list((home() / "runs").glob("*"))
    return killed, sent / sum(len(one.data) for one in table.values())


def test_kills_lose_no_row_and_leave_nothing(tmp_path):
    killed, _ = survives(tmp_path, 24, worker_kills=4, driver_kills=1, seed=1)
    assert killed


@pytest.mark.thorough
@pytest.mark.parametrize("seed", range(4))
def test_many_kills_lose_no_row_and_leave_nothing(seed, tmp_path):
    killed, received = survives(tmp_path, 150, worker_kills=50, driver_kills=5, seed=seed)
    print(f"{killed} workers and 5 drivers killed; {received:.3f} times the bytes")


def test_a_poison_file_fails_alone(tmp_path, monkeypatch):
    """A worker that reads this file ends by a signal, as where memory runs out."""
    given, table = release(9)
    (tmp_path / "sitecustomize.py").write_text(
        "import sys, os\n"
        "def watch(event, arguments):\n"
        "    if event == 'open' and 'light1' in str(arguments[0]) and 'wd_0.03' in str(arguments[0]) and 'converted' in str(arguments[0]):\n"
        "        os.kill(os.getpid(), 9)\n"
        "if 'segzoo.scale.worker' in sys.orig_argv: sys.addaudithook(watch)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with serve(table) as server:
        planned(tmp_path, server.base, given)
        done = segzoo("augreg", "run", tmp_path / "run", "--on", "local:2")
    there = rows_in(tmp_path)
    (poison,) = [key for key, row in there.items() if row["status"] == "failed"]
    assert ("light1" in poison, there[poison]["reason"]) == (True, "its worker ended 3 times, the last time by signal 9")
    assert (done.exit_code, len(there)) == (8, 9)
    assert not unfinished(tmp_path / "run")


# two runs, shards, plans


def test_a_second_run_on_the_same_files_is_refused_and_shards_go_side_by_side(tmp_path):
    given, table = release(5)
    with serve(table) as server:
        planned(tmp_path, server.base, given)
        place = place_of(str(tmp_path / "run"))
        with alone(place, None):
            for options in ((), ("--shard", "1/2")):
                done = segzoo("augreg", "run", tmp_path / "run", *options)
                assert (done.exit_code, "another run is on it, whole" in done.stderr) == (2, True)
        with alone(place, (1, 2)):
            assert segzoo("augreg", "run", tmp_path / "run").exit_code == 2
            assert segzoo("augreg", "run", tmp_path / "run", "--shard", "1/2").exit_code == 2
            assert segzoo("augreg", "run", tmp_path / "run", "--shard", "2/2").exit_code == 0
        assert segzoo("augreg", "run", tmp_path / "run", "--shard", "1/2").exit_code == 0
        assert Counter(server.seen) == dict.fromkeys(table, 1)
    assert len(rows_in(tmp_path)) == 5
    assert segzoo("augreg", "run", tmp_path / "run", "--shard", "3/2").exit_code == 2


def test_shards_are_a_partition():
    from segzoo.scale.plan import Item, Plan

    plan = Plan([Item(str(number), "x", f"{number}.npz") for number in range(500)], Doing(), {}, [], [], {})
    parts = [plan.shard(number, 7) for number in range(1, 8)]
    assert sorted(item.key for part in parts for item in part) == sorted(item.key for item in plan.items)
    assert min(map(len, parts)) > 40


def test_a_plan_is_frozen(tmp_path):
    given, _ = release(3)
    plan = planned(tmp_path, "http://127.0.0.1:1", given)
    assert planned(tmp_path, "http://127.0.0.1:1", given).digest == plan.digest
    assert thaw(place_of(str(tmp_path / "run"))) == plan
    for change in (given[:2], [{**given[0], "adapt_final_val": "0.123"}, *given[1:]]):
        with pytest.raises(UsageError, match="holds another plan"):
            planned(tmp_path, "http://127.0.0.1:1", change)
    with pytest.raises(UsageError, match="holds another plan"):
        planned(tmp_path, "http://127.0.0.1:1", given, Doing(to="hf"))
    for name in ("plan.json", "work.jsonl"):
        shutil.copytree(tmp_path / "run", tmp_path / f"changed {name}")
        text = (tmp_path / f"changed {name}" / name).read_text()
        (tmp_path / f"changed {name}" / name).write_text(text.replace("Ti_16", "Ti_17", 1).replace('"timm"', '"hf"'))
        with pytest.raises(IntegrityError, match="changed after it was made"):
            thaw(place_of(str(tmp_path / f"changed {name}")))
    with pytest.raises(NotFoundError, match="no plan of a run"):
        thaw(place_of(str(tmp_path)))
    assert segzoo("augreg", "run", tmp_path).exit_code == 7


def test_a_row_of_another_plan_or_file_is_no_row(tmp_path):
    given, table = release(2)
    with serve(table) as server:
        plan = planned(tmp_path, server.base, given)
        assert segzoo("augreg", "run", tmp_path / "run").exit_code == 0
    place = place_of(str(tmp_path / "run"))
    one, two = (tmp_path / "run" / rows.name_of(plan.digest, item.key) for item in plan.items)
    two.write_bytes(one.read_bytes())
    with pytest.raises(IntegrityError, match="a row of another file"):
        rows.read_all(place, plan)
    two.write_text("{")
    assert segzoo("augreg", "status", tmp_path / "run").exit_code == 4


# sizes, listings, batches


def test_sizes_are_compared_without_a_download(tmp_path):
    given, table = release(4)
    names = list(table)
    table[names[0]] = Ranged(table[names[0]].data + b"x")
    table[names[1]] = status(404)
    with serve(table) as server:
        text = (MINI / "zoo.yaml").read_text()
        (tmp_path / "zoo.yaml").write_text(text)
        plan = planned(tmp_path, server.base, given)
        from segzoo.scale.sizes import sizes
        from segzoo.store.policy import Policy

        found = {f"/{one.item.file}": one for one in sizes(plan, Policy())}
        assert sum(one.sent for one in table.values() if isinstance(one, Ranged)) <= 4
    assert [type(found[name].error).__name__ for name in names] == ["IntegrityError", "NetworkError", "NoneType", "NoneType"]
    assert "its row means" in found[names[0]].error.message


def test_a_listing_gives_sizes_and_checksums(tmp_path):
    import base64
    import hashlib

    from segzoo.scale.listing import read_listing

    given, table = release(3)
    objects = []
    for name, one in table.items():
        md5 = base64.b64encode(hashlib.md5(one.data).digest()).decode()
        objects.append({"name": f"augreg{name}", "size": str(len(one.data)), "md5Hash": md5})
    broken = base64.b64encode(bytes(16)).decode()
    objects[1]["md5Hash"] = broken
    (tmp_path / "listing.json").write_text(json.dumps(objects))
    with serve(table) as server:
        planned(tmp_path, server.base, given, listing=read_listing(tmp_path / "listing.json"))
        assert segzoo("augreg", "run", tmp_path / "run").exit_code == 4
    reasons = [row["reason"] for row in rows_in(tmp_path).values() if row["status"] == "failed"]
    assert len(reasons) == 1
    assert "another md5 than in the bucket's listing" in reasons[0]
    (tmp_path / "listing.json").write_text(json.dumps(objects[:2]))
    with pytest.raises(NotFoundError, match="the listing does not have it"):
        planned(tmp_path, server.base, given, listing=read_listing(tmp_path / "listing.json"))
    for wrong in ({"name": 1}, {"name": "x", "size": "-1"}, {"name": "x", "size": "1", "md5Hash": "?"}):
        (tmp_path / "listing.json").write_text(json.dumps([wrong]))
        with pytest.raises(IntegrityError, match="object 0"):
            read_listing(tmp_path / "listing.json")


def test_files_and_entries_are_a_batch(tmp_path):
    shutil.copy(TAME, tmp_path / "own.npz")
    (tmp_path / "bad.pth").write_bytes(b"<html>")
    arguments = ("batch", "plan", "mini-mask", tmp_path / "own.npz", tmp_path / "bad.pth", "-o", tmp_path / "run", "--to", "segmenter")
    assert segzoo(*arguments, "--numbers", "none").exit_code == 0
    assert segzoo("batch", "run", tmp_path / "run", "--on", "local:1").exit_code == 4
    there = {row["name"]: row for row in rows_in(tmp_path).values()}
    assert {name: row["status"] for name, row in there.items()} == {"mini-mask": "passed", "own.npz": "passed", "bad.pth": "failed"}
    assert (tmp_path / "own.npz").exists()
    assert "HTML" in there["bad.pth"]["reason"]
    (tmp_path / "one" / "a").mkdir(parents=True)
    shutil.copy(TAME, tmp_path / "one" / "a" / "own.npz")
    done = segzoo("batch", "plan", tmp_path / "own.npz", tmp_path / "one" / "a" / "own.npz", "-o", tmp_path / "other")
    assert (done.exit_code, "both would be written to own.*" in done.stderr) == (2, True)


@pytest.mark.slow
def test_entries_are_verified_as_verify_does(tmp_path):
    folder = MINI / "ade_mini"
    assert segzoo("batch", "plan", "mini-mask", "mini-vit", "--verify", "--images", "2", "--data", folder, "-o", tmp_path / "run").exit_code == 0
    done = segzoo("batch", "run", tmp_path / "run", "--on", "local:2")
    assert done.exit_code == 0, done.output
    there = rows_in(tmp_path)
    (mask,) = [row for row in there.values() if row["name"] == "mini-mask"]
    assert [check["rung"] for check in mask["checks"]] == ["bytes", "names", "round trip", "numbers", "mIoU"]
    assert mask["checks"][-1]["facts"]["modes"]["ss"]["measured"]["mIoU"] > 50
    assert (home() / "receipts" / "mini" / "mini-mask.json").is_file()


def test_a_run_without_workers_ends_with_an_exit_code_of_its_own_and_goes_on(tmp_path, monkeypatch):
    monkeypatch.setitem(ENGINES, "own", "engines")
    given, table = release(2)
    with serve(table) as server:
        planned(tmp_path, server.base, given)
        started = time.monotonic()
        done = segzoo("augreg", "run", tmp_path / "run", "--on", "own:deserted=1", "--stall", "0.01")
        assert time.monotonic() - started > 1.3  # 0.6 s after the last worker has gone, which went after a second
        assert (done.exit_code, "no worker and no new row for 0.01 minutes" in done.stderr) == (9, True)
        assert "a task needs one core, 0.6 GB of memory on one machine" in done.stderr
        assert segzoo("augreg", "run", tmp_path / "run", "--on", "own:here").exit_code == 0
    assert len(rows_in(tmp_path)) == 2


def in_one_worker(folder, lines, monkeypatch):
    """The first worker that starts does this before anything else: it stands for another machine."""
    (folder / "sitecustomize.py").write_text(
        "import sys\nfrom pathlib import Path\n"
        "if 'segzoo.scale.worker' in sys.orig_argv:\n"
        "    try:\n"
        f"        Path({str(folder / 'taken')!r}).touch(exist_ok=False)\n"
        "    except FileExistsError:\n        pass\n"
        f"    else:\n        {lines}\n"
    )
    monkeypatch.syspath_prepend(folder)


@pytest.mark.slow
def test_a_full_disk_on_one_machine_costs_the_others_a_second_try_and_no_file(tmp_path, monkeypatch):
    in_one_worker(tmp_path, "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (16384, 16384))", monkeypatch)
    given, table = release(24)
    assert all(len(one.data) > 16384 for one in table.values())
    with serve(table) as server:
        planned(tmp_path, server.base, given)
        done = segzoo("augreg", "run", tmp_path / "run", "--on", "local:2")
    assert (done.exit_code, "it is tried again" in done.stderr) == (0, True)
    tries = Counter(row["attempts"] for row in rows_in(tmp_path).values())
    assert set(tries) == {1, 2}
    assert tries[2] <= 3  # of its group of three the other two were left to the other one


def test_machines_that_fail_every_file_end_a_run_before_they_use_it_up(tmp_path, monkeypatch):
    monkeypatch.setitem(ENGINES, "own", "engines")
    monkeypatch.setattr("segzoo.scale.task.PAUSE", 0)
    given, table = release(30)
    with serve(table) as server:
        planned(tmp_path, server.base, given)
        (tmp_path / "run" / "converted").write_text("a file in the way")
        done = segzoo("augreg", "run", tmp_path / "run", "--on", "own:here")
        assert (done.exit_code, "20 files in a row failed by their machines, the last one: convert: " in done.stderr) == (8, True)
        assert len(rows_in(tmp_path)) < 30
        (tmp_path / "run" / "converted").unlink()
        assert segzoo("augreg", "run", tmp_path / "run", "--on", "own:here").exit_code == 0


def test_a_worker_without_an_extra_says_so_and_another_one_climbs_what_it_could_not(tmp_path, monkeypatch):
    absent = (
        "sys.meta_path.insert(0, type('Absent', (), {'find_spec': staticmethod(lambda name, path=None, target=None: "
        "exec('raise ModuleNotFoundError(name)') if name.partition('.')[0] == 'torch' else None)}))"
    )
    in_one_worker(tmp_path, absent, monkeypatch)
    given, table = release(8)
    with serve(table) as server:
        planned(tmp_path, server.base, given, Doing(to="timm"))
        done = segzoo("augreg", "run", tmp_path / "run", "--on", "local:1", "--shard", "1/2")
        assert (done.exit_code, "numbers were not climbed for 1 kind: torch is not installed" in done.stderr) == (0, True)
        assert "numbers skipped: vit augreg" in segzoo("augreg", "status", tmp_path / "run").stdout
        done = segzoo("augreg", "run", tmp_path / "run", "--on", "local:1", "--shard", "2/2")
        assert (done.exit_code, "not climbed" in done.stderr) == (0, False)
    assert "numbers passed: vit augreg" in segzoo("augreg", "status", tmp_path / "run").stdout


def test_a_disk_that_is_full_fails_what_it_has_to_and_says_so(tmp_path):
    given, table = release(1)
    with serve(table) as server:
        planned(tmp_path, server.base, given)
        (tmp_path / "run" / "converted").write_text("a file in the way")
        done = segzoo("augreg", "run", tmp_path / "run", "--on", "local:1", "--tries", "2")
    assert done.exit_code == 8
    assert {(row["code"], row["attempts"]) for row in rows_in(tmp_path).values()} == {(8, 2)}


def test_the_time_left_goes_by_bytes_and_one_line_says_where_a_run_stands():
    from segzoo.cli.runs import said
    from segzoo.scale.run import State

    state = State(10, 1000, done=4, failed=1, done_bytes=900, moved=500, workers=2, deaths=3, here=2, here_bytes=400, started=time.monotonic() - 50)
    assert state.seconds_left == pytest.approx(10, rel=0.1)  # 500 bytes took 50 s, and 100 are left, though six files are
    line = said(state)
    assert line.startswith("4 of 10 files, 900 B of 1.0 kB, ")
    assert line.endswith("0.04 files/s, 10 s left, 2 workers, 1 failed, 3 workers died")
    assert State(10, 0, done=5, started=time.monotonic() - 50).seconds_left == pytest.approx(50, rel=0.1)
    assert State(10, 1000).seconds_left is None
