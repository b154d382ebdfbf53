"""Where commands write: links, folders, hard links, places that cannot be written, full disks, two runs at once."""

import os
import re
import subprocess
import sys

import pytest
from click.testing import CliRunner
from support import MINI, TAME, slow_after

from segzoo.cli import main

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs links and limits")
FULL = {
    "convert": ["convert", TAME, "out.pth"],
    "export": ["--zoo", "mini", "export", "mini-vit", "-o", "out", "--as", "timm"],
    "store bundle": ["--zoo", "mini", "store", "bundle", "out.tar", "mini-vit"],
    "fetch -o": ["--zoo", "mini", "fetch", "mini-vit", "-o", "out"],
    "convert --force": ["convert", TAME, "old.pth", "--force"],
    "manifest init": ["manifest", "init"],
    "manifest add": ["manifest", "add", TAME, "--to", "own.yaml"],
    "verify": ["--zoo", "mini", "verify", "mini-vit"],
    "report": ["--zoo", "mini", "report", "--no-images"],
    "predict": ["--zoo", "mini", "predict", "mini-mask", MINI / "ade_mini" / "images" / "validation", "-o", "out", "--device", "cpu"],
    "data check": ["--zoo", "mini", "data", "check", "ade-mini", "--pictures", "out"],
}
FIRST = {"report": ["--zoo", "mini", "verify", "mini-vit"], "predict": ["--zoo", "mini", "fetch", "mini-mask"]}


@pytest.fixture(autouse=True)
def _there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def segzoo(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments], catch_exceptions=False)


def files(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", slow_after(2, FULL))
def test_a_full_disk_keeps_what_is_there_and_leaves_nothing(name, tmp_path, monkeypatch):
    """No file may grow beyond a kilobyte, as on a disk that has no more."""
    monkeypatch.setenv("SEGZOO_HOME", str(tmp_path / "home"))
    (tmp_path / "old.pth").write_bytes(b"old")
    assert segzoo(*FIRST.get(name, ["--zoo", "mini", "fetch", "mini-vit"])).exit_code == 0
    kept = {file: data for file, data in files(tmp_path).items() if not file.startswith("home/locks/")}
    limited = ["sh", "-c", 'trap "" XFSZ; ulimit -f 1; exec "$@"', "sh", sys.executable, "-m", "segzoo", *map(str, FULL[name])]
    done = subprocess.run(limited, capture_output=True, text=True, check=False)
    assert (done.returncode, "Traceback" in done.stderr) == (8, False), done.stderr
    assert "File too large" in done.stdout + done.stderr
    found = {file: data for file, data in files(tmp_path).items() if not re.search(r"(^home/locks/.*|\.unfinished)$", file)}
    small = {file for file, data in found.items() if len(data) <= 1024 and file not in kept}  # a whole small file may stand
    assert {file: data for file, data in found.items() if file not in small} == kept
    assert not [file for file in found if re.search(r"\.(part|held)(/|$)", file)]


def test_the_target_is_replaced_and_not_what_a_link_leads_to(tmp_path):
    """Of a manifest it is the other way round: the file behind a link is changed, since people link them."""
    (tmp_path / "real.pth").write_bytes(b"mine")
    (tmp_path / "link.pth").symlink_to("real.pth")
    assert segzoo("convert", TAME, "link.pth").exit_code == 2
    assert segzoo("convert", TAME, "link.pth", "--force").exit_code == 0
    assert ((tmp_path / "real.pth").read_bytes(), (tmp_path / "link.pth").is_symlink()) == (b"mine", False)
    assert segzoo("manifest", "init", "real.yaml").exit_code == 0
    (tmp_path / "link.yaml").symlink_to("real.yaml")
    assert segzoo("manifest", "add", TAME, "--to", "link.yaml").exit_code == 0
    assert ((tmp_path / "link.yaml").is_symlink(), "mini.tame" in (tmp_path / "real.yaml").read_text()) == (True, True)


def test_a_hard_link_to_the_source_is_the_source(tmp_path):
    (tmp_path / "a.npz").write_bytes(TAME.read_bytes())
    os.link(tmp_path / "a.npz", tmp_path / "b.npz")
    for target in ("a.npz", "b.npz"):
        done = segzoo("convert", "a.npz", target, "--force")
        assert (done.exit_code, "source and target are the same file" in done.stderr) == (2, True)
    assert (tmp_path / "a.npz").read_bytes() == TAME.read_bytes()


@pytest.mark.parametrize("arguments", [FULL["store bundle"], ["manifest", "init", "out"], FULL["manifest add"]])
def test_a_folder_in_the_place_of_the_output_stays(arguments, tmp_path):
    for name in ("out", "out.tar", "own.yaml"):
        (tmp_path / name / "zoo.yaml").mkdir(parents=True)
    assert segzoo("--zoo", "mini", "fetch", "mini-vit").exit_code == 0
    assert (segzoo(*arguments).exit_code, files(tmp_path)) == (2, {})


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
@pytest.mark.parametrize("name", ["convert", "export", "store bundle", "fetch -o", "manifest init"])
def test_a_folder_that_may_not_be_written(name, tmp_path):
    segzoo("--zoo", "mini", "fetch", "mini-vit")
    tmp_path.chmod(0o555)
    done = segzoo(*FULL[name])
    tmp_path.chmod(0o755)
    assert (done.exit_code, files(tmp_path)) == (8, {})


TOGETHER = {
    "convert": FULL["convert"],
    "export": FULL["export"],
    "store bundle": FULL["store bundle"],
    "fetch -o": FULL["fetch -o"],
    "manifest init": FULL["manifest init"],
}


@pytest.mark.parametrize("name", slow_after(1, TOGETHER))
def test_two_runs_at_once_both_end_well(name, tmp_path, monkeypatch):
    monkeypatch.setenv("SEGZOO_HOME", str(tmp_path / "home"))
    assert segzoo("--zoo", "mini", "fetch", "mini-vit").exit_code == 0
    command = [sys.executable, "-m", "segzoo", *map(str, TOGETHER[name])]
    running = [subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for _ in range(3)]
    ends = [(one.communicate()[0], one.returncode) for one in running]
    assert [code for _, code in ends] == [0, 0, 0], ends
    after = files(tmp_path)
    assert not [file for file in after if re.search(r"\.(part|held)(/|$)", file)]
    assert segzoo(*TOGETHER[name]).exit_code == 0
    assert files(tmp_path) == after


def test_an_output_folder_that_is_removed_meanwhile_is_said(tmp_path):
    """By an audit hook, between the last write and the final name."""
    code = """
import shutil, sys
from segzoo.__main__ import main

def watch(event, arguments):
    if event == "os.rename":
        shutil.rmtree("out", ignore_errors=True)
sys.addaudithook(watch)
main()
"""
    done = subprocess.run([sys.executable, "-c", code, "convert", TAME, "out/new.pth"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, "not written: No such file or directory" in done.stderr, "Traceback" in done.stderr) == (8, True, False)
    assert list(tmp_path.iterdir()) == []
