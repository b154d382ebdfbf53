"""The documentation does what it says: pages are followed block by block, excerpts are in the source, commands are current.

What a block is, is said by its fence: `console` is run and what it shows must be shown; `sh` must be commands that
there are; `diff` changes a file, `title="..."` names a file; `python` is run. `...` stands for anything.
"""

import ast
import importlib.util
import inspect
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest
from click.testing import CliRunner

import segzoo
from segzoo.cli import main
from segzoo.cli.commands.explain import MEANINGS
from segzoo.manifest.document import packaged

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = {str(path.relative_to(ROOT)): path.read_text() for path in (*sorted(DOCS.rglob("*.md")), ROOT / "README.md")}
FENCE = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    kind: str
    title: str
    text: str


def blocks(text: str) -> Iterator[Block]:
    return (Block(*found) for found in FENCE.findall(text))


def commands(block: Block) -> Iterator[tuple[str, str]]:
    """Each command of a console block, and what it shows."""
    for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        command, _, shown = part.partition("\n")
        yield command, shown.strip()


def in_process(command: str) -> tuple[int, str]:
    done = CliRunner().invoke(main, shlex.split(command)[1:], catch_exceptions=False)
    return done.exit_code, done.stdout + done.stderr


def in_shell(command: str) -> tuple[int, str]:
    """A command run in the working folder, whose own segzoo comes first if there is one."""
    shims = Path("bin").resolve()
    shims.mkdir(exist_ok=True)
    for name, what in {"python": "", "segzoo": "-m segzoo", "pytest": "-m pytest"}.items():
        (shims / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {what} "$@"\n')
        (shims / name).chmod(0o755)
    paths = [str(Path.cwd()), str(ROOT)] if Path("segzoo").is_dir() else [str(ROOT)]
    environment = {**os.environ, "PATH": f"{shims}:{os.environ['PATH']}", "PYTHONPATH": os.pathsep.join(paths), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, shell=True, env=environment, capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout + done.stderr


def amended(text: str, change: str) -> str:
    """A text after a change that is written as a diff without line numbers."""
    for hunk in re.split(r"^@@\n", change, flags=re.MULTILINE)[1:]:
        lines = hunk.splitlines()
        old, new = ("\n".join(line[1:] for line in lines if line[:1] != sign) for sign in "+-")
        assert text.count(old) == 1, f"not there just once: {old}"
        text = text.replace(old, new)
    return text


def shows(found: str, expected: str) -> bool:
    plain = "\n".join(line.rstrip() for line in found.splitlines())
    return re.search(re.escape(expected).replace(re.escape("..."), ".*?"), plain, re.DOTALL) is not None


def follow(text: str, code: int = 0) -> None:
    """Does, in the working folder, what the blocks of a page say, in order; each of segzoo's commands must end with this exit code."""
    amends = any(block.kind == "diff" for block in blocks(text))
    names: dict[str, object] = {}
    for block in blocks(text):
        if block.kind == "diff":
            Path(block.title).write_text(amended(Path(block.title).read_text(), block.text))
        elif block.title:
            Path(block.title).write_text(block.text)
        elif block.kind == "python":
            exec(compile(block.text, "<page>", "exec"), names)
        elif block.kind == "console":
            for command, shown in commands(block):
                run = in_process if command.startswith("segzoo ") and not amends else in_shell
                found, output = run(command)
                expected = code if command.startswith("segzoo ") else 0
                assert found == expected, f"{command}\n{output}"
                assert shows(output, shown), f"{command}\n{output}\ndoes not show\n{shown}"


@pytest.mark.parametrize("page", ["concepts/receipts", "add-a-model", "library"])
def test_a_page_does_what_it_says(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    follow((DOCS / f"{page}.md").read_text())


@pytest.mark.parametrize("page", ["add-a-layout", "add-a-data-set"])
def test_what_a_page_changes_is_in_the_source(page):
    """Quickly; whether the changes do what the page says is seen in a copy."""
    files: dict[str, str] = {}
    for block in blocks(PAGES[f"docs/{page}.md"]):
        if block.kind == "diff":
            text = files.get(block.title) or (ROOT / block.title).read_text()
            files[block.title] = amended(text, block.text)
    assert files


@pytest.mark.slow
@pytest.mark.parametrize("page", ["add-a-layout", "add-a-data-set"])
def test_a_page_that_changes_segzoo_does_what_it_says_to_a_copy(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "segzoo", tmp_path / "segzoo", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "tests" / "layouts").mkdir(parents=True)
    for name in ("zoo.yaml", "pyproject.toml", "tests/conftest.py", "tests/support.py", "tests/layouts/test_tables.py"):
        shutil.copy(ROOT / name, tmp_path / name)
    follow((DOCS / f"{page}.md").read_text())
    written = json.loads((tmp_path / "segzoo" / "zoo.schema.json").read_text())
    assert written != json.loads(packaged("zoo.schema.json").read_text())


TROUBLES = dict(re.findall(r"^## (\d+): .*?\n(.*?)(?=^## |\Z)", PAGES["docs/troubleshooting.md"], re.MULTILINE | re.DOTALL))


def test_troubleshooting_has_every_exit_code_by_its_name():
    headings = re.findall(r"^## (\d+): (.+)$", PAGES["docs/troubleshooting.md"], re.MULTILINE)
    assert headings == [(str(code), title) for code, (title, _) in MEANINGS.items()]


@pytest.mark.parametrize("code", sorted(TROUBLES, key=int))
def test_the_errors_on_the_page_are_those_that_segzoo_prints(code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    follow(TROUBLES[code], int(code))


def written_by(name: str) -> ModuleType:
    """The program in docs/ that writes a page."""
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_the_zoo_and_the_readmes_table_are_current():
    """If not: python docs/zoo.py"""
    module = written_by("zoo")
    assert PAGES["docs/zoo.md"] == module.page()
    assert PAGES["README.md"] == module.readme()
    assert all(f"| `{name}` |" in PAGES["docs/zoo.md"] for name in (*module.SHIPPED.models, *module.SHIPPED.backbones))


def test_the_page_of_checkpoints_is_current():
    """If not: python docs/checkpoints.py"""
    module = written_by("checkpoints")
    assert PAGES["docs/checkpoints.md"] == module.page()
    listed = re.findall(r"^\| (?:`([^`]+)`)? \| `([^`]+\.pth)` \|", PAGES["docs/checkpoints.md"], re.MULTILINE)
    files = [fact["checkpoint"]["name"] for fact in module.FACTS]
    assert list(dict.fromkeys(file for _, file in listed)) == files
    assert {name for name, _ in listed} - {""} == {name for name, model in module.SHIPPED.items() if model.checkpoint.name in files}


def test_the_page_of_commands_is_current():
    """If not: python docs/commands.py"""
    module = written_by("commands")
    assert PAGES["docs/commands.md"] == module.page()
    assert {f"segzoo {name}" for name in main.commands} <= {path for path, _ in module.commands(main, "segzoo")}


def named(page: str) -> Iterator[str]:
    """The commands of segzoo that a page names: within lines, and in blocks, where these are not run."""
    text = PAGES[page]
    for block in blocks(text):
        if block.kind == "sh" or page in ("README.md", "docs/guide.md"):
            yield from re.findall(r"(?:^|&& |\$ )(segzoo [^|&>\n]*)", block.text, re.MULTILINE)
    yield from re.findall(r"`(segzoo [a-z-](?:(?! \.\.\.)[^`\n])*)`", FENCE.sub("", text))


@pytest.mark.parametrize("page", PAGES)
def test_every_command_that_a_page_names_is_there(page):
    for command in named(page):
        words = [word for word in shlex.split(command, comments=True)[1:] if word != "--help"]
        done = CliRunner().invoke(main, [*words, "--help"])
        assert done.exit_code == 0, f"{command}: {done.output}"


@pytest.mark.parametrize("page", [page for page in PAGES if "concepts/" in page or "protocol" in page or "family" in page])
def test_excerpts_are_in_the_source(page):
    def flat(text: str) -> str:
        return re.sub(r"\s+", " ", text).strip()

    for block in blocks(PAGES[page]):
        if block.title:
            assert flat(block.text) in flat((ROOT / block.title).read_text())


@pytest.mark.parametrize("page", PAGES)
def test_functions_that_a_page_names_are_in_the_file_that_it_names(page):
    for file, names in re.findall(r"`(segzoo/[a-z_/0-9]+\.py)`((?:, `[\w.]+`)*)", PAGES[page]):
        tree = ast.walk(ast.parse((ROOT / file).read_text()))
        defined = {node.name for node in tree if isinstance(node, ast.FunctionDef | ast.ClassDef)}
        assert {part for name in re.findall(r"`([\w.]+)`", names) for part in name.split(".")} <= defined, file


def test_receipts_are_described_field_by_field():
    schema = json.loads(packaged("receipt.schema.json").read_text())
    for field in (*schema["properties"], *schema["$defs"]["ScoreCheck"]["properties"], *schema["$defs"]["ModeFacts"]["properties"]):
        assert f"`{field}`" in PAGES["docs/concepts/receipts.md"], field
    assert f"`{schema['properties']['schema']['const']}`" in PAGES["docs/concepts/receipts.md"]


def test_the_library_page_gives_the_signatures_that_there_are():
    shown = {}
    for block in blocks(PAGES["docs/library.md"]):
        if block.kind == "text":
            call = block.text.removeprefix("segzoo.").partition(" -> ")[0]
            function = ast.parse(f"def {call}: ...").body[0]
            shown[function.name] = f"({ast.unparse(function.args)})"
    assert sorted(shown) == segzoo.__all__
    for name, given in shown.items():
        bare = [one.replace(annotation=inspect.Parameter.empty) for one in inspect.signature(getattr(segzoo, name)).parameters.values()]
        assert re.sub(r"\s+", " ", given) == str(inspect.Signature(bare)), name


def test_relative_links_lead_somewhere():
    for page, text in PAGES.items():
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", FENCE.sub("", text)):
            assert ((ROOT / page).parent / target).exists(), f"{page}: {target}"
