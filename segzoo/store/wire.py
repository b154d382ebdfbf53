"""Connections on which a server cannot talk for ever: what it says before and around a body is bounded in time and in bytes.

http.client waits for each byte anew, and reads any number of interim answers, chunk extensions and trailers.
"""

import http.client
import io
import math
import socket
from contextlib import suppress
from functools import cache
from time import monotonic
from typing import Any

import truststore
from requests.adapters import HTTPAdapter

_HEAD = 1 << 17  # bytes: a status line and headers, those of interim answers too, and what is read ahead of the body
_BETWEEN = 1 << 21  # bytes that may come before the next ones of the file, and with them: the sizes of chunks, compressed blocks of nothing


class _Bounded(io.RawIOBase):
    """The bytes of a connection, up to a moment and a number of bytes."""

    def __init__(self, connection: socket.socket):
        self.connection, self.raw = connection, connection.makefile("rb", buffering=0)
        self.bound(connection.gettimeout() or math.inf, _HEAD)

    def bound(self, seconds: float, most: int) -> None:
        """Read no longer than so many seconds from now on, and no more than so many bytes."""
        self.seconds, self.until = seconds, monotonic() + seconds
        self.most = self.left = most

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        seconds, number = self.until - monotonic(), None
        if seconds > 0:
            self.connection.settimeout(None if seconds == math.inf else seconds)
            with suppress(TimeoutError):
                number = self.raw.readinto(buffer)
        if number is None:
            raise TimeoutError(f"timed out: what was awaited did not come within {self.seconds:.3g} s")
        self.left -= number
        if self.left < 0:
            raise http.client.HTTPException(f"more than {self.most:,} bytes that are nothing of the file")
        return number

    def close(self) -> None:
        self.raw.close()
        super().close()


class Response(http.client.HTTPResponse):
    """An answer whose head as a whole must come within the time-out of its connection.

    A body in chunks ends with its last chunk. Trailers are not read, so the connection is not used again.
    """

    def __init__(self, connection: socket.socket, *arguments: Any, **options: Any):
        super().__init__(connection, *arguments, **options)
        bounded = _Bounded(connection)
        self.fp.close()
        self.fp, self._bounded = io.BufferedReader(bounded), bounded

    def begin(self) -> None:
        super().begin()
        lengths = ",".join(self.headers.get_all("Content-Length", ())).split(",")
        if len({length.strip() for length in lengths}) > 1:  # urllib3 refuses them too, but leaves the connection open
            raise http.client.HTTPException("Content-Length: two that differ")
        if self.chunked:
            self.will_close = True

    def within(self, seconds: float) -> None:
        """The next bytes of the body must come within so many seconds, whatever else comes meanwhile."""
        self._bounded.bound(seconds, _BETWEEN)

    def _read_and_discard_trailer(self) -> None:
        pass

    def _read_next_chunk_size(self) -> int:
        size: int = super()._read_next_chunk_size()  # type: ignore[misc] # not in the stubs
        if size < 0:
            raise ValueError("a chunk of negative size")
        return size


class Adapter(HTTPAdapter):
    """Bounded connections, with a proxy or without. The system's trust store judges certificates: it holds a company's own authority."""

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options, ssl_context=_system_trust())
        _bind(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        known = proxy in self.proxy_manager
        manager = super().proxy_manager_for(proxy, **options, **({} if known else {"ssl_context": _system_trust()}))
        if not known:
            _bind(manager)
        return manager


def _system_trust() -> Any:
    import ssl

    return truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _bind(manager: Any) -> None:
    """Let all connections of a pool manager of urllib3 be bounded."""
    manager.pool_classes_by_scheme = {scheme: _bounded(pool) for scheme, pool in manager.pool_classes_by_scheme.items()}


@cache
def _bounded(pool: Any) -> Any:
    connection = type("Bounded", (pool.ConnectionCls,), {"response_class": Response})
    return type("BoundedPool", (pool,), {"ConnectionCls": connection})
