"""What `segzoo verify` shows: a table that fills while the rungs are climbed, and a summary under it."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.live import Live

from segzoo.cli.terminal.console import Grid, console
from segzoo.cli.terminal.loudness import verbosity
from segzoo.cli.terminal.show import redraws, show, tell
from segzoo.evidence.check import NOT_TRIED
from segzoo.evidence.run import Broken, Climbed, Ended
from segzoo.vocabulary import RUNGS

if TYPE_CHECKING:
    from rich.table import Table

    from segzoo.evidence.check import Check
    from segzoo.manifest.entries import Entry


class Board:
    """The table of rungs, and the summary under it.

    `silent` is for all but the first of several processes; `summed` says that a summary will follow.
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

    def live(self) -> Any:
        """On a terminal the table, redrawn as it fills. Elsewhere nothing: `show` then prints lines."""
        if not self._lively:
            return nullcontext()
        return Live(get_renderable=self.table, console=console(err=True), transient=True, refresh_per_second=4)

    def said(self, doing: str, done: int, whole: int | None) -> None:
        """Progress within a rung."""
        self.doing = f"{doing} {100 * done // whole} %" if whole else doing

    def show(self, step: Climbed | Broken | Ended) -> None:
        """A step of the run."""
        if isinstance(step, Broken):
            show(step.note, style="yellow", err=True)
            return
        if isinstance(step, Climbed):
            self._add(step.name, step.check)
            return
        if step.note:
            self.notes.append(step.note)
        if step.folder:
            self.receipts[step.folder] = None

    def _add(self, name: str, check: Check) -> None:
        self.checks[name].append(check)
        self.doing = ""
        if self._silent and check.status == "failed":  # this process has no summary, and -q must not hide its failure
            show(f"{name}: {check.rung}: failed: {'; '.join(map(str.strip, check.detail.splitlines()))}", err=True)
        elif not self._lively and not self._silent:
            tell(f"{name}: {check.rung}: {self.word(check)}: {self._line(check)}")

    def _line(self, check: Check) -> str:
        """What is said of a check at once: its detail, or less where the summary says it in full."""
        if not (self._summed and self._dwelt_on(check)):
            return check.detail
        if check.status == "failed":
            return check.detail.split("\n")[0]
        return "not tried" if check.short == NOT_TRIED else check.short

    @staticmethod
    def word(check: Check) -> str:
        """The outcome of a rung in a word. A figure that nothing can be compared with is measured, not passed."""
        return "measured" if check.status == "skipped" and "modes" in check.facts else check.status

    @staticmethod
    def _dwelt_on(check: Check) -> bool:
        """Whether the summary explains it."""
        return check.status in ("failed", "skipped") or (check.rung == "mIoU" and check.status == "passed")

    def table(self) -> Table:
        table = Grid(("", *RUNGS))
        busy = next((name for name, checks in self.checks.items() if len(checks) < len(RUNGS)), None)
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
        """The finished table, the checks that need a word, the totals, and where the receipts are."""
        console().print(self.table())
        show()
        self._explain()
        words = [self.word(check) for checks in self.checks.values() for check in checks]
        totals = ", ".join(f"{words.count(word)} {word}" for word in ("passed", "failed", "measured", "skipped", "n/a") if word in words)
        show(f"{len(self.checks)} verified: {totals}; {seconds:.1f} s")
        if earlier := [check for checks in self.checks.values() for check in checks if check.time]:
            show(f"{len(earlier)} of them from receipts, as of {min(str(check.time) for check in earlier)}; --again climbs them anew", style="dim")
        for note in self.notes:
            show(note)
        for folder in self.receipts:
            show(f"receipts: {folder}")

    def _explain(self) -> None:
        """A line for each check that failed, was skipped or has a figure, and for bytes that the manifest has no full hash of."""
        for name, checks in self.checks.items():
            for check in checks:
                if (self._dwelt_on(check) and check.short != NOT_TRIED) or verbosity():
                    style = self.STYLES[check.status] if check.status != "passed" else ""
                    said = f"{check.status}: " if self.word(check) in ("failed", "skipped") else ""
                    self._said(f"{name}: {check.rung}: {said}", check.detail, style)
        for name, entry in self.entries.items():
            if not entry.artifact.sha256 and not verbosity() and self.checks[name][0].status == "passed":
                self._said(f"{name}: bytes: ", self.checks[name][0].detail, "yellow")

    @staticmethod
    def _said(head: str, detail: str, style: str = "") -> None:
        """A detail behind its head. The lines below its first one are indented: a receipt that somebody else wrote may have any lines there."""
        first, *below = detail.split("\n")
        for line in (f"{head}{first}", *(f"  {line.strip()}" for line in below)):
            show(line, style)
