"""Servers that mean harm, or are broken as if they did: each fetch ends soon, with the right bytes or none, and reads no more than it must."""

import gzip
import hashlib
import json
import os
import random
import re
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import pytest
from server import Flood, Ranged, body, raw, redirect, reset, serve, status
from support import slow_after

from segzoo.errors import IntegrityError, NetworkError, SegzooError, UsageError
from segzoo.manifest.artifact import Artifact
from segzoo.store.fetch import fetch
from segzoo.store.http import Patience, judged
from segzoo.store.policy import Policy
from segzoo.store.store import LOCK_NAME, Store, home
from segzoo.store.trouble import Trouble
from segzoo.zoo.zoo import open_zoo

GOOD = random.Random(16).randbytes(300_000)
SIZE, SHA = len(GOOD), hashlib.sha256(GOOD).hexdigest()
KNOWN, HASH, PREFIX = {"sha256": SHA, "size": SIZE}, {"sha256": SHA}, {"sha256_prefix": SHA[:8]}
CALM = Patience(tries=2, pause=0.01, wait=0.05, progress=1 << 14, deadline=20)
SHORT = Patience(connect=0.4, head=0.4, stall=0.4, window=0.4, slowest=20_000, tries=2, pause=0.01, wait=0.05, progress=1 << 14, deadline=1.5)
MOST_READ = 32 << 20  # bytes: what the buffers of two connections hold, twice; a server sends a hundred times as much in a second

OK = b"HTTP/1.1 200 OK\r\n"
WHOLE = OK + b"Content-Length: %d\r\n\r\n" % SIZE
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
ALL_IN_CHUNKS = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (GOOD[:100_000], GOOD[100_000:]))
FOUND = b"HTTP/1.1 302 Found\r\nLocation: /good\r\n"
PART = b"HTTP/1.1 206 Partial Content\r\nContent-Range: %b\r\nContent-Length: %d\r\n\r\n%b"
GZIP = gzip.compress(GOOD, 1)


@dataclass(frozen=True)
class Case:
    """What a server sends, and how a fetch ends: with the right bytes where `ends` is None. `late` if only the clock can end it."""

    send: Any
    ends: type[SegzooError] | None = NetworkError
    said: str = ""
    known: Any = None
    late: bool = False


def hold(first):
    """These bytes, and silence on a connection that stays open."""
    return Flood(first, b"", 3600)


def drip(first, piece=b"x"):
    return Flood(first, piece, 0.02)


def gzip_forever(first):
    """A gzip stream that begins, and then zeros without end: a thousandth of what they unpack to."""
    start = gzip.compress(bytes(1 << 20))
    return Flood(first + start, start)


REDIRECTS = {
    "an endless body": Case(Flood(FOUND + b"\r\n", bytes(1 << 16)), None),
    "an endless body in gzip": Case(gzip_forever(FOUND + b"Content-Encoding: gzip\r\n\r\n"), None),
    "an endless body in chunks": Case(Flood(FOUND + b"Transfer-Encoding: chunked\r\n\r\n", b"1000\r\n" + bytes(4096) + b"\r\n"), None),
    "a body that never comes": Case(hold(FOUND + b"Content-Length: 1000\r\n\r\n"), None),
    "to itself": Case(redirect("/x"), said="in a circle: again to http://127"),
    "in a circle of two": Case(redirect("/back"), said="in a circle: again to http://127"),
    "eleven times": Case(redirect("/hop2"), said="redirects more than 10 times"),
    "ten times": Case(redirect("/hop3"), None),
    "to nowhere": Case(raw(b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n"), said="HTTP 302"),
    "each hop takes its time": Case(redirect("/slow1"), said="did not come within", late=True),
    **{
        f"to {address}": Case(redirect(address), said=f"redirects to a {address.split(':')[0]}: address")
        for address in (
            "file:///etc/hostname",
            "ftp://127.0.0.1/x",
            "data:text/plain,x",
            "gopher://127.0.0.1/x",
            "unix:/run/x",
            "FILE:///dev/zero".lower(),
        )
    },
    **{
        f"to {number}, malformed": Case(redirect(address))
        for number, address in enumerate(
            (
                "http://[::1",
                "http://127.0.0.1:99999/",
                "http://",
                "//",
                "\xff\xfe",
                "http:///x",
                "http://a b/",
                "http://\x1b[2K/",
                "http://x@:/",
                "http://%/",
            )
        )
    },
    "to an address of 60 kB": Case(redirect("/" + "a" * 60_000), said="HTTP 4"),
}
HEADS = {
    "a status line that drips": Case(drip(b"HTTP/1.1 200 "), late=True),
    "headers that drip": Case(drip(OK, b"a: b\r\n"), late=True),
    "interim answers that drip": Case(drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), late=True),
    "silence": Case(hold(b""), late=True),
    "silence after the status line": Case(hold(OK), late=True),
    "interim answers without end": Case(Flood(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100), said="bytes that are nothing of the file"),
    "interim answers with large headers": Case(
        Flood(b"", b"HTTP/1.1 100 Continue\r\nA: " + b"a" * 60_000 + b"\r\n\r\n"), said="bytes that are nothing of the file"
    ),
    "a status line without end": Case(Flood(b"HTTP/1.1 200 ", b"O" * 4096), said="status line"),
    "headers without end": Case(Flood(OK, b"a: b\r\n" * 100), said="more than 100 headers"),
    "a header without end": Case(Flood(OK + b"a: ", b"b" * 4096), said="header line"),
    "ninety large headers": Case(
        raw(OK + b"".join(b"a%d: %b\r\n" % (number, b"b" * 60_000) for number in range(90)) + b"\r\n"), said="bytes that are nothing of the file"
    ),
    "no HTTP": Case(raw(b"SSH-2.0-OpenSSH_9.6\r\n")),
    "HTTP/0.9": Case(raw(GOOD)),
    "HTTP/9": Case(raw(b"HTTP/9.9 200 OK\r\n\r\n")),
    "status -1": Case(raw(b"HTTP/1.1 -1 OK\r\n\r\n")),
    "status 1000": Case(raw(b"HTTP/1.1 1000 OK\r\n\r\n")),
    "status 10**4000": Case(raw(b"HTTP/1.1 1" + b"0" * 4000 + b" OK\r\n\r\n")),
    "nothing": Case(raw(b"")),
    "headers of bare bytes": Case(raw(OK + bytes(range(256)) + b"\r\n\r\n"), SegzooError),
}
LENGTHS = {
    "too short": Case(raw(OK + b"Content-Length: 100\r\n\r\n" + GOOD), IntegrityError, "it promises 100"),
    "too long": Case(raw(OK + b"Content-Length: 300001\r\n\r\n" + GOOD), IntegrityError, "it promises 300,001"),
    "too long, size not known": Case(raw(OK + b"Content-Length: 300001\r\n\r\n" + GOOD), None, known=HASH),
    "negative": Case(raw(OK + b"Content-Length: -1\r\n\r\n" + GOOD), None),
    "two": Case(raw(OK + b"Content-Length: 100\r\nContent-Length: 300000\r\n\r\n" + GOOD), said="Content-Length"),
    "two in one": Case(raw(OK + b"Content-Length: 100, 300000\r\n\r\n" + GOOD), said="Content-Length"),
    "huge": Case(raw(OK + b"Content-Length: 1" + b"0" * 30 + b"\r\n\r\n" + GOOD), None),
    "of 5000 digits": Case(raw(OK + b"Content-Length: 1" + b"0" * 5000 + b"\r\n\r\n" + GOOD), None),
    "a word": Case(raw(OK + b"Content-Length: many\r\n\r\n" + GOOD), None),
    "none, with a connection that stays open": Case(hold(OK + b"\r\n" + GOOD), None),
    "none, and more of the same for ever": Case(Flood(OK + b"\r\n" + GOOD, GOOD), None),
    "none, and other bytes for ever": Case(Flood(OK + b"\r\n", bytes(1 << 16)), IntegrityError, "it sends more"),
    "all came, promised is more": Case(hold(OK + b"Content-Length: 300001\r\n\r\n" + GOOD), None, known=HASH),
}
CHUNKS = {
    "the last one never comes": Case(hold(CHUNKED + ALL_IN_CHUNKS), None),
    "the last one never comes, size not known": Case(hold(CHUNKED + ALL_IN_CHUNKS), None, known=HASH),
    "trailers that drip": Case(drip(CHUNKED + ALL_IN_CHUNKS + b"0\r\n", b"a: b\r\n"), None),
    "trailers that drip, prefix known": Case(drip(CHUNKED + ALL_IN_CHUNKS + b"0\r\n", b"a: b\r\n"), None, known=PREFIX),
    "trailers without end": Case(Flood(CHUNKED + ALL_IN_CHUNKS + b"0\r\n", b"a: b\r\n" * 500), None, known=PREFIX),
    "an extension that drips": Case(drip(CHUNKED + b"100;"), late=True),
    "an extension without end": Case(Flood(CHUNKED + b"100;", b"e" * 4096), said="chunk size"),
    "extensions of 60 kB at each byte": Case(Flood(CHUNKED, b"1;" + b"e" * 60_000 + b"\r\nx\r\n"), said="too slow|not whole", late=True),
    "a size that is none": Case(raw(CHUNKED + b"zz\r\nabc")),
    "a negative size": Case(raw(CHUNKED + b"-5\r\n" + GOOD)),
    "a huge size": Case(raw(CHUNKED + b"f" * 40 + b"\r\n" + GOOD), None),
    "a size of 5000 digits": Case(raw(CHUNKED + b"f" * 5000 + b"\r\n" + GOOD), None),
    "no end": Case(raw(CHUNKED + ALL_IN_CHUNKS), None),
    "no end, prefix known": Case(raw(CHUNKED + ALL_IN_CHUNKS), known=PREFIX),
    "chunks without end": Case(Flood(CHUNKED, b"1000\r\n" + bytes(4096) + b"\r\n"), IntegrityError, "it sends more"),
    "a length too": Case(
        raw(OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n" + ALL_IN_CHUNKS + b"0\r\n\r\n"), IntegrityError, "promises 5"
    ),
}
RANGES = {
    "another offset": Case(raw(PART % (b"bytes 7-300006/300007", SIZE, GOOD)), said="it answers 'bytes 7-"),
    "another end": Case(raw(PART % (b"bytes 0-99/300000", 100, GOOD[:100])), said="it answers 'bytes 0-99/"),
    "from the end": Case(raw(PART % (b"bytes 299999-0/300000", SIZE, GOOD)), said="it answers"),
    "negative": Case(raw(PART % (b"bytes -1-299998/300000", SIZE, GOOD)), said="it answers"),
    "of nothing": Case(raw(PART % (b"bytes */300000", 0, b"")), said="it answers"),
    "huge": Case(raw(PART % (b"bytes 0-9" + b"9" * 400 + b"/*", SIZE, GOOD)), said="it answers"),
    "of 60 kB": Case(raw(PART % (b"bytes " + b"0" * 60_000, SIZE, GOOD)), said="it answers"),
    "another length": Case(raw(PART % (b"bytes 0-299999/300000", 5, GOOD)), said="it answers"),
    "compressed": Case(
        raw((PART % (b"bytes 0-299999/300000", SIZE, GOOD)).replace(b"\r\nContent-L", b"\r\nContent-Encoding: gzip\r\nContent-L")), said="it answers"
    ),
    "of several parts": Case(
        raw(b"HTTP/1.1 206 Partial Content\r\nContent-Type: multipart/byteranges; boundary=x\r\n\r\n--x\r\n"), said="it answers ''"
    ),
    "416": Case(raw(b"HTTP/1.1 416 No\r\nContent-Range: bytes */5\r\nContent-Length: 0\r\n\r\n"), said="HTTP 416"),
}
ENCODINGS = {
    "gzip, and right": Case(raw(OK + b"Content-Encoding: gzip\r\n\r\n" + GZIP), None),
    "gzip, size not known": Case(raw(OK + b"Content-Encoding: gzip\r\n\r\n" + GZIP), known=HASH, said="does not say how large"),
    "zeros in gzip without end": Case(gzip_forever(OK + b"Content-Encoding: gzip\r\n\r\n"), IntegrityError, "it sends more"),
    "gzip thirty times": Case(raw(OK + b"Content-Encoding: " + b", ".join([b"gzip"] * 30) + b"\r\n\r\n" + GZIP)),
    "empty blocks without end": Case(Flood(OK + b"Content-Encoding: deflate\r\n\r\n", b"\x00\x00\x00\xff\xff" * 1000), said="nothing of the file"),
    "br": Case(raw(OK + b"Content-Encoding: br\r\n\r\n" + GOOD[:999]), SegzooError),
    "unknown": Case(raw(OK + b"Content-Encoding: x\r\n\r\n" + GOOD), None),
}
STATUSES = {
    "404 and an endless page": Case(Flood(b"HTTP/1.1 404 Not Found\r\n\r\n", bytes(1 << 16)), said="HTTP 404"),
    "500 and an endless page in gzip": Case(gzip_forever(b"HTTP/1.1 500 No\r\nContent-Encoding: gzip\r\n\r\n"), said="HTTP 500"),
    "429 for thirty years": Case(raw(b"HTTP/1.1 429 No\r\nRetry-After: 1000000000\r\nContent-Length: 0\r\n\r\n"), said="HTTP 429"),
    "503 for 10**400 seconds": Case(raw(b"HTTP/1.1 503 No\r\nRetry-After: 1" + b"0" * 400 + b"\r\nContent-Length: 0\r\n\r\n"), said="HTTP 503"),
    "503 until yesterday": Case(raw(b"HTTP/1.1 503 No\r\nRetry-After: -1\r\nContent-Length: 0\r\n\r\n"), said="HTTP 503"),
    "401": Case(raw(b"HTTP/1.1 401 No\r\nWWW-Authenticate: Negotiate\r\nContent-Length: 0\r\n\r\n"), said="HTTP 401"),
    "407": Case(raw(b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n"), said="HTTP 407"),
    "101": Case(raw(b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n\r\n" + GOOD), said="HTTP 101"),
    "204": Case(raw(b"HTTP/1.1 204 No Content\r\n\r\n"), said="HTTP 204"),
    "a reason of 60 kB": Case(raw(b"HTTP/1.1 404 " + b"\x1b[2K" * 15_000 + b"\r\nContent-Length: 0\r\n\r\n"), said=r"HTTP 404 \\x1b\[2K"),
}
BODIES = {
    "a drip": Case(drip(WHOLE, GOOD[:100]), said="too slow|not whole|timed out", late=True),
    "just above the least rate": Case(
        Flood(OK + b"Content-Length: 100000000\r\n\r\n", bytes(1000), 0.02), said="not whole after", known={"size": 100_000_000}, late=True
    ),
    "a stall at once": Case(hold(WHOLE), said="did not come within 0.4 s", late=True),
    "a stall at half": Case(hold(WHOLE + GOOD[:150_000]), said="did not come within 0.4 s", late=True),
    "reset at once": Case(reset(b"")),
    "reset in the status line": Case(reset(b"HTTP/1.1 20")),
    "reset in the headers": Case(reset(OK + b"Content-Le")),
    "reset before the body": Case(reset(WHOLE)),
    "reset in the body": Case(reset(WHOLE + GOOD[:1000])),
    "reset in a chunk": Case(reset(CHUNKED + b"4000\r\n" + GOOD[:100])),
    "an ETag that changes with each request": Case(Ranged(GOOD, etags=[f'"{number}"' for number in range(100)], cuts=[0.5] * 100)),
    "an ETag that no request can hold": Case(Ranged(GOOD, etags=['"\xff\r\n x"'], cuts=[0.5]), None),
}
ALL = {
    f"{kind}: {name}": case
    for kind, cases in {
        "redirect": REDIRECTS,
        "head": HEADS,
        "length": LENGTHS,
        "chunks": CHUNKS,
        "range": RANGES,
        "encoding": ENCODINGS,
        "status": STATUSES,
        "body": BODIES,
    }.items()
    for name, case in cases.items()
}
QUICK = ("head: headers that drip", "chunks: an extension that drips", "body: just above the least rate", "redirect: each hop takes its time")


@pytest.fixture
def store(tmp_path):
    return Store(home(), tmp_path / LOCK_NAME)


def slowly(to):
    """A redirect whose status line takes a while."""

    def send(handler):
        handler.server.stopping.wait(0.15)
        redirect(to)(handler)

    return send


ELSEWHERE = {
    "/good": body(GOOD),
    "/" + "a" * 60_000: status(414),
    "/back": redirect("/x"),
    **{f"/hop{number}": redirect(f"/hop{number + 1}") for number in range(1, 11)},
    "/hop11": redirect("/good"),
    **{f"/slow{number}": slowly(f"/slow{number + 1}") for number in range(1, 12)},
}


def named(case):
    return case if not ALL[case].late or case in QUICK else pytest.param(case, marks=pytest.mark.slow)


@pytest.mark.parametrize("name", [named(case) for case in ALL])
def test_a_hostile_server(name, store):
    case = ALL[name]
    patience = SHORT if case.late else CALM
    if isinstance(case.send, Flood):
        case.send.sent = 0
    with serve({"/x": case.send, **ELSEWHERE}) as server:
        artifact = Artifact(name="vit.npz", urls=(server.base + "/x",), **(case.known or KNOWN))
        begun = time.monotonic()
        try:
            got, ended = fetch(artifact, store, store.home, policy=Policy(patience=patience, look=lambda *_: None)), None
        except SegzooError as error:
            got, ended = None, error
        assert time.monotonic() - begun < (6 if case.late else 15)
    if case.ends is None:
        assert ended is None, ended
        assert got.path.read_bytes() == GOOD
    else:
        assert isinstance(ended, case.ends), (ended, got)
        assert ended.exit_code in (3, 4)
        assert re.search(case.said, ended.message), ended.message
        assert len(ended.message) < 1000
        assert all(letter.isprintable() or letter == "\n" for letter in ended.message)
        assert not store.blobs.exists() or not list(store.blobs.iterdir())
    if isinstance(case.send, Flood) and not case.late:
        assert case.send.sent < MOST_READ


@pytest.mark.parametrize(
    ("url", "location"), [("https://a.test/", "http://b.test/"), ("HTTPS://a.test/", "HTTP://b.test/"), ("https://a.test", "http:x")]
)
def test_no_spelling_leads_from_https_to_http(url, location):
    with pytest.raises(Trouble, match="redirects from https to http:"):
        judged(url, location)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "wait4"), reason="no figures of a child's memory here")
@pytest.mark.parametrize(
    "name", ["redirect: an endless body in gzip", "encoding: zeros in gzip without end", "head: headers without end", "chunks: trailers without end"]
)
def test_what_a_process_needs_for_a_hostile_server(name, tmp_path):
    """Memory, as the system counts it: what the fetch of an honest server takes, and no more than 64 MB on top."""
    most = {}
    for path in ("/good", "/x"):
        with serve({"/x": ALL[name].send, **ELSEWHERE}) as server:
            known = KNOWN if ALL[name].known is None else ALL[name].known
            running = subprocess.Popen([sys.executable, "-c", FETCH, server.base + path, str(tmp_path / path[1:]), json.dumps(known)])
            _, status, usage = os.wait4(running.pid, 0)
            running.returncode = os.waitstatus_to_exitcode(status)
            assert running.returncode in (0, 3, 4)
            most[path] = usage.ru_maxrss
    assert most["/x"] < most["/good"] + 64 * 1024, most


FETCH = """
import json, sys
from pathlib import Path
from segzoo.errors import SegzooError
from segzoo.manifest.artifact import Artifact
from segzoo.store.fetch import fetch
from segzoo.store.policy import Policy
from segzoo.store.store import Store
folder, policy = Path(sys.argv[2]), Policy(look=lambda *_: None)
try:
    fetch(Artifact(name="vit.npz", urls=(sys.argv[1],), **json.loads(sys.argv[3])), Store(folder, folder / "lock"), folder, policy=policy)
except SegzooError as error:
    sys.exit(error.exit_code)
"""


# pieces of one file over several connections

SEVERAL = {
    "a piece that drips": (drip(b"HTTP/1.1 206 Partial Content\r\nContent-Length: 262144\r\nContent-Range: bytes {range}\r\n\r\n"), NetworkError),
    "a piece without end": (Flood(b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {range}\r\n\r\n", bytes(1 << 16)), IntegrityError),
    "a piece in gzip without end": (
        gzip_forever(b"HTTP/1.1 206 Partial Content\r\nContent-Encoding: gzip\r\nContent-Range: bytes {range}\r\n\r\n"),
        NetworkError,
    ),
    "another file from the second piece on": (raw(WHOLE + GOOD), IntegrityError),
    "nothing from the second piece on": (hold(b""), NetworkError),
}
LARGE = random.Random(17).randbytes(2_000_000)


@pytest.mark.parametrize("name", slow_after(3, SEVERAL))
def test_a_hostile_server_of_pieces(name, store):
    """The first piece is right; what comes then is not."""
    hostile, ends = SEVERAL[name]
    honest = Ranged(LARGE)

    def send(handler):
        wanted = handler.headers["Range"].removeprefix("bytes=")
        if wanted.startswith("0-"):
            honest(handler)
        elif isinstance(hostile, Flood):
            first = hostile.first.replace(b"{range}", f"{wanted}/{len(LARGE)}".encode())
            Flood(first, hostile.piece, hostile.pause)(handler)
        else:
            hostile(handler)

    known = {"sha256": hashlib.sha256(LARGE).hexdigest(), "size": len(LARGE)}
    with serve({"/x": send}) as server:
        artifact = Artifact(name="vit.npz", urls=(server.base + "/x",), **known)
        begun = time.monotonic()
        with pytest.raises(ends):
            fetch(artifact, store, store.home, policy=Policy(patience=replace(SHORT, several=1 << 16)))
        assert time.monotonic() - begun < 6


def test_an_address_that_crawls_leaves_time_for_the_next(store):
    crawl, good = Flood(OK + b"Content-Length: 300000\r\n\r\n", GOOD[:600], 0.02), Ranged(GOOD)
    with serve({"/x": crawl, "/y": good}) as server:
        artifact = Artifact(name="vit.npz", urls=(server.base + "/x", server.base + "/y"), **KNOWN)
        got = fetch(artifact, store, store.home, policy=Policy(patience=replace(SHORT, tries=1)))
    assert got.path.read_bytes() == GOOD
    assert "not whole after" in got.failures[0]


def test_the_time_for_a_file_is_in_proportion_to_its_size():
    patience = Patience()
    assert (patience.allowed(0), patience.allowed(1 << 30)) == (300, 300 + (1 << 15))
    assert replace(patience, deadline=5).allowed(1 << 40) == 5


# credentials, cookies, proxies, TLS


class Heard:
    """Answers as another would, and keeps the headers of each request."""

    def __init__(self, send):
        self.send, self.headers = send, []

    def __call__(self, handler):
        self.headers.append(handler.headers)
        self.send(handler)

    def all(self, name):
        return [headers[name] for headers in self.headers]


def cookie(to):
    return raw(f"HTTP/1.1 302 Found\r\nLocation: {to}\r\nSet-Cookie: secret=1\r\nContent-Length: 0\r\n\r\n".encode())


USER = "Basic dXNlcjpwYTpzcw=="  # user:pa:ss


def test_credentials_stay_with_the_origin_that_they_are_for(store):
    there = Heard(body(GOOD))
    with serve({"/good": there}) as other:
        own = Heard(cookie("/away"))
        away = Heard(cookie(other.base.replace("http://", "http://them:theirs@") + "/good"))
        with serve({"/x": own, "/away": away}) as server:
            url = server.base.replace("http://", "http://user:pa%3Ass@") + "/x"
            got = fetch(Artifact(name="vit.npz", urls=(url,), **KNOWN), store, store.home, policy=Policy(patience=CALM))
    assert got.path.read_bytes() == GOOD
    assert own.all("Authorization") == away.all("Authorization") == [USER]
    assert there.all("Authorization") == [None]
    assert own.all("Cookie") == away.all("Cookie") == there.all("Cookie") == [None]


@pytest.fixture
def netrc(tmp_path, monkeypatch):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login user password pa:ss\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))


@pytest.mark.parametrize("wanted", [False, True])
def test_netrc_never_goes_over_plain_http(wanted, store, netrc):
    heard = Heard(body(GOOD))
    with serve({"/x": heard}) as server:
        fetch(Artifact(name="vit.npz", urls=(server.base + "/x",), **KNOWN), store, store.home, policy=Policy(patience=CALM, netrc=wanted))
    assert heard.all("Authorization") == [None]


@pytest.mark.parametrize(("wanted", "user", "sent"), [(False, "", None), (True, "", USER), (True, "own:own@", "Basic b3duOm93bg==")])
def test_netrc_is_used_where_it_is_wanted_and_the_address_has_no_credentials(wanted, user, sent, store, netrc, secure):
    heard, there = Heard(redirect("/placeholder")), Heard(body(GOOD))
    with serve({"/good": there}) as other, serve({"/x": heard}) as server:
        heard.send = redirect(secure(other) + "/good")
        url = secure(server).replace("https://", f"https://{user}") + "/x"
        fetch(Artifact(name="vit.npz", urls=(url,), **KNOWN), store, store.home, policy=Policy(patience=CALM, netrc=wanted))
    assert heard.all("Authorization") == [sent]
    assert there.all("Authorization") == [None]  # the same name in ~/.netrc, but another origin than the user's


def test_the_environment_says_whether_netrc_is_wanted(monkeypatch):
    assert not open_zoo("mini").policy().netrc
    monkeypatch.setenv("SEGZOO_NETRC", "1")
    assert open_zoo("mini").policy().client().netrc
    monkeypatch.setenv("SEGZOO_NETRC", "perhaps")
    with pytest.raises(UsageError, match="SEGZOO_NETRC is 'perhaps'"):
        open_zoo("mini")


def test_the_environment_says_how_long_a_file_may_take(monkeypatch):
    assert open_zoo("mini").policy().patience.deadline is None
    monkeypatch.setenv("SEGZOO_DEADLINE", "90")
    assert open_zoo("mini").policy().patience.deadline == 90
    assert open_zoo("mini", deadline=5).policy().patience.deadline == 5
    for wrong in ("0", "-1", "1.5", "nan", "9" * 99, "soon"):
        monkeypatch.setenv("SEGZOO_DEADLINE", wrong)
        with pytest.raises(UsageError, match="SEGZOO_DEADLINE is"):
            open_zoo("mini")


def test_the_environment_says_over_how_many_connections_a_file_may_come(monkeypatch):
    assert open_zoo("mini").policy().patience.connections == 8
    monkeypatch.setenv("SEGZOO_CONNECTIONS", "2")
    assert open_zoo("mini").policy().patience.connections == 2
    for wrong in ("0", "17", "two", "1.5"):
        monkeypatch.setenv("SEGZOO_CONNECTIONS", wrong)
        with pytest.raises(UsageError, match=r"SEGZOO_CONNECTIONS is .*: expected a number of connections from 1 to 16"):
            open_zoo("mini").policy()


PROXIES = {
    "socks5://user:secret@127.0.0.1:9": ("a SOCKS proxy needs PySocks", "pip install pysocks"),
    "SOCKS4a://127.0.0.1:9": ("a SOCKS proxy needs PySocks", "pip install pysocks"),
    "http://user:se#cret@127.0.0.1:9": ("'#' in the user name or password ends the address there", "write %23 for '#' there"),
    "http://user:sec/ret@127.0.0.1:9": ("'/' in the user name or password", "write %2F for '/' there"),
    "user:secre?t@127.0.0.1:9": ("'?' in the user name or password", "write %3F for '?' there"),
    "http://us#er:secret@127.0.0.1:9": ("'#' in the user name or password", "write %23 for '#' there"),
    "http://user:sec@ret@127.0.0.1:9": ("Connection refused", "segzoo doctor"),
}


@pytest.mark.parametrize("proxy", PROXIES)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_cannot_be_used_is_named_without_its_password(scheme, proxy, store, monkeypatch):
    monkeypatch.setenv(f"{scheme}_proxy", proxy)
    monkeypatch.setattr("segzoo.store.proxy.find_spec", lambda name: None)  # whether PySocks is here or not
    said, hint = PROXIES[proxy]
    with pytest.raises(NetworkError, match=said) as caught:
        fetch(Artifact(name="vit.npz", urls=(f"{scheme}://weights.invalid/x",), **KNOWN), store, store.home, policy=Policy(patience=CALM))
    assert hint in caught.value.hint
    shown = f"{caught.value.message}{caught.value.hint}"
    assert not re.search("secret|cret|ret@|sec[^r]", shown), shown


@pytest.mark.parametrize(
    "answer", [drip(b"HTTP/1.1 200 OK\r\n", b"a: b\r\n"), Flood(b"", b"HTTP/1.1 200 "), hold(b"")], ids=["drip", "flood", "silence"]
)
def test_a_proxy_that_talks_for_ever(answer, store, monkeypatch):
    with serve({"weights.invalid:443": answer}) as proxy:
        monkeypatch.setenv("https_proxy", proxy.base)
        artifact = Artifact(name="vit.npz", urls=("https://weights.invalid/x",), **KNOWN)
        begun = time.monotonic()
        with pytest.raises(NetworkError):
            fetch(artifact, store, store.home, policy=Policy(patience=SHORT))
        assert time.monotonic() - begun < 6


def test_a_certificate_for_another_name(store, secure):
    with serve({"/x": body(GOOD)}) as server:
        url = secure(server, "weights.invalid") + "/x"
        with pytest.raises(NetworkError, match="certificate"):
            fetch(Artifact(name="vit.npz", urls=(url,), **KNOWN), store, store.home, policy=Policy(patience=CALM))


def test_a_server_that_speaks_no_tls(store):
    with serve({"/x": body(GOOD)}) as server:
        url = server.base.replace("http:", "https:") + "/x"
        with pytest.raises(NetworkError, match="SSL"):
            fetch(Artifact(name="vit.npz", urls=(url,), **KNOWN), store, store.home, policy=Policy(patience=CALM))


@pytest.mark.parametrize("first", [b"", b"\x16\x03\x03\x40\x00"], ids=["silence", "a record that drips"])
def test_a_handshake_without_end(first, store):
    done = threading.Event()

    def answer(listening):
        with suppress(OSError):
            while True:
                connection, _ = listening.accept()
                with connection, suppress(OSError):
                    connection.sendall(first)
                    while not done.wait(0.02):
                        connection.sendall(b"x" if first else b"")

    with socket.create_server(("127.0.0.1", 0)) as listening, ThreadPoolExecutor() as pool:
        pool.submit(answer, listening)
        artifact = Artifact(name="vit.npz", urls=(f"https://127.0.0.1:{listening.getsockname()[1]}/x",), **KNOWN)
        begun = time.monotonic()
        try:
            with pytest.raises(NetworkError, match="timed out"):
                fetch(artifact, store, store.home, policy=Policy(patience=SHORT))
            assert time.monotonic() - begun < 6
        finally:
            done.set()
            listening.shutdown(socket.SHUT_RDWR)
