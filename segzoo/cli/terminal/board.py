"""What `segzoo verify` shows: the table of rungs while they are climbed, and what came of them."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segzoo.vocabulary import RUNGS

if TYPE_CHECKING:
    from rich.table import Table

    from segzoo.evidence.check import Check
    from segzoo.manifest.entries import Entry
    from segzoo.zoo.zoo import Zoo


class Board:
    """The table that fills as rungs are climbed, and the summary under it."""

    STYLES = {"passed": "green", "failed": "bold red", "skipped": "yellow", "n/a": "dim"}  # noqa: RUF012

    def __init__(self, zoo: Zoo, entries: dict[str, Entry], silent: bool, summed: bool):
        from segzoo.cli.terminal.show import on_terminal

        self.zoo = zoo
        self.entries = entries
        self.checks: dict[str, list[Check]] = {name: [] for name in entries}
        self.doing = ""
        self.notes: list[str] = []
        self.receipts: dict[Path, None] = {}
        utf = (sys.stdout.encoding or "").lower().startswith("utf")  # asked now: the live table puts something of its own there
        self._marks = {"passed": "\u2713 ", "failed": "\u2717 "} if utf else {"passed": "ok ", "failed": "X "}
        self._live: Any = None
        self._silent = silent
        self._summed = summed
        self._lively = on_terminal() and not silent

    def live(self) -> Any:
        """The table on a terminal, redrawn; elsewhere nothing, and `add` prints lines."""
        from rich.console import Console
        from rich.live import Live

        if not self._lively:
            return nullcontext()
        self._live = Live(get_renderable=self.table, console=Console(stderr=True), transient=True, refresh_per_second=4)
        return self._live

    def said(self, doing: str, done: int, whole: int | None) -> None:
        self.doing = f"{doing} {100 * done // whole} %" if whole else doing

    def add(self, name: str, check: Check) -> None:
        from segzoo.cli.terminal.show import show, tell

        self.checks[name].append(check)
        self.doing = ""
        if self._silent and check.status == "failed":  # in no summary, so that -q does not silence it
            show(f"{name}: {check.rung}: failed: {check.detail}", err=True)
        elif not self._lively and not self._silent:
            detail = check.detail
            if self._summed and self._dwelt_on(check):  # the summary says it in full
                detail = check.detail.split("\n")[0] if check.status == "failed" else "not tried" if check.short == "-" else check.short
            tell(f"{name}: {check.rung}: {self.word(check)}: {detail}")

    @staticmethod
    def word(check: Check) -> str:
        """What came of a rung. A figure that could be held against nothing proves nothing, but it was measured."""
        return "measured" if check.status == "skipped" and "modes" in check.facts else check.status

    @staticmethod
    def _dwelt_on(check: Check) -> bool:
        """Whether the summary explains it."""
        return check.status in ("failed", "skipped") or (check.rung == "mIoU" and check.status == "passed")

    def table(self) -> Table:
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False)
        table.add_column("", no_wrap=True)
        for rung in RUNGS:
            table.add_column(rung, no_wrap=True)
        busy = next((name for name, checks in self.checks.items() if len(checks) < len(RUNGS)), None)
        for name, checks in self.checks.items():
            cells = [Text(self._marks.get(check.status, "") + check.short, style=self.style(check)) for check in checks]
            if name == busy:
                cells.append(Text(self.doing or "...", style="cyan"))
            table.add_row(name, *cells)
        return table

    def style(self, check: Check) -> str:
        """Green is for what is proved; bytes that nobody hashed in full are not."""
        return "yellow" if check.short.endswith("pinned") else self.STYLES[check.status]

    def summary(self, seconds: float) -> None:
        """The finished table, measured against reported figures, what failed or was skipped and why, and where receipts are."""
        from rich.console import Console

        from segzoo.cli.terminal.show import show, verbosity

        Console(highlight=False).print(self.table())
        show()
        for name, checks in self.checks.items():
            for check in checks:
                if (self._dwelt_on(check) and check.short != "-") or verbosity():  # above a broken rung all are alike
                    style = self.STYLES[check.status] if check.status != "passed" else ""
                    said = f"{check.status}: " if self.word(check) in ("failed", "skipped") else ""
                    show(f"{name}: {check.rung}: {said}{check.detail}", style=style)
        for name, entry in self.entries.items():
            artifact = entry.artifact
            if not artifact.sha256 and not verbosity() and self.checks[name][0].status == "passed":
                show(f"{name}: bytes: {self.checks[name][0].detail}", style="yellow")
        words = [self.word(check) for checks in self.checks.values() for check in checks]
        counted = ", ".join(f"{words.count(word)} {word}" for word in ("passed", "failed", "measured", "skipped", "n/a") if word in words)
        show(f"{len(self.checks)} verified: {counted}; {seconds:.1f} s")
        if earlier := [check for checks in self.checks.values() for check in checks if check.time]:
            show(f"{len(earlier)} of them from receipts, as of {min(str(check.time) for check in earlier)}; --again climbs them anew", style="dim")
        for note in self.notes:
            show(note)
        for folder in self.receipts:
            show(f"receipts: {folder}")
