"""`segzoo completion`: what a shell needs to complete commands, options and the names in the zoo."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click
from click.shell_completion import BashComplete, CompletionItem, FishComplete, ZshComplete

_OF_FILES = (".npz", ".pth", ".pt", ".safetensors", ".onnx", ".png", ".jpg", ".html", ".md", ".json")


@click.command(short_help="Print the shell's completion script.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script that makes a shell complete segzoo's commands, options and names.

    \b
    bash  eval "$(segzoo completion bash)"    in ~/.bashrc
    zsh   eval "$(segzoo completion zsh)"     in ~/.zshrc
    fish  segzoo completion fish | source     in ~/.config/fish/config.fish
    """
    kind = {"bash": Bash, "zsh": Zsh, "fish": Fish}[shell]
    click.echo(kind(context.find_root().command, {}, "segzoo", "_SEGZOO_COMPLETE").source())


class Bash(BashComplete):
    """click's script looks for files only where nothing else fits; with this one files stand beside names, as in zsh and fish."""

    source_template = BashComplete.source_template.replace(
        "COMPREPLY=()\n            compopt -o default",
        'COMPREPLY=($(compgen -f -- "$2"))\n            compopt -o default -o filenames',
    )


class Zsh(ZshComplete):
    """click's script drops an empty word, and with it loses count of what comes after: names beside files."""

    source_template = ZshComplete.source_template.replace("in ${response}; do", 'in "${response[@]}"; do')


class Fish(FishComplete):
    """click's script ends a description at its first comma."""

    source_template = FishComplete.source_template.replace('string split ","', 'string split -m 1 ","')


def with_files(incomplete: str, items: list[CompletionItem]) -> list[CompletionItem]:
    """The files that the shell knows, and these. Files come first: at them click's script for bash forgets what came before."""
    return [CompletionItem(incomplete, type="file"), *items]


class ZooName(click.ParamType[str]):
    """A name in the zoo; the shell completes it. `kinds` are the parts of the manifest it may be from, `or_file` whether a
    file may stand in its place.
    """

    name = "name"

    def __init__(self, *kinds: str, or_file: bool = False):
        self.kinds, self.or_file = kinds, or_file

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        items = [CompletionItem(name, help=title) for name, title in self._entries(ctx) if name.startswith(incomplete)]
        return with_files(incomplete, items) if self.or_file else items

    def _entries(self, ctx: click.Context) -> list[tuple[str, str]]:
        from segzoo.errors import SegzooError
        from segzoo.zoo.zoo import open_zoo

        try:
            manifest = open_zoo(ctx.find_root().params.get("zoo")).manifest
        except SegzooError:  # a shell that completes has nowhere to show it
            return []
        return [(name, entry.title) for kind in self.kinds for name, entry in getattr(manifest, kind).items()]


class ManifestPath(click.Path):
    """A manifest: one of those that come with segzoo, or a file. A list of them in the environment is one of paths."""

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from segzoo.manifest.merge import PACKAGED

        return with_files(incomplete, [CompletionItem(name) for name in PACKAGED if name.startswith(incomplete)])


class OutputFolder(click.Path):
    """A folder to write in, made when something is written. What cannot be one, or is called as a file is, is refused at once."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        from segzoo.atomic import in_the_way

        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        try:
            file = in_the_way(path)
        except OSError as error:
            self.fail(f"{value}: {error.strerror}", param, ctx)
        if file:
            self.fail(f"a folder is needed to write in; {file} is a file", param, ctx)
        if path.suffix.lower() in _OF_FILES and not path.is_dir():
            self.fail(f"a folder is needed to write in, and '{value}' is called as a file is", param, ctx)
        return path
