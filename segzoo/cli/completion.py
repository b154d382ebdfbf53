"""`segzoo completion`: what a shell needs to complete commands, options and the names in the zoo."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem, get_completion_class


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
    kind = get_completion_class(shell)
    assert kind is not None  # click knows all three
    click.echo(kind(context.find_root().command, {}, "segzoo", "_SEGZOO_COMPLETE").source())


class Name(click.ParamType[str]):
    """A name in the zoo; the shell completes it. `kinds` are the parts of the manifest it may be from, `or_file` whether a
    file may stand in its place.
    """

    name = "name"

    def __init__(self, *kinds: str, or_file: bool = False):
        self.kinds, self.or_file = kinds, or_file

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from segzoo.errors import SegzooError
        from segzoo.manifest import open_manifest

        try:
            zoo = open_manifest(ctx.find_root().params.get("zoo")).zoo
        except SegzooError:  # a shell that completes has nowhere to show it
            return []
        found = [(name, entry.title) for kind in self.kinds for name, entry in getattr(zoo, kind).items()]
        items = [CompletionItem(name, help=title) for name, title in found if name.startswith(incomplete)]
        return [*items, CompletionItem(incomplete, type="file")] if self.or_file else items
