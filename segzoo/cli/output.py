"""What commands show: results on stdout, everything else on stderr; bars on a terminal, sparse lines elsewhere."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


def printable(text: str) -> str:
    """The text without what could drive a terminal: names in files and manifests are a stranger's."""
    return "".join(character if character.isprintable() or character == "\n" else "?" for character in text)


def show(text: str = "", style: str = "") -> None:
    """A line of the result, on stdout."""
    out.print(printable(text), style=style, soft_wrap=True, markup=False)


def tell(text: str, style: str = "") -> None:
    """A line about the work, on stderr."""
    err.print(printable(text), style=style, soft_wrap=True, markup=False)


Said = Callable[[int, int | None], None]


def counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def megabytes(size: int | None) -> str:
    """A size for people, in decimal units as download pages give them."""
    if size is None:
        return "size unknown"
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= scale:
            return f"{size / scale:.1f} {unit}"
    return f"{size} B"


@contextmanager
def byte_progress(label: str) -> Iterator[Said]:
    """Progress over bytes: a bar with rate and time left on a terminal, a line each 10 % or 30 s elsewhere."""
    if err.is_terminal:
        columns = (TextColumn("{task.description}"), BarColumn(20), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
        with Progress(*columns, console=err, transient=True) as progress:
            short = label if len(label) <= 24 else f"{label[:11]}..{label[-11:]}"
            task = progress.add_task(short, total=None)
            yield lambda done, whole: progress.update(task, completed=done, total=whole)
        return
    next_share, next_time = 0.1, monotonic() + 30

    def said(done: int, whole: int | None) -> None:
        nonlocal next_share, next_time
        share = done / whole if whole else 0.0
        if (next_share <= share < 1 and (whole or 0) > 50_000_000) or monotonic() >= next_time:
            tell(f"{label}: {megabytes(done)}" + (f" of {megabytes(whole)}" if whole else ""))
            next_share, next_time = share + 0.1, monotonic() + 30

    yield said
