"""Every command with a stranger's words wherever words can come from: no line is forged, nothing drives the terminal, JSON is exact."""

import ast
import json
import os
import pty
import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from click.shell_completion import ShellComplete
from click.testing import CliRunner
from hostile import TEXTS, as_name, forged, printable, unseen
from PIL import Image
from server import raw, serve
from support import MINI, TAME, thorough_after

from segzoo.cli import main
from segzoo.cli.commands.explain import MEANINGS
from segzoo.cli.table import TABLE
from segzoo.store.store import home

MASK, LINEAR = MINI / "segmenter_mini_mask-6a6bc5f4.pth", MINI / "segmenter_mini_linear-bce9da2d.pth"


def segzoo(*arguments, said=None):
    """Run a command and look at what it says. With --json, its answer; else all that it printed."""
    done = CliRunner().invoke(main, list(map(str, arguments)), input=said)
    assert done.exception is None or isinstance(done.exception, SystemExit), (arguments, done.exception)
    assert done.exit_code in {0, *MEANINGS} - {1}, (arguments, done.output)
    for text in (done.stdout, done.stderr):
        assert unseen(text) == [], arguments
        assert forged(text) == [], arguments
        assert "Traceback" not in text
        assert max(map(len, text.split("\n"))) < 21_000 or {"--json", "show"} & {*arguments}
    return json.loads(done.stdout) if "--json" in arguments else done.stdout + done.stderr


def texts_in(value):
    """All texts in an answer, keys too."""
    if isinstance(value, dict):
        return [text for pair in value.items() for one in pair for text in texts_in(one)]
    if isinstance(value, list):
        return [text for one in value for text in texts_in(one)]
    return [value] if isinstance(value, str) else []


# what a stranger may have made


def manifest_of(folder, word, plain):
    """A copy of the mini zoo with a title, licence, notes and a class of a stranger's; `plain` leaves out what no manifest may have."""
    lab = shutil.copytree(MINI, folder / "lab") / "zoo.yaml"
    said = json.dumps(printable(word)[:900].strip() if plain else word, ensure_ascii=not plain)
    text = lab.read_text()
    for field in ("title: A drawn", "title: ViT", "title: Segmenter", "provenance: ", "licence: ", "label_rule: "):
        text = re.sub(f"{field}.*", lambda found, field=field: f"{field.split(':')[0]}: {said}", text)
    lab.write_text(text.replace("      sky:", f"      {said}:"), encoding="utf-8", errors="surrogatepass")
    return lab


def safetensors_of(folder, word):
    """A file whose tensor names, metadata and own name are a stranger's."""
    header = {"__metadata__": {word: word, "format": word}, "cls_token": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}
    header[word] = {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}
    text = json.dumps(header, ensure_ascii=False).encode("utf-8", "replace")
    path = folder / as_name(word, ".safetensors")
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(8))
    return path


def checkpoint_of(folder, word, name=None, further=False):
    """A Segmenter whose classes, config and own name are a stranger's. A `further` tensor fits no layout."""
    legal = word.encode("utf-8", "replace").decode()
    checkpoint = torch.load(LINEAR, weights_only=True)
    names = [legal, *(f"class {legal} {index}" for index in range(1, 8))]
    checkpoint["meta"] = {"CLASSES": names, "config": legal, legal: legal, "time": legal, "PALETTE": [[1, 2, 3]] * 8, "mmseg_version": legal}
    if further:
        checkpoint["state_dict"][f"auxiliary_head.{legal}"] = torch.zeros(2)
    path = folder / (name or as_name(word, ".pth"))
    torch.save(checkpoint, path)
    return path


def image_of(folder, word):
    path = folder / as_name(word, ".png")
    Image.new("RGB", (70, 50), "navy").save(path)
    return path


def receipt_of(folder, word, record):
    """A receipt that says a stranger's words wherever it may say words."""

    def said(value, key=""):
        if isinstance(value, dict):
            return {name: said(one, name) for name, one in value.items()}
        if isinstance(value, list):
            return [said(one, key) for one in value]
        return (
            word if isinstance(value, str) and key in ("detail", "short", "machine", "time", "evidence", "provenance", "device", "torch") else value
        )

    path = folder / as_name(word, ".json")
    path.write_text(json.dumps(said(record)))
    return path


ALL = thorough_after(1, TEXTS)


@pytest.mark.parametrize("which", ALL)
def test_manifests(which, tmp_path):
    word = TEXTS[which]
    zoo = manifest_of(tmp_path, word, plain=True)
    mine = printable(word)[:900].strip()
    for command in (
        ("list",),
        ("info", "mini-linear"),
        ("info", "ade-mini"),
        ("manifest", "check", zoo),
        ("store", "ls"),
        ("fetch", "--all", "--dry-run"),
    ):
        segzoo("--zoo", zoo, *command)
        assert command[0] not in ("list", "info") or mine in texts_in(segzoo("--zoo", zoo, *command, "--json"))
    if which == "markup":
        assert "[/red][link=https://evil.example]ours[/link][ours]:smile:[bold" in re.sub(r"\s", "", segzoo("--zoo", zoo, "info", "mini-vit"))
    segzoo("--zoo", zoo, "data", "check", "ade-mini")
    segzoo("--zoo", zoo, "no-such-entry", "info")
    segzoo("--zoo", zoo, "info", word)
    segzoo("--zoo", tmp_path / as_name(word, ".yaml"), "list")
    complete = ShellComplete(main, {}, "segzoo", "_SEGZOO_COMPLETE").get_completions(["--zoo", str(zoo), "info"], "")
    assert unseen("".join(f"{one.value}{one.help}" for one in complete)) == []
    assert all("\n" not in (one.help or "") for one in complete)


@pytest.mark.parametrize("which", ALL)
def test_manifests_that_are_refused(which, tmp_path):
    """A control character in a title is a fault of the manifest, and the fault names it."""
    word = TEXTS[which]
    zoo = manifest_of(tmp_path, word, plain=False)
    for command in (("list",), ("manifest", "check", zoo), ("verify", "--all", "--images", "1", "--device", "meta")):
        segzoo("--zoo", zoo, *command)
        segzoo("--zoo", zoo, *command, "--json")


@pytest.mark.parametrize("which", ALL)
def test_names_of_tensors_and_files(which, tmp_path, monkeypatch):
    word = TEXTS[which]
    path = safetensors_of(tmp_path, word)
    legal = word.encode("utf-8", "replace").decode()
    for command in (
        ("inspect", path),
        ("inspect", path, "--keys"),
        ("inspect", path, "-vv"),
        ("diff", TAME, path),
        ("diff", path, TAME),
        ("convert", path, tmp_path / as_name(word, "x.npz")),
        ("convert", TAME, tmp_path / as_name(word, ".npz"), "--to", "timm"),
        ("convert", TAME, tmp_path / "new" / "out.npz", "--to", word.replace("\x00", "")),
        ("store", "add", path),
        ("verify", path),
        ("manifest", "add", path),
        ("receipt", "check", path),
        ("score", tmp_path / as_name(word), "--data", MINI / "ade_mini", "--like", "ade-mini"),
        ("data", "check", tmp_path / as_name(word)),
        ("store", "bundle", tmp_path / as_name(word, ".tar"), word.replace("\x00", "")),
        ("store", "load", path),
        ("predict", path, path),
        ("export", path, "--as", "hf", "-o", tmp_path / as_name(word, "out")),
        ("explain", word.replace("\x00", "")),
        (f"--{word}".replace("\x00", ""), "list"),
        ("list", f"--{word}".replace("\x00", "")),
        (word.replace("\x00", ""),),
        ("store", "rm", word.replace("\x00", "")),
        ("fetch", word.replace("\x00", "")),
    ):
        segzoo("--zoo", "mini", *command)
        if command[0] in TABLE:
            assert segzoo("--zoo", "mini", *command, "--json")["exit_code"] in MEANINGS.keys() | {0}
    answer = segzoo("inspect", path, "--keys", "--json")["result"]
    assert legal in answer["tensors"]
    assert answer["metadata"][legal] == legal
    assert answer["path"] == str(path)
    monkeypatch.setenv("SEGZOO_HOME", str(tmp_path / as_name(word, "home")))
    for command in (("store", "dir"), ("fetch", "mini-vit"), ("store", "ls"), ("store", "verify"), ("doctor", "--offline")):
        segzoo("--zoo", "mini", *command)
    assert segzoo("store", "dir", "--json")["result"]["path"] == str(tmp_path / as_name(word, "home"))


@pytest.mark.parametrize("which", thorough_after(0, TEXTS))
def test_models_and_images(which, tmp_path, monkeypatch):
    word = TEXTS[which]
    monkeypatch.chdir(tmp_path)
    path, image = checkpoint_of(tmp_path, word), image_of(tmp_path, word)
    further, named = checkpoint_of(tmp_path, word, "further.pth", further=True), checkpoint_of(tmp_path, word, "named.pth")
    zoo = ("--zoo", "mini")
    segzoo(*zoo, "inspect", path)
    segzoo(*zoo, "inspect", path, "--keys", "--json")
    segzoo(*zoo, "diff", path, LINEAR)
    segzoo(*zoo, "diff", further, LINEAR)
    segzoo(*zoo, "inspect", further, "--keys")
    segzoo(*zoo, "convert", path, tmp_path / "out.npz", "--to", "augreg")
    for how in ((), ("--csv",), ("--json",)):
        segzoo(*zoo, "predict", path, image, "--like", "mini-linear", "--device", "cpu", "-o", tmp_path / "seen", *how)
    segzoo(*zoo, "predict", path, "-", "--like", "mini-linear", said=as_name(word).encode("utf-8", "replace") + b"\n")
    segzoo(*zoo, "manifest", "add", path, "--like", "mini-linear", "--to", tmp_path / "zoo.yaml")
    segzoo(*zoo, "manifest", "add", named, "--like", "mini-linear", "--to", tmp_path / "zoo.yaml")
    segzoo(*zoo, "verify", named, "--like", "mini-linear", "--images", "2", "--device", "cpu")
    segzoo(*zoo, "report", named, "-o", tmp_path / "page", "--device", "cpu")
    segzoo("--zoo", tmp_path / "zoo.yaml", "manifest", "check")
    segzoo("--zoo", tmp_path / "zoo.yaml", "verify", "--all", "--images", "2", "--device", "cpu")
    segzoo(*zoo, "manifest", "add", path, "--like", "mini-linear")
    for form in ("safetensors",):
        segzoo(*zoo, "export", path, "--as", form, "--like", "mini-linear", "-o", tmp_path / form)
        card = (tmp_path / form / "README.md").read_text() if (tmp_path / form).exists() else ""
        assert unseen(card) == []
        assert forged(card) == []
    assert sorted(one.name for one in tmp_path.iterdir() if one.name == "pwned") == []


@pytest.fixture(scope="module")
def verified(tmp_path_factory):
    """The receipt of an entry, made once."""
    folder = tmp_path_factory.mktemp("verified")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEGZOO_HOME", str(folder))
        segzoo("--zoo", "mini", "verify", "mini-vit")
    return json.loads((folder / "receipts" / "mini" / "mini-vit.json").read_text())


@pytest.mark.parametrize("which", ALL)
def test_receipts(which, verified, tmp_path):
    word = TEXTS[which]
    path = receipt_of(tmp_path, word, verified)
    folder = home() / "receipts" / "mini"
    folder.mkdir(parents=True)
    shutil.copy(path, folder / "mini-vit.json")
    zoo = ("--zoo", "mini")
    for command in (("receipt", "check"), ("receipt", "check", path), ("receipt", "show", "mini-vit"), ("receipt", "show", "mini-vit", "--in-toto")):
        segzoo(*zoo, *command)
        segzoo(*zoo, *command, "--json")
    shown = CliRunner().invoke(main, [*zoo, "receipt", "show", "mini-vit"])
    assert shown.exit_code in (0, 4)  # 4 where the words themselves break the receipt's schema
    if shown.exit_code == 0:
        assert json.loads(shown.stdout) == json.loads(path.read_text())
    segzoo(*zoo, "report", "-o", tmp_path / "page", "--no-images")
    for name in ("index.html", "report.md"):
        text = (tmp_path / "page" / name).read_text() if (tmp_path / "page").exists() else ""
        assert unseen(text) == []
        assert forged(text) == []
    segzoo(*zoo, "verify", "mini-vit")  # a receipt is also what a run goes on from


@pytest.mark.parametrize("which", ALL)
def test_answers_of_servers(which, tmp_path):
    word = TEXTS[which].encode("utf-8", "surrogatepass").replace(b"\n", b"\x0b").replace(b"\r", b"\x0b")[:4000]
    answers = {
        "/reason": raw(b"HTTP/1.1 404 " + word + b"\r\nContent-Length: 0\r\n\r\n"),
        "/place": raw(b"HTTP/1.1 302 Found\r\nLocation: http://" + word + b"/\r\nContent-Length: 0\r\n\r\n"),
        "/type": raw(b"HTTP/1.1 200 OK\r\nContent-Type: " + word + b"\r\nX-Checksum: " + word + b"\r\n" + word + b"\r\nContent-Length: 3\r\n\r\nabc"),
    }
    with serve(answers) as server:
        urls = ", ".join(f"{server.base}{path}" for path in answers)
        source = f"{{name: a.npz, layout: augreg, size: 823502, urls: [{urls}]}}"
        entry = f"{{title: A, file: a.pth, source: {source}, geometry: {{width: 64, depth: 3, heads: 4, mlp: 256, patch: 16, grid: 4}}}}"
        (tmp_path / "zoo.yaml").write_text(f"version: 1\nbackbones:\n  a: {entry}\n")
        for how in ((), ("--json",), ("-v",)):
            with warnings.catch_warnings(action="ignore", category=ResourceWarning):
                segzoo("--zoo", tmp_path / "zoo.yaml", "fetch", "a", *how)
        segzoo("--zoo", tmp_path / "zoo.yaml", "doctor")


@pytest.mark.thorough
def test_a_terminal_gets_our_own_colours_and_nothing_else(tmp_path):
    zoo, path = manifest_of(tmp_path, TEXTS["markup"], plain=True), safetensors_of(tmp_path, TEXTS["control"])
    for command in (("--zoo", zoo, "list"), ("inspect", path, "--keys"), ("--zoo", zoo, "verify", "mini-linear")):
        mine, theirs = pty.openpty()
        done = subprocess.Popen(
            [sys.executable, "-m", "segzoo", *map(str, command)], stdout=theirs, stderr=theirs, close_fds=True, env={**os.environ, "TERM": "xterm"}
        )
        os.close(theirs)
        shown = b""
        try:
            while piece := os.read(mine, 65536):
                shown += piece
        except OSError:  # the other end is closed
            pass
        os.close(mine)
        assert done.wait(60) in (0, 4, 5)
        text = re.sub(r"\x1b\[([\d;]*m|[?\d]*[hlAKG])|\r", "", shown.decode())  # colours, and how a bar is drawn anew
        assert unseen(text) == []
        assert "[ours]" in text or command[2] != "list"


BUG = """
import sys, warnings
from segzoo.__main__ import main
sys.argv = ["segzoo", "--version"]
try:
    main()
except SystemExit:
    warnings.warn("x\\nverified\\x1b[2K")
raise ValueError("x\\nverified\\x1b[2K")
"""


def test_warnings_and_bugs_are_shown_as_everything_else_is():
    done = subprocess.run([sys.executable, "-c", BUG], capture_output=True, text=True)
    assert (done.returncode, forged(done.stderr), unseen(done.stderr)) == (1, [], [])
    first, *trace = done.stderr.splitlines()
    assert first == r"warning: x\nverified\x1b[2K"
    assert trace[0] == "  Traceback (most recent call last):"
    assert all(line.startswith("  ") for line in trace)
    assert trace[-2:] == ["  ValueError: x", r"  verified\x1b[2K"]


def test_only_the_terminal_writes():
    """One way out: what every command says goes through `cli.terminal`, which escapes it."""
    root = Path(sys.modules["segzoo"].__file__).parent
    writers = ("echo", "secho", "print", "Console", "style", "pager", "echo_via_pager")
    found = []
    for path in root.rglob("*.py"):
        if path.parent.name == "terminal" or path.name == "standalone.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                whole = ast.unparse(node.func)
                if (name in writers and (whole in writers or whole.startswith(("click.", "rich.")))) or whole.startswith(
                    ("sys.stdout.", "sys.stderr.")
                ):
                    found.append(f"{path.relative_to(root)}: {whole}")
    assert sorted(found) == ["__main__.py: sys.stderr.write", "cli/ending.py: click.echo"]  # both say a fixed text, after Ctrl-C
