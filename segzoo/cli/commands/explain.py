"""`segzoo explain`: what an exit code means, and what to do next."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem

from segzoo.errors import NotFoundError

MEANINGS = {
    0: ("ok", "Nothing failed. With verify, look whether rungs were skipped: --require RUNG makes that an error."),
    1: ("a bug in segzoo", "An error that segzoo did not foresee. Run the command again with -vv before its name, and report the traceback."),
    2: (
        "usage",
        "The call or the manifest is wrong. segzoo COMMAND --help shows what a command takes; a manifest's fault is named by file, line and field.",
    ),
    3: (
        "network",
        "No address delivered. What has arrived is kept: the same command goes on from there. segzoo doctor tries each host; --mirror URL names "
        "another address, and segzoo store bundle carries files from a machine with a network.",
    ),
    4: (
        "integrity",
        "The bytes are not what they should be. Another hash than the manifest's or the pinned one, a damaged or unsafe file, or a receipt that "
        "contradicts itself. Do not use the file. Where the server's own checksum fits, a third party's hash may be wrong: --pin SHA256.",
    ),
    5: (
        "conversion",
        "Names, shapes or numbers do not fit. segzoo inspect FILE shows what is in a file and which layout is nearest; nothing was written.",
    ),
    6: (
        "accuracy",
        "The measured mIoU or the counts of some images are off. Where bytes, names and numbers passed, look at the data set's digest, the protocol "
        "in segzoo info NAME, the device and --precision.",
    ),
    7: ("not found", "No such file, name or receipt; offline, no such bytes. segzoo list shows the names."),
    8: (
        "environment",
        "Disk, permission, device, data set or a missing extra. segzoo doctor says what to mend.",
    ),
    9: (
        "stalled",
        "A run of many files had no worker for --stall minutes. What is done has rows: the same command goes on from there, once workers can start.",
    ),
    130: ("interrupted", "Ctrl-C. What has arrived and which rungs were climbed is kept: run the same command again."),
}


class Code(click.types.IntParamType):
    """A number. The shell completes the exit codes."""

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return [CompletionItem(str(code), help=title) for code, (title, _) in MEANINGS.items() if str(code).startswith(incomplete)]


@click.command(short_help="Say what an exit code means, and what to do.")
@click.argument("code", type=Code(), required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def explain(code: int | None, as_json: bool) -> None:
    """Say what an exit code of segzoo means, and what to do next; without CODE, one line for each code.

    \b
    Examples:
      segzoo verify vit-t-mask || segzoo explain $?
    """
    from segzoo.cli.terminal.answer import show_json
    from segzoo.cli.terminal.show import show

    if code is not None and code not in MEANINGS:
        raise NotFoundError(f"segzoo never exits with {code}; it does with {', '.join(map(str, MEANINGS))}", hint="segzoo explain shows them all")
    chosen = MEANINGS if code is None else {code: MEANINGS[code]}
    if as_json:
        show_json([{"code": one, "title": title, "advice": advice} for one, (title, advice) in chosen.items()])
    elif code is None:
        for one, (title, advice) in chosen.items():
            show(f"{one:>3}  {title:<15}  {advice.partition('. ')[0].rstrip('.')}")
    else:
        title, advice = chosen[code]
        show(f"{code}: {title}", style="bold")
        for line in click.wrap_text(advice, 79).split("\n"):
            show(line)
