"""A small real HTTP server on 127.0.0.1 whose behaviours are a table: path to what is sent there."""

import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import SHUT_RDWR, SO_LINGER, SOL_SOCKET, socket
from threading import Barrier, Event, Lock, Thread
from time import sleep

Send = Callable[[BaseHTTPRequestHandler], None]


class Server(ThreadingHTTPServer):
    """`seen` lists the paths asked for, in order; `stopping` is set when handlers that wait should go home."""

    daemon_threads = False  # so that closing waits for every handler

    def __init__(self, table: dict[str, Send]):
        super().__init__(("127.0.0.1", 0), Handler)
        self.table = table
        self.seen: list[str] = []
        self.stopping = Event()
        self.base = f"http://127.0.0.1:{self.server_port}"
        self.connections: set[socket] = set()
        self.to_reset: set[socket] = set()

    def process_request(self, request, client_address) -> None:
        self.connections.add(request)
        super().process_request(request, client_address)

    def handle_error(self, request, client_address) -> None:
        if not isinstance(sys.exception(), ConnectionError):  # else the client was killed
            super().handle_error(request, client_address)

    def shutdown_request(self, request) -> None:
        self.connections.discard(request)
        if request in self.to_reset:  # without a good bye
            self.to_reset.discard(request)
            self.close_request(request)
        else:
            super().shutdown_request(request)

    def hang_up(self) -> None:
        """End the connections on which a client may ask again."""
        for connection in list(self.connections):
            with suppress(OSError):
                connection.shutdown(SHUT_RDWR)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 20

    def do_GET(self) -> None:
        self.server.seen.append(self.path)
        try:
            self.server.table[self.path](self)
        except ConnectionError:  # the client has left, as it may
            self.close_connection = True

    do_CONNECT = do_GET  # as a proxy is asked for a tunnel

    def log_message(self, *_) -> None:
        pass


@contextmanager
def serve(table: dict[str, Send]) -> Iterator[Server]:
    with Server(table) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.stopping.set()
            server.shutdown()
            server.hang_up()
            thread.join()


def status(code: int) -> Send:
    return lambda handler: handler.send_error(code)


def redirect(to: str) -> Send:
    return raw(f"HTTP/1.0 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n".encode("latin-1"))


def raw(response: bytes) -> Send:
    """Exactly these bytes, and the end of the connection."""

    def send(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(response)
        handler.close_connection = True

    return send


def body(data: bytes, *, length: int | str | None = None, **headers: str) -> Send:
    """200 and `data`, with a true Content-Length unless another (or "" for none) is given."""
    headers["Content-Length"] = str(len(data) if length is None else length)

    def send(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        for name, value in headers.items():
            if value:
                handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Connection", "close")  # the end of a body without a length is that of the connection
        handler.end_headers()
        handler.wfile.write(data)

    return send


def together(barrier: Barrier, data: bytes) -> Send:
    """200 and `data`, once as many clients are here as the barrier waits for."""

    def send(handler: BaseHTTPRequestHandler) -> None:
        barrier.wait(timeout=30)
        body(data)(handler)

    return send


def endless(chunk: bytes) -> Send:
    """200 and as good as no end: a client that does not stop fails its test, not the disk."""

    def send(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Connection", "close")
        handler.end_headers()
        for _ in range(100):
            handler.wfile.write(chunk)

    return send


def stalling(data: bytes, length: int) -> Send:
    """The first bytes of a body, and then silence."""

    def send(handler: BaseHTTPRequestHandler) -> None:
        body(data, length=length)(handler)
        handler.wfile.flush()
        handler.server.stopping.wait()

    return send


class Flood:
    """These bytes, then `piece` again and again, with `pause` seconds before each, until nobody listens. `sent` counts bytes."""

    def __init__(self, first: bytes, piece: bytes, pause: float = 0.0):
        self.first, self.piece, self.pause, self.sent = first, piece, pause, 0

    def __call__(self, handler: BaseHTTPRequestHandler) -> None:
        handler.close_connection = True
        handler.wfile.write(self.first)
        while not handler.server.stopping.wait(self.pause):
            handler.wfile.write(self.piece)
            self.sent += len(self.piece)


def reset(first: bytes) -> Send:
    """These bytes, and the connection is reset."""

    def send(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(first)
        handler.close_connection = True
        handler.connection.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
        handler.server.to_reset.add(handler.connection)

    return send


class Ranged:
    """A server that does ranges as it should, but for the faults named.

    `cuts`: positions in the file, as shares of it, at which a connection that reaches them is ended, once each.
    `statuses`: what the first requests get instead. `etags` change with each request where there are several.
    `rate`: bytes a second on each connection. `sent` counts bytes of bodies, `asked` lists the ranges asked for.
    """

    def __init__(
        self, data, *, ranges=True, cuts=(), statuses=(), etags=('"1"',), wrong_range=False, rate=None, latency=0.0, stall_at=None, **headers
    ):
        self.data, self.ranges, self.cuts, self.statuses, self.etags = data, ranges, [int(len(data) * cut) for cut in cuts], list(statuses), etags
        self.wrong_range, self.rate, self.latency, self.stall_at, self.headers = wrong_range, rate, latency, stall_at, headers
        self.asked, self.sent, self.lock = [], 0, Lock()

    def __call__(self, handler: BaseHTTPRequestHandler) -> None:
        wanted = handler.headers.get("Range")
        with self.lock:
            self.asked.append(wanted)
            etag = self.etags[min(len(self.asked), len(self.etags)) - 1]
            status = self.statuses.pop(0) if self.statuses else None
        sleep(self.latency)
        if status:
            handler.send_response(status)
            handler.send_header("Retry-After", "0")
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        size = len(self.data)
        first, last = 0, size - 1
        if wanted and self.ranges and handler.headers.get("If-Range", etag) == etag:
            begin, end = wanted.removeprefix("bytes=").split("-")
            first, last = int(begin), min(int(end or size - 1), size - 1)
            handler.send_response(206)
            shift = 7 if self.wrong_range else 0
            handler.send_header("Content-Range", f"bytes {first + shift}-{last + shift}/{size}")
        else:
            handler.send_response(200)
        handler.send_header("Content-Length", str(last + 1 - first))
        for name, value in ({"ETag": etag} if etag else {}).items() | self.headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        self._send(handler, first, last + 1)

    def _send(self, handler: BaseHTTPRequestHandler, first: int, end: int) -> None:
        with self.lock:
            cut = next((cut for cut in self.cuts if first <= cut < end), None)
            if cut is not None:
                self.cuts.remove(cut)
        stop = end if cut is None else cut
        step = stop - first if self.rate is None else max(self.rate // 50, 1)
        for position in range(first, stop, max(step, 1)):
            if self.stall_at is not None and position + step > len(self.data) * self.stall_at:
                handler.server.stopping.wait()
                return
            chunk = self.data[position : min(position + step, stop)]
            handler.wfile.write(chunk)
            with self.lock:
                self.sent += len(chunk)
            if self.rate is not None:
                sleep(len(chunk) / self.rate)
        if cut is not None:
            handler.wfile.flush()
            handler.close_connection = True
            handler.connection.shutdown(SHUT_RDWR)
