"""`segzoo doctor`: is this machine ready, and if not, what to do."""

import click

from segzoo.cli.options import Choice, network_options
from segzoo.errors import EnvironmentFault


@click.command(short_help="Look at Python, packages, GPU, store and network, and say what to mend.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
@network_options
@click.pass_obj
def doctor(choice: Choice, as_json: bool) -> None:
    """Check what segzoo needs of this machine: Python, packages and extras, torch and GPU, the store and its room,
    proxies and certificates, and (unless --offline) the first byte of one file of every host in the zoo.

    Exit 8 if something must be mended. A thing that only some commands need does not count.
    """
    from dataclasses import asdict

    from segzoo.cli.terminal.answer import show_json
    from segzoo.cli.terminal.show import show
    from segzoo.zoo.doctor import diagnose

    findings = []
    styles = {"ok": "green", "missing": "yellow", "wrong": "bold red"}
    for finding in diagnose(choice.open()):
        findings.append(finding)
        if not as_json:
            show(f"{finding.status:8}{finding.what}: {finding.detail}", style=styles[finding.status])
            if finding.fix:
                show(f"        -> {finding.fix}")
    errors = [EnvironmentFault(f"{finding.what}: {finding.detail}", finding.fix) for finding in findings if finding.status == "wrong"]
    if as_json:
        show_json([asdict(finding) for finding in findings], *errors)
    raise SystemExit(EnvironmentFault.exit_code if errors else 0)
