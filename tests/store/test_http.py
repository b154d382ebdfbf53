"""Faults on the way, each by a real server and, where a process must die, a real process: right bytes, or none and a reason."""

import base64
import errno
import hashlib
import json
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import fastcrc
import pytest
import yaml
from server import Ranged, body, endless, raw, redirect, serve, stalling, status, together
from support import slow_after

from segzoo.errors import IntegrityError, NetworkError, NotFoundError
from segzoo.manifest.artifact import Artifact
from segzoo.store import fetch as download
from segzoo.store.arrival import short_digest
from segzoo.store.http import Patience
from segzoo.store.policy import Policy
from segzoo.store.store import LOCK_NAME, Store, home

GOOD = random.Random(11).randbytes(8_000_000)
OTHER = random.Random(12).randbytes(8_000_000)
FLIPPED = GOOD[:5_000_000] + bytes([GOOD[5_000_000] ^ 4]) + GOOD[5_000_001:]
HTML = b"<!DOCTYPE html><title>For sale</title>" * 100
SIZE, SHA = len(GOOD), hashlib.sha256(GOOD).hexdigest()
MD5 = base64.b64encode(hashlib.md5(GOOD).digest()).decode()
CRC32C = base64.b64encode(fastcrc.crc32.iscsi(GOOD).to_bytes(4, "big")).decode()
CRC64 = str(fastcrc.crc64.xz(GOOD))
KNOWN = {"sha256": SHA, "size": SIZE}
PREFIX = {"sha256_prefix": SHA[:8]}
HASTE = Patience(tries=4, pause=0.01, wait=0.05, several=1 << 20)
ONE = replace(HASTE, connections=1)


def impatient(patience):
    """For servers that stall or crawl on purpose. Others may be as slow as a busy machine makes them."""
    return replace(patience, stall=0.5, window=0.5, slowest=50_000)


@pytest.fixture
def store(tmp_path):
    return Store(home(), tmp_path / LOCK_NAME)


def fetched(table, store, known=KNOWN, paths=None, patience=HASTE, **policy):
    """What fetch makes of these addresses, in order, all on one server."""
    with serve(table) as server:
        urls = [server.base + path for path in paths or table]
        artifact = Artifact(name="vit.npz", urls=tuple(urls), **known)
        return download.fetch(artifact, store, store.home, policy=Policy(patience=patience, **policy))


def left_over():
    return [path for folder in ("blobs", "partials") for path in (home() / folder).glob("*")]


def assert_right(got):
    assert got.path.read_bytes() == GOOD
    assert left_over() == [got.path]


# the seventeen cases of the peers' fault matrix: what must come, and what may not be left

OUTCOMES = {
    "none": (lambda: Ranged(GOOD), True),
    "body cut, no Range on the server": (lambda: Ranged(GOOD, ranges=False, cuts=[0.5] * 40), False),
    "body cut, no Content-Length": (lambda: body(GOOD[:4_000_000], length=""), False),
    "cut twice, Range works": (lambda: Ranged(GOOD, cuts=[0.33, 0.66]), True),
    "one bit flipped": (lambda: Ranged(FLIPPED), False),
    "200 and an HTML page": (lambda: body(HTML, Content_Type="text/html"), False),
    "cut, then Range ignored": (lambda: Ranged(GOOD, ranges=False, cuts=[0.5]), True),
    "206 with a wrong Content-Range": (lambda: Ranged(GOOD, wrong_range=True, cuts=[0.5]), True),
    "429 twice": (lambda: Ranged(GOOD, statuses=[429, 429]), True),
    "503 twice": (lambda: Ranged(GOOD, statuses=[503, 503]), True),
    "404 and a page": (lambda: status(404), False),
    "redirect loop": (lambda: redirect("/x"), False),
    "stall at 50 %": (lambda: Ranged(GOOD, stall_at=0.5), False),
}


@pytest.mark.parametrize("patience", slow_after(1, [HASTE, ONE]), ids=["eight connections", "one connection"])
@pytest.mark.parametrize("known", slow_after(1, [KNOWN, PREFIX, {"sha256": SHA}]), ids=["sha256 and size", "prefix", "sha256"])
@pytest.mark.parametrize("case", OUTCOMES)
def test_the_fault_matrix(case, known, patience, store):
    behaviour, comes = OUTCOMES[case]
    table = {"/x": behaviour()}
    patience = impatient(patience) if "stall" in case else patience
    if comes:
        assert_right(fetched(table, store, known, patience=patience))
        assert fetched({"/x": status(500)}, store, known).cached
        return
    with pytest.raises(IntegrityError if case in ("one bit flipped", "200 and an HTML page") or "Content-Length" in case else NetworkError):
        fetched(table, store, known, patience=patience)
    assert not list((home() / "blobs").glob("*"))
    assert all(GOOD.startswith(path.read_bytes()) for path in left_over())
    if isinstance(table["/x"], Ranged):
        assert table["/x"].sent <= 5 * SIZE
    assert_right(fetched({"/y": Ranged(GOOD)}, store, known))


# what a dying process leaves


def zoo_of(folder, url, **known):
    geometry = {"width": 64, "depth": 1, "heads": 1, "mlp": 64, "patch": 16, "grid": 2}
    source = {"name": "vit.npz", "layout": "augreg", "urls": [url], **known}
    backbone = {"title": "x", "file": "x.pth", "source": source, "geometry": geometry}
    path = folder / "zoo.yaml"
    path.write_text(yaml.safe_dump({"version": 1, "backbones": {"vit": backbone}}))
    return path


NO_LOCKS = "import fcntl; fcntl.flock = lambda *_: None\nfrom segzoo.__main__ import main; main()"


def process(zoo, *more, locks=True):
    command = [sys.executable, *(["-m", "segzoo"] if locks else ["-c", NO_LOCKS]), "--zoo", str(zoo), "fetch", "vit", *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


WITHOUT_LOCKS = """
import fcntl, os, warnings
def flock(*_): raise OSError({0}, os.strerror({0}))
fcntl.flock = flock
warnings.simplefilter("error")
from segzoo.__main__ import main; main()
"""


@pytest.mark.parametrize("number", slow_after(1, [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL]), ids=errno.errorcode.get)
def test_a_file_system_without_locks(number, store, tmp_path):
    """As Lustre, or NFS without its daemon: fetched and pinned, without a warning."""
    with serve({"/x": Ranged(GOOD)}) as running:
        zoo = zoo_of(tmp_path, running.base + "/x", **PREFIX)
        command = [sys.executable, "-c", WITHOUT_LOCKS.format(number), "--zoo", str(zoo), "fetch", "vit"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads((tmp_path / LOCK_NAME).read_text())["pins"]["vit.npz"]["sha256"] == SHA


def ended(running):
    """The exit status, once all that was printed is read."""
    running.communicate(timeout=60)
    return running.returncode


def arrived():
    """The longest beginning that is on disk."""
    sizes = [0]
    for path in home().glob("partials/*.part"):
        with suppress(FileNotFoundError):  # taken away meanwhile
            sizes.append(path.stat().st_size)
    return max(sizes)


def kill_at(running, size):
    patience = time.monotonic() + 30
    while arrived() < size and running.poll() is None and time.monotonic() < patience:
        time.sleep(0.005)
    running.kill()
    running.communicate()


def settled(server):
    """What the server has sent, once it has noticed that nobody listens."""
    sent = -1
    while sent != server.sent:
        sent = server.sent
        time.sleep(0.5)
    return sent


@pytest.mark.slow
@pytest.mark.parametrize("known", [KNOWN, PREFIX], ids=["sha256", "prefix"])
def test_kill_9_at_half_and_again(known, store, tmp_path):
    server = Ranged(GOOD, rate=4_000_000)
    with serve({"/x": server}) as running:
        zoo = zoo_of(tmp_path, running.base + "/x", **known)
        kill_at(process(zoo), SIZE // 2)
        assert SIZE // 2 <= arrived() < SIZE
        before = settled(server)
        again = process(zoo)
        stdout, stderr = again.communicate(timeout=60)
        assert again.returncode == 0, stderr
        assert "MB were here" in stdout
        assert server.sent - before <= 0.52 * SIZE
    assert_right(download.fetch(Artifact(name="vit.npz", urls=("gone",), **known), store, tmp_path))


@pytest.mark.slow
def test_kill_9_at_random_twenty_times(store, tmp_path):
    server, chance = Ranged(GOOD, rate=2_000_000), random.Random(5)
    with serve({"/x": server}) as running:
        zoo = zoo_of(tmp_path, running.base + "/x", **KNOWN)
        for _ in range(20):
            kill_at(process(zoo), arrived() + chance.randrange(SIZE // 24))
            assert not list((home() / "blobs").glob("*"))
            assert len(list(home().glob("partials/*"))) <= 2
        server.rate = None
        assert ended(process(zoo)) == 0
    assert server.sent <= 2 * SIZE
    assert_right(download.fetch(Artifact(name="vit.npz", urls=("gone",), **KNOWN), store, tmp_path))


@pytest.mark.parametrize("known", slow_after(1, [KNOWN, {"sha256": SHA}, PREFIX]), ids=["sha256 and size", "sha256", "prefix"])
def test_the_content_is_another_when_a_killed_process_is_run_again(known, store, tmp_path):
    """What was here is of another content, or of another version: nothing of it is in the file."""
    with serve({"/x": (server := Ranged(OTHER, rate=4_000_000, etags=['"old"']))}) as running:
        zoo = zoo_of(tmp_path, running.base + "/x", **known)
        kill_at(process(zoo), SIZE // 2)
        running.table["/x"] = server = Ranged(GOOD, etags=['"new"'])
        assert ended(process(zoo)) == 0
        assert server.sent >= SIZE
    assert_right(download.fetch(Artifact(name="vit.npz", urls=("gone",), **known), store, tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize("locks", [True, False], ids=["locks", "flock does nothing"])
@pytest.mark.parametrize("known", [KNOWN, PREFIX], ids=["sha256", "prefix"])
def test_eight_processes_on_one_target(known, locks, store, tmp_path):
    server = Ranged(GOOD, rate=20_000_000)
    with serve({"/x": server}) as running:
        zoo = zoo_of(tmp_path, running.base + "/x", **known)
        all_of_them = [process(zoo, locks=locks) for _ in range(8)]
        outcomes = [(one.communicate(timeout=120)[1], one.returncode) for one in all_of_them]
    assert outcomes == [("", 0)] * 8
    if locks:  # one works, seven wait
        assert server.sent <= 1.1 * SIZE
    got = download.fetch(Artifact(name="vit.npz", urls=("gone",), **known), store, tmp_path)
    assert got.path.read_bytes() == GOOD
    assert [path for path in left_over() if path.suffix != ".part"] == [got.path]


@pytest.mark.slow
def test_ctrl_c_and_again(store, tmp_path):
    server = Ranged(GOOD, rate=4_000_000)
    with serve({"/x": server}) as running:
        zoo = zoo_of(tmp_path, running.base + "/x", **KNOWN)
        first = process(zoo)
        while arrived() < SIZE // 2:
            time.sleep(0.01)
        first.send_signal(signal.SIGINT)
        _, stderr = first.communicate(timeout=5)
        assert (first.returncode, "what has arrived is kept" in stderr, "Traceback" in stderr) == (130, True, False)
        before = server.sent
        assert ended(process(zoo)) == 0
        assert server.sent - before <= 0.55 * SIZE


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no folder here that not even root may write in")
def test_a_read_only_store(tmp_path, monkeypatch):
    monkeypatch.setenv("SEGZOO_HOME", "/proc/self/segzoo")
    with serve({"/x": Ranged(GOOD)}) as running:
        done = process(zoo_of(tmp_path, running.base + "/x", **KNOWN))
        stderr = done.communicate(timeout=60)[1]
    assert (done.returncode, "/proc/self/segzoo" in stderr, "Traceback" in stderr) == (8, True, False)


def test_a_store_with_spaces_and_unicode(store, tmp_path, monkeypatch):
    monkeypatch.setenv("SEGZOO_HOME", str(tmp_path / "my store \u00fc \u96ea"))
    assert_right(fetched({"/x": Ranged(GOOD, cuts=[0.4])}, Store(home(), tmp_path / LOCK_NAME)))


# mirrors


@pytest.mark.parametrize("patience", [HASTE, ONE], ids=["eight connections", "one connection"])
def test_another_address_goes_on_where_one_dies(patience, store):
    dying, other = Ranged(GOOD, cuts=[0.5] * 50), Ranged(GOOD)
    got = fetched({"/dying": dying, "/other": other}, store, patience=patience)
    assert_right(got)
    assert other.sent <= 0.56 * SIZE
    assert got.url.endswith("/other")
    assert "the connection ended" in got.failures[0] or "IncompleteRead" in got.failures[0]


def test_another_address_has_other_content(store):
    """The half from the first is right and the second lies: the second is found out, by name, and a third delivers."""
    dying, lying, third = Ranged(GOOD, cuts=[0.5] * 50), Ranged(OTHER), Ranged(GOOD)
    got = fetched({"/dying": dying, "/lying": lying, "/third": third}, store)
    assert_right(got)
    assert any("/lying: expected sha256" in failure for failure in got.failures)


def test_an_address_that_promises_another_file_costs_nothing_of_what_is_here(store):
    dying, page, other = Ranged(GOOD, cuts=[0.5] * 50), body(HTML, Content_Type="text/html"), Ranged(GOOD)
    assert_right(fetched({"/dying": dying, "/page": page, "/other": other}, store))
    assert other.sent <= 0.56 * SIZE


@pytest.mark.parametrize("known", [KNOWN, {"sha256": SHA}, PREFIX], ids=["sha256 and size", "sha256", "prefix"])
def test_all_was_here_but_the_name(known, store):
    """A process may die between the last byte and the renaming."""
    server = Ranged(GOOD)
    with serve({"/x": server}) as running:
        artifact = Artifact(name="vit.npz", urls=(running.base + "/x",), **known)
        version = short_digest(f'{running.base}/x\n"1"\n{SIZE}')
        key = f"{SHA[:32]}-whole" if "sha256" in known else f"{short_digest('vit.npz')}-{version}"
        store.partials.mkdir(parents=True)
        (store.partials / f"{key}.{'0' * 32}.part").write_bytes(GOOD)
        got = download.fetch(artifact, store, store.home, policy=Policy(patience=HASTE))
    assert_right(got)
    assert server.sent <= 1


def test_without_a_hash_no_file_is_made_of_two_addresses(store):
    dying, other = Ranged(GOOD, cuts=[0.5] * 50), Ranged(GOOD)
    assert_right(fetched({"/dying": dying, "/other": other}, store, PREFIX))
    assert other.sent >= SIZE


def test_a_mirror_of_the_user_is_tried_first(store):
    table = {"/mine/vit.npz": Ranged(GOOD), "/theirs": Ranged(GOOD)}
    with serve(table) as server:
        artifact = Artifact(name="vit.npz", urls=(server.base + "/theirs",), **KNOWN)
        got = download.fetch(artifact, store, store.home, policy=Policy(mirrors=(server.base + "/mine/",), patience=HASTE))
    assert (got.url, table["/theirs"].asked) == (server.base + "/mine/vit.npz", [])


# servers that lie


@pytest.mark.parametrize("patience", [HASTE, ONE], ids=["eight connections", "one connection"])
def test_the_file_changes_while_it_is_read(patience, store):
    """Between two ranges, and then stays: what came of the old is forgotten."""
    assert_right(fetched({"/x": Ranged(GOOD, etags=['"1"', '"1"', '"2"'], cuts=[0.5])}, store, patience=patience))


def test_ranges_are_ignored_half_way(store):
    server = Ranged(GOOD, cuts=[0.5])
    with serve({"/x": server}) as running:

        def turn(handler):
            server.ranges = len(server.asked) < 10
            server(handler)

        running.table["/x"] = turn
        artifact = Artifact(name="vit.npz", urls=(running.base + "/x",), **KNOWN)
        assert_right(download.fetch(artifact, store, store.home, policy=Policy(patience=HASTE)))


BAD = {
    "endless": (endless(OTHER), KNOWN, IntegrityError, "it sends more"),
    "a byte a second": (lambda: Ranged(GOOD, rate=50), KNOWN, NetworkError, "too slow"),
    "promises more": (lambda: body(GOOD, length=SIZE + 1), KNOWN, IntegrityError, "it promises 8,000,001"),
    "promises less": (lambda: body(GOOD, length=SIZE - 1), KNOWN, IntegrityError, "it promises 7,999,999"),
    "promises more, size unknown": (lambda: body(GOOD[:-1], length=SIZE), {"sha256": SHA}, NetworkError, "more expected"),
    "stalls at once": (lambda: stalling(b"", SIZE), KNOWN, NetworkError, "timed out"),
    "to a file": (lambda: redirect("file:///etc/hostname"), KNOWN, NetworkError, "redirects to a file: address"),
    "416": (lambda: status(416), KNOWN, NetworkError, "HTTP 416"),
    "206 without a range": (lambda: raw(b"HTTP/1.1 206 Partial Content\r\nContent-Length: 3\r\n\r\nabc"), KNOWN, NetworkError, "it answers ''"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_refused(case, store):
    behaviour, known, kind, said = BAD[case]
    behaviour = behaviour() if case != "endless" else behaviour
    patience = impatient(HASTE) if case in ("a byte a second", "stalls at once") else HASTE
    begun = time.monotonic()
    with pytest.raises(kind, match=said):
        fetched({"/x": behaviour}, store, known, patience=patience)
    assert time.monotonic() - begun < 20
    assert not list((home() / "blobs").glob("*"))


def test_a_password_in_an_address_is_in_no_message(store):
    artifact = Artifact(name="vit.npz", urls=("http://user:secret@127.0.0.1:9/x",), **KNOWN)
    with pytest.raises(NetworkError) as caught:
        download.fetch(artifact, store, store.home, policy=Policy(patience=HASTE))
    assert "secret" not in caught.value.message


# checksums of the server's


@pytest.mark.parametrize(
    ("headers", "says"),
    [
        ({"x_goog_hash": f"crc32c={CRC32C},md5={MD5}"}, "the server's crc32c and md5"),
        ({"x_goog_hash": f"crc32c={CRC32C}"}, "the server's crc32c"),
        ({"Content_MD5": MD5, "x_oss_hash_crc64ecma": CRC64}, "the server's md5 and crc64ecma"),
        ({"x_goog_hash": "md5=nonsense,sha1=abc", "Content_MD5": "", "x_oss_hash_crc64ecma": "-1"}, None),
        ({"x_oss_hash_crc64ecma": str(1 << 64)}, None),
        ({"x_oss_hash_crc64ecma": "9" * 5000}, None),
    ],
)
def test_the_servers_own_checksums_are_held_to_and_said(headers, says, store):
    got = fetched({"/x": Ranged(GOOD, **headers)}, store, PREFIX)
    assert got.evidence == f"prefix (32 bits){', ' + says if says else ''}, pinned on first use"
    assert json.loads(store.lock.read_text())["pins"]["vit.npz"]["sha256"] == SHA


@pytest.mark.parametrize("header", [{"x_goog_hash": f"md5={MD5}"}, {"x_goog_hash": f"crc32c={CRC32C}"}, {"x_oss_hash_crc64ecma": CRC64}])
def test_bytes_that_do_not_fit_the_servers_own_checksums_are_refused(header, store):
    known = {"size": SIZE}  # nothing else is known, so that only the checksum can tell
    with pytest.raises(IntegrityError, match=r"do not fit the server's own (md5|crc32c|crc64ecma)"):
        fetched({"/x": Ranged(FLIPPED, **header)}, store, known)
    assert not store.lock.exists()


def test_a_servers_checksum_alone_never_satisfies(store):
    with pytest.raises(IntegrityError, match="a sha256 that begins 0000aaaa"):
        fetched({"/x": Ranged(GOOD, Content_MD5=MD5)}, store, {"sha256_prefix": "0000aaaa"})
    with pytest.raises(IntegrityError, match="no full sha256 is known"):
        fetched({"/x": Ranged(GOOD, Content_MD5=MD5)}, store, PREFIX, require_hashes=True)


def test_a_third_partys_hash_that_proves_wrong_is_reported_as_that(store, tmp_path):
    known = {"sha256": hashlib.sha256(OTHER).hexdigest(), "size": SIZE, "provenance": "third-party: one project"}
    with pytest.raises(IntegrityError, match=r"fit the server's own md5, .* third party$") as caught:
        fetched({"/x": Ranged(GOOD, Content_MD5=MD5)}, store, known)
    assert "put the sha256 that was found into the manifest" in caught.value.hint
    assert left_over() == []
    with pytest.raises(IntegrityError) as plain:
        fetched({"/x": Ranged(FLIPPED, Content_MD5=MD5)}, store, known)
    assert "put the sha256" not in plain.value.hint
    with pytest.raises(IntegrityError, match="the manifest's sha256 is from a third party") as refused:
        store.pin_by_hand(Artifact(name="vit.npz", urls=("x",), **known), SHA)
    assert "mend it there" in refused.value.hint


# offline, and the number of connections


def test_offline_opens_no_socket(store, monkeypatch, tmp_path):
    def refuse(*_, **__):
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    artifact = Artifact(name="vit.npz", urls=("http://127.0.0.1:9/x",), **KNOWN)
    with pytest.raises(NotFoundError, match="not in the store, and not fetched: offline"):
        download.fetch(artifact, store, tmp_path, policy=Policy(offline=True))
    (tmp_path / "here.npz").write_bytes(GOOD)
    local = Artifact(
        name="vit.npz",
        urls=(
            "http://127.0.0.1:9/x",
            "here.npz",
        ),
        **KNOWN,
    )
    assert_right(download.fetch(local, store, tmp_path, policy=Policy(offline=True)))
    assert download.fetch(artifact, store, tmp_path, policy=Policy(offline=True)).cached


UNUSUAL = {
    "no ETag": lambda: Ranged(GOOD, etags=(None,), cuts=[0.3, 0.6]),
    "a weak ETag": lambda: Ranged(GOOD, etags=('W/"1"',), cuts=[0.3, 0.6]),
    "no ETag, no ranges": lambda: Ranged(GOOD, etags=(None,), ranges=False, cuts=[0.5]),
    "neither length nor ranges": lambda: body(GOOD, length=""),
    "206 to a plain request": lambda: raw(
        b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-7999999/8000000\r\nContent-Length: 8000000\r\nConnection: close\r\n\r\n" + GOOD
    ),
    "HTTP/1.0 and no length": lambda: raw(b"HTTP/1.0 200 OK\r\n\r\n" + GOOD),
    "a length with spaces and another case": lambda: raw(b"HTTP/1.1 200 OK\r\ncontent-LENGTH:   8000000 \r\nConnection: close\r\n\r\n" + GOOD),
}


@pytest.mark.parametrize("patience", [HASTE, ONE, Patience()], ids=["eight connections", "one connection", "as shipped"])
@pytest.mark.parametrize("known", slow_after(2, [KNOWN, PREFIX, {"sha256": SHA}]), ids=["sha256 and size", "prefix", "sha256"])
@pytest.mark.parametrize("case", UNUSUAL)
def test_unusual_but_honest_servers(case, known, patience, store):
    assert_right(fetched({"/x": UNUSUAL[case]()}, store, known, patience=patience))


def test_a_redirect_to_a_signed_address_elsewhere(store):
    other = Ranged(GOOD, cuts=[0.5])
    with serve({"/file?signature=abc%2Fdef": other}) as there, serve({"/x": redirect(f"{there.base}/file?signature=abc%2Fdef")}) as here:
        artifact = Artifact(name="vit.npz", urls=(here.base + "/x",), **KNOWN)
        assert_right(download.fetch(artifact, store, store.home, policy=Policy(patience=HASTE)))


def test_a_large_file_comes_over_several_connections_each_part_once(store):
    server = Ranged(GOOD, latency=0.01)
    got = fetched({"/x": server}, store)
    assert (got.received, server.sent) == (SIZE, SIZE)
    assert set(Counter(server.asked).values()) == {1}
    assert len(server.asked) == -(-SIZE // (1 << 18))


def test_a_small_file_is_one_plain_request(store):
    server = Ranged(GOOD)
    fetched({"/x": server}, store, patience=Patience())
    assert server.asked == [None]


def test_many_files_come_at_once(store, tmp_path):
    contents = {f"f{number}": random.Random(number).randbytes(1000) for number in range(24)}
    eight = threading.Barrier(8)

    with serve({f"/{name}": together(eight, content) for name, content in contents.items()}) as server:
        artifacts = {
            name: Artifact(name=name, urls=(f"{server.base}/{name}",), sha256=hashlib.sha256(content).hexdigest())
            for name, content in contents.items()
        }
        outcomes = dict(download.fetch_many(artifacts, store, tmp_path, lambda *_: None))
    assert {name: outcome.path.read_bytes() for name, outcome in outcomes.items()} == contents
    assert Path(outcomes["f0"].path).parent == store.blobs


# proxies, TLS, and a real server


def test_a_proxy_of_the_environment(store, monkeypatch):
    """A proxy is asked for whole addresses; the host in this one does not exist."""
    with serve({"http://weights.invalid/x": Ranged(GOOD, cuts=[0.5])}) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.base)
        artifact = Artifact(name="vit.npz", urls=("http://weights.invalid/x",), **KNOWN)
        assert_right(download.fetch(artifact, store, store.home, policy=Policy(patience=HASTE)))


def test_the_password_of_a_proxy_is_in_no_message(store, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://user:secret@127.0.0.1:9")
    artifact = Artifact(name="vit.npz", urls=("http://weights.invalid/x",), **KNOWN)
    with pytest.raises(NetworkError) as caught:
        download.fetch(artifact, store, store.home, policy=Policy(patience=HASTE))
    assert "secret" not in caught.value.message


def test_https_by_an_authority_that_the_user_names(secure, store):
    with serve({"/x": Ranged(GOOD, cuts=[0.5])}) as server:
        artifact = Artifact(name="vit.npz", urls=(secure(server) + "/x",), **KNOWN)
        assert_right(download.fetch(artifact, store, store.home, policy=Policy(patience=HASTE)))


def test_https_by_an_authority_that_nobody_knows(secure, store, monkeypatch):
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    with serve({"/x": Ranged(GOOD)}) as server:
        artifact = Artifact(name="vit.npz", urls=(secure(server) + "/x",), **KNOWN)
        with pytest.raises(NetworkError, match="certificate"):
            download.fetch(artifact, store, store.home, policy=Policy(patience=HASTE))


def test_a_redirect_from_https_to_http_is_not_followed(secure, store):
    plain = Ranged(GOOD)
    with serve({"/x": plain}) as http, serve({"/down": redirect(http.base + "/x")}) as https:
        artifact = Artifact(name="vit.npz", urls=(secure(https) + "/down",), **KNOWN)
        with pytest.raises(NetworkError, match=r"redirects from https to http://127\.0\.0\.1"):
            download.fetch(artifact, store, store.home, policy=Policy(patience=HASTE))
    assert plain.asked == []


CONF = """
daemon off; pid {folder}/pid; error_log {folder}/error.log crit; events {{ worker_connections 64; }}
http {{
  access_log off; client_body_temp_path {folder}/1; proxy_temp_path {folder}/2; fastcgi_temp_path {folder}/3;
  uwsgi_temp_path {folder}/4; scgi_temp_path {folder}/5;
  server {{ listen 127.0.0.1:{port}; root {folder}/www; location /slow/ {{ alias {folder}/www/; limit_rate 2m; }} }}
}}
"""


@pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed here")
@pytest.mark.parametrize("known", [KNOWN, PREFIX], ids=["sha256", "prefix"])
def test_a_real_nginx(known, store, tmp_path):
    folder = tmp_path / "nginx"
    (folder / "www").mkdir(parents=True)
    (folder / "www" / "x").write_bytes(GOOD)
    for path in (folder, *folder.parents):
        with suppress(PermissionError):  # its workers may be another user
            path.chmod(path.stat().st_mode | 0o055)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "nginx.conf").write_text(CONF.format(folder=folder, port=port))
    with subprocess.Popen(["nginx", "-c", folder / "nginx.conf", "-e", folder / "error.log"]) as running:
        try:
            while True:
                with socket.socket() as knocking:
                    if knocking.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.05)
            kill_at(process(zoo_of(tmp_path, f"http://127.0.0.1:{port}/slow/x", **known)), SIZE // 2)
            assert arrived() >= SIZE // 2
            got = download.fetch(
                Artifact(name="vit.npz", urls=(f"http://127.0.0.1:{port}/slow/x",), **known), store, tmp_path, policy=Policy(patience=HASTE)
            )
        finally:
            running.terminate()
    assert_right(got)
    assert got.resumed >= SIZE // 2
    assert got.received <= SIZE // 2
