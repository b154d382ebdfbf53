"""`segzoo completion`: what a shell needs to complete commands, options and the names in the zoo."""

from __future__ import annotations

import click
from click.shell_completion import BashComplete, FishComplete, ZshComplete


@click.command(short_help="Print the shell's completion script.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def completion(context: click.Context, shell: str, as_json: bool) -> None:
    """Print the script that makes a shell complete segzoo's commands, options and names.

    \b
    bash  eval "$(segzoo completion bash)"    in ~/.bashrc
    zsh   eval "$(segzoo completion zsh)"     in ~/.zshrc
    fish  segzoo completion fish | source     in ~/.config/fish/config.fish
    """
    from segzoo.cli.terminal.answer import show_json
    from segzoo.cli.terminal.show import put

    kind = {"bash": Bash, "zsh": Zsh, "fish": Fish}[shell]
    script = kind(context.find_root().command, {}, "segzoo", "_SEGZOO_COMPLETE").source()
    if as_json:
        show_json({"shell": shell, "script": script})
    else:
        put(*script.split("\n"))


class Bash(BashComplete):
    """click's script offers files only if nothing else fits. This one offers files and names together, as zsh and fish do."""

    source_template = BashComplete.source_template.replace(
        "COMPREPLY=()\n            compopt -o default",
        'COMPREPLY=($(compgen -f -- "$2"))\n            compopt -o default -o filenames',
    )


class Zsh(ZshComplete):
    """click's script drops an empty word and then miscounts the words after it, so that files and names get mixed up."""

    source_template = ZshComplete.source_template.replace("in ${response}; do", 'in "${response[@]}"; do')


class Fish(FishComplete):
    """click's script ends a description at its first comma."""

    source_template = FishComplete.source_template.replace('string split ","', 'string split -m 1 ","')
