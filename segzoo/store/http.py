"""One HTTP address: it gives bytes from an offset, as it promised, or Trouble says why not."""

import re
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.cookiejar import DefaultCookiePolicy
from time import monotonic
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
from requests.auth import HTTPBasicAuth
from requests.utils import get_auth_from_url, get_netrc_auth, requote_uri
from urllib3.exceptions import HTTPError, ReadTimeoutError

from segzoo.store.proxy import judge_proxy
from segzoo.store.trouble import Kind, Trouble
from segzoo.store.wire import Adapter

_CHUNK = 1 << 20
_REDIRECTS = 10
_AGAIN = {408, 425, 429, 500, 502, 503, 504}


@dataclass(frozen=True, slots=True)
class Patience:
    """How much a server may ask of us, in seconds, bytes, and bytes a second.

    `connect` bounds the wait for a connection, `head` that for a status line and all headers, over all redirects, and `stall` that for the
    next byte of a body. Over each `window` a body must average `slowest`. A whole file may take `deadline`, from all its addresses together;
    where that is None, `grace` and a second more for every `average` bytes.
    There are `tries` rounds over the addresses, with `pause` before the second, twice that before the third, `wait` at most. An address
    that fails after `progress` bytes is asked again in the same round. Files larger than `several` come over `connections`.
    """

    connect: float = 10
    head: float = 20
    stall: float = 15
    slowest: int = 1024
    window: float = 60
    deadline: float | None = None
    grace: float = 300
    average: int = 32 << 10
    tries: int = 4
    progress: int = 1 << 20
    pause: float = 1
    wait: float = 30
    connections: int = 8
    several: int = 32 << 20

    def allowed(self, size: int) -> float:
        """The seconds that a file of this size may take."""
        return self.grace + size / self.average if self.deadline is None else self.deadline


@dataclass(frozen=True)
class Answer:
    """What a server said of a body, and the body. `start` is 0 where the server ignored the range that was asked for."""

    response: requests.Response
    start: int
    stop: int | None
    total: int | None
    headers: Mapping[str, str]

    @property
    def validator(self) -> str | None:
        """What tells this version of the file from another: the ETag, unless it is weak, which proves nothing."""
        tag = self.headers.get("ETag", "")
        return tag if re.fullmatch(r'"[\x21\x23-\x7e]{0,200}"', tag) else None

    @property
    def encoded(self) -> bool:
        """Whether the body comes compressed, so that its length says nothing of the file's."""
        return _encoded(self.headers)

    def chunks(self, patience: Patience, stop: threading.Event | None = None) -> Iterator[bytes]:
        """The body as it comes. Raises Trouble when it ends early, stalls or crawls."""
        received, begun, mark = 0, monotonic(), 0
        promised = None if self.stop is None or self.encoded else self.stop - self.start
        raw: Any = self.response.raw
        with self.response, _network():
            while received != promised:
                raw._original_response.within(patience.stall)
                if not (chunk := raw.read1(_CHUNK, decode_content=self.encoded)):
                    break
                received += len(chunk)
                if promised is not None and received > promised:
                    raise Trouble(Kind.WRONG, f"promised {promised:,} bytes and sends more")
                yield chunk
                if (now := monotonic()) - begun >= patience.window:
                    if received - mark < patience.slowest * (now - begun):
                        raise Trouble(Kind.LATER, f"too slow: {(received - mark) / (now - begun):.0f} bytes a second")
                    begun, mark = now, received
                if stop is not None and stop.is_set():
                    return
        if promised is not None and received < promised:
            raise Trouble(Kind.LATER, f"the connection ended after {received:,} of {promised:,} bytes")


class _Session(requests.Session):
    """A session that leaves redirects alone. The one of requests reads their bodies into memory, even if it is not to follow them."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        return None


@dataclass
class Client:
    """Connections that several fetches share. `netrc` lets it take credentials from ~/.netrc, for https only."""

    patience: Patience = field(default_factory=Patience)
    netrc: bool = False

    def __post_init__(self) -> None:
        self.session = _Session()
        self.session.auth = lambda request: request  # else requests looks into ~/.netrc
        self.session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
        for scheme in ("http://", "https://"):
            self.session.mount(scheme, Adapter(pool_connections=16, pool_maxsize=64))

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.session.close()

    def ask(self, url: str, start: int = 0, stop: int | None = None, validator: str | None = None) -> Answer:
        """GET the bytes from `start` up to `stop`, by default all. Redirects are followed, but never from https to http.

        `validator` names the version that a part must be of; a server that has another sends it from the start.
        Raises Trouble, also where another range comes than was asked for.
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

    def size(self, url: str) -> int | None:
        """The bytes of a file, as the answer to a question for its first one says; None where it does not. No body is read. Raises Trouble."""
        answer = self.ask(url, stop=1)
        answer.response.close()
        return answer.total

    def _follow(self, url: str, headers: Mapping[str, str]) -> requests.Response:
        """The answer at the end of all redirects. Their bodies are not read; credentials go to the origin that they are for."""
        origin, credentials, asked, until = _origin(url), self._credentials(url), [url], monotonic() + self.patience.head
        while len(asked) <= _REDIRECTS + 1:
            judge_proxy(url)
            left = max(until - monotonic(), 0.001)
            auth = credentials if _origin(url) == origin else None
            timeout = (min(self.patience.connect, left), left)
            bare = requests.utils.urldefragauth(url)
            response = self.session.get(bare, stream=True, timeout=timeout, headers=dict(headers), allow_redirects=False, auth=auth)
            if not response.is_redirect:
                return response
            response.close()
            url = judged(url, response.headers["Location"])
            if url in asked:
                raise Trouble(Kind.REFUSED, f"redirects in a circle: again to {url}")
            asked.append(url)
        raise Trouble(Kind.REFUSED, f"redirects more than {_REDIRECTS} times")

    def _credentials(self, url: str) -> HTTPBasicAuth | None:
        """Who asks: the user and password in the address; else what ~/.netrc has, where that is wanted."""
        user, password = get_auth_from_url(url)
        if not (user or password) and self.netrc and url.startswith("https:"):
            user, password = get_netrc_auth(url) or ("", "")
        return HTTPBasicAuth(user.encode(), password.encode()) if user or password else None


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def judged(url: str, location: str) -> str:
    """The address that `url` redirects to. Raises Trouble where it may not be asked, or is none."""
    with _network():
        target = urljoin(url, requote_uri(location.encode("latin-1").decode("utf-8")))
        scheme, host, _ = _origin(target)
    if scheme not in ("http", "https"):
        raise Trouble(Kind.REFUSED, f"redirects to a {scheme}: address")
    if urlsplit(url).scheme == "https" and scheme == "http":
        raise Trouble(Kind.REFUSED, f"redirects from https to http://{host}")
    return target


_KINDS: tuple[tuple[Any, Kind], ...] = (
    ((requests.Timeout, TimeoutError, ReadTimeoutError), Kind.STALLED),
    (HTTPError, Kind.LATER),
    (OSError, Kind.LOST),  # every error of requests is one
    (ValueError, Kind.REFUSED),
)


@contextmanager
def _network() -> Iterator[None]:
    """Turns errors of the network into Trouble, in the words of their innermost cause."""
    try:
        yield
    except Trouble:
        raise
    except (requests.RequestException, HTTPError, OSError, ValueError) as error:  # requests lets ValueErrors out for a malformed Location
        kind = next(kind for kinds, kind in _KINDS if isinstance(error, kinds))
        raise Trouble(kind, _cause(error)) from error


def _cause(error: BaseException) -> str:
    """The innermost reason of a chain of network errors: the one that a person can use."""
    while (inner := error.__cause__ or error.__context__) is not None and str(inner):
        error = inner
    if isinstance(error, socket.gaierror):
        return f"{'no name server answers' if error.errno == socket.EAI_AGAIN else 'host name not known'} (errno {error.errno})"
    return f"{type(error).__name__}: {error}"[:200]


def _read(response: requests.Response, start: int, stop: int | None) -> Answer:
    """The status line and the headers, compared with what was asked. Raises Trouble."""
    code, headers = response.status_code, response.headers
    if code == requests.codes.partial:
        return _part(response, start, stop)
    if code in _AGAIN:
        raise Trouble(Kind.LATER, f"HTTP {code} {response.reason}", wait=_number(headers.get("Retry-After")) or 0)
    if code == requests.codes.requested_range_not_satisfiable and start:
        raise Trouble(Kind.NO_RANGES, f"HTTP {code} {response.reason}")
    if code != requests.codes.ok:
        raise Trouble(Kind.REFUSED, f"HTTP {code} {response.reason}")
    whole = None if _encoded(headers) else _number(headers.get("Content-Length"))
    return Answer(response, 0, whole, whole, headers)


def _part(response: requests.Response, start: int, stop: int | None) -> Answer:
    """A 206, whose Content-Range must be the range that was asked for."""
    said, length = response.headers.get("Content-Range", ""), _number(response.headers.get("Content-Length"))
    found = re.fullmatch(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})", said.strip())
    begin, last, total = map(int, found.groups()) if found else (-1, -1, -1)
    end = last + 1
    expected = min(stop, total) if stop is not None else total
    if _encoded(response.headers) or begin != start or end != expected or (length is not None and length != end - begin):
        raise Trouble(Kind.NO_RANGES, f"asked for bytes from {start:,}, it answers '{said}'")
    return Answer(response, begin, end, total, response.headers)


def _encoded(headers: Mapping[str, str]) -> bool:
    return headers.get("Content-Encoding", "identity").lower() not in ("", "identity")


def _number(text: str | None) -> int | None:
    return int(text) if text and re.fullmatch("[0-9]{1,18}", text) else None
