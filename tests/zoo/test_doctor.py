"""`doctor`, `explain` and `completion`: what helps a person who is stuck, and the shell."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from server import Ranged, serve
from support import MINI

from segzoo.cli import EPILOG, main
from segzoo.cli.commands.explain import MEANINGS
from segzoo.zoo.doctor import _PROXIES


@pytest.fixture(autouse=True)
def _plain(monkeypatch):
    """Nothing of the caller's network."""
    for name in _PROXIES:
        for spelling in (name, name.lower()):
            monkeypatch.delenv(spelling, raising=False)


def run(*arguments, **environment):
    return CliRunner(env=environment).invoke(main, list(map(str, arguments)))


def findings(*arguments, **environment):
    done = run(*arguments, "doctor", "--json", **environment)
    return done.exit_code, {one["what"]: one for one in json.loads(done.stdout)["result"]}


def test_a_sound_machine_has_nothing_to_mend(tmp_path):
    code, found = findings("--zoo", "mini")
    assert code == 0
    assert list(found)[:7] == ["python", "packages", "extra eval", "extra jax", "extra report", "extra export", "device"]
    assert {one["status"] for name, one in found.items() if name != "store"} == {"ok"}
    assert "torch" in found["extra eval"]["detail"]
    assert "this zoo has no addresses" in found["network"]["detail"]
    shown = run("--zoo", "mini", "doctor")
    assert shown.stdout.startswith("ok      python: ")


def test_a_store_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    code, found = findings("--zoo", "mini", SEGZOO_HOME=str(tmp_path / "file" / "store"))
    assert code == 8
    assert found["store"]["status"] == "wrong"
    assert "SEGZOO_HOME" in found["store"]["fix"]


def test_a_store_that_is_only_read_is_no_fault_where_receipts_go_elsewhere(tmp_path):
    (tmp_path / "store").write_text("a file: nothing can be written in it")
    code, found = findings("--zoo", "mini", SEGZOO_HOME=str(tmp_path / "store"), SEGZOO_RECEIPTS=str(tmp_path / "mine"))
    assert (code, found["store"]["status"]) == (0, "missing")


def test_what_killed_commands_left_is_named_with_the_way_to_remove_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert findings("--zoo", "mini")[1]["working folder"]["status"] == "ok"
    for end in ("part", "held"):
        (tmp_path / f".my out.pth.0123abcd.{end}").write_bytes(b"half")
    found = findings("--zoo", "mini")[1]["working folder"]
    assert (found["status"], ".my out.pth.0123abcd.part" in found["detail"]) == ("missing", True)
    subprocess.run(found["fix"].partition("; or ")[2], shell=True, check=True)
    assert list(tmp_path.iterdir()) == []


def test_proxies_are_shown_without_their_passwords_and_certificates_must_be_there():
    _, found = findings("--zoo", "mini", HTTPS_PROXY="http://me:secret@proxy:3128")
    assert found["proxies"]["detail"] == "HTTPS_PROXY=http://proxy:3128"
    code, found = findings("--zoo", "mini", HTTPS_PROXY="http://me:se#cret@proxy:3128")
    assert (code, found["proxies"]["status"], found["proxies"]["fix"]) == (8, "wrong", "write %23 for '#' there")
    assert "cret" not in found["proxies"]["detail"]
    code, found = findings("--zoo", "mini", REQUESTS_CA_BUNDLE="/nowhere.pem")
    assert code == 8
    assert found["proxies"]["detail"] == "none"
    assert found["certificates"]["status"] == "wrong"
    assert found["certificates"]["detail"].startswith("REQUESTS_CA_BUNDLE=/nowhere.pem")
    assert found["certificates"]["fix"] == "unset REQUESTS_CA_BUNDLE, or let it name a file of certificates"


def test_each_host_is_asked_for_one_byte(tmp_path):
    server = Ranged(b"x" * 5000)
    with serve({"/one.npz": server}) as running:
        plain = yaml.safe_load((MINI / "zoo.yaml").read_text())
        artifact = plain["backbones"]["mini-vit"]["source"]
        artifact["urls"] = [f"{running.base}/one.npz", "http://127.0.0.1:9/one.npz"]
        (tmp_path / "zoo.yaml").write_text(yaml.safe_dump({"version": 1, "backbones": {"one": plain["backbones"]["mini-vit"]}}))
        done = run("--zoo", tmp_path / "zoo.yaml", "doctor")
        assert done.exit_code == 0  # a host that is away is no fault of this machine
        assert " answers\n" in done.stdout
        assert "missing network: 127.0.0.1:9: " in done.stdout
        assert "offline, as asked" in run("--zoo", tmp_path / "zoo.yaml", "doctor", "--offline").stdout
        assert server.sent <= 1  # a byte of the first run, none of the second
    alone = run("--zoo", tmp_path / "zoo.yaml", "doctor")
    assert alone.exit_code == 8
    assert "wrong   network: no host of the zoo answers\n" in alone.stdout


@pytest.mark.parametrize("code", MEANINGS)
def test_every_exit_code_is_explained(code):
    done = run("explain", code)
    assert done.exit_code == 0
    assert done.stdout.startswith(f"{code}: {MEANINGS[code][0]}")
    assert all(len(line) < 80 for line in done.stdout.splitlines())
    assert f"{code} {MEANINGS[code][0].split()[0]}" in " ".join(EPILOG.split())


def test_without_a_code_all_are_shown_one_a_line():
    lines = run("explain").stdout.splitlines()
    assert [int(line.split()[0]) for line in lines] == list(MEANINGS)
    assert all(title in line and len(line) < 80 for line, (title, _) in zip(lines, MEANINGS.values(), strict=True))
    answers = [json.loads(run("explain", *code, "--json").stdout)["result"] for code in ((), ("4",))]
    assert answers[0] == [{"code": code, "title": title, "advice": advice} for code, (title, advice) in MEANINGS.items()]
    assert answers[1] == [answers[0][4]]


def test_another_code_is_none():
    assert run("explain", 10).exit_code == 7


MENDED = {"bash": "compopt -o default -o filenames", "zsh": 'in "${response[@]}"; do', "fish": 'string split -m 1 ","'}
VIT = "mini-vit\tViT in AugReg's format, random weights"


@pytest.mark.parametrize("shell", MENDED)
def test_a_completion_script_for_each_shell(shell):
    script = run("completion", shell).stdout
    assert "_SEGZOO_COMPLETE" in script
    assert MENDED[shell] in script  # whether or not the shell is here, and however click's own script changes


def completed(words, shell="bash"):
    """What the program answers to the shell that completes the last word: its kinds and values, in order."""
    last = {"bash": str(len(words.split(" ")) - 1), "fish": words.split(" ")[-1]}[shell]
    environment = {"_SEGZOO_COMPLETE": f"{shell}_complete", "COMP_WORDS": words, "COMP_CWORD": last}
    done = CliRunner().invoke(main, prog_name="segzoo", env=environment)
    assert (done.exit_code, done.stderr) == (0, "")
    return [line.partition("\t")[0] for line in done.stdout.splitlines() if line]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("segzoo ver", "plain,verify"),
        ("segzoo --zoo mini verify mini-", "file,mini- plain,mini-vit plain,mini-mask plain,mini-linear"),
        ("segzoo info vit-t", "plain,vit-t plain,vit-t-mask"),
        ("segzoo fetch ade", "plain,ade20k"),
        ("segzoo --zoo nowhere.yaml verify v", "file,v"),
        ("segzoo explain 1", "plain,1 plain,130"),
        ("segzoo explain ", " ".join(f"plain,{code}" for code in MEANINGS)),
    ],
)
def test_the_shell_completes_commands_names_and_codes(words, expected):
    assert completed(words) == expected.split()


@pytest.mark.parametrize("shell", ["bash", "fish"])
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("segzoo --zoo mini convert mini-v", "plain,mini-vit"),
        ("segzoo convert timm_t", ""),
        ("segzoo convert vit-t out", ""),
        ("segzoo export vit-t", "plain,vit-t plain,vit-t-mask"),
        ("segzoo predict seg-b-mask", "plain,seg-b-mask"),
        ("segzoo predict seg-b-mask seg-b", ""),  # an image
        ("segzoo --zoo mini predict --compare mini-m", "plain,mini-mask"),
        ("segzoo --zoo mini predict --compare mini-mask mini-l", "plain,mini-linear"),
        ("segzoo --zoo mini predict --compare mini-mask mini-linear mini-l", ""),
        ("segzoo --zoo nowhere.yaml predict m", ""),
        ("segzoo --zoo mi", "plain,mini"),
        ("segzoo --zoo mini --zoo s", "plain,shipped"),
    ],
)
def test_the_shell_completes_files_beside_names(words, expected, shell):
    """Files come first: click's script for bash forgets at them what came before."""
    assert completed(words, shell) == [f"file,{words.split(' ')[-1]}", *expected.split()]


BASH = """
eval "$(segzoo completion bash)"
compopt() { local IFS=" "; echo "compopt $*"; }  # it works only while a person completes
COMP_WORDS=(segzoo --zoo mini %s) COMP_CWORD=%d
_segzoo_completion segzoo '%s' ''
printf '%%s\\n' "${COMPREPLY[@]}"
"""


ZSH = """
compdef() { }
_path_files() { print files }
_describe() { print -l "${completions_with_descriptions[@]}" }
compadd() { print -l "${completions[@]}" }
eval "$(segzoo completion zsh)"
words=(segzoo %s) CURRENT=$#words
_segzoo_completion
"""
FISH = "segzoo completion fish | source; complete -C 'segzoo %s'"


def shell(name, script, folder):
    """What a real shell prints that runs a script in a folder, whose path has a segzoo."""
    if shutil.which(name) is None:
        pytest.skip(f"there is no {name}")
    (folder / "bin").mkdir()
    (folder / "bin" / "segzoo").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m segzoo "$@"\n')
    (folder / "bin" / "segzoo").chmod(0o755)
    environment = {**os.environ, "PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": str(Path(__file__).parents[2])}
    plain = {"bash": "--norc", "zsh": "-f", "fish": "--no-config"}[name]
    done = subprocess.run([name, plain, "-c", script], capture_output=True, text=True, cwd=folder, env=environment)
    assert done.stderr == ""
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("convert mini", {"mini-vit", "mini-mask", "mini-linear", "mini notes.pth"}),
        ("predict mini", {"mini-mask", "mini-linear", "mini notes.pth"}),
        ("predict mini-mask mini", {"mini notes.pth"}),
        ("export other", {"other.pth"}),
    ],
)
def test_bash_offers_names_and_files(words, expected, tmp_path):
    for name in ("mini notes.pth", "other.pth"):
        (tmp_path / name).touch()
    first, *offered = shell("bash", BASH % (words, len(words.split()) + 2, words.split()[-1]), tmp_path)
    assert first == "compopt -o default -o filenames"
    assert set(offered) == expected


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("verif", ["verify:Prove models by bytes, names, round trip, numbers and mIoU."]),
        ("--zoo mini export mini-v", ["files", "mini-vit:ViT in AugReg's format, random weights"]),
        ("--zoo ''", ["files", "shipped", "mini"]),  # an empty word, of which click's own script loses count
    ],
)
def test_zsh_offers_names_and_files(words, expected, tmp_path):
    assert shell("zsh", ZSH % words, tmp_path) == expected


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("verif", {"verify\tProve models by bytes, names, round trip, numbers and mIoU."}),  # click's own script ends it at the first comma
        ("--zoo mini export mini", {"mini notes.pth", "mini-linear\tSegmenter Linear, 3 blocks", "mini-mask\tSegmenter Mask, 3 blocks", VIT}),
        ("--zoo ", {"bin/", "mini", "mini notes.pth", "shipped"}),
    ],
)
def test_fish_offers_names_and_files(words, expected, tmp_path):
    (tmp_path / "mini notes.pth").touch()
    assert set(shell("fish", FISH % words, tmp_path)) == expected
