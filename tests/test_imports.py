"""Who may import whom, what `--help` may load, and that no code path unpickles."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from segzoo.cli import main

PACKAGE = Path(__file__).parent.parent / "segzoo"
# Left never imports right; within a column all is allowed.
ORDER = [
    {"errors", "__init__"},
    {
        *("atomic", "fields", "strict_yaml", "layouts", "geometry", "configuration", "standalone", "positions", "miou", "jsontext", "partial"),
        *("checksums", "transfer", "archive", "legible"),
    },
    {"detection", "remap", "zoo", "faults", "formats", "recorded", "store", "receipt", "interval", "verdict", "merging", "spelling", "cell"},
    {"computed", "delivery", "download", "adopt", "bundle", "conversion", "inspection", "difference", "model", "reference", "datasets"},
    {"manifest", "reading"},
    {"loading", "doctor", "graph", "modelcard", "review", "addition", "proposal"},
    {"precision", "world", "inference", "parity", "evaluation", "measurement", "prediction", "recheck", "ladder", "outcome", "scoring", "verify"},
    {"gallery", "report", "plots", "statement", "publication", "library"},
    {"cli"},
    {"__main__"},
]
COLUMN = {module: column for column, modules in enumerate(ORDER) for module in modules}
FILES = sorted(PACKAGE.rglob("*.py"))


def imported(path):
    """The modules of segzoo that a file imports, at any depth of its code."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "segzoo":
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("segzoo."):
            yield node.module.split(".")[1]
        elif isinstance(node, ast.Import):
            yield from (alias.name.split(".")[1] for alias in node.names if alias.name.startswith("segzoo."))


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(PACKAGE)) for path in FILES])
def test_left_never_imports_right(path):
    module = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    assert module in COLUMN, f"{module}: say in ORDER where it stands"
    for other in imported(path):
        assert COLUMN[other] <= COLUMN[module], f"{module} imports {other}"
        assert {module, other} != {"model", "reference"}, "they meet in parity only"


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(PACKAGE)) for path in FILES])
def test_nothing_unpickles(path):
    source = ast.parse(path.read_text())
    names = {alias.name for node in ast.walk(source) if isinstance(node, ast.Import) for alias in node.names}
    calls = {ast.unparse(node.func) for node in ast.walk(source) if isinstance(node, ast.Call)}
    assert not names & {"pickle", "_pickle", "dill", "cloudpickle", "joblib"}
    assert not calls & {"torch.load", "np.load", "eval", "exec"}


def modules_after(*arguments):
    code = "import sys; sys.argv = ['segzoo', *sys.argv[1:]]\nfrom segzoo.cli import main\ntry: main()\nexcept SystemExit: pass\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("command", ["", *main.commands])
def test_help_loads_nothing_heavy(command):
    loaded = modules_after(*filter(None, [command]), "--help")
    assert "click" in loaded
    assert not loaded & {"numpy", "torch", "jax", "requests", "pydantic", "einops", "yaml", "rich.console"}


def test_list_loads_no_arrays():
    assert not modules_after("--zoo", "mini", "list") & {"numpy", "torch", "jax", "requests"}


def test_the_package_shows_its_public_names_and_its_version():
    import importlib.metadata

    import segzoo

    assert dir(segzoo) == sorted([*segzoo.__all__, "__version__"])
    assert segzoo.__version__ == importlib.metadata.version("segzoo")
