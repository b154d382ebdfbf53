"""The catalogue of a run: what is in it, who opens it, what may be asked, and its page."""

import json
from pathlib import Path

import duckdb
import pytest
from click.testing import CliRunner
from server import serve, status
from small_release import FAMILIES, release, write_index
from support import MINI

from segzoo.cli import main
from segzoo.scale.catalogue import COLUMNS, NAME
from segzoo.scale.make import of_rows
from segzoo.scale.place import place_of
from segzoo.scale.plan import Doing, freeze
from segzoo.scale.query import Query, query


def segzoo(*arguments):
    return CliRunner().invoke(main, ["--zoo", "mini", *(str(argument) for argument in arguments)], catch_exceptions=False)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of six files, one of which is not there, and one whose number of parameters the index has wrong."""
    folder = tmp_path_factory.mktemp("catalogue")
    given, table = release(6)
    given[1]["params"] = "500000.0"
    table[f"/{given[0]['adapt_filename']}.npz"] = status(410)
    with serve(table) as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEGZOO_HOME", str(folder / "home"))
        index = write_index(folder / "index.csv", given)
        found = query(index, Query(), FAMILIES)
        plan = of_rows(found.rows, Query(), index, server.base, Doing(to="timm", numbers="none"), ["mini"], None, FAMILIES)
        freeze(plan, place_of(str(folder / "run")))
        assert segzoo("augreg", "run", folder / "run", "--on", "local:2", "--tries", "1").exit_code == 3
    assert segzoo("catalogue", folder / "run").stdout == f"{folder / 'run' / NAME}: 21 rows\n"
    return folder / "run"


def found(run, sql):
    return json.loads(segzoo("catalogue", run, sql, "--json").stdout)["result"]["found"]


def test_a_row_a_file_and_rung(run):
    assert found(run, "select rung, count(*) n from files group by rung order by rung") == [
        {"rung": "bytes", "n": 6},
        {"rung": "convert", "n": 5},
        {"rung": "names", "n": 5},
        {"rung": "round trip", "n": 5},
    ]
    assert found(run, "select name, count(*) n from files where status <> 'passed' group by name") == [{"name": "Ti/16", "n": 1}]
    (one,) = found(run, "select * from files where rung = 'round trip' and index_params > 400000")
    assert one.keys() == COLUMNS.keys()
    assert (one["status"], one["layout"], one["adapt_ds"], one["file_status"]) == ("passed", "augreg", "kitti", "passed")
    assert one["params"] == one["expected_params"] < one["index_params"]
    assert json.loads(one["figures"])["by_way_of"]["timm"] == one["tensors"]


def test_it_is_made_anew_when_rows_are_and_not_before(run):
    before = (run / NAME).stat().st_mtime_ns
    assert segzoo("catalogue", run).exit_code == 0
    assert (run / NAME).stat().st_mtime_ns == before
    row = next((run / "rows").rglob("*.json"))
    row.write_bytes(row.read_bytes())
    assert segzoo("catalogue", run).exit_code == 0
    assert (run / NAME).stat().st_mtime_ns > before


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("select nam from files", "nam"),
        ("drop table files", "expected one SELECT"),
        ("copy files to 'stolen.csv'", "expected one SELECT"),
        ("select * from read_text('/etc/passwd')", "file system operations are disabled"),
        ("select 1; select 2", "2 statements"),
    ],
)
def test_a_query_reads_the_catalogue_and_nothing_else(sql, said, run):
    done = segzoo("catalogue", run, sql)
    assert (done.exit_code, said in done.stderr) == (2, True)
    assert not Path("stolen.csv").exists()


def test_duckdb_opens_it_as_it_is(run):
    assert duckdb.sql(f"select count(distinct key) from '{run / NAME}'").fetchall() == [(6,)]


def test_pandas_opens_it_as_it_is(run):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    assert pandas.read_parquet(run / NAME).groupby("rung").size()["convert"] == 5


def test_polars_opens_it_as_it_is(run):
    polars = pytest.importorskip("polars")
    assert polars.read_parquet(run / NAME)["key"].n_unique() == 6


def test_the_page_names_what_stands_out(run, tmp_path):
    done = segzoo("report", "--catalogue", run, "-o", tmp_path / "page")
    assert (done.exit_code, "Ti/16: 5 of 6 passed" in done.stdout) == (0, True)
    assert "index and tensors disagree about 1 file" in done.stdout
    for page in ("index.html", "report.md"):
        text = (tmp_path / "page" / page).read_text()
        assert "HTTP 410" in text
        assert "500000" in text
    assert "<script" not in (tmp_path / "page" / "index.html").read_text()
    assert {path.name for path in (tmp_path / "page" / "pictures").iterdir()} == {"seconds.svg", "params.svg", "speed.svg"}
    assert segzoo("report", "--catalogue", run, "mini-vit").exit_code == 2
    refused = segzoo("report", "--catalogue", run, "--worst", "3", "--no-images")
    assert (refused.exit_code, "to which --worst and --no-images say nothing" in refused.stderr) == (2, True)
    assert segzoo("report", "--catalogue", MINI).exit_code == 7
