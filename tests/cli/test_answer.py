"""What commands print with --json: one published shape, on failure too."""

import json
import os
from pathlib import Path

import click
import jsonschema
import numpy as np
import pytest
import referencing
from click.testing import CliRunner
from PIL import Image
from support import GOLDEN, MINI, TAME

from segzoo.cli import main
from segzoo.manifest.document import packaged

SCHEMA = json.loads(packaged("output.schema.json").read_text())
RECEIPT = referencing.Resource.from_contents(json.loads(packaged("receipt.schema.json").read_text()))
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA, registry=referencing.Registry().with_resource("receipt.schema.json", RECEIPT))
IMAGE = MINI / "ade_mini" / "images" / "validation" / "ADE_val_00000001.jpg"


def segzoo(*arguments):
    done = CliRunner().invoke(main, list(map(str, arguments)))
    answer = json.loads(done.stdout)
    VALIDATOR.validate(answer)
    assert answer["exit_code"] == done.exit_code
    return answer


def with_json(command, words=()):
    """The words of every command that has --json."""
    if isinstance(command, click.Group):
        for name, one in command.commands.items():
            yield from with_json(one, (*words, name))
    elif any("--json" in parameter.opts for parameter in command.params):
        yield " ".join(words)


WORKING = {
    "fetch": [("mini-vit",), ("mini-vit", "--dry-run"), ("mini-vit", "-o", "copies")],
    "convert": [("mini-vit", "vit.pth"), ("mini-vit", "vit.safetensors", "--to", "timm", "--dtype", "bfloat16", "--drop", "classifier")],
    "export": [("mini-vit", "-o", "vit-hf", "--as", "hf"), ("mini-mask", "-o", "mask", "--as", "safetensors")],
    "verify": [("mini-linear", "mini-vit", "--images", "2", "--device", "cpu")],
    "predict": [("mini-linear", IMAGE, "--device", "cpu"), ("--compare", "mini-linear", "mini-mask", IMAGE, "--device", "cpu")],
    "score": [("predictions", "--data", "ade-mini", "--split", "validation")],
    "data check": [("ade-mini",), (MINI / "ade_mini", "--pictures", "seen")],
    "augreg query": [("name = 'B/16'", "--index", GOLDEN / "augreg" / "index_sample.csv", "--kind", "all")],
    "augreg plan": [("true", "--index", GOLDEN / "augreg" / "index_sample.csv", "-o", "PLAN", "--to", "timm")],
    "batch plan": [("mini-vit", "-o", "RUN", "--to", "timm", "--numbers", "none", "--sizes")],
    "batch run": [("RUN", "--on", "local:1")],
    "batch status": [("RUN",)],
    "augreg run": [("RUN",)],
    "augreg status": [("RUN",)],
    "catalogue": [("RUN",), ("RUN", "select rung, count(*) from files group by rung")],
    "list": [()],
    "info": [("mini-vit",), ("mini-mask",), ("ade-mini",)],
    "inspect": [(TAME,), (TAME, "--keys")],
    "diff": [(TAME, TAME)],
    "store ls": [()],
    "store verify": [()],
    "store prune": [()],
    "store rm": [("mini-vit",)],
    "store add": [(TAME,)],
    "store bundle": [("zoo.tar", "mini-vit")],
    "store load": [("zoo.tar",)],
    "manifest check": [()],
    "manifest lock": [()],
    "manifest add": [(TAME,), (TAME, MINI / "segmenter_mini_mask-6a6bc5f4.pth", "--to", "zoo.yaml")],
    "receipt check": [()],
    "report": [("--no-images", "-o", "page"), ("--device", "cpu", "-o", "page"), ("--catalogue", "RUN", "-o", "many")],
    "doctor": [("--offline",)],
    "explain": [(), ("4",)],
    "store dir": [()],
    "completion": [("bash",)],
    "manifest init": [("begun.yaml",)],
    "receipt show": [("mini-vit",), ("mini-vit", "--in-toto")],
}


def leaves(command, words=()):
    """The words of every command."""
    if isinstance(command, click.Group):
        for name, one in command.commands.items():
            yield from leaves(one, (*words, name))
    else:
        yield " ".join(words)


def test_every_command_has_json_and_is_tried_and_published():
    published = {one["properties"]["command"]["const"] for one in SCHEMA["then"]["oneOf"]}
    assert set(leaves(main)) == set(with_json(main)) == {*WORKING, "view"} == published  # which does not end; test_view tries it


def test_what_commands_print_is_what_the_schema_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "zoo.yaml").write_text("version: 1\n")
    (tmp_path / "predictions").mkdir()
    for label in (MINI / "ade_mini" / "annotations" / "validation").glob("*.png"):
        with Image.open(label) as raw:
            Image.fromarray(np.array(raw).clip(1) - 1).save(tmp_path / "predictions" / label.name)
    order = ["fetch", *(command for command in WORKING if command not in ("fetch", "store rm")), "store rm"]
    for command in order:
        for arguments in WORKING[command]:
            answer = segzoo("--zoo", "mini", *command.split(), *arguments, "--json")
            assert (answer["command"], answer["error"], answer["exit_code"]) == (command, None, 0)
            assert answer["result"] is not None


@pytest.mark.parametrize(
    ("arguments", "command", "code", "said"),
    [
        (("fetch", "mini-vitt"), "fetch", 7, "did you mean mini-vit?"),
        (("store", "rm", "00000000"), "store rm", 7, "nothing in the store"),
        (("info",), "info", 2, "Missing argument 'NAME'."),
        (("verify", "--images", "none"), "verify", 2, "neither a positive number nor 'all'"),
        (("inspect", MINI / "zoo.yaml"), "inspect", 4, "zoo.yaml"),
        (("inspect", "x" * 300), "inspect", 8, "File name too long"),
        (("list", "--frob"), "list", 2, "No such option '--frob'."),
        (("list", "--zoo", "none.yaml"), "list", 7, "none.yaml: no such manifest"),
        (("cache", "frob"), "store", 2, "No such command 'frob'."),
        (("frob",), "", 2, "No such command 'frob'."),
        (("--frob", "store", "ls"), "store ls", 2, "No such option '--frob'."),
        (("--offline", "fetch", "mini-vit"), "fetch", 2, "No such option '--offline'."),
        (("explain", "99"), "explain", 7, "never exits with 99"),
    ],
)
def test_a_failure_is_of_the_same_shape(arguments, command, code, said):
    answer = segzoo("--zoo", "mini", *arguments, "--json")
    assert (answer["command"], answer["exit_code"], answer["error"]["code"], answer["result"]) == (command, code, code, None)
    assert said in answer["error"]["message"]


def test_what_was_found_wrong_is_the_error_and_the_result_says_all_of_it(tmp_path, monkeypatch):
    """Of commands that end as they should, with an exit code that says what they found."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wrong.yaml").write_text("version: 1\nmodel: {}\n")
    answer = segzoo("manifest", "check", "wrong.yaml", "--json")
    assert answer["result"]["errors"][0]["message"] in answer["error"]["message"]
    assert answer["exit_code"] == 2
    segzoo("convert", TAME, "rounded.safetensors", "--to", "timm", "--dtype", "bfloat16", "--json")
    answer = segzoo("diff", TAME, "rounded.safetensors", "--json")
    assert answer["error"]["message"].startswith("different weights: ")
    assert (answer["exit_code"], answer["result"]["same"]) == (5, False)
    segzoo("--zoo", "mini", "fetch", "mini-vit", "--json")
    (blob,) = (Path(os.environ["SEGZOO_HOME"]) / "blobs").iterdir()
    blob.chmod(0o644)
    blob.write_bytes(b"changed")
    answer = segzoo("--zoo", "mini", "store", "verify", "--json")
    assert (answer["error"]["message"], answer["result"][0]["right"]) == ("1 file of 1 changed on disk", False)
    monkeypatch.setenv("SSL_CERT_FILE", "none.pem")
    answer = segzoo("--zoo", "mini", "doctor", "--offline", "--json")
    assert answer["error"]["message"].endswith(": no such file")
    answer = segzoo("--zoo", "mini", "verify", "mini-linear", "--smoke", "1", "--json")
    assert "no receipt has the counts of each image" in answer["error"]["message"]
    assert answer["result"][0]["passed"] is False
    answer = segzoo("--zoo", "mini", "verify", "mini-linear", "--data", tmp_path, "--json", "--images", "1")
    assert answer["error"]["code"] == answer["exit_code"] == 8


def test_a_failure_among_several_keeps_the_others(tmp_path):
    (tmp_path / "broken.npz").write_bytes(b"PK\3\4")
    answer = segzoo("--zoo", "mini", "convert", TAME, tmp_path / "broken.npz", tmp_path / "made/", "--json")
    fine, broken = answer["result"]
    assert answer["exit_code"] == broken["error"]["code"] == 4
    assert Path(fine["target"]).exists()
    answer = segzoo("--zoo", "mini", "store", "add", TAME, tmp_path / "broken.npz", "--json")
    assert [("error" in one) for one in answer["result"]] == [False, True]
    (tmp_path / "broken.jpg").write_bytes(IMAGE.read_bytes()[:300])
    answer = segzoo("--zoo", "mini", "predict", "mini-linear", tmp_path / "broken.jpg", IMAGE, "--device", "cpu", "-o", tmp_path / "out", "--json")
    assert answer["exit_code"] == answer["result"][0]["error"]["code"] == 8
    assert [(one["image"], "error" in one) for one in answer["result"]] == [(str(tmp_path / "broken.jpg"), True), (str(IMAGE), False)]


def test_a_bug_is_said_and_raised(monkeypatch):
    monkeypatch.setattr("segzoo.store.store.Store.expectations", lambda *arguments: 1 / 0)
    done = CliRunner().invoke(main, ["--zoo", "mini", "list", "--json"])
    assert isinstance(done.exception, ZeroDivisionError)
    assert json.loads(done.stdout)["error"]["message"].startswith("a bug in segzoo: ZeroDivisionError")


def test_what_the_system_says_of_no_file_is_an_error_too(monkeypatch):
    def short(*arguments):
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr("segzoo.store.store.Store.expectations", short)
    done = CliRunner().invoke(main, ["--zoo", "mini", "list", "--json"])
    assert isinstance(done.exception, OSError)
    assert "Cannot allocate memory" in json.loads(done.stdout)["error"]["message"]


def test_an_interruption_is_of_the_same_shape(monkeypatch):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("segzoo.store.store.Store.expectations", interrupted)
    answer = segzoo("--zoo", "mini", "store", "ls", "--json")
    assert (answer["exit_code"], answer["command"]) == (130, "store ls")


def test_names_that_could_drive_a_terminal_or_fit_no_encoding_are_escaped(tmp_path):
    (tmp_path / "b\u0442\x1b[31m.npz").write_bytes(TAME.read_bytes())
    done = CliRunner().invoke(main, ["inspect", str(tmp_path / "b\u0442\x1b[31m.npz"), "--json"])
    assert done.stdout.isascii()
    assert json.loads(done.stdout)["result"]["path"].endswith("b\u0442\x1b[31m.npz")
