"""bench/record.py and the page that is made of what it keeps."""

import argparse
import importlib.util
import json
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
KEPT = json.loads((ROOT / "bench" / "measured.json").read_text())
MEASURES_NOTHING = {"binary_head", "mmcv_stand_in", "prove_zoo", "record", "true_size"}  # prove_zoo has a file of its own


def module(path: str):
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


@pytest.fixture
def record(tmp_path, monkeypatch):
    made = module("bench/record.py")
    monkeypatch.setattr(made, "FILE", tmp_path / "measured.json")
    made.FILE.write_text("[]")
    return made


def test_the_page_is_what_the_benches_have_kept():
    """If not: python docs/measured.py"""
    measured = module("docs/measured.py")
    assert measured.PAGE.read_text() == measured.page(measured.PAGE.read_text(), benches=measured.benches(KEPT))
    assert all((ROOT / one["command"].split()[1]).exists() for one in KEPT)


def test_a_record_takes_the_place_of_the_earlier_one_of_its_command(record, monkeypatch):
    for words, ratio in ((["one.py", "--record"], 1.0), (["two.py", "--record"], 2.0), (["one.py", "--record"], 3.14159)):
        monkeypatch.setattr(sys, "argv", words)
        record.keep("A claim.", {"case": {"ratio": ratio, "said": "2 of 3"}}, {"peer": "1.2"})
    kept = json.loads(record.FILE.read_text())
    assert [(one["command"], one["figures"]["case"]) for one in kept] == [
        ("python bench/two.py", {"ratio": 2.0, "said": "2 of 3"}),
        ("python bench/one.py", {"ratio": 3.14, "said": "2 of 3"}),
    ]
    assert kept[0]["machine"]["versions"]["peer"] == "1.2"
    assert kept[0]["machine"]["cores"] > 0


def test_a_command_has_no_path_of_the_machine(record):
    words = ["/a/bench/evaluate.py", "--peer", "/home/me/env/bin/python3", "--zoo", "/home/me/zoo.yaml", "--record", "--modes", "ss"]
    assert record.typed(words) == "python bench/evaluate.py --peer PYTHON --zoo zoo.yaml --modes ss"


def test_versions_are_those_of_the_other_python(record):
    found = record.versions(sys.executable, "pytest", "no-such-thing")
    assert found == {"pytest": pytest.__version__}
    assert record.versions(None, "pytest") == {}


def test_every_bench_that_measures_can_keep_what_it_finds(record):
    parser = argparse.ArgumentParser()
    record.add_option(parser)
    assert parser.parse_args(["--record"]).record
    benches = {path.stem: path.read_text() for path in (ROOT / "bench").glob("*.py") if path.stem not in MEASURES_NOTHING}
    for name, text in benches.items():
        assert re.search(r"record\.add_option\(\w+\)", text), name
        assert re.search(r"record\.keep\(CLAIM, figures, ", text), name
        assert "[--record]" in text.split('"""')[1], name


def test_a_figure_that_a_case_lacks_is_an_empty_cell():
    machine = {"processor": "P_1", "cores": 2, "gpu": None, "load": 0.5, "versions": {"torch": "2.13"}}
    figures = {"a": {"x": 2.0, "y": 0.25}, "b|c": {"y": 5.8e-06, "z": "2 of 3"}}
    made = {"command": "python bench/a.py", "claim": "Words.", "date": "2026-01-02", "machine": machine, "figures": figures}
    section = module("docs/measured.py").benches([made])
    assert section.splitlines() == [
        "### bench/a.py",
        "",
        "Words.",
        "",
        r"`python bench/a.py`: 2026-01-02, P\_1, 2 cores, load 0.5 at the start, torch 2.13.",
        "",
        "| | x | y | z |",
        "|---|---:|---:|---:|",
        "| a | 2 | 0.25 |  |",
        r"| b\|c |  | 5.8e-06 | 2 of 3 |",
    ]
