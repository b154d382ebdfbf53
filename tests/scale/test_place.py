"""Where a run lies: a folder, and an address of fsspec's, by the same tests. `memory://` stands for an object store."""

import uuid

import pytest
from server import serve
from small_release import FAMILIES, release, write_index
from support import same, tensors_of

from segzoo.conversion.convert import convert
from segzoo.errors import EnvironmentFault, UsageError
from segzoo.scale import catalogue, rows
from segzoo.scale.engine import Resources
from segzoo.scale.make import of_rows
from segzoo.scale.place import place_of
from segzoo.scale.plan import Doing, freeze, thaw
from segzoo.scale.query import Query, query
from segzoo.scale.run import State, Wishes, _Work, left_of, run
from segzoo.scale.task import work


@pytest.fixture(params=["folder", "memory"])
def address(request, tmp_path):
    if request.param == "folder":
        return str(tmp_path / "run")
    pytest.importorskip("fsspec")
    return f"memory://{uuid.uuid4().hex}/run"


def test_files_are_written_whole_replaced_and_listed(address):
    place = place_of(address)
    assert (place.read("a/b"), list(place.names("a"))) == (None, [])
    place.write("a/b", b"1")
    place.write("a/b", b"22")
    place.write("a/c/d", b"3")
    assert (place.read("a/b"), sorted(place.names("a"))) == (b"22", ["a/b", "a/c/d"])
    place.sweep("a")
    assert sorted(place.names("a")) == ["a/b", "a/c/d"]


def test_a_finished_file_is_brought(address, tmp_path):
    place = place_of(address)
    (tmp_path / "made").write_bytes(b"made")
    place.bring(tmp_path / "made", "converted/made")
    assert (place.read("converted/made"), (tmp_path / "made").exists()) == (b"made", False)


def test_a_run_lies_there_plan_rows_conversions_and_catalogue(address, tmp_path):
    """The work of one worker, in this process: what is in memory is in no other."""
    given, table = release(4)
    place = place_of(address)
    with serve(table) as server:
        index = write_index(tmp_path / "index.csv", given)
        found = query(index, Query(), FAMILIES)
        made = of_rows(found.rows, Query(), index, server.base, Doing(to="timm", numbers="none"), ["mini"], None, FAMILIES)
        plan, there = freeze(made, place)
        assert (there, thaw(place)) == (False, plan)
        _, left = left_of(plan, {}, Wishes())
        todo = _Work(plan, place, Wishes(), left, 1)
        while task := todo.take():
            assert {row["status"] for row in work(task[1])} == {"passed"}
        assert left_of(plan, rows.read_all(place, plan), Wishes())[1] == []
    for item in plan.items:
        (tmp_path / "theirs.npz").write_bytes(table[f"/{item.file}"].data)
        row = rows.read(place, plan.digest, item.key)
        (tmp_path / "ours.safetensors").write_bytes(place.read(row["converted"]["path"]))
        convert(tmp_path / "theirs.npz", tmp_path / "again.safetensors", to="timm", force=True)
        assert same(tensors_of(tmp_path / "ours.safetensors"), tensors_of(tmp_path / "again.safetensors"))
    assert catalogue.compact(plan, place)[1] == 16
    assert catalogue.ask(place, "select count(distinct key) n from files") == [{"n": 4}]


def test_what_is_no_place_is_said(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="not the folder of a run"):
        place_of(str(tmp_path / "file"))
    pytest.importorskip("fsspec")
    with pytest.raises(EnvironmentFault, match="nowhere"):
        place_of("nowhere://bucket/run")


def test_a_run_elsewhere_has_no_more_workers_than_connections(tmp_path):
    pytest.importorskip("fsspec")
    place = place_of(f"memory://{uuid.uuid4().hex}/run")
    index = write_index(tmp_path / "index.csv", release(1)[0])
    plan, _ = freeze(of_rows(query(index, Query(), FAMILIES).rows, Query(), index, "https://a.test", Doing(), ["mini"], None, FAMILIES), place)
    with pytest.raises(UsageError, match="16 at most"):
        next(run(plan, place, Wishes(on="local:17"), Resources(), State(1, 1), []))
