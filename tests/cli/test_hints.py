"""Every command that a message of segzoo names is there, with the options that it gives: a hint is tried before it is printed."""

import ast
import re
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import segzoo
from segzoo.cli import main

ROOT = Path(segzoo.__file__).parent
COMMAND = re.compile(r"\bsegzoo ((?:--zoo \S+ |\{\})*)([a-z]+(?: [a-z]+)?)((?: (?!--?[ ,.])[^ ;,:()`]+)*)")
VERBS = re.compile(
    "cannot|converts|did|does|has|itself|knows|means|needs|never|reads|records|runs|says|signs|takes|turns|were|writes|wrote"
)  # of prose


def texts(tree):
    """The texts of a module, an f-string as one text with {} in its gaps; docstrings and help too."""
    parts = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts:
            yield node.value


def named():
    for path in sorted(ROOT.rglob("*.py")):
        for text in texts(ast.parse(path.read_text())):
            for _, words, rest in COMMAND.findall(text):
                if not VERBS.fullmatch(words.split()[0]):
                    yield words.split(), re.findall(r"(?<!\S)(--?[a-z][a-z-]*)", rest)


def command(words):
    """The command that the words begin with; None where there is none."""
    found = main.commands.get(words[0])
    if isinstance(found, click.Group) and len(words) > 1 and words[1] in found.commands:
        return found.commands[words[1]]
    return found


NAMED = sorted({(" ".join(words), tuple(options)) for words, options in named()})


def test_messages_name_commands():
    assert len(NAMED) > 40


@pytest.mark.parametrize(("words", "options"), NAMED)
def test_a_command_that_a_message_names_is_there(words, options):
    found = command(words.split())
    assert found, words
    assert set(options) <= {"--help", *(name for parameter in found.params for name in parameter.opts)}, words


@pytest.mark.parametrize(
    ("earlier", "today"),
    [
        ("cache ls", "store ls"),
        ("cache verify", "store verify"),
        ("adopt FILE", "store add FILE"),
        ("bundle create a.tar NAME", "store bundle a.tar NAME"),
        ("bundle --zoo mini load a.tar", "store load a.tar"),
    ],
)
def test_earlier_names_stand_for_those_of_today_and_are_not_shown(earlier, today):
    old, new = (CliRunner().invoke(main, [*words.split(), "--help"]) for words in (earlier, today))
    assert (old.exit_code, old.stdout) == (0, new.stdout)
    assert f" {' '.join(today.split()[:2])} [OPTIONS]" in new.stdout
    shown = CliRunner().invoke(main, ["--help"]).stdout + CliRunner().invoke(main, ["store", "--help"]).stdout
    assert not re.search(r"^  (cache|adopt|bundle create|create) ", shown, re.MULTILINE)
