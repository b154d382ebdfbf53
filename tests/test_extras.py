"""A library that is not here: exit 8 and the line to type, in every command and function that needs it."""

import json
import subprocess
import sys

import pytest
from support import MINI, slow_after

from segzoo.errors import EnvironmentFault
from segzoo.extras import LIBRARIES, installed, lacking, missing

IMAGE = str(MINI / "ade_mini" / "images" / "validation" / "ADE_val_00000001.jpg")
PREDICT = ["predict", "mini-linear", IMAGE, "--device", "cpu"]
SMOKE = ["verify", "mini-linear", "--smoke", "1"]
ONNX = ["export", "mini-linear", "-o", "onnx", "--as", "onnx"]
REPORT = ["report", "--all", "--no-images"]
PREDICTED = f"segzoo.predict('mini-linear', {IMAGE!r}, zoo='mini')"
LOADED = "segzoo.load('mini-linear', zoo='mini')"
EVALUATED = "segzoo.evaluate('mini-linear', images=1, zoo='mini')"
BACKBONE = "segzoo.backbone('mini-vit', zoo='mini')"
EXPORTED = "segzoo.export('mini-linear', 'onnx', form='onnx', zoo='mini')"
NEEDED = {
    "torch": ([PREDICT, SMOKE, REPORT, ONNX], [PREDICTED, LOADED, EVALUATED, BACKBONE, EXPORTED]),
    "PIL": ([PREDICT, SMOKE, REPORT], [PREDICTED]),
    "jax": ([["verify", "mini-vit", "--require", "numbers"]], []),
    "matplotlib": ([REPORT], []),
    "jinja2": ([REPORT], []),
    "duckdb": ([["augreg", "query"]], []),
    "gradio": ([["view", "mini-linear"]], []),
    "onnx": ([ONNX], [EXPORTED]),
    "onnxscript": ([ONNX], [EXPORTED]),
}
WITHOUT = """
import json, sys
library, commands, calls = json.loads(sys.argv[1])
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == library:
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)
sys.meta_path.insert(0, Absent())
from click.testing import CliRunner
import segzoo
from segzoo.cli import main
from segzoo.errors import EnvironmentFault
for words in commands:
    done = CliRunner().invoke(main, ["--zoo", "mini", *words])
    print(json.dumps([done.exit_code, done.output]))
for call in calls:
    try:
        eval(call)
    except EnvironmentFault as error:
        print(json.dumps([8, f"{error.message}: {error.hint}"]))
"""


@pytest.mark.parametrize("library", slow_after(2, NEEDED))
def test_without_a_library_the_line_to_type_is_said(library, tmp_path):
    commands, calls = NEEDED[library]
    given = json.dumps([library, commands, calls])
    done = subprocess.run([sys.executable, "-c", WITHOUT, given], capture_output=True, text=True, cwd=tmp_path)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [code for code, _ in answers] == [8] * len(commands + calls), done.stderr
    for _, said in answers:
        assert f"{LIBRARIES[library].title} is not installed" in said
        assert f"pip install 'segzoo[{LIBRARIES[library].extra}]'" in said
        assert "bug" not in said


def test_every_library_of_an_extra_is_in_the_table():
    from importlib.metadata import requires

    from packaging.requirements import Requirement

    ours = {"eval", "jax", "report", "export", "peers", "scale", "view"}
    found = {one.name for line in requires("segzoo") if (one := Requirement(line)).marker and set(str(one.marker).split('"')) & ours}
    assert {title.title.lower() for title in LIBRARIES.values()} == found - {"segzoo"}


def test_several_that_lack_are_one_line(monkeypatch):
    monkeypatch.setattr("segzoo.extras.find_spec", lambda name: None)
    fault = lacking("torch", "PIL", "matplotlib")
    assert (fault.message, fault.hint) == ("torch and Pillow and matplotlib are not installed", "pip install 'segzoo[eval,report]'")


def test_a_library_that_does_not_load_is_no_bug_and_our_own_names_are():
    broken = missing(ImportError("libcudart.so.12: cannot open shared object file", name="torch._C"))
    assert isinstance(broken, EnvironmentFault)
    assert broken.message == "torch cannot be loaded: libcudart.so.12: cannot open shared object file"
    assert missing(ModuleNotFoundError("No module named 'yaml'", name="yaml")).message == "yaml is not installed"
    assert missing(ImportError("cannot import name 'x' from 'segzoo.spec'", name="segzoo.spec")) is None
    assert missing(ModuleNotFoundError("No module named 'PIL'")).message == "Pillow is not installed"
    assert missing(ImportError("something")) is None


def test_a_name_that_is_blocked_counts_as_not_here(monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    assert not installed("jinja2")
    assert installed("click")


BASE = """
import sys
class Refused:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {libraries}:
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)
sys.meta_path.insert(0, Refused())
from click.testing import CliRunner
from segzoo.cli import main
for words in ("fetch --all", "convert mini-vit vit.pth", "inspect vit.pth", "verify --all", "receipt check mini-vit", "manifest check"):
    done = CliRunner().invoke(main, ["--zoo", "mini", *words.split()])
    assert done.exit_code == 0, (words, done.output)
"""


def test_the_base_install_is_enough_for_all_but_pictures_and_numbers(tmp_path):
    done = subprocess.run([sys.executable, "-c", BASE.replace("{libraries}", str(set(LIBRARIES)))], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
