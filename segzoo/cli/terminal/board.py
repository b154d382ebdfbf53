"""What `segzoo verify` shows: on a terminal a table that fills while the rungs are climbed; elsewhere, as in a log, each rung in one line.

The figure of an entry comes first, its rungs after it.
"""

from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from rich.live import Live

from segzoo.cli.terminal.console import Grid, console
from segzoo.cli.terminal.loudness import verbosity
from segzoo.cli.terminal.show import redraws, show, tell
from segzoo.evidence.check import NOT_TRIED, came_of
from segzoo.evidence.run import Broken, Climbed, Ended
from segzoo.vocabulary import RUNGS

if TYPE_CHECKING:
    from rich.table import Table

    from segzoo.evidence.check import Check
    from segzoo.manifest.entries import Entry

_EVERY = 30  # seconds between two lines of progress


class Board:
    """The table of rungs, or their lines, and the summary.

    `silent` is for all but the first of several processes; `summed` says that a summary will follow, and no JSON.
    """

    STYLES = {"passed": "green", "failed": "bold red", "skipped": "yellow", "n/a": "dim"}  # noqa: RUF012

    def __init__(self, entries: dict[str, Entry], silent: bool, summed: bool):
        self.entries = entries
        self.checks: dict[str, list[Check]] = {name: [] for name in entries}
        self.doing = ""
        self.notes: list[str] = []
        self.receipts: dict[Path, None] = {}
        utf = (sys.stdout.encoding or "").lower().startswith("utf")  # asked now: the live table replaces stdout
        self._marks = {"passed": "\u2713 ", "failed": "\u2717 "} if utf else {"passed": "ok ", "failed": "X "}
        self._silent = silent
        self._summed = summed
        self._lively = redraws() and not silent
        self._spoke = monotonic()

    def live(self) -> Any:
        """On a terminal the table, redrawn as it fills. Elsewhere nothing: `show` prints the lines of an entry when it has ended."""
        if not self._lively:
            return nullcontext()
        return Live(get_renderable=self.table, console=console(err=True), transient=True, refresh_per_second=4)

    def said(self, doing: str, done: int, whole: int | None) -> None:
        """Progress within a rung. Where no table is drawn, a line every 30 s."""
        self.doing = f"{doing} {100 * done // whole} %" if whole else doing
        if not self._lively and not self._silent and monotonic() - self._spoke >= _EVERY:
            self._spoke = monotonic()
            tell(f"{self._busy()}: {self.doing}")

    def _busy(self) -> str | None:
        """The entry whose rungs are being climbed."""
        return next((name for name, checks in self.checks.items() if len(checks) < len(RUNGS)), None)

    def show(self, step: Climbed | Broken | Ended) -> None:
        """A step of the run."""
        if isinstance(step, Broken):
            show(step.note, style="yellow", err=True)
            return
        if isinstance(step, Climbed):
            self._add(step.name, step.check)
            return
        if self._summed and not self._lively:
            self._tell_of(step.name)
        if step.note:
            self.notes.append(step.note)
        if step.folder:
            self.receipts[step.folder] = None

    def _add(self, name: str, check: Check) -> None:
        self.checks[name].append(check)
        self.doing = ""
        if self._silent and check.status == "failed":  # this process has no summary, and -q must not hide its failure
            show(f"{name}: {check.rung}: failed: {'; '.join(map(str.strip, check.detail.splitlines()))}", err=True)
        elif not self._lively and not self._silent and not self._summed:  # the answer in JSON comes at the end
            tell(f"{name}: {check.rung}: {self.word(check)}: {check.detail}")

    def _tell_of(self, name: str) -> None:
        """What was found of an entry, a line for each rung: its figure first."""
        for check in sorted(self.checks[name], key=lambda check: not self._figure(check)):
            self._line(name, check)

    def _line(self, name: str, check: Check) -> None:
        style = self.style(check) if check.status != "passed" or self.style(check) == "yellow" else ""
        said = "" if self._figure(check) and check.status != "failed" else f"{self.word(check)}: "
        self._said(f"{name}: {check.rung}: {said}", "not tried" if check.short == NOT_TRIED else check.detail, style)

    @staticmethod
    def word(check: Check) -> str:
        """The outcome of a rung in a word."""
        return came_of(check.status, check.basis)

    @staticmethod
    def _figure(check: Check) -> bool:
        """Whether a check has an mIoU to show."""
        return check.rung == "mIoU" and "modes" in check.facts

    def table(self) -> Table:
        table = Grid(("", *RUNGS))
        busy = self._busy()
        for name, checks in self.checks.items():
            cells = [(self._marks.get(check.status, "") + check.short, self.style(check)) for check in checks]
            if name == busy:
                cells.append((self.doing or "...", "cyan"))
            table.row(name, *cells)
        return table.drawn

    def style(self, check: Check) -> str:
        """Green is for what is proved; bytes without a full hash in the manifest are not."""
        return "yellow" if check.short.endswith("pinned") else self.STYLES[check.status]

    def summary(self, seconds: float) -> None:
        """The figures, the finished table and the checks that need a word, if they are not shown yet; the totals, and where the receipts are."""
        if self._lively:
            self._conclude()
        words = [self.word(check) for checks in self.checks.values() for check in checks]
        totals = ", ".join(f"{words.count(word)} {word}" for word in ("passed", "failed", "measured", "skipped", "n/a") if word in words)
        show(f"{len(self.checks)} verified: {totals}; {seconds:.1f} s")
        if earlier := [check for checks in self.checks.values() for check in checks if check.time]:
            show(f"{len(earlier)} of them from receipts, as of {min(str(check.time) for check in earlier)}; --again climbs them anew", style="dim")
        for note in self.notes:
            show(note)
        for folder in self.receipts:
            show(f"receipts: {folder}")

    def _conclude(self) -> None:
        """What is left of the table that was redrawn: the figures, the table, a line for what failed, was skipped or is pinned; with -v for all."""
        every = [(name, check) for name, checks in self.checks.items() for check in checks]
        for name, check in every:
            if self._figure(check):
                self._line(name, check)
        console().print(self.table())
        for name, check in every:
            dwelt_on = check.status in ("failed", "skipped") and check.short != NOT_TRIED
            if not self._figure(check) and (dwelt_on or verbosity() or self._pinned(name, check)):
                self._line(name, check)
        show()

    def _pinned(self, name: str, check: Check) -> bool:
        """Whether the manifest lacks a full hash of these bytes."""
        return check.rung == "bytes" and check.status == "passed" and not self.entries[name].artifact.sha256

    @staticmethod
    def _said(head: str, detail: str, style: str = "") -> None:
        """A detail behind its head. The lines below its first one are indented: a receipt that somebody else wrote may have any lines there."""
        first, *below = detail.split("\n")
        for line in (f"{head}{first}", *(f"  {line.strip()}" for line in below)):
            show(line, style)
