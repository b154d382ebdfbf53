"""Who may import whom, what `--help` may load, and that no code path unpickles."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from segzoo.cli import main

PACKAGE = Path(__file__).parent.parent / "segzoo"
ORDER = "ground | layouts formats datasets | models manifest conversion | store evaluation | zoo | evidence | scale | publishing | api cli"
"""Left never imports right; within a column all is allowed, but for circles."""
COLUMN = {room: column for column, rooms in enumerate(ORDER.split(" | ")) for room in rooms.split()}
FILES = {".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path for path in sorted(PACKAGE.rglob("*.py"))}
ENTRANCES = ("segzoo", "segzoo.__main__")  # which hand out names, and start the command line


def room(module: str) -> str:
    first = module.split(".")[1]
    return first if first in COLUMN else "ground"


def imported(path: Path) -> Iterator[str]:
    """The modules of segzoo that a file imports, at any depth of its code, but not for annotations alone."""
    tree = ast.parse(path.read_text())
    for block in [node for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)]:
        block.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "segzoo":
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from ([name for name in inner if name in FILES] or [node.module])
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in FILES)


IMPORTS = {module: set(imported(path)) - {module} for module, path in FILES.items() if module not in ENTRANCES}


@pytest.mark.parametrize("module", IMPORTS)
def test_left_never_imports_right(module):
    for other in IMPORTS[module]:
        assert COLUMN[room(other)] <= COLUMN[room(module)], f"{module} imports {other}"


def test_no_circle():
    left = {module: others & IMPORTS.keys() for module, others in IMPORTS.items()}
    while free := {module for module, others in left.items() if not others & left.keys()}:
        left = {module: others for module, others in left.items() if module not in free}
    assert not left


def test_the_networks_know_the_tables_only():
    known = {room(other) for module in IMPORTS if room(module) == "models" for other in IMPORTS[module]}
    assert known <= {"ground", "layouts", "models"}


@pytest.mark.parametrize("of", ["formats", "datasets"])
def test_files_and_data_sets_know_no_layout(of):
    assert not {room(other) for module in IMPORTS if room(module) == of for other in IMPORTS[module]} - {"ground", of}


@pytest.mark.parametrize("path", FILES.values(), ids=FILES)
def test_nothing_unpickles(path):
    source = ast.parse(path.read_text())
    names = {alias.name for node in ast.walk(source) if isinstance(node, ast.Import) for alias in node.names}
    calls = {ast.unparse(node.func) for node in ast.walk(source) if isinstance(node, ast.Call)}
    assert not names & {"pickle", "_pickle", "dill", "cloudpickle", "joblib"}
    assert not calls & {"torch.load", "np.load", "eval", "exec"}


def loaded_by(code: str, *arguments: str) -> set[str]:
    """The modules that a program has loaded at its end."""
    done = subprocess.run([sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)", *arguments], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


COMMAND = "import sys; sys.argv = ['segzoo', *sys.argv[1:]]\nfrom segzoo.cli import main\ntry: main()\nexcept SystemExit: pass"


@pytest.mark.parametrize("command", ["", *main.commands])
def test_help_loads_nothing_heavy(command):
    loaded = loaded_by(COMMAND, *filter(None, [command]), "--help")
    assert "click" in loaded
    assert not loaded & {"numpy", "torch", "jax", "requests", "pydantic", "einops", "yaml", "rich.console"}


def test_list_loads_no_arrays():
    assert not loaded_by(COMMAND, "--zoo", "mini", "list") & {"numpy", "torch", "jax", "requests"}


def test_verify_that_only_reads_receipts_loads_no_torch():
    """The device is said, as a machine with a GPU has to ask torch for it."""
    words = ("--zoo", "mini", "verify", "mini-linear", "--images", "1", "--device", "cpu")
    assert {"torch", "PIL"} <= loaded_by(COMMAND, *words)
    assert not loaded_by(COMMAND, *words) & {"torch", "jax"}


@pytest.mark.parametrize(("of", "without"), [("layouts", {"numpy", "torch", "jax", "pydantic"}), ("conversion", {"torch", "jax", "pydantic"})])
def test_a_room_does_without(of, without):
    names = "; ".join(f"import {module}" for module in IMPORTS if room(module) == of)
    assert not loaded_by(names) & without


def test_the_package_shows_its_public_names_and_its_version():
    import importlib.metadata

    import segzoo

    assert dir(segzoo) == sorted([*segzoo.__all__, "__version__"])
    assert segzoo.__version__ == importlib.metadata.version("segzoo")
    assert all(callable(getattr(segzoo, name)) for name in segzoo.__all__)
    assert not set(segzoo.__all__) & COLUMN.keys()  # a room of this name would hide it, once it is imported
