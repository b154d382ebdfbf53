"""Progress bars on a terminal."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from segzoo.cli.output import Said, printable


@contextmanager
def bar(label: str) -> Iterator[Said]:
    """A bar over bytes, with rate and time left; it is gone when the block ends."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(20), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        short = printable(label if len(label) <= 24 else f"{label[:11]}..{label[-11:]}")
        task = progress.add_task(short, total=None)
        yield lambda done, whole: progress.update(task, completed=done, total=whole)
