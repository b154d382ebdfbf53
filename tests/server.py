"""A small real HTTP server on 127.0.0.1 whose behaviours are a table: path to what is sent there."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread

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


class Handler(BaseHTTPRequestHandler):
    timeout = 20

    def do_GET(self) -> None:
        self.server.seen.append(self.path)
        try:
            self.server.table[self.path](self)
        except ConnectionError:  # the client has left, as it may
            self.close_connection = True

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
        handler.end_headers()
        handler.wfile.write(data)

    return send


def endless(chunk: bytes) -> Send:
    """200 and as good as no end: a client that does not stop fails its test, not the disk."""

    def send(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
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
