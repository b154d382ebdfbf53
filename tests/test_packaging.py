"""Packaged files are found in a checkout and in a wheel alike, and the README says what is true."""

import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
from hatchling.builders.sdist import SdistBuilder
from hatchling.builders.wheel import WheelBuilder
from packaging.requirements import Requirement

from segzoo.cli import EPILOG, main
from segzoo.manifest.document import packaged

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_a_checkout_finds_its_own_files():
    assert packaged("zoo.yaml") == ROOT / "zoo.yaml"
    assert packaged("mini/zoo.yaml") == ROOT / "segzoo" / "mini" / "zoo.yaml"


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    """The wheel, unpacked as an installer does it."""
    folder = tmp_path_factory.mktemp("wheel")
    wheel = next(WheelBuilder(str(ROOT)).build(directory=str(folder)))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


@pytest.mark.slow
def test_a_wheel_finds_its_own_files(unpacked, tmp_path):
    def run(*arguments):
        environment = {**os.environ, "PYTHONPATH": str(unpacked)}
        return subprocess.run([sys.executable, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True).stdout

    shipped = run("-c", "from segzoo.manifest.document import packaged; print(packaged('zoo.yaml'))").strip()
    assert Path(shipped) == unpacked / "segzoo" / "zoo.yaml"
    assert (unpacked / "segzoo" / "zoo.yaml").read_bytes() == (ROOT / "zoo.yaml").read_bytes()
    assert "vit-b-mask" in run("-m", "segzoo", "list")
    assert "3 verified" in run("-m", "segzoo", "--zoo", "mini", "verify", "--all", "--images", "1")


@pytest.mark.slow
def test_the_wheel_holds_the_package_and_nothing_else(unpacked):
    assert {path.name.split("-")[0] for path in unpacked.iterdir()} == {"segzoo"}
    assert (unpacked / "segzoo" / "py.typed").exists()
    assert {path.name for path in (unpacked / "segzoo").glob("*.schema.json")} == {"zoo.schema.json", "receipt.schema.json", "output.schema.json"}
    assert (unpacked / "segzoo" / "zoo.template.yaml").exists()
    assert not list(unpacked.rglob("*.pyc"))


@pytest.mark.slow
def test_the_source_distribution_holds_what_its_tests_read(tmp_path):
    with tarfile.open(next(SdistBuilder(str(ROOT)).build(directory=str(tmp_path)))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {
        "README.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "zoo.yaml",
        "mkdocs.yml",
        "docs/index.md",
        "docs/commands.py",
        "examples/quickstart.py",
    } <= names


@pytest.mark.parametrize("command", sorted(main.commands))
def test_every_command_stands_in_the_guide(command):
    assert re.search(rf"^\$ segzoo (--zoo mini )?{command}", (ROOT / "docs" / "guide.md").read_text(), re.MULTILINE)


def test_the_readme_is_short():
    assert len(README.split()) <= 1500


def test_the_readme_and_the_help_give_the_same_exit_codes():
    codes = re.findall(r"\b(\d+) [a-z]", EPILOG.split("Start here")[0])
    assert codes == re.findall(r"\b(\d+) [a-z]", README.split("## Exit codes")[1].split("##")[0])
    assert codes == ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "130"]


def test_the_gate_runs_the_readmes_test_command():
    commands = re.findall(r"^pip install .*pytest$", README, re.MULTILINE)
    assert commands == ['pip install -c constraints.txt -e ".[test]" && pytest']
    gate = (ROOT / ".ci" / "run").read_text()
    assert "grep -m 1 -E '^pip install .*pytest$' README.md" in gate
    assert '    eval "$tests"\n    pytest -m slow\n' in gate


def test_the_lowest_versions_that_the_gate_installs_are_those_that_pyproject_allows():
    """Pillow stands for the extras: torch is too large to be installed twice, and no test that needs no torch needs the others."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"], *project["optional-dependencies"]["eval"]]
    bounds = {one.name: {(part.operator, part.version) for part in one.specifier} for one in map(Requirement, lines)}
    minima = [Requirement(line) for line in (ROOT / "minima.txt").read_text().splitlines() if not line.startswith("#")]
    lowest = {one.name: {(">=", part.version) for part in one.specifier} for one in minima}
    assert bounds | lowest == bounds
    assert bounds.keys() - lowest.keys() == {"torch"}
