"""What servers say, and the files and settings that a download is steered by."""

import gzip
import hashlib
import json
import socket
import threading
from contextlib import suppress
from functools import cache
from pathlib import Path

from harness import Target

from segzoo.errors import NetworkError
from segzoo.store.checksums import promised
from segzoo.store.http import Client, Patience, judged
from segzoo.store.lock import read_lock
from segzoo.store.proxy import fault_of
from segzoo.store.trouble import Trouble
from segzoo.zoo.zoo import open_zoo

BODY = b"the right bytes"
SHA = hashlib.sha256(BODY).hexdigest()
HASTE = Patience(connect=2, head=2, stall=2)
CHECKSUMS = b"x-goog-hash: crc32c=sREMRA==,md5=/eAOxR9rlJJ6Q+oyECZvZQ==\r\nx-oss-hash-crc64ecma: 1\r\n"
ANSWERS = [
    b'HTTP/1.1 200 OK\r\nContent-Length: 15\r\nETag: "1"\r\n\r\n' + BODY,
    b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-14/15\r\nContent-Length: 15\r\n\r\n" + BODY,
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7;a=b\r\nthe rig\r\n8\r\nht bytes\r\n0\r\nA: b\r\n\r\n",
    b"HTTP/1.0 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + gzip.compress(BODY, mtime=0),
    b"HTTP/1.1 200 OK\r\nx-goog-stored-content-encoding: gzip\r\n" + CHECKSUMS + b"Retry-After: 5\r\nContent-Length: 15\r\n\r\n" + BODY,
]


class Replay:
    """A server that answers each request with the same bytes, and hangs up."""

    def __init__(self) -> None:
        self.listening, self.answer = socket.create_server(("127.0.0.1", 0)), b""
        self.url = f"http://127.0.0.1:{self.listening.getsockname()[1]}/vit.npz"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            connection, _ = self.listening.accept()
            with connection, suppress(OSError):
                connection.settimeout(2)
                while (asked := connection.recv(65536)) and b"\r\n\r\n" not in asked:
                    pass
                connection.sendall(self.answer)


server = cache(Replay)


def answered(path: Path) -> object:
    """One connection an answer: a kept one may be gone before the next question, as the server hangs up."""
    server().answer = path.read_bytes()
    try:
        with Client(HASTE) as client:
            answer = client.ask(server().url)
            body = b"".join(answer.chunks(HASTE))
    except Trouble as trouble:
        raise NetworkError(str(trouble)) from trouble
    return body, answer.validator, promised(answer.headers)


def redirected(path: Path) -> object:
    try:
        target = judged("https://127.0.0.1/x", path.read_bytes().decode("latin-1"))
    except Trouble as trouble:
        raise NetworkError(str(trouble)) from trouble
    assert target.startswith("https://")
    return target


def lock() -> bytes:
    pins = {"a.npz": {"sha256": SHA, "size": 15, "url": "https://a.test/a.npz"}, "b.npz": {"sha256": SHA, "by": "hand"}}
    return json.dumps({"version": 1, "pins": pins}).encode()


def said(path: Path) -> str:
    return path.read_bytes().decode("latin-1")


TARGETS = [
    Target("answer of a server", lambda: ANSWERS, answered, share=0.5, loopback=True),
    Target("redirect", lambda: [b"/y?a=%2F", b"https://user:pw@127.0.0.1:8/\xc3\xbc", b"//a.test:443/x#y"], redirected),
    Target("lock file", lambda: [lock()], lambda path: read_lock(path).every()),
    Target("mirror", lambda: [b"https://a.test/zoo/ http://127.0.0.1:8080"], lambda path: open_zoo("mini", mirrors=said(path).split()), share=0.1),
    Target("proxy", lambda: [b"http://user:pw@proxy.test:3128", b"socks5h://proxy.test"], lambda path: fault_of(said(path))),
]
