"""The rest of a body over several connections at once, handed out in order.

A server that limits each connection does not limit the whole, and what has arrived is always a beginning of the file.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from itertools import islice
from queue import SimpleQueue

from segzoo.store.http import Answer, Client
from segzoo.store.trouble import Kind, Trouble


def stream(client: Client, url: str, first: Answer, size: int, said: Callable[[int], None]) -> Iterator[bytes]:
    """The body from `first` to its end, in order; what `first` does not hold comes in pieces of `size` bytes, fetched ahead.

    `said` gets the number of bytes that have come but are not handed out yet. Raises Trouble.
    """
    yield from first.chunks(client.patience)
    if first.stop is None or first.total is None or first.stop >= first.total:
        return
    spans = ((begin, min(begin + size, first.total)) for begin in range(first.stop, first.total, size))
    workers = _Workers(client, url, first)
    try:
        pending = deque(workers.start(*span) for span in islice(spans, client.patience.connections * 3 // 2))
        while pending:
            piece = _awaited(pending.popleft(), lambda: said(workers.ahead))
            workers.handed_out(sum(map(len, piece)))
            yield from piece
            pending.extend(workers.start(*span) for span in islice(spans, 1))
    finally:
        workers.stop()


class _Workers:
    """Threads that fetch pieces of one version of a file. They are daemons: one that hangs must not keep Ctrl-C waiting."""

    def __init__(self, client: Client, url: str, version: Answer):
        self.client, self.url, self.version = client, url, version
        self.number = client.patience.connections
        self.stopped = threading.Event()
        self.tasks: SimpleQueue[tuple[Future[list[bytes]], int, int] | None] = SimpleQueue()
        self.counts = [0] * (self.number + 1)  # bytes that have come, by worker, and less those handed out: each thread writes to its own
        for worker in range(self.number):
            threading.Thread(target=self._work, args=(worker,), daemon=True).start()

    @property
    def ahead(self) -> int:
        """How many bytes have come but are not handed out."""
        return sum(self.counts)

    def start(self, begin: int, end: int) -> "Future[list[bytes]]":
        """Ask for the bytes from `begin` up to `end`."""
        future: Future[list[bytes]] = Future()
        self.tasks.put((future, begin, end))
        return future

    def handed_out(self, size: int) -> None:
        self.counts[-1] -= size

    def stop(self) -> None:
        self.stopped.set()
        for _ in range(self.number):
            self.tasks.put(None)

    def _work(self, worker: int) -> None:
        while task := self.tasks.get():
            future, begin, end = task
            try:
                future.set_result(self._piece(begin, end, worker))
            except BaseException as error:
                future.set_exception(error)

    def _piece(self, begin: int, end: int, worker: int) -> list[bytes]:
        if self.stopped.is_set():
            return []
        answer = self.client.ask(self.url, begin, end, self.version.validator)
        if (answer.start, answer.total, answer.validator) != (begin, self.version.total, self.version.validator):
            answer.response.close()
            raise Trouble(Kind.CHANGED, "the file changed while it was read")
        parts = []
        for chunk in answer.chunks(self.client.patience, self.stopped):
            parts.append(chunk)
            self.counts[worker] += len(chunk)
        return parts


def _awaited(future: "Future[list[bytes]]", meanwhile: Callable[[], None]) -> list[bytes]:
    while True:
        try:
            return future.result(timeout=0.25)
        except NotYet:
            if future.done():  # a time-out of the work itself
                raise
            meanwhile()
