"""Progress bars on a terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text

from segzoo.cli.terminal.console import console
from segzoo.cli.terminal.show import above
from segzoo.text import legible


@contextmanager
def _drawn(*columns: ProgressColumn) -> Iterator[Progress]:
    """Bars that disappear when the block ends. Lines that are shown meanwhile appear above the bars."""
    drawn_on = console(err=True)
    with Progress(*columns, console=drawn_on, transient=True, redirect_stdout=False, redirect_stderr=False) as progress:
        above.append(lambda text, style: drawn_on.print(Text(text, style=style), soft_wrap=True))
        try:
            yield progress
        finally:
            above.pop()


@contextmanager
def bars() -> Iterator[Callable[[str, int, int | None], None]]:
    """A bar over bytes for each file, with rate and time left. All disappear when the block ends."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(20), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    tasks: dict[str, TaskID] = {}
    with _drawn(*columns) as progress:

        def said(label: str, done: int, whole: int | None) -> None:
            if label not in tasks:  # bytes that were here before do not count for the rate
                short = label if len(label) <= 24 else f"{label[:11]}..{label[-11:]}"
                tasks[label] = progress.add_task(legible(short), total=whole, completed=done)
            progress.update(tasks[label], completed=done, total=whole, visible=whole is None or done < whole)

        yield said


@contextmanager
def counting(label: str, whole: int) -> Iterator[Callable[[], None]]:
    """A bar over things that are done one by one, with time left. It disappears when the block ends."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(20), MofNCompleteColumn(), TimeRemainingColumn())
    with _drawn(*columns) as progress:
        task = progress.add_task(legible(label), total=whole)
        yield lambda: progress.advance(task)


@contextmanager
def running(label: str, whole: int, said: Callable[[], str]) -> Iterator[Callable[[int], None]]:
    """A bar that counts things done, with the words of `said` beside it. It disappears when the block ends."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(20), MofNCompleteColumn(), TextColumn("{task.fields[said]}", markup=False))
    with _drawn(*columns) as progress:
        task = progress.add_task(legible(label), total=whole, said="")
        yield lambda done: progress.update(task, completed=done, said=legible(said()))
