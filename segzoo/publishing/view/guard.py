"""Who may talk to the page, and to whom this process may talk: nobody beyond this machine.

A browser that looks at a stranger's page can be made to send requests to 127.0.0.1, also under a name of the stranger's that has come to
mean 127.0.0.1. Such a request names another host, or another origin than the page's own, and is refused.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from segzoo.atomic import part_folder

HERE = ("127.0.0.1", "localhost", "[::1]")
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "font-src 'self' data:; worker-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)
"""The Content-Security-Policy of the page: its browser asks no other host for anything."""

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]


def stranger(headers: dict[str, str]) -> str | None:
    """Why a request with these headers (names in small letters) does not come from the page itself; None where it may."""
    host = headers.get("host", "")
    if host.rsplit(":", 1)[0] not in HERE and host not in HERE:
        return f"the page is at 127.0.0.1 and at localhost, not at '{host}'"
    if (origin := headers.get("origin")) is not None and origin != f"http://{host}":
        return f"a page of '{origin}' may not use this one"
    if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        return "another page may not use this one: type its address"
    return None


def guarded(app: App) -> App:
    """The application, which answers only its own page, and whose page its browser lets ask nobody else."""

    async def answer(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        if scope["type"] != "http" or (why := stranger(headers)):
            why = why if scope["type"] == "http" else "no websockets here"
            await send({"type": "http.response.start", "status": 403, "headers": [(b"content-type", b"text/plain; charset=utf-8")]})
            await send({"type": "http.response.body", "body": f"segzoo view: {why}\n".encode("utf-8", "replace")})
            return

        async def with_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                more = [(b"content-security-policy", POLICY.encode()), (b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer")]
                message = {**message, "headers": [*message.get("headers", ()), *more]}
            await send(message)

        await app(scope, receive, with_policy)

    return answer


def stay_here() -> None:
    """From now on no library in this process opens a connection beyond this machine, or asks a name server. Nothing can undo it."""
    sys.addaudithook(_only_here)


def _only_here(event: str, arguments: tuple[Any, ...]) -> None:
    place = arguments[_PLACES[event]] if event in _PLACES else None
    host = place[0] if isinstance(place, tuple) else place  # of a Unix socket it is a path, which is on this machine
    if isinstance(host, bytes):
        host = host.decode("latin-1")
    if isinstance(host, str) and (isinstance(place, tuple) or event not in _CONNECTIONS) and not loopback(host):
        raise PermissionError(f"segzoo view opens no connection beyond this machine: {host}")


_CONNECTIONS = {"socket.connect": 1, "socket.sendto": 1, "socket.sendmsg": 1}
_PLACES = _CONNECTIONS | {"socket.getaddrinfo": 0, "socket.gethostbyname": 0, "socket.gethostbyaddr": 0}
"""The events of Python's that lead beyond a process, and which of their arguments says where to."""


def loopback(host: str) -> bool:
    """Whether an address is this machine's own."""
    try:
        return host in ("localhost", "") or ip_address(host).is_loopback
    except ValueError:  # a name
        return False


@contextmanager
def private_folder() -> Iterator[Path]:
    """A folder that only this user may enter, where Gradio puts what is dropped. It goes at the end, however the process ends."""
    with part_folder(Path(tempfile.gettempdir()), "segzoo-view") as folder:
        folder.chmod(0o700)
        os.environ.update(GRADIO_TEMP_DIR=str(folder / "files"), GRADIO_ANALYTICS_ENABLED="False")
        yield folder
