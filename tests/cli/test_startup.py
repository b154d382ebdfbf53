"""What a call loads: `--help` and the shell no command, an early error no pydantic; and the table holds to the commands."""

import importlib
import json
import pkgutil
import subprocess
import sys

import click
import pytest

import segzoo.cli.commands
from segzoo.cli import main
from segzoo.cli.table import TABLE

CALL = """
import sys
from segzoo.cli import main
try:
    main(sys.argv[1:], prog_name="segzoo")
except SystemExit as end:
    loaded = [*sys.modules]
    import json
    print(json.dumps([end.code, loaded]))
"""
COMPLETED = """
import json, sys
from click.shell_completion import ShellComplete
from segzoo.cli import main
found = ShellComplete(main, {}, "segzoo", "_SEGZOO_COMPLETE").get_completions([], sys.argv[1])
print(json.dumps([[[one.value, one.help] for one in found], [*sys.modules]]))
"""


def answered(code, *arguments):
    done = subprocess.run([sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, check=True)
    answer, loaded = json.loads(done.stdout.splitlines()[-1])
    return answer, {module for module in loaded if module.startswith("segzoo.cli.commands.")}, set(loaded), done.stderr


@pytest.mark.parametrize("name", TABLE)
def test_the_table_says_what_the_command_says(name):
    command = main.commands[name]
    assert (command.name, command.short_help) == (name, TABLE[name].line)


def test_every_command_is_in_the_table():
    modules = [importlib.import_module(f"segzoo.cli.commands.{one.name}") for one in pkgutil.iter_modules(segzoo.cli.commands.__path__)]
    commands = [(module, one) for module in modules for one in vars(module).values() if isinstance(one, click.Command)]
    there = {id(one): one for module, one in commands if one.callback.__module__ == module.__name__}  # others are shared by groups
    below = {id(one) for group in there.values() if isinstance(group, click.Group) for one in group.commands.values()}
    assert sorted(one.name for number, one in there.items() if number not in below) == sorted(TABLE)


def test_help_imports_no_command():
    code, commands, loaded, _ = answered(CALL, "--help")
    assert (code, commands) == (0, set())
    assert not loaded & {"json", "pathlib", "traceback"}  # each is worth some percent of the start


def test_a_command_imports_itself_alone():
    assert answered(CALL, "explain", "4")[:2] == (0, {"segzoo.cli.commands.explain"})


def test_the_shell_completes_names_of_commands_without_importing_one():
    found, commands, _, _ = answered(COMPLETED, "in")
    assert found == [["info", TABLE["info"].line], ["inspect", TABLE["inspect"].line]]
    assert commands == set()
    assert ["--zoo", main.params[0].help] in answered(COMPLETED, "--z")[0]


@pytest.mark.parametrize(
    "arguments",
    [("convert", "nope.npz", "x.pth"), ("convert", "no/such", "x.pth"), ("inspect", "nope.safetensors"), ("diff", "nope.pth", "other.pth")],
)
def test_a_file_that_is_not_there_is_said_before_any_manifest_is_opened(arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, loaded, said = answered(CALL, *arguments)
    assert (code, said) == (7, f"error: {arguments[1]}: no such file\nhint: a name of the zoo stands for its file: segzoo list shows them\n")
    assert not loaded & {"pydantic", "yaml", "torch", "requests"}


def test_what_may_be_a_name_or_an_address_is_looked_up_in_the_zoo():
    code, _, _, said = answered(CALL, "--zoo", "mini", "inspect", "mini-vot")
    assert (code, "did you mean mini-vit?" in said) == (7, True)
    code, _, _, said = answered(CALL, "--zoo", "mini", "convert", "https://weights.example/vit.npz", "x.pth")
    assert (code, "it is an address" in said) == (7, True)
