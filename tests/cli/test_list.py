"""`segzoo list`: lines of 80 columns, filters and orders; the oracle is the manifest itself, read as plain YAML."""

import gzip
import json

import pytest
import yaml
from click.testing import CliRunner
from support import GOLDEN

from segzoo.cli import main
from segzoo.manifest.document import packaged

SHIPPED = yaml.safe_load(packaged("zoo.yaml").read_text())
MODELS = SHIPPED["models"]
FACTS = json.loads(gzip.decompress((GOLDEN / "transformers" / "facts.json.gz").read_bytes()))


def listed(*arguments):
    done = CliRunner().invoke(main, ["list", *arguments, "--json"])
    return [row["name"] for row in json.loads(done.stdout)["result"]]


def test_every_entry_of_the_shipped_zoo_has_one_line_of_80_columns():
    lines = CliRunner().invoke(main, ["list"]).stdout.splitlines()
    assert {line.split()[0] for line in lines} == {"models", "backbones", "data", *MODELS, *SHIPPED["backbones"], *SHIPPED["datasets"]}
    assert len(lines) == 3 + len(MODELS) + len(SHIPPED["backbones"]) + len(SHIPPED["datasets"])
    assert max(map(len, lines)) <= 80
    assert lines[0].split() == ["models", "data", "mIoU", "ms+flip", "size", "here"]


def test_a_narrow_terminal_wraps_no_line(monkeypatch):
    monkeypatch.setattr("segzoo.cli.terminal.show.columns", lambda most: 60)
    lines = CliRunner().invoke(main, ["list", "upernet", "swin"]).stdout.splitlines()
    assert max(map(len, lines)) <= 60
    assert lines[0].split()[-1] == "here"


def test_wide_adds_kind_title_and_licence():
    lines = CliRunner().invoke(main, ["list", "--wide"]).stdout.splitlines()
    title = MODELS["swin-b-upernet-384-22k"]["title"]
    (line,) = [line for line in lines if line.startswith("swin-b-upernet-384-22k ")]
    assert line.endswith("not known")
    assert f"  model     {title}  " in line


def test_words_and_data_filter():
    assert set(listed("setr", "--data", "cityscapes")) == {
        name for name, model in MODELS.items() if name.startswith("setr") and model["protocol"]["dataset"] == "cityscapes"
    }
    assert set(listed("SWIN", "uper")) == {
        name for name, model in MODELS.items() if model["backbone"].get("family") == "swin" and model["head"]["kind"] == "uper"
    }
    done = CliRunner().invoke(main, ["list", "--data", "cityscape"])
    assert (done.exit_code, "did you mean cityscapes?" in done.stderr) == (7, True)


def test_a_size_is_a_bound_and_an_unknown_size_is_said():
    sizes = {name: one["source"]["size"] for name, one in SHIPPED["backbones"].items()}
    assert listed("--max-size", "347.6MB", "backbone") == [name for name, size in sizes.items() if size <= 347_600_000]
    assert listed("--max-size", str(sizes["vit-s"]), "backbone") == ["vit-t", "vit-s"]
    done = CliRunner().invoke(main, ["list", "--max-size", "200MB"])
    assert f"{sum('archive' not in one for one in SHIPPED['datasets'].values())} entries of unknown size left out" in done.stderr


def test_a_size_that_nobody_has_said_is_that_of_the_tensors():
    """Against the bytes of MMSegmentation's own classes; auxiliary heads make up to 3 % of a file."""
    facts = {row["checkpoint"]["name"]: row["checkpoint"]["tensor_bytes"] for row in FACTS}
    rows = json.loads(CliRunner().invoke(main, ["list", "--json"]).stdout)["result"]
    known = {row["name"]: (row["estimated_size"], facts[row["file"]]) for row in rows if row["file"] in facts}
    assert len(known) == len(facts) == 86
    assert all(0.97 * size < estimate <= size for estimate, size in known.values())
    assert all(row["size"] is None for row in rows if row["estimated_size"] is not None)
    assert listed("--max-size", "60MB", "segformer", "--data", "ade20k") == [
        name for name, (_, size) in known.items() if name.startswith("segformer") and "cityscapes" not in name and size <= 60_000_000
    ] + ["segformer-b0-nvlabs", "segformer-b1-nvlabs"]
    sizes = [
        row["size"] or row["estimated_size"] for row in json.loads(CliRunner().invoke(main, ["list", "--sort", "size", "--json"]).stdout)["result"]
    ]
    assert sorted(filter(None, sizes)) == [size for size in sizes if size]
    lines = CliRunner().invoke(main, ["list", "swin-t-upernet"]).stdout.splitlines()
    assert lines[1].split() == ["swin-t-upernet", "ade20k", "44.41", "45.79", "~236.4", "MB"]
    assert "size  " in (said := CliRunner().invoke(main, ["info", "swin-t-upernet"]).stdout)
    assert "about 236.4 MB: its tensors, by the sizes above" in said
    facts_of_one = json.loads(CliRunner().invoke(main, ["info", "swin-t-upernet", "--json"]).stdout)["result"]
    assert facts_of_one["estimated_size"] == known["swin-t-upernet"][0]


def test_the_names_of_data_sets_are_whole():
    lines = CliRunner().invoke(main, ["list"]).stdout.splitlines()
    assert {line.split()[1] for line in lines if line.split()[0] in MODELS} == {model["protocol"]["dataset"] for model in MODELS.values()}


@pytest.mark.parametrize("size", ["200", "1.5MB", "20 kB"])
def test_nothing_that_fits_is_an_error_and_its_hint_works(size):
    done = CliRunner().invoke(main, ["list", "deit", "--max-size", size])
    assert (done.exit_code, done.stderr.splitlines()[-1]) == (7, "hint: segzoo list shows all that there is")
    assert CliRunner().invoke(main, ["list"]).exit_code == 0


@pytest.mark.parametrize("size", ["big", "-1MB", "1TB", "1e3MB", ""])
def test_a_size_that_is_none_is_refused(size):
    done = CliRunner().invoke(main, ["list", "--max-size", size])
    assert (done.exit_code, "is no size, such as 200MB" in done.stderr) == (2, True)


def test_orders():
    reported = {name: model["reported"]["miou"] for name, model in MODELS.items() if "reported" in model}
    names = listed("--sort", "miou")
    assert [reported[name] for name in names[: len(reported)]] == sorted(reported.values(), reverse=True)
    assert set(names[len(reported) :]).isdisjoint(reported)
    assert listed("--sort", "name") == sorted([*MODELS, *SHIPPED["backbones"], *SHIPPED["datasets"]])
    assert listed("--sort", "size", "vit-", "backbone") == ["vit-t", "vit-s", "vit-b", "vit-l"]


def test_the_size_of_a_pinned_file_is_known(tmp_path):
    (tmp_path / "zoo.yaml").write_text(
        "version: 1\nbackbones:\n  mine:\n    title: Mine\n    file: a.pth\n    source: {name: a.npz, urls: [a.npz]}\n"
        "    geometry: {width: 64, depth: 3, heads: 4, mlp: 256, patch: 16, grid: 4, classes: 11}\n"
    )
    (tmp_path / "a.npz").write_bytes(packaged("mini/mini.tame.npz").read_bytes())
    zoo = ["--zoo", str(tmp_path / "zoo.yaml")]
    sizes = []
    for command in (["list", "--json"], ["fetch", "mine", "--json"], ["list", "--json"]):
        done = json.loads(CliRunner().invoke(main, [*zoo, *command]).stdout)
        sizes.append(done["result"][0].get("size"))
    assert sizes == [None, 823_502, 823_502]
