"""The index of the release: read strictly, queried without harm. The sample has real rows, as public sources show them."""

import csv
import json
from pathlib import Path

import duckdb
import pytest
from click.testing import CliRunner
from server import body, serve
from support import GOLDEN

from segzoo.cli import main
from segzoo.errors import IntegrityError, NotFoundError, UsageError
from segzoo.scale.database import as_pattern, database, seal, select
from segzoo.scale.index import COLUMNS, disagreement, open_index
from segzoo.scale.query import Query, query
from segzoo.scale.release import CLASSES, FAMILIES, expected
from segzoo.vocabulary import RELEASED

SAMPLE = GOLDEN / "augreg" / "index_sample.csv"
with SAMPLE.open(newline="") as file:
    ROWS = list(csv.DictReader(file))
with (GOLDEN / "augreg" / "sizes.csv").open(newline="") as file:
    SIZES = list(csv.DictReader(file))


def written(path, rows, columns=COLUMNS):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
    return path


def segzoo(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments], catch_exceptions=False)


# what it says


def test_the_sample_is_an_index_and_each_pretrained_file_is_in_it_once():
    with open_index(SAMPLE) as connection:
        kinds = dict(connection.execute("SELECT kind, count(*) FROM files GROUP BY kind").fetchall())
        known = connection.execute("SELECT final_val FROM files WHERE kind = 'pretrained' AND file LIKE 'B_16%medium2%'").fetchall()
    assert kinds == {"finetuned": len(ROWS), "pretrained": len({row["filename"] for row in ROWS})}
    assert known == [(0.503623,)]


def test_the_file_names_of_all_public_rows_agree_with_their_columns():
    assert [disagreement(row) for row in ROWS] == [None] * len(ROWS)


def test_parquet_is_read_as_csv_is(tmp_path):
    path = tmp_path / "index [1]*.parquet"  # a reader would take the name for a pattern
    duckdb.sql(f"SELECT * FROM read_csv('{SAMPLE}')").write_parquet(str(tmp_path / "index.parquet"))
    (tmp_path / "index.parquet").rename(path)
    (tmp_path / "index [1]x.parquet").write_bytes(b"PAR1")
    asked = Query("name = 'R26+S/32'", kinds=RELEASED, best="adapt_final_val")
    assert query(path, asked).rows == query(SAMPLE, asked).rows
    assert as_pattern(Path("/a[*]?")) == "/a[[][*]][?]"


def test_the_bytes_and_parameters_of_all_kinds_are_those_that_the_formula_of_the_format_gives():
    assert {row["name"] for row in SIZES} == FAMILIES.keys()
    for row in SIZES:
        given = {"name": row["name"], "ds": row["ds"], "adapt_ds": row["ds"], "adapt_resolution": int(row["resolution"])}
        found = expected(given)
        assert (found.size, found.params) == (int(row["bytes"]), int(row["params"])), row
        assert CLASSES[row["ds"]] == int(row["classes"]) == found.geometry["classes"]
    assert expected({"name": "H/14", "ds": "i21k", "adapt_ds": None, "adapt_resolution": None}) is None


def test_the_geometry_of_each_family_is_that_of_its_published_shapes():
    from segzoo.conversion.checkpoint import detected, measured
    from segzoo.formats import Weights
    from segzoo.spec import Spec

    published = json.loads((GOLDEN / "augreg" / "hybrids.json").read_text())["published"]
    for name, file in {"R+Ti/16": "R_Ti_16", "R26+S/32": "R26_S_32", "R50+L/32": "R50_L_32"}.items():
        specs = {key: Spec(tuple(shape), "float32") for key, shape in published[file]["augreg"].items()}
        weights = Weights(Path(file), "npz", specs, lambda key: None)
        found = measured(weights, detected(weights)).geometry
        ours = FAMILIES[name].expected(384, found.classes).geometry
        assert {**ours, "residual": found.residual} == {field: getattr(found, field) for field in ours}


# what is refused


def wrong(change, column=None):
    rows = [dict(row) for row in ROWS]
    rows[3].update(change)
    return rows


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (wrong({"name": "B/32"}), ":5: name is 'B/32', the file name says R26_S_32"),
        (wrong({"adapt_ds": "kitti"}), ":5: adapt_ds is 'kitti', the file name says imagenet2012"),
        (wrong({"adapt_resolution": "384"}), ":5: adapt_resolution is 384, the file name says 224"),
        (wrong({"adapt_steps": "2500"}), ":5: adapt_steps is 2500, the file name says 20 thousand"),
        (wrong({"wd": "0.1"}), ":5: wd is 0.1, the file name says 0.03"),
        (wrong({"epochs": "30"}), ":5: epochs is 30, the file name says 300"),
        (wrong({"filename": ROWS[5]["filename"]}), "is not built as names of the release are"),
        (wrong({"adapt_filename": "../../etc/passwd"}), "is no name of a file of the release"),
        (wrong({"adapt_filename": ""}), ":5: adapt_filename: expected a value, found none"),
        (wrong({"adapt_final_val": "1.2"}), ":5: adapt_final_val: expected a share from 0 to 1, found '1.2'"),
        (wrong({"adapt_final_val": "inf"}), ":5: adapt_final_val: expected a share"),
        (wrong({"params": "many"}), ":5: params: expected a number, found 'many'"),
        (wrong({"adapt_resolution": "224.5"}), ":5: adapt_resolution: expected a whole number"),
        (wrong({"final_val": "0.1"}), "final_val: another value than in other rows of R26_S_32"),
        ([*ROWS, ROWS[0]], f":{len(ROWS) + 2}: adapt_filename: .* is there twice"),
        ([], "an index without rows"),
    ],
)
def test_a_row_that_is_wrong_is_named_by_its_line(rows, said, tmp_path):
    with pytest.raises(IntegrityError, match=said), open_index(written(tmp_path / "index.csv", rows)):
        pass


def test_an_index_of_another_shape_is_refused(tmp_path):
    other = written(tmp_path / "a.csv", [{"name": "B/16", "x": "1"}], ("name", "x"))
    with pytest.raises(IntegrityError, match=r"of its 21 columns it lacks ds, .* and adapt_filename and has x beyond them"), open_index(other):
        pass
    (tmp_path / "b.csv").write_bytes(b"\x00\xff" * 99)
    (tmp_path / "c.csv").write_bytes(b"PAR1" + bytes(99))
    for name in ("b.csv", "c.csv"):
        with pytest.raises(IntegrityError, match=f"{name}: not "), open_index(tmp_path / name):
            pass
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(NotFoundError), open_index(path):
            pass


# queries


def test_the_best_one_for_each_value_the_first_few_and_the_size_of_it_all():
    asked = Query("adapt_ds = 'oxford_iiit_pet'", best="adapt_final_val", per="adapt_lr", first=2)
    rows = [row for row in ROWS if row["adapt_ds"] == "oxford_iiit_pet"]
    best = {lr: max(float(row["adapt_final_val"]) for row in rows if float(row["adapt_lr"]) == lr) for lr in (0.001, 0.003, 0.01, 0.03)}
    found = query(SAMPLE, asked)
    assert [(row["adapt_lr"], row["adapt_final_val"]) for row in found.rows] == sorted(best.items(), key=lambda one: -one[1])[:2]
    assert found.bytes == sum(
        int(one["bytes"]) for row in found.rows for one in SIZES if (one["name"], one["ds"], one["resolution"]) == tell_apart(row)
    )
    everything = query(SAMPLE, Query(kinds=RELEASED))
    assert len(everything.rows) == everything.sized == len(ROWS) + len({row["filename"] for row in ROWS})


def tell_apart(row):
    return row["name"], row["adapt_ds"], str(row["adapt_resolution"])


def test_a_file_without_the_figure_is_no_candidate_for_the_best():
    """The index has NaN in two columns of B/8; DuckDB takes NaN for the largest of numbers."""
    assert all(row["adapt_final_val"] is not None for row in query(SAMPLE, Query(best="adapt_final_val")).rows)
    assert "B/8" not in {row["name"] for row in query(SAMPLE, Query(best="params")).rows}


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("nam = 'B/16'", "no column 'nam'; did you mean name"),
        ('name = "B/16"', "no column 'B/16'"),
        ("name = 'B16'", "no file has name = 'B16'; did you mean B/16"),
        ("adapt_ds in ('pets', 'kitti')", "no file has adapt_ds = 'pets'"),
        ("adapt_resolution = 300", "did you mean 224"),
        ("name != 'B 16'", "did you mean B/16"),
        ("do = 0.1", "syntax error"),
        ("lr =", "syntax error"),
        ("sum(lr) > 1", "aggregates"),
        ("true; drop table files", "syntax error"),
        ("true) order by (name", "expected one condition"),
        ("true) union all select * from files where (true", "expected one condition"),
        ("exists(select * from read_csv('/etc/passwd'))", "expected one condition"),
        ("name in (select name from read_text('/etc/passwd'))", "expected one condition"),
        ("name = $1", "parameters"),
    ],
)
def test_a_slip_is_said_and_nothing_but_a_condition_is_taken(expression, said):
    with pytest.raises(UsageError, match=said):
        query(SAMPLE, Query(expression))


def test_a_comment_and_a_quoted_word_of_sql_do_no_harm():
    assert query(SAMPLE, Query("\"do\" = 0.1 and NAME = 'L/16' -- the best one")).rows


@pytest.mark.parametrize("column", ["nam", "name; drop table files", 'name" desc --'])
def test_the_columns_of_options_are_columns(column):
    for asked in (Query(best=column), Query(best="name", per=column)):
        with pytest.raises(UsageError, match="no column"):
            query(SAMPLE, asked)
    with pytest.raises(UsageError, match="the best one for each aug"):
        query(SAMPLE, Query(per="aug"))


@pytest.mark.parametrize(
    "sql",
    [
        "select * from read_csv('{folder}/secret')",
        "select * from read_text('{folder}/secret')",
        "select * from read_blob('{folder}/secret')",
        "select * from glob('{folder}/*')",
        "select * from '{folder}/secret'",
        "select * from variable",
        "copy (select 1) to '{folder}/written'",
        "attach '{folder}/written'",
        "install httpfs",
        "load httpfs",
        "set enable_external_access = true",
        "set lock_configuration = false",
        "pragma enable_external_access",
        "create table t as select 1",
        "export database '{folder}/written'",
        "select 1; select 2",
        "explain analyze copy (select 1) to '{folder}/written'",
        "select * from read_csv('http://127.0.0.1:1/x')",
    ],
)
def test_a_sealed_database_reads_and_writes_nothing_else(sql, tmp_path):
    (tmp_path / "secret").write_text("secret")
    variable = [("secret",)]
    with database() as connection:
        seal(connection)
        with pytest.raises(UsageError):
            select(connection, sql.format(folder=tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]
    assert variable


def test_a_query_that_takes_too_long_or_too_much_is_ended(monkeypatch):
    monkeypatch.setattr("segzoo.scale.database._LONGEST", 0.3)
    with database() as connection, pytest.raises(UsageError, match="took more than"):
        select(connection, "select count(*) from range(100000000) a, range(100000000) b where a.range * b.range % 7 = 3")


# the command


def test_the_command_says_how_much_it_is_before_it_lists():
    done = segzoo("augreg", "query", "name = 'B/16'", "--index", SAMPLE, "--best", "adapt_final_val", "--per", "aug")
    assert (done.exit_code, done.stdout.splitlines()[0]) == (0, "1 file, 346.3 MB, about 0.0043 core-hours, 1 kind")
    assert done.stdout.splitlines()[1].startswith("aug medium2  adapt_final_val 0.882454  B_16-i21k-300ep")
    done = segzoo("augreg", "query", "name = 'B16'", "--index", SAMPLE)
    assert (done.exit_code, "did you mean B/16?" in done.stderr) == (2, True)
    done = segzoo("--zoo", "mini", "augreg", "query")
    assert (done.exit_code, "no release 'augreg' in this zoo" in done.stderr) == (7, True)


def test_the_index_is_fetched_and_pinned_like_any_file(tmp_path):
    with serve({"/index.csv": body(SAMPLE.read_bytes())}) as server:
        (tmp_path / "zoo.yaml").write_text(
            f"version: 1\nreleases:\n  augreg: {{title: AugReg, index: {{name: index.csv, urls: ['{server.base}/index.csv']}}, files: files/}}\n"
        )
        for _ in range(2):
            assert "18.4 GB" in segzoo("--zoo", tmp_path / "zoo.yaml", "augreg", "query", "--kind", "all").stdout
        assert server.seen == ["/index.csv"]
    assert "index.csv" in json.loads((tmp_path / "segzoo.lock").read_text())["pins"]
