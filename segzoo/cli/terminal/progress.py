"""Progress: bars on a terminal, sparse lines elsewhere."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

from segzoo.cli.terminal.show import megabytes, redraws, tell

Said = Callable[[int, int | None], None]


@contextmanager
def many_progress() -> Iterator[Callable[[str, int, int | None], None]]:
    """Progress over the bytes of several files: bars on a terminal, elsewhere a line every 10 % of a slow file or every 30 s."""
    if redraws():
        from segzoo.cli.terminal.bars import bars

        with bars() as said:
            yield said
        return
    due: dict[str, tuple[float, float]] = {}

    def line(label: str, done: int, whole: int | None) -> None:
        share, now = done / whole if whole else 0.0, monotonic()
        next_share, last = due.setdefault(label, (0.1, now))
        if (next_share <= share < 1 and now - last >= 3) or now - last >= 30:
            tell(f"{label}: {megabytes(done)}" + (f" of {megabytes(whole)}" if whole else ""))
            due[label] = (share + 0.1, now)

    yield line


@contextmanager
def byte_progress(label: str) -> Iterator[Said]:
    """The same for one file."""
    with many_progress() as said:
        yield lambda done, whole: said(label, done, whole)


@contextmanager
def work_progress(label: str, whole: int) -> Iterator[Callable[[], None]]:
    """Progress over a number of things: a bar on a terminal, elsewhere a line every 10 % of slow work or every 30 s."""
    if redraws():
        from segzoo.cli.terminal.bars import counting

        with counting(label, whole) as done:
            yield done
        return
    count, due, last = 0, 0.1, monotonic()

    def one_more() -> None:
        nonlocal count, due, last
        count, now = count + 1, monotonic()
        if (due <= count / whole < 1 and now - last >= 3) or now - last >= 30:
            tell(f"{label}: {count} of {whole}")
            due, last = count / whole + 0.1, now

    yield one_more
