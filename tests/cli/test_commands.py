"""The commands as a person meets them: what is printed, exit codes, bad input, pipes, Ctrl-C, a full disk."""

import hashlib
import json
import os
import pickle
import pty
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from click.testing import CliRunner
from support import GOLDEN, MINI, TAME, same, slow_after

from segzoo.cli import main
from segzoo.cli.terminal.interrupt import said
from segzoo.formats import open_weights
from segzoo.manifest.document import load_manifest

COMMANDS = sorted(main.commands)


def segzoo(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments], catch_exceptions=False)


def process(*arguments, **options):
    return subprocess.Popen(
        [sys.executable, "-m", "segzoo", *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


# what works


def test_convert_says_what_was_read_written_and_dropped(tmp_path):
    target = tmp_path / "pretrain" / "vit.pth"
    done = segzoo("convert", TAME, target)
    assert done.exit_code == 0
    assert "augreg, 56 tensors, 823.5 kB" in done.stdout
    assert "width 64, depth 3, heads 4, mlp 256, patch 16, grid 4, 11 classes" in done.stdout
    assert "dropped  classifier: 2 tensors, " in done.stdout
    assert "mmseg, 42 tensors" in done.stdout
    assert re.search(r"read back and compared, \d+\.\d\d s in all", done.stdout)
    assert len(torch.load(target, weights_only=True)) == 42


def test_convert_takes_a_name_of_the_zoo(tmp_path):
    assert segzoo("--zoo", "mini", "convert", "mini-vit", tmp_path / "a.safetensors", "--to", "timm").exit_code == 0
    assert segzoo("--zoo", "mini", "convert", "mini-mask", tmp_path / "b.npz", "--to", "augreg").exit_code == 0
    assert open_weights(tmp_path / "b.npz").specs["Transformer/encoderblock_0/MultiHeadDotProductAttention_1/query/kernel"].shape == (128, 2, 64)
    (report,) = json.loads(segzoo("convert", tmp_path / "a.safetensors", tmp_path / "c.npz", "--to", "augreg", "--json").stdout)["result"]
    assert (report["from"], report["to"], len(report["digests"]), report["dropped"]) == ("timm", "augreg", 56, [])


def test_convert_many_into_a_folder(tmp_path):
    shutil.copy(TAME, tmp_path / "one.npz")
    (tmp_path / "bad.npz").write_bytes(b"<html>")
    done = segzoo("--zoo", "mini", "convert", tmp_path / "one.npz", tmp_path / "bad.npz", "mini-vit", tmp_path / "out", "--to", "timm")
    assert done.exit_code == 4
    assert "found an HTML page" in done.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["mini_vit_p16_64.safetensors", "one.safetensors"]
    told = segzoo("--zoo", "mini", "convert", tmp_path / "one.npz", tmp_path / "bad.npz", f"{tmp_path}/new/", "--json")
    assert [sorted(result) == ["error", "source"] for result in json.loads(told.stdout)["result"]] == [False, True]
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["one.pth"]
    again = segzoo("convert", tmp_path / "one.npz", tmp_path / "new")
    assert (again.exit_code, f"there    {tmp_path / 'new' / 'one.pth'} is there already, with the same 42 tensors" in again.stdout) == (0, True)
    (tmp_path / "new" / "one.pth").write_bytes(b"another")
    again = segzoo("convert", tmp_path / "one.npz", tmp_path / "new")
    assert (again.exit_code, "one.pth: exists already" in again.stderr) == (2, True)


def test_convert_all_backbones(tmp_path):
    assert segzoo("--zoo", "mini", "convert", "--all", tmp_path / "pretrain").exit_code == 0
    assert [path.name for path in (tmp_path / "pretrain").iterdir()] == ["mini_vit_p16_64.pth"]
    assert [path.name for path in (tmp_path / "pretrain").iterdir()] == [load_manifest(MINI / "zoo.yaml").backbones["mini-vit"].file]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--all",), "with --all name one folder"),
        (("--all", "a", "b"), "with --all name one folder"),
        ((TAME,), "name what to convert and where to write it"),
        ((TAME, TAME, "out.pth"), "a folder is needed to write in, not a file"),
    ],
)
def test_convert_without_a_place_to_write(arguments, said):
    one_error(segzoo("--zoo", "mini", "convert", *arguments), 2, said)


def test_a_file_that_is_called_as_a_model_of_the_zoo_is_no_model_of_the_zoo(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mini-vit").mkdir()  # a folder is no file
    assert segzoo("--zoo", "mini", "convert", "mini-vit", "a.pth").exit_code == 0
    (tmp_path / "mini-vit").rmdir()
    (tmp_path / "mini-vit").write_text("not weights")
    assert segzoo("--zoo", "mini", "convert", "mini-vit", "b.pth").exit_code == 4  # named, it is the file
    assert segzoo("--zoo", "mini", "convert", "--all", "out").exit_code == 0  # all are the zoo's
    one_error(segzoo("--zoo", "mini", "convert", "--all", "a.pth"), 2, "a folder is needed")
    shutil.copy(TAME, "mini_vit_p16_64.npz")
    (tmp_path / "mini-vit").unlink()
    done = segzoo("--zoo", "mini", "convert", "mini-vit", "mini_vit_p16_64.npz", "both/", "--force")
    assert (done.exit_code, "was just made of mini-vit" in done.stderr) == (2, True)


WRITERS = [("fetch", "mini-vit"), ("export", "mini-vit", "--as", "hf"), ("report",), ("predict", "mini-mask", "none.jpg")]
OUTPUTS = {"file": "file is a file", "file/below": "file is a file", "my.pth": "'my.pth' is called as a file is", "a" * 300: "File name too long"}


@pytest.mark.parametrize(("output", "said"), OUTPUTS.items())
@pytest.mark.parametrize(
    "arguments", [("fetch", "mini-vit"), ("export", "mini-vit", "--as", "hf"), ("report",), ("predict", "mini-mask", "none.jpg")]
)
def test_what_cannot_be_a_folder_to_write_in_is_refused_at_once(arguments, output, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    done = segzoo("--zoo", "mini", *arguments, "-o", output)
    assert (done.exit_code, said in done.stderr) == (2, True)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("arguments", [("inspect", "a" * 300), ("convert", "a" * 300 + ".npz", "b.pth"), ("convert", TAME, "b" * 300 + ".pth")])
def test_a_name_that_is_too_long_is_no_bug(arguments):
    one_error(segzoo(*arguments), 8, "File name too long")


def test_a_converted_model_is_not_called_by_the_hash_of_the_published_one(tmp_path):
    assert segzoo("--zoo", "mini", "convert", "mini-mask", f"{tmp_path}/", "--to", "segmenter").exit_code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["segmenter_mini_mask.pth"]


def test_an_empty_name(tmp_path):
    one_error(segzoo("convert", TAME, ""), 2, "one of the names is empty")


def test_what_the_command_knows_without_numpy_is_what_there_is():
    from segzoo.conversion.positions import METHODS
    from segzoo.formats import FORMATS
    from segzoo.vocabulary import RESAMPLINGS, WEIGHTS

    suffixes = tuple(suffix for known in FORMATS for suffix in known.suffixes)
    assert (suffixes, tuple(METHODS)) == (WEIGHTS, RESAMPLINGS)


def test_two_sources_of_one_name_do_not_overwrite_each_other(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        shutil.copy(TAME, tmp_path / folder / "same.npz")
    one_error(segzoo("convert", tmp_path / "a" / "same.npz", tmp_path / "b" / "same.npz", tmp_path / "out", "--force"), 2, "both would be written to")
    assert not (tmp_path / "out").exists()


def test_convert_options(tmp_path):
    done = segzoo("convert", TAME, tmp_path / "a.npz", "--from", "augreg", "--to", "timm", "--drop", "classifier")
    assert "dropped  classifier: 2 tensors, as asked\nwrote" in done.stdout
    assert (
        "as asked\n         head/kernel\n         head/bias\n"
        in segzoo("-v", "convert", TAME, tmp_path / "loud.npz", "--to", "augreg", "--drop", "classifier").stdout
    )
    assert segzoo("convert", TAME, tmp_path / "b.npz", "--prefix", "backbone.").exit_code == 0
    assert "backbone.layers.0.ln1.weight" in open_weights(tmp_path / "b.npz")
    assert segzoo("convert", TAME, tmp_path / "c.npz", "--from", "timm").exit_code == 5


def test_verify_prints_figures_and_writes_receipts(monkeypatch):
    done = segzoo("--zoo", "mini", "verify", "--all")
    assert done.exit_code == 0
    for figure in ("85.64 measured, 85.64 reported: confirmed", "86.71 measured, 86.71 reported: confirmed", "14 passed, 1 n/a"):
        assert figure in done.stdout
    assert "to fetch: 4 files, 7.1 MB" in done.stderr
    receipts = Path(os.environ["SEGZOO_HOME"]) / "receipts" / "mini"
    assert sorted(path.name for path in receipts.iterdir()) == ["mini-linear.json", "mini-mask.json", "mini-vit.json"]
    printed = json.loads(segzoo("--zoo", "mini", "verify", "mini-linear", "--json").stdout)["result"]
    kept = json.loads((receipts / "mini-linear.json").read_text())
    assert printed == [kept]
    assert kept["passed"] is True
    assert [check["rung"] for check in kept["checks"]] == ["bytes", "names", "round trip", "numbers", "mIoU"]


def test_verify_can_require_a_rung(tmp_path):
    folder = shutil.copytree(MINI, tmp_path / "lab")
    plain = yaml.safe_load((folder / "zoo.yaml").read_text())
    del plain["datasets"]["ade-mini"]["path"]
    (folder / "zoo.yaml").write_text(yaml.safe_dump(plain))
    arguments = ("--zoo", folder / "zoo.yaml", "verify", "mini-linear")
    assert segzoo(*arguments).exit_code == 0
    assert segzoo(*arguments, "--require", "mIoU").exit_code == 8
    assert segzoo(*arguments, "--require", "numbers").exit_code == 0


def test_list_and_info():
    assert re.search(r"^mini-mask +ade-mini +85\.64 +90\.10 +3\.5 MB$", segzoo("--zoo", "mini", "list").stdout, re.MULTILINE)
    rows = {row["name"]: row for row in json.loads(segzoo("--zoo", "mini", "list", "--json").stdout)["result"]}
    assert (rows["mini-vit"]["kind"], rows["mini-vit"]["size"], rows["mini-vit"]["in_store"]) == ("backbone", 823502, False)
    assert "checkpoint.sha256" in segzoo("--zoo", "mini", "info", "mini-mask").stdout
    facts = json.loads(segzoo("--zoo", "mini", "info", "mini-mask", "--json").stdout)["result"]
    assert (facts["head"]["kind"], facts["protocol"]["crop"], facts["reported"]["miou"]) == ("mask", 64, 85.64)


def test_info_says_the_licence_or_that_none_is_known(tmp_path):
    plain = yaml.safe_load((MINI / "zoo.yaml").read_text())
    plain["backbones"]["mini-vit"]["licence"] = "CC0-1.0"
    path = tmp_path / "zoo.yaml"
    path.write_text(yaml.safe_dump(plain))
    for name, licence in {"mini-vit": "CC0-1.0", "mini-mask": "not known", "ade-mini": "Apache-2.0"}.items():
        assert re.findall("^licence +(.+)$", segzoo("--zoo", path, "info", name).stdout, re.MULTILINE) == [licence]
    assert json.loads(segzoo("--zoo", path, "info", "mini-vit", "--json").stdout)["result"]["licence"] == "CC0-1.0"


@pytest.mark.parametrize(
    ("zoo", "name", "dtypes"), [("shipped", "ade20k", []), ("mini", "mini-mask", ["checkpoint"]), ("mini", "mini-vit", ["source"])]
)
def test_info_gives_a_dtype_to_files_of_weights_only(zoo, name, dtypes):
    assert re.findall(r"^(\S+)\.dtype ", segzoo("--zoo", zoo, "info", name).stdout, re.MULTILINE) == dtypes


def test_info_lists_equivalents_where_there_are_any():
    assert "equivalents.0.name " in segzoo("info", "swin-t-upernet").stdout
    assert "equivalents.0.url " in segzoo("info", "swin-t-upernet").stdout
    assert "equivalents" not in segzoo("info", "vit-t-mask").stdout


def test_the_working_folders_manifest_is_not_used_by_accident(tmp_path, monkeypatch):
    shutil.copy(MINI / "zoo.yaml", tmp_path / "zoo.yaml")
    monkeypatch.chdir(tmp_path)
    assert "vit-b-mask" in segzoo("list").stdout
    assert "mini-mask" not in segzoo("list").stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_that_fits(command):
    text = segzoo(command, "--help").stdout
    assert len(text.splitlines()) > 6
    assert all(len(line) <= 80 for line in text.splitlines())


def test_quiet_leaves_results_and_errors():
    loud, quiet = (segzoo(*more, "--zoo", "mini", "fetch", "--all") for more in ((), ("-q",)))
    assert quiet.stdout != ""
    assert quiet.stderr == ""
    assert loud.exit_code == quiet.exit_code == 0
    done = segzoo("-q", "--zoo", "mini", "verify", "mini-vit")
    assert done.stderr == ""
    assert "1 verified" in done.stdout
    wrong = segzoo("-q", "--zoo", "mini", "info", "mini-vot")
    assert wrong.stderr.startswith("error: no 'mini-vot' in this zoo")


@pytest.mark.parametrize("words", [("list",), ("store", "ls"), ("manifest", "check"), ("info", "mini-vit"), ("store", "dir")])
def test_zoo_stands_in_front_of_the_command_or_behind(words):
    front, behind, between = (
        segzoo(*where) for where in (("--zoo", "mini", *words), (*words, "--zoo", "mini"), (words[0], "--zoo", "mini", *words[1:]))
    )
    assert front.output == behind.output == between.output
    assert front.exit_code == behind.exit_code == between.exit_code == 0


def test_manifests_in_front_come_before_those_behind(monkeypatch):
    monkeypatch.setenv("SEGZOO_ZOO", "none.yaml")  # stands for --zoo only where there is none
    rows = json.loads(segzoo("--zoo", "mini", "list", "--zoo", "shipped", "--json").stdout)["result"]
    assert list(dict.fromkeys(row["manifest"] for row in rows)) == ["mini", "shipped"]
    assert segzoo("list").exit_code == 7


@pytest.mark.parametrize("command", ["list", "store ls", "verify mini-vit", "manifest check", "receipt check", "doctor", "store bundle x.tar"])
@pytest.mark.parametrize("option", ["-q", "--quiet", "-vv", "--verbose", "--zoo=mini"])
def test_every_command_takes_the_programs_options(command, option):
    """Parsed, not run: an option that is not there would be the first fault."""
    assert "No such option '--frob'" in segzoo(*command.split(), option, "--frob").stderr


def test_quiet_and_verbose_behind_a_command_are_those_in_front():
    for option in ("-q", "--quiet"):
        done = segzoo("--zoo", "mini", "verify", "mini-vit", option)
        assert (done.stderr, "1 verified" in done.stdout) == ("", True)
    assert "Traceback" in segzoo("-v", "inspect", "none.npz", "-v").stderr
    assert "Traceback" not in segzoo("inspect", "none.npz", "-v").stderr


# bad input


class RunsCode:
    def __reduce__(self):
        return (Path.touch, (Path(os.environ["SEGZOO_HOME"]) / "it-ran",))


def cut(path):
    path.write_bytes(TAME.read_bytes()[:-1000])


def page(path):
    path.write_text("<html><body>404</body></html>")


def with_change(change):
    def write(path):
        tensors = dict(np.load(TAME))
        change(tensors)
        np.savez(path, **tensors)

    return write


def runs_code(path):
    torch.save({"state_dict": {"cls_token": RunsCode()}}, path)


def is_code(path):
    path.write_bytes(pickle.dumps(RunsCode(), protocol=2))


BAD_FILES = {
    "missing.npz": (lambda path: None, 7, "no such file"),
    "empty.npz": (lambda path: path.touch(), 4, "an empty file"),
    "cut.npz": (cut, 4, "cut short or damaged"),
    "page.npz": (page, 4, "an HTML page"),
    "more.npz": (with_change(lambda t: t.update(extra=t["cls"])), 5, "unexpected 1: extra"),
    "fewer.npz": (with_change(lambda t: t.pop("cls")), 5, "missing 1: cls"),
    "shape.npz": (with_change(lambda t: t.update(cls=t["cls"][..., :9])), 5, "axis 'd' is 9 here, but 64 in"),
    "objects.npz": (with_change(lambda t: t.update(cls=np.array([{}], object))), 4, "object array"),
    "code.pth": (runs_code, 4, "no tensors found"),
    "pickle.pth": (is_code, 4, "a pickle of another kind"),
    "folder.npz": (lambda path: path.mkdir(), 7, "folder.npz' is a folder"),
}


def one_error(done, code, said):
    """One clear message on stderr, no traceback, the documented exit code."""
    assert (done.exit_code, done.stdout) == (code, "")
    assert len(re.findall(r"^error: ", done.stderr, re.MULTILINE)) == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", BAD_FILES)
def test_convert_refuses_a_bad_file(name, tmp_path):
    write, code, said = BAD_FILES[name]
    write(tmp_path / name)
    before = sorted(tmp_path.iterdir())
    one_error(segzoo("convert", tmp_path / name, tmp_path / "out.pth"), code, said)
    assert sorted(tmp_path.iterdir()) == before
    assert not (Path(os.environ["SEGZOO_HOME"]) / "it-ran").exists()


@pytest.mark.parametrize("name", BAD_FILES)
def test_verify_names_the_rung_that_a_bad_file_breaks(name, tmp_path):
    """Registered under its own hash, so that it is more than bytes; a missing file and a folder are no bytes at all."""
    write, code, said = BAD_FILES[name]
    folder = shutil.copytree(MINI, tmp_path / "lab")
    write(folder / name)
    plain = yaml.safe_load((folder / "zoo.yaml").read_text())
    known = {"sha256": hashlib.sha256((folder / name).read_bytes()).hexdigest()} if (folder / name).is_file() else {}
    plain["backbones"]["mini-vit"]["source"] = {"name": name, "layout": "augreg", "urls": [name], **known}
    (folder / "zoo.yaml").write_text(yaml.safe_dump(plain))
    done = segzoo("--zoo", folder / "zoo.yaml", "verify", "mini-vit")
    assert done.exit_code == code
    assert said in done.stdout or name in ("folder.npz",)
    assert "1 failed" in done.stdout
    assert not (Path(os.environ["SEGZOO_HOME"]) / "it-ran").exists()
    assert not list(Path(os.environ["SEGZOO_HOME"]).rglob("*.part"))


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("verify", "mini-msk"), 7, "no 'mini-msk' in this zoo; did you mean mini-mask?"),
        (("fetch", "mini-linaer"), 7, "did you mean mini-linear?"),
        (("info", "ade-mni"), 7, "did you mean ade-mini?"),
        (("convert", "mini-vti", "out.pth"), 7, "did you mean mini-vit?"),
        (("verify", "zzz"), 7, "there are mini-vit, mini-mask, mini-linear"),
        (("verify", "ade-mini"), 7, "'ade-mini' is a data set, not a model"),
        (("fetch", "ade-mini"), 7, "it lies beside the manifest"),
        (("verify", "vit-t"), 7, "segzoo --zoo shipped ..., or zoo='shipped' in Python"),
        (
            ("verify", "https://weights.example/vit.npz"),
            7,
            "in this zoo; it is an address\nhint: segzoo manifest add https://weights.example/vit.npz",
        ),
        (("verify", "mini-vit,mini-mask"), 7, "no 'mini-vit,mini-mask' in this zoo\nhint: names are separated by spaces: mini-vit mini-mask"),
        (("fetch", "mini-vit,", "mini-mask"), 7, "no 'mini-vit,' in this zoo\nhint: names are separated by spaces: mini-vit"),
        (("verify", "mini-vit,mini-tony"), 7, "no 'mini-vit,mini-tony' in this zoo; did you mean mini-vit?"),
        (("verify", "ours.pth"), 7, "error: ours.pth: no such file\n"),
        (("info", "ours/mini-vit"), 7, "error: ours/mini-vit: no such file\nhint: did you mean mini-vit?"),
        (("verify", TAME.name), 7, "mini.tame.npz: no such file\nhint: the zoo's mini-vit has a file of this name: give the name mini-vit instead"),
        (("verify", "."), 7, "error: '.' is a folder\nhint: segzoo list shows the names that there are"),
        (("verify", ""), 7, "no '' in this zoo; there are mini-vit"),
        (("verify",), 2, "nothing named"),
        (("fetch",), 2, "nothing named"),
        (("verify", "mini-vit", "--all"), 2, "not both"),
        (("verify", "mini-mask", "--smoke", "5", "--images", "3"), 2, "--smoke and --images both say how many images"),
        (("convert", TAME, "out.bin"), 2, "unknown suffix '.bin'"),
        (("convert", TAME, TAME), 2, "the same file"),
        (("convert", "no/such/file.npz", "out.pth"), 7, "no such file"),
    ],
)
def test_a_wrong_call(arguments, code, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    one_error(segzoo("--zoo", "mini", *arguments), code, said)
    assert not list(tmp_path.iterdir())


def test_a_tensor_that_no_layout_has_can_be_left_out(tmp_path):
    from segzoo.formats import open_weights

    tensors = dict(np.load(GOLDEN / "augreg" / "mini.hf_state_dict.npz")) | {
        "ema.decay": np.zeros(1, np.float32),
        "ema.step": np.zeros(1, np.float32),
    }
    np.savez(tmp_path / "ours.npz", **tensors)
    refused = segzoo("convert", tmp_path / "ours.npz", tmp_path / "vit.pth")
    one_error(refused, 5, "unexpected 2: ema.decay, ema.step")
    assert "these belong to training, not to the model: convert --drop 'ema.*' leaves them out" in refused.stderr
    one_error(segzoo("convert", tmp_path / "ours.npz", tmp_path / "vit.pth", "--drop", "emma.*"), 5, "'emma.*' cannot be dropped")
    one_error(segzoo("convert", tmp_path / "ours.npz", tmp_path / "vit.pth", "--drop", "ema.decay"), 5, "unexpected 1: ema.step")
    done = segzoo("convert", tmp_path / "ours.npz", tmp_path / "vit.pth", "--drop", "ema.*")
    assert done.exit_code == 0
    assert "dropped  tensors: 2 tensors, " in done.stdout
    plain = segzoo("convert", GOLDEN / "augreg" / "mini.hf_state_dict.npz", tmp_path / "plain.pth")
    assert plain.exit_code == 0
    assert same(dict(open_weights(tmp_path / "vit.pth")), dict(open_weights(tmp_path / "plain.pth")))


@pytest.mark.parametrize(
    "arguments", [("verify", "--images", "0", "mini-vit"), ("verify", "--images", "few", "mini-vit"), ("convert", "a"), ("nope",)]
)
def test_a_wrong_option_is_clicks_to_refuse(arguments):
    assert segzoo(*arguments).exit_code == 2


@pytest.mark.parametrize("command", [("list",), ("info", "x"), ("fetch", "--all"), ("verify", "--all")])
def test_a_bad_manifest(command, tmp_path):
    (tmp_path / "own.yaml").write_text("version: 1\nversion: 1\n")
    one_error(segzoo("--zoo", tmp_path / "own.yaml", *command), 2, "own.yaml:2: version: this key is there twice")
    one_error(segzoo("--zoo", tmp_path / "none.yaml", *command), 7, "no such manifest")


def test_an_existing_target_needs_force(tmp_path):
    target = tmp_path / "out.pth"
    target.write_bytes(b"mine")
    one_error(segzoo("convert", TAME, target), 2, "exists already")
    assert target.read_bytes() == b"mine"
    assert segzoo("convert", TAME, target, "--force").exit_code == 0


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    one_error(segzoo("convert", TAME, tmp_path / "file" / "out.pth"), 8, f"cannot write here: {tmp_path / 'file'} is a file")


def process_with_small_files_only(*arguments):
    """A limit on file size stands for a full disk: writes fail half way, with an error from the system."""
    command = [sys.executable, "-m", "segzoo", *map(str, arguments)]
    limited = ["sh", "-c", 'trap "" XFSZ; ulimit -f 200; exec "$@"', "sh", *command]
    return subprocess.run(limited, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("suffix", [".pth", ".npz", ".safetensors"])
def test_a_full_disk(suffix, tmp_path):
    done = process_with_small_files_only("convert", TAME, tmp_path / f"out{suffix}")
    assert (done.returncode, done.stdout) == (8, "")
    assert "not written: File too large" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_full_store():
    done = process_with_small_files_only("--zoo", "mini", "verify", "mini-vit")
    assert done.returncode == 8
    assert "File too large" in done.stdout
    assert not list(Path(os.environ["SEGZOO_HOME"]).rglob("*.part"))


def test_ctrl_c_leaves_nothing_half_written():
    running = process("--zoo", "mini", "verify", "--all", start_new_session=True)
    assert "to fetch" in running.stderr.readline()
    time.sleep(1)
    running.send_signal(signal.SIGINT)
    _, stderr = running.communicate(timeout=30)
    assert running.returncode == 130, stderr
    assert "interrupted" in stderr
    assert "Traceback" not in stderr
    home = Path(os.environ["SEGZOO_HOME"])
    assert {part.parent.name for part in home.rglob("*.part")} <= {"partials"}  # what has arrived of a file stays for the next run
    again = process("--zoo", "mini", "fetch", "--all")
    _, stderr = again.communicate(timeout=30)
    assert again.returncode == 0, stderr
    assert not list(home.rglob("*.part"))


IN_AN_IMPORT = """
import os, signal, sys
from segzoo.__main__ import main

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == "segzoo.evidence.climb":
            os.kill(os.getpid(), signal.SIGINT)
            sys.stderr.write("on with it\\n")
sys.meta_path.insert(0, Interrupting())
main()
"""
IN_A_CALLBACK = """
import gc, os, signal, sys
from segzoo.__main__ import main

def _xla_gc_callback(phase, info):
    if "segzoo.evidence.climb" in sys.modules:
        gc.callbacks.remove(_xla_gc_callback)
        os.kill(os.getpid(), signal.SIGINT)
        sys.stderr.write("on with it\\n")
gc.callbacks.append(_xla_gc_callback)
main()
"""


MADE_ANOTHER = """
import os, signal, sys
from segzoo.__main__ import main
import segzoo.evidence.rungs.names

def broken(*arguments):
    try:
        os.kill(os.getpid(), signal.SIGINT)
    except KeyboardInterrupt:
        sys.stderr.write("on with it\\n")
    raise SystemError("returned a result with an exception set")
segzoo.evidence.rungs.names.open_entry = broken
main()
"""


def test_what_a_ctrl_c_leaves_is_said_of_each_command():
    assert said(["verify", "mini-mask", "--again"]).endswith("Run the same command without --again to go on.")
    assert said(["export", "mini-mask"]) == "interrupted; nothing is left half written."


@pytest.mark.parametrize("where", slow_after(1, [IN_AN_IMPORT, IN_A_CALLBACK, MADE_ANOTHER]))
def test_ctrl_c_waits_where_it_would_crash_a_library_or_be_lost(where):
    done = subprocess.run([sys.executable, "-c", where, "--zoo", "mini", "verify", "mini-mask"], capture_output=True, text=True)
    assert done.returncode == 130
    assert "on with it" in done.stderr
    assert "interrupted; what has arrived is kept. Run the same command again to go on." in done.stderr
    assert "Exception ignored" not in done.stderr
    assert "mini-mask: mIoU" not in done.stderr


WHEN_A_PART_IS_MADE = """
import os, signal, sys
from segzoo.__main__ import main

def watch(frame, event, what):
    if event == "return" and (frame.f_code.co_name, os.path.basename(frame.f_code.co_filename)) == ("{name}", "{file}"):
        if any(one.endswith(".part") for one in os.listdir(os.path.dirname(sys.argv[-1]))):
            sys.setprofile(None)
            os.kill(os.getpid(), signal.SIGINT)
sys.setprofile(watch)
main()
"""


@pytest.mark.parametrize(("name", "file"), [("touch", "pathlib.py"), ("part_file", "atomic.py"), ("__enter__", "contextlib.py")])
def test_ctrl_c_while_a_part_is_made_leaves_nothing(name, file, tmp_path):
    where = WHEN_A_PART_IS_MADE.format(name=name, file=file)
    done = subprocess.run([sys.executable, "-c", where, "convert", TAME, tmp_path / "out.pth"], capture_output=True, text=True)
    assert done.returncode == 130, done.stderr
    assert "interrupted; nothing is left half written." in done.stderr
    assert list(tmp_path.iterdir()) == []


LOADING = """
import sys
UNTIL = sys.argv[1]
class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == UNTIL:
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupting())
from segzoo.__main__ import main
sys.argv = ["segzoo", "list"]
main()
"""


@pytest.mark.parametrize(
    ("module", "said"), [("segzoo.cli.table", ""), ("segzoo.cli.commands.list", "\ninterrupted; nothing is left half written.\n")]
)
def test_ctrl_c_while_the_program_is_loaded_is_no_traceback(module, said):
    done = subprocess.run([sys.executable, "-c", LOADING, module], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", said)


def test_a_reader_that_leaves_early_is_no_error():
    running = process("--zoo", "mini", "info", "mini-mask")
    running.stdout.close()
    stderr = running.stderr.read()
    running.stderr.close()
    running.wait(timeout=30)
    assert "Traceback" not in stderr


def test_a_pipe_gets_no_escape_codes():
    stdout, stderr = process("--zoo", "mini", "fetch", "--all").communicate(timeout=60)
    assert "\x1b" not in stdout + stderr
    assert stdout.count("fetched") == 3


def test_in_a_pipe_a_figure_is_explained_once():
    stdout, stderr = process("--zoo", "mini", "verify", "mini-linear", "--images", "10").communicate(timeout=60)
    rungs = [line.split(": ")[:2] for line in stdout.splitlines()[:5]]
    assert rungs == [["mini-linear", rung] for rung in ("mIoU", "bytes", "names", "round trip", "numbers")]
    assert re.match(r"mini-linear: mIoU: [0-9.]+ measured, 86.71 reported: consistent", stdout)
    assert "mini-linear" not in "".join(stdout.splitlines()[5:]) + stderr


def test_in_a_pipe_a_failure_is_explained_once(tmp_path):
    lab = shutil.copytree(MINI, tmp_path / "lab") / "zoo.yaml"
    lab.write_text(lab.read_text().replace('sha256: "5f1e', 'sha256: "0000'))
    done = segzoo("--zoo", lab, "verify", "mini-vit")
    assert done.exit_code == 4
    assert (done.stdout + done.stderr).count("expected sha256 0000") == 1
    assert re.search(r"^mini-vit: bytes: failed: mini.tame.npz: no address delivered it: .*\nmini-vit: names: skipped: not tried\n", done.stdout)


def on_a_terminal(*arguments, **environment):
    """What a command shows on a terminal."""
    mine, theirs = pty.openpty()
    command = [sys.executable, "-m", "segzoo", *arguments]
    with subprocess.Popen(command, stdout=theirs, stderr=theirs, env={**os.environ, "TERM": "xterm", "COLUMNS": "80", **environment}) as live:
        os.close(theirs)
        shown = b""
        try:
            while chunk := os.read(mine, 4096):
                shown += chunk
        except OSError:  # the other end is closed
            os.close(mine)
        assert live.wait(timeout=60) == 0
    return shown


def test_a_terminal_gets_a_live_table():
    shown = on_a_terminal("--zoo", "mini", "verify", "mini-vit")
    assert shown.count(b"round trip") > 1
    assert b"\x1b[" in shown


def test_on_a_terminal_the_figure_comes_first_and_v_explains_every_rung():
    shown = (on_a_terminal("--zoo", "mini", "verify", "mini-linear", "--images", "2", *said).decode() for said in ((), ("-v",)))
    plain, more = (re.sub(r"\s+", " ", text) for text in shown)
    assert re.search(r"mini-linear: mIoU: [0-9.]+ measured.*sha256.*1 verified", plain)
    for rung in (
        "bytes: passed: sha256: bce9da2d",
        "names: passed: mmseg",
        "round trip: passed: by way of augreg",
        "numbers: passed: torch against JAX",
    ):
        assert (f"mini-linear: {rung}" in plain, f"mini-linear: {rung}" in more) == (False, True)


PLAIN = [("list",), ("fetch", "--all"), ("info", "mini-vit"), ("verify", "mini-linear", "--images", "2")]


@pytest.mark.parametrize("words", slow_after(2, PLAIN))
def test_with_no_color_a_terminal_gets_plain_lines(words):
    shown = on_a_terminal("--zoo", "mini", *words, NO_COLOR="1")
    assert b"mini-" in shown
    assert b"\x1b" not in shown


def test_a_dumb_terminal_gets_plain_lines():
    shown = on_a_terminal("--zoo", "mini", "verify", "mini-vit", TERM="dumb")
    assert b"1 verified" in shown
    assert b"\x1b" not in shown


def test_a_plain_line_on_a_terminal_is_only_its_letters():
    assert b"\x1b" not in on_a_terminal("--zoo", "mini", "store", "ls")


def test_on_a_terminal_a_table_is_coloured_or_bold():
    assert b"\x1b[1m" in on_a_terminal("--zoo", "mini", "--zoo", "shipped", "list")


def test_on_a_terminal_lines_break_between_words_and_never_in_a_path():
    mine, theirs = pty.openpty()
    path = "x" * 100 + "/none.npz"
    command = [sys.executable, "-m", "segzoo", "convert", path, "and.pth"]
    with subprocess.Popen(command, stdout=theirs, stderr=theirs, env={**os.environ, "TERM": "xterm", "COLUMNS": "80", "NO_COLOR": "1"}) as live:
        os.close(theirs)
        live.wait(timeout=60)
    shown = os.read(mine, 4096).decode()
    os.close(mine)
    assert shown.splitlines()[:3] == ["error:", f"  {path}:", "  no such file"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--zoo", "none.yaml", "list"), 7),
        (("fetch", "vit-t", "--offline"), 7),
        (("convert", "none.npz", "nor.npz", "out/"), 7),
        (("inspect", "a" * 300), 8),
    ],
)
def test_two_v_show_the_traceback_and_keep_the_exit_code(arguments, code):
    """Of an error that ends a command, and of those that a command goes on after."""
    plain, loud = segzoo(*arguments), segzoo("-vv", *arguments)
    assert plain.exit_code == loud.exit_code == code
    assert "Traceback" not in plain.stderr
    assert "Traceback (most recent call last)" in loud.stderr
    assert loud.stderr.endswith(plain.stderr.splitlines()[-1] + "\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--offline", "fetch", "vit-t"), "hint: --offline stands after the command: segzoo fetch ..."),
        (("--json", "list"), "hint: --json stands after the command: segzoo list ..."),
        (("convert", "mini-vit", "-o", "x"), "hint: where to write is the last argument: segzoo convert SRC DST"),
    ],
)
def test_an_option_that_stands_in_the_wrong_place_is_told_its_own(arguments, said):
    done = segzoo(*arguments)
    assert done.exit_code == 2
    assert done.stderr.endswith(f"'.\n{said}\n")
    assert "hint" not in segzoo("list", "--frob").stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("predict", "--compare", "vit-t-mask", "x.jpg"), "error: --compare takes two models, and after them come the images\nhint: segzoo predict"),
        (("predict",), "error: no model and no image named\nhint: segzoo predict MODEL IMAGE..."),
    ],
)
def test_predict_says_what_it_lacks(arguments, said):
    done = segzoo(*arguments)
    assert done.exit_code == 2
    assert said in done.stderr


# the output


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
@pytest.mark.parametrize("arguments", [("list", "--wide"), ("info", "seg-b-deit-linear")])
def test_what_the_terminal_cannot_show_is_replaced(arguments, encoding):
    done = subprocess.run([sys.executable, "-m", "segzoo", *arguments], capture_output=True, env={**os.environ, "PYTHONIOENCODING": encoding})
    assert (done.returncode, done.stderr) == (0, b"")
    assert "Seg-B?/16" in done.stdout.decode(encoding)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has /dev/full")
@pytest.mark.parametrize("buffering", ["", "1"])
@pytest.mark.parametrize("arguments", [("list",), ("list", "--json"), ("explain", "4"), ("--help",)])
def test_output_that_cannot_be_written_is_one_error(arguments, buffering):
    command = [sys.executable, "-m", "segzoo", *arguments]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": buffering})
    assert done.returncode == 8
    first, second = done.stderr.splitlines()
    assert first == "error: the output could not be written: No space left on device"
    assert second.startswith("hint: ")


def test_the_version_is_that_of_segzoo_however_it_is_started():
    stdout, _ = process("--version").communicate(timeout=30)
    assert stdout.startswith("segzoo, version ")


@pytest.mark.parametrize(("source", "told"), [(TAME, True), (GOLDEN / "swin" / "timm.pth", False)])
def test_on_a_terminal_the_patch_bias_is_told_of_where_the_network_may_lack_it(source, told, tmp_path):
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "segzoo", "convert", str(source), str(tmp_path / "out.pth")]
    done = subprocess.run(command, stdout=theirs, stderr=theirs, stdin=subprocess.DEVNULL, timeout=100)
    os.close(theirs)
    shown = os.read(ours, 1 << 16).decode()
    os.close(ours)
    assert done.returncode == 0, shown
    assert ("patch_bias=True" in shown) is told
