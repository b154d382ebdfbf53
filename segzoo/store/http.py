"""One HTTP address: bytes from an offset, held to what was said before; or the reason why not.

Bodies come in order while several connections fetch what follows, so that a server that limits each
connection does not limit the whole, and what has arrived is always a beginning of the file.
"""

import re
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from contextlib import contextmanager
from dataclasses import dataclass, field
from queue import SimpleQueue
from time import monotonic
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
import truststore
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError

_CHUNK = 1 << 20
_REDIRECTS = 10
_AGAIN = {408, 425, 429, 500, 502, 503, 504}


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a server is borne with: seconds, bytes, bytes a second. Files larger than `several` come over `connections`."""

    connect: float = 10
    stall: float = 30
    slowest: int = 1024
    window: float = 60
    tries: int = 4
    progress: int = 1 << 20
    pause: float = 1
    wait: float = 30
    connections: int = 8
    several: int = 32 << 20


class Trouble(Exception):
    """An address did not deliver.

    `again`: it may do so later, after `wait` seconds. `lost`: there was no connection, or no longer one.
    `wrong`: it delivers something else. `absent`: a local file that is not there. `anew`: what it has is to
    be had from the start only, `ranges` saying whether in ranges. `hint` is what to do, where that is not the usual.
    """

    def __init__(
        self,
        reason: str,
        *,
        again: bool = False,
        wait: float | None = None,
        lost: bool = False,
        wrong: bool = False,
        absent: bool = False,
        anew: bool = False,
        ranges: bool = True,
        hint: str | None = None,
    ):
        super().__init__("".join(letter if letter.isprintable() else "?" for letter in shown(reason)))  # a server may send escape codes
        self.again, self.wait, self.lost, self.wrong, self.absent, self.anew, self.ranges = again, wait, lost, wrong, absent, anew, ranges
        self.hint = hint


def shown(text: str) -> str:
    """A text without the passwords in its addresses."""
    return re.sub(r"//[^/@\s]*@", "//", text)


@dataclass(frozen=True)
class Answer:
    """What a server said of a body, and the body. `start` is 0 where it ignored the range asked for."""

    response: requests.Response
    start: int
    stop: int | None
    total: int | None
    headers: Mapping[str, str]

    @property
    def validator(self) -> str | None:
        """What tells this version of the file from another; a weak ETag tells it not for certain."""
        tag = self.headers.get("ETag")
        return tag if tag and not tag.startswith("W/") else None

    @property
    def encoded(self) -> bool:
        return self.headers.get("Content-Encoding", "identity").lower() not in ("", "identity")

    def chunks(self, patience: Patience, stop: threading.Event | None = None) -> Iterator[bytes]:
        """The body as it comes. Raises Trouble when it ends early, stalls or crawls."""
        received, begun, mark = 0, monotonic(), 0
        promised = None if self.stop is None or self.encoded else self.stop - self.start
        with self.response, _network():
            while chunk := self.response.raw.read1(_CHUNK, decode_content=self.encoded):
                received += len(chunk)
                if promised is not None and received > promised:
                    raise Trouble(f"promised {promised:,} bytes and sends more", wrong=True)
                yield chunk
                if (now := monotonic()) - begun >= patience.window:
                    if received - mark < patience.slowest * (now - begun):
                        raise Trouble(f"too slow: {(received - mark) / (now - begun):.0f} bytes a second", again=True)
                    begun, mark = now, received
                if stop is not None and stop.is_set():
                    return
        if promised is not None and received < promised:
            raise Trouble(f"the connection ended after {received:,} of {promised:,} bytes", again=True)


@dataclass
class Client:
    """Connections shared by all that is fetched in one go."""

    patience: Patience = field(default_factory=Patience)

    def __post_init__(self) -> None:
        self.session = requests.Session()
        for scheme in ("http://", "https://"):
            self.session.mount(scheme, _SystemTrust(pool_connections=16, pool_maxsize=64))

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.session.close()

    def ask(self, url: str, start: int = 0, stop: int | None = None, validator: str | None = None) -> Answer:
        """GET from `start` up to `stop`, or all where both are left out. Redirects are followed, but never from https to http.

        Raises Trouble, also where the range that comes is not the one asked for.
        """
        headers = {"Accept-Encoding": "identity"}
        if start or stop is not None:
            headers["Range"] = f"bytes={start}-{stop - 1 if stop is not None else ''}"
            headers |= {"If-Range": validator} if validator else {}
        with _network():
            response = self._follow(url, headers)
            try:
                return _read(response, start, stop)
            except BaseException:
                response.close()
                raise

    def _follow(self, url: str, headers: Mapping[str, str]) -> requests.Response:
        for _ in range(_REDIRECTS):
            timeout = (self.patience.connect, self.patience.stall)
            response = self.session.get(url, stream=True, timeout=timeout, headers=dict(headers), allow_redirects=False)
            if not response.is_redirect:
                return response
            response.close()
            target = urljoin(url, requests.utils.requote_uri(response.headers["Location"].encode("latin-1").decode("utf-8")))
            scheme, host = urlsplit(target).scheme, urlsplit(target).hostname
            if scheme not in ("http", "https"):
                raise Trouble(f"redirects to a {scheme}: address")
            if url.startswith("https:") and scheme == "http":
                raise Trouble(f"redirects from https to http://{host}")
            url = target
        raise Trouble(f"redirects more than {_REDIRECTS} times")

    def stream(self, url: str, first: Answer, size: int, said: Callable[[int], None]) -> Iterator[bytes]:
        """The body from `first` on, in order, pieces of `size` bytes fetched ahead by several connections.

        `said` gets the bytes that have come but are not handed out yet.
        """
        yield from first.chunks(self.patience)
        if first.stop is None or first.total is None or first.stop >= first.total:
            return
        stop, ahead = threading.Event(), [0] * self.patience.connections
        tasks: SimpleQueue[tuple[Future[bytes], int, int] | None] = SimpleQueue()

        def work(worker: int) -> None:
            while task := tasks.get():
                future, begin, end = task
                try:
                    future.set_result(self._piece(url, begin, end, first, stop, ahead, worker))
                except BaseException as error:
                    future.set_exception(error)

        for worker in range(self.patience.connections):  # daemons: one that hangs must not keep Ctrl-C waiting
            threading.Thread(target=work, args=(worker,), daemon=True).start()
        pending: deque[Future[bytes]] = deque()
        position = first.stop
        try:
            while pending or position < first.total:
                while position < first.total and len(pending) < self.patience.connections * 3 // 2:
                    end = min(position + size, first.total)
                    pending.append(Future())
                    tasks.put((pending[-1], position, end))
                    position = end
                piece = _awaited(pending.popleft(), lambda: said(sum(ahead)))
                ahead[0] -= len(piece)
                yield piece
        finally:
            stop.set()
            for _ in range(self.patience.connections):
                tasks.put(None)

    def _piece(self, url: str, begin: int, end: int, first: Answer, stop: threading.Event, ahead: list[int], worker: int) -> bytes:
        if stop.is_set():
            return b""
        answer = self.ask(url, begin, end, first.validator)
        if (answer.start, answer.total, answer.validator) != (begin, first.total, first.validator):
            answer.response.close()
            raise Trouble("the file changed while it was read", again=True, anew=True)
        parts = []
        for chunk in answer.chunks(self.patience, stop):
            parts.append(chunk)
            ahead[worker] += len(chunk)
        return b"".join(parts)


class _SystemTrust(HTTPAdapter):
    """Certificates are judged by the system's trust store, where a company's own authority is found."""

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        import ssl

        super().init_poolmanager(*args, **options, ssl_context=truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT))


@contextmanager
def _network() -> Iterator[None]:
    """What goes wrong on the way, in the words of its innermost cause."""
    try:
        yield
    except Trouble:
        raise
    except (requests.RequestException, HTTPError, OSError, ValueError) as error:  # requests lets ValueErrors out for a malformed Location
        stalled = isinstance(error, requests.Timeout | TimeoutError | HTTPError)
        raise Trouble(_cause(error), again=stalled, lost=isinstance(error, requests.ConnectionError | OSError)) from error


def _cause(error: BaseException) -> str:
    """The innermost reason of a chain of network errors, which is the one a person can use."""
    while (inner := error.__cause__ or error.__context__) is not None and str(inner):
        error = inner
    if isinstance(error, socket.gaierror):
        return f"{'no name server answers' if error.errno == socket.EAI_AGAIN else 'host name not known'} (errno {error.errno})"
    return f"{type(error).__name__}: {error}"[:200]


def _awaited(future: "Future[bytes]", meanwhile: Callable[[], None]) -> bytes:
    while True:
        try:
            return future.result(timeout=0.25)
        except NotYet:
            if future.done():  # a time-out of the work itself
                raise
            meanwhile()


def _read(response: requests.Response, start: int, stop: int | None) -> Answer:
    """The status line and the headers, held to what was asked."""
    headers = response.headers
    code, length = response.status_code, _number(headers.get("Content-Length"))
    if code in _AGAIN:
        raise Trouble(f"HTTP {code} {response.reason}", again=True, wait=_number(headers.get("Retry-After")))
    if code == requests.codes.partial:
        found = re.fullmatch(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})", headers.get("Content-Range", "").strip())
        begin, last, total = map(int, found.groups()) if found else (-1, -1, -1)
        end = last + 1
        expected = min(stop, total) if stop is not None else total
        if begin != start or end != expected or (length is not None and length != end - begin):
            said = headers.get("Content-Range", "")
            raise Trouble(f"asked for bytes from {start:,}, it answers '{said}'", again=True, anew=True, ranges=False)
        return Answer(response, begin, end, total, headers)
    if code == requests.codes.requested_range_not_satisfiable and start:
        raise Trouble(f"HTTP {code} {response.reason}", again=True, anew=True, ranges=False)
    if code != requests.codes.ok:
        raise Trouble(f"HTTP {code} {response.reason}")
    encoded = headers.get("Content-Encoding", "identity").lower() not in ("", "identity")
    whole = None if encoded else length
    return Answer(response, 0, whole, whole, headers)


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() and len(text) < 19 else None
