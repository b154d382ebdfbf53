"""Fetching from a real server and real files: what is delivered is right, what is wrong is said, and nothing else is left."""

import gc
import gzip
import hashlib
import io
import json
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from server import body, endless, raw, redirect, serve, stalling, status, together
from support import MINI, TAME

from segzoo.cli import main
from segzoo.errors import EnvironmentFault, IntegrityError, NetworkError, NotFoundError
from segzoo.manifest.artifact import Artifact
from segzoo.store import fetch as download
from segzoo.store.http import Patience
from segzoo.store.policy import Policy
from segzoo.store.store import LOCK_NAME, Store, home

HASTE = Patience(tries=2, pause=0.01, wait=0.05)


def fetch(wanted, store, base, said=None, **policy):
    return download.fetch(wanted, store, base, said, policy=Policy(**{"patience": HASTE, **policy}))


def weights(size):
    """A file of weights of just so many bytes: one tensor of noise."""

    def made(count):
        file = io.BytesIO()
        np.savez(file, noise=np.frombuffer(random.Random(7).randbytes(count), np.uint8))
        return file.getvalue()

    return made(2 * size - len(made(size)))


GOOD = weights(2_500_000)  # three chunks
WRONG = GOOD[:-1] + bytes([GOOD[-1] ^ 1])
HTML = b"\n <!DOCTYPE html><title>This domain is for sale</title>"
PADDED = HTML + b" " * (len(GOOD) - len(HTML))
SHA, PREFIX = hashlib.sha256(GOOD).hexdigest(), hashlib.sha256(GOOD).hexdigest()[:8]
SIZE = len(GOOD)
WHOLE = {"size": SIZE, "sha256": SHA}
PIN = {"sha256": SHA, "size": SIZE}
BY_PREFIX = "prefix (32 bits), pinned on first use"
BY_NOTHING = "no hash known, pinned on first use"
LINEAR = next(MINI.glob("segmenter_mini_linear*.pth"))
SAFE = b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'
SAFE = len(SAFE).to_bytes(8, "little") + SAFE + bytes(8)
TAME_SHA = hashlib.sha256(TAME.read_bytes()).hexdigest()

BOTH = threading.Barrier(2)

TABLE = {
    "/good": body(GOOD),
    "/a%20b": body(GOOD),
    "/without-length": body(GOOD, length=""),
    "/nonsense-length": body(GOOD, length="9" * 5000),
    "/gzip": body(gzip.compress(GOOD, 1), Content_Encoding="gzip"),
    "/redirect": redirect("/redirect-again"),
    "/redirect-again": redirect("/good"),
    "/404": status(404),
    "/500": status(500),
    "/escapes": raw(b"HTTP/1.0 404 \x1b[2Jgone\x07\r\n\r\n"),
    "/loop": redirect("/loop"),
    "/nowhere": redirect("http://[bad/"),
    "/latin": redirect("http://\xff/"),
    "/long-label": redirect(f"http://{'a' * 70}.test/"),
    "/to-file": redirect("file:///etc/hostname"),
    "/html": body(HTML, Content_Type="text/html"),
    "/html-in-chunks": body(HTML, length="", Content_Type="text/html"),
    "/html-padded": body(PADDED, Content_Type="application/octet-stream"),
    "/wrong": body(WRONG),
    "/truncated": body(GOOD[:1_500_000], length=SIZE),
    "/short": body(GOOD[:1_500_000], length=""),
    "/promises-less": body(GOOD[:100]),
    "/promises-more": body(GOOD + b"."),
    "/endless": endless(WRONG),
    "/endless-promise": stalling(b"", length=SIZE + 1),  # it never sends the body, so it must be refused unread
    "/empty": body(b""),
    "/empty-no-length": body(b"", length=""),
    "/stalling": stalling(GOOD[:1_200_000], length=SIZE),
    "/hangs-up": raw(b""),
    "/no-http": raw(b"SSH-2.0-OpenSSH\r\n"),
    "/bad-chunks": raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n"),
    "/no-gzip": body(GOOD, Content_Encoding="gzip"),
    "/gzip-truncated": body(gzip.compress(GOOD, 1)[:-1000], length="", Content_Encoding="gzip"),
    "/gzip-wrong": body(gzip.compress(WRONG, 1), Content_Encoding="gzip"),
    "/gzip-bomb": body(gzip.compress(bytes(50_000_000), 1), Content_Encoding="gzip"),
    "/together": together(BOTH, GOOD),
    "/together-tame": together(BOTH, TAME.read_bytes()),
}


@pytest.fixture(scope="module")
def server():
    with serve(TABLE) as running:
        yield running


@pytest.fixture(autouse=True)
def _unseen(server):
    server.seen.clear()


@pytest.fixture(scope="module")
def closed():
    """An address where nobody listens: the port is taken, so nobody else can start to."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


@pytest.fixture
def address(server, closed, tmp_path):
    """`http:/x` is the server's, `https:/x` the same without TLS on its side, `closed:/x` nobody's; else as it is."""
    (tmp_path / "good.npz").write_bytes(GOOD)
    (tmp_path / "a b.npz").write_bytes(GOOD)
    (tmp_path / "wrong.npz").write_bytes(WRONG)
    (tmp_path / "empty.npz").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    bases = {"http:/": server.base, "https:/": server.base.replace("http", "https"), "closed:/": closed, "file:/": tmp_path.as_uri()}

    def resolve(short):
        start = next((start for start in bases if short.startswith(start)), None)
        return bases[start] + short[len(start) - 1 :] if start else short

    return resolve


@pytest.fixture
def store(tmp_path):
    return Store(home(), tmp_path / LOCK_NAME)


def artifact(*urls, **known):
    return Artifact(name="vit.npz", urls=urls, **(known or WHOLE))


def kept(folder=None):
    """The names of all blobs, having checked that each is the hash of its bytes, and that nothing else is in the store but locks."""
    files = [path for path in (folder or home()).rglob("*") if path.is_file() and path.suffix != ".lock"]
    assert all(path.name == hashlib.sha256(path.read_bytes()).hexdigest() for path in files), files
    return [path.name for path in files]


def partials():
    """What is left of files that have not come whole: always a beginning, in the tests of GOOD."""
    left = sorted(home().glob("partials/*.part"))
    assert all(GOOD.startswith(path.read_bytes()) for path in left)
    sizes = [path.stat().st_size for path in left]
    for path in left:
        path.unlink()
    return sizes


def pin(store, sha256):
    store.lock.write_text(json.dumps({"version": 1, "pins": {"vit.npz": {"sha256": sha256, "size": SIZE, "url": "before"}}}))


# what works


@pytest.mark.parametrize(
    ("known", "says"),
    [
        (WHOLE, "sha256"),
        ({"sha256": SHA}, "sha256"),
        ({"sha256": SHA, "sha256_prefix": PREFIX}, "sha256"),
        ({"sha256_prefix": PREFIX}, BY_PREFIX),
        ({"sha256_prefix": PREFIX, "size": SIZE}, BY_PREFIX),
        ({"size": SIZE}, BY_NOTHING),
        ({"provenance": "somewhere"}, BY_NOTHING),
    ],
)
@pytest.mark.parametrize("short", ["http:/good", "file:/good.npz", "good.npz"])
def test_right_bytes_are_kept_under_their_hash_and_found_again(short, known, says, address, store, tmp_path, server):
    wanted, told = artifact(address(short), **known), []
    first = fetch(wanted, store, tmp_path, lambda *said: told.append(said))
    assert (first.path, first.sha256, first.size, first.evidence) == (home() / "blobs" / SHA, SHA, SIZE, says)
    assert (first.url, first.cached, first.failures) == (address(short), False, ())
    assert first.path.read_bytes() == GOOD
    assert told[-1] == (SIZE, known.get("size"))
    assert told == sorted(set(told))
    assert len(told) >= 3
    assert store.pins() == ({} if "sha256" in known else {"vit.npz": {**PIN, "url": address(short)}})
    asked = list(server.seen)
    second = fetch(wanted, store, tmp_path)
    assert (second.path, second.sha256, second.size, second.evidence) == (first.path, SHA, SIZE, says)
    assert (second.url, second.cached) == (None, True)
    assert server.seen == asked
    assert kept() == [SHA]


@pytest.mark.parametrize(
    "short",
    ["http:/without-length", "http:/nonsense-length", "http:/gzip", "http:/redirect", "http:/a%20b", "file:/a%20b.npz", "a b.npz"],
)
def test_unusual_deliveries_of_right_bytes(short, address, store, tmp_path):
    got = fetch(artifact(address(short)), store, tmp_path)
    assert got.path.read_bytes() == GOOD
    assert kept() == [SHA]


@pytest.mark.parametrize("damaged", [WRONG, GOOD[:-1], b"", GOOD + b"."])
@pytest.mark.parametrize("known", [WHOLE, {"sha256_prefix": PREFIX}])
def test_a_damaged_blob_is_noticed_and_fetched_anew(known, damaged, address, store, tmp_path, server):
    wanted = artifact(address("http:/good"), **known)
    blob = fetch(wanted, store, tmp_path).path
    blob.write_bytes(damaged)
    again = fetch(wanted, store, tmp_path)
    assert (again.cached, again.path, server.seen) == (False, blob, ["/good", "/good"])
    assert kept() == [SHA]
    blob.write_bytes(damaged)
    with pytest.raises(NetworkError):
        fetch(artifact(address("closed:/x"), **known), store, tmp_path)
    assert kept() == []


# what fails: the address is passed over for the next, and alone it is an error that says why

PREFIXED, SIZED, UNKNOWN = {"sha256_prefix": PREFIX}, {"size": SIZE}, {"provenance": "somewhere"}
NET, BAD, GONE = NetworkError, IntegrityError, NotFoundError
MORE, TOO_FEW = "expected 2,500,000 bytes, it sends more", "expected 2,500,000 bytes, found 1,500,000"
SHA_WRONG = hashlib.sha256(WRONG).hexdigest()
FAULTS = [
    ("http:/404", WHOLE, NET, "HTTP 404 Not Found"),
    ("http:/500", WHOLE, NET, "HTTP 500 Internal Server Error"),
    ("http:/escapes", WHOLE, NET, "HTTP 404 \\x1b[2Jgone\\x07"),
    ("closed:/x", WHOLE, NET, "Connection refused"),
    ("https:/good", WHOLE, NET, "SSL"),
    ("http:/loop", WHOLE, NET, "redirects in a circle: again to "),
    ("http:/long-label", WHOLE, NET, "label empty or too long"),
    ("http:/to-file", WHOLE, NET, "redirects to a file: address"),
    ("http:/stalling", WHOLE, NET, "timed out"),
    ("http:/hangs-up", WHOLE, NET, "Remote end closed connection without response"),
    ("http:/no-http", WHOLE, NET, "BadStatusLine: SSH-2.0-OpenSSH"),
    ("http:/bad-chunks", WHOLE, NET, "invalid literal"),
    ("http:/truncated", WHOLE, NET, "1500000 bytes read, 1000000 more expected"),
    ("http:/truncated", UNKNOWN, NET, "1500000 bytes read, 1000000 more expected"),
    ("http:/no-gzip", WHOLE, NET, "incorrect header check"),
    ("http:/html", WHOLE, BAD, f"expected 2,500,000 bytes, it promises {len(HTML)}; it is an HTML page"),
    ("http:/html-in-chunks", WHOLE, BAD, f"expected 2,500,000 bytes, found {len(HTML)}; it looks like an HTML page"),
    ("http:/html-padded", WHOLE, BAD, f"found {hashlib.sha256(PADDED).hexdigest()}; it looks like an HTML page"),
    ("http:/html", {"sha256": SHA}, BAD, f"found {hashlib.sha256(HTML).hexdigest()}; it looks like an HTML page"),
    ("http:/html", PREFIXED, BAD, f"expected a sha256 that begins {PREFIX}, found {hashlib.sha256(HTML).hexdigest()}; it looks like an HTML page"),
    ("http:/html", UNKNOWN, BAD, "no hash to hold it to; it looks like an HTML page"),
    ("http:/html-padded", SIZED, BAD, "no hash to hold it to; it looks like an HTML page"),
    ("http:/wrong", WHOLE, BAD, f"expected sha256 {SHA}, found {SHA_WRONG}"),
    ("http:/wrong", PREFIXED, BAD, f"expected a sha256 that begins {PREFIX}, found {SHA_WRONG}"),
    ("http:/short", WHOLE, BAD, TOO_FEW),
    ("http:/short", SIZED, BAD, TOO_FEW),
    ("http:/promises-less", WHOLE, BAD, "expected 2,500,000 bytes, it promises 100"),
    ("http:/promises-more", SIZED, BAD, "expected 2,500,000 bytes, it promises 2,500,001"),
    ("http:/endless-promise", WHOLE, BAD, "expected 2,500,000 bytes, it promises 2,500,001"),
    ("http:/endless", WHOLE, BAD, MORE),
    ("http:/endless", SIZED, BAD, MORE),
    ("http:/gzip-wrong", WHOLE, BAD, f"expected sha256 {SHA}, found {SHA_WRONG}"),
    ("http:/gzip-truncated", WHOLE, BAD, "expected 2,500,000 bytes, found "),
    ("http:/gzip-bomb", WHOLE, BAD, MORE),
    ("http:/empty", WHOLE, BAD, "expected 2,500,000 bytes, it promises 0"),
    ("http:/empty", UNKNOWN, BAD, "an empty file"),
    ("http:/empty-no-length", {"sha256": SHA}, BAD, f"expected sha256 {SHA}, found e3b0c442"),
    ("wrong.npz", WHOLE, BAD, f"expected sha256 {SHA}, found {SHA_WRONG}"),
    ("empty.npz", WHOLE, BAD, "expected 2,500,000 bytes, found 0"),
    ("empty.npz", UNKNOWN, BAD, "an empty file"),
    ("missing.npz", WHOLE, GONE, "no such file"),
    ("file:/missing.npz", WHOLE, GONE, "no such file"),
    ("file:/a%00b", WHOLE, GONE, "no name of a file: embedded null byte"),
    ("folder", WHOLE, GONE, "a folder, not a file"),
    ("good.npz/below", WHOLE, GONE, "not readable: Not a directory"),
]


def assert_passed_over(url, good, known, kind, said, store, tmp_path):
    size_left = {"truncated": 1_500_000, "stalling": 1_200_000}.get(url.split("/")[-1]) if "sha256" in known else None
    patience = replace(HASTE, stall=0.3) if url.endswith("stalling") else HASTE  # others may be as slow as a busy machine makes them
    with pytest.raises(kind) as caught:
        fetch(artifact(url, **known), store, tmp_path, patience=patience)
    assert type(caught.value) is kind
    assert caught.value.message.startswith(f"vit.npz: no address delivered it:\n  {url}: ")
    assert said in caught.value.message
    assert "\x1b" not in caught.value.message
    assert caught.value.hint
    assert partials() in ([], [size_left])
    assert kept() == []
    assert store.pins() == {}
    got = fetch(artifact(url, good, **known), store, tmp_path, patience=patience)
    assert (got.sha256, got.url, kept()) == (SHA, good, [SHA])
    (failure,) = got.failures
    assert failure.startswith(f"{url}: ")
    assert said in failure


@pytest.mark.parametrize(("short", "known", "kind", "said"), FAULTS)
def test_a_faulty_address(short, known, kind, said, address, store, tmp_path):
    assert_passed_over(address(short), address("file:/good.npz"), known, kind, said, store, tmp_path)


@pytest.mark.parametrize(("short", "said"), [("http:/nowhere", "Invalid IPv6 URL"), ("http:/latin", "can't decode byte 0xff")])
def test_a_malformed_redirect(short, said, address, store, tmp_path):
    with warnings.catch_warnings(action="ignore", category=ResourceWarning):
        assert_passed_over(address(short), address("file:/good.npz"), WHOLE, NET, said, store, tmp_path)
        gc.collect()  # requests lets a ValueError out here, and leaves the socket to the garbage collector


def test_what_is_promised_wrong_is_not_read(address, store, tmp_path):
    told = []
    with pytest.raises(IntegrityError):
        fetch(artifact(address("http:/promises-more")), store, tmp_path, lambda *said: told.append(said))
    assert told == []


@pytest.mark.parametrize(
    ("shorts", "kind"),
    [
        (("http:/wrong", "closed:/x", "missing.npz"), BAD),
        (("missing.npz", "http:/404", "http:/html"), BAD),
        (("missing.npz", "http:/404"), NET),
        (("closed:/x", "missing.npz"), NET),
        (("missing.npz", "file:/missing.npz"), GONE),
    ],
)
def test_when_all_fail_the_gravest_is_raised_and_all_are_named(shorts, kind, address, store, tmp_path):
    urls = [address(short) for short in shorts]
    with pytest.raises(kind) as caught:
        fetch(artifact(*urls), store, tmp_path)
    lines = caught.value.message.splitlines()[1:]
    assert [line.split(": ")[0].strip() for line in lines] == urls
    assert all(line.split(": ", 1)[1] for line in lines)
    assert kept() == []


def test_mirrors_are_tried_in_order_until_one_delivers(address, store, tmp_path, server):
    got = fetch(artifact(*map(address, ("http:/404", "http:/wrong", "http:/good", "http:/500"))), store, tmp_path)
    assert server.seen == ["/404", "/wrong", "/good"]
    assert [failure.split(": ")[0] for failure in got.failures] == [address("http:/404"), address("http:/wrong")]


# pins

OTHER = PREFIX + "0" * 56  # no bytes are known that have it, and none need be


@pytest.mark.parametrize("known", [PREFIXED, {**PREFIXED, **SIZED}, SIZED, UNKNOWN])
def test_what_is_not_the_pinned_file_is_refused_though_its_prefix_is_right(known, address, store, tmp_path):
    pin(store, OTHER)
    before = store.lock.read_bytes()
    with pytest.raises(IntegrityError, match=f"expected sha256 {OTHER} pinned on first use, found {SHA}"):
        fetch(artifact(address("http:/good"), **known), store, tmp_path)
    assert kept() == []
    assert store.lock.read_bytes() == before


def test_a_pin_against_the_manifest_is_refused_even_if_the_bytes_are_here(store, tmp_path):
    pin(store, SHA_WRONG)
    store.blobs.mkdir(parents=True)
    store.blob(SHA_WRONG).write_bytes(WRONG)
    with pytest.raises(IntegrityError, match=rf"{SHA_WRONG} is pinned in .*{LOCK_NAME}, but the manifest says that it begins {PREFIX}"):
        fetch(artifact("good.npz", **PREFIXED), store, tmp_path)


def test_a_full_hash_in_the_manifest_outweighs_the_pin(address, store, tmp_path):
    pin(store, OTHER)
    assert fetch(artifact(address("http:/good")), store, tmp_path).evidence == "sha256"


def test_the_hint_at_a_pin_made_on_first_use_says_where_it_stands_and_how_to_go_on(address, store, tmp_path):
    for known, named in ((UNKNOWN, "names no hash of it"), (PREFIXED, "names no full hash of it")):
        pin(store, OTHER)
        with pytest.raises(IntegrityError) as caught:
            fetch(artifact(address("http:/good"), **known), store, tmp_path)
        for said in (named, str(store.lock), "--pin SHA256", "remove 'vit.npz' from there"):
            assert said in caught.value.hint
    store.pin_by_hand(artifact("x", **PREFIXED), OTHER)
    with pytest.raises(IntegrityError, match=f"expected sha256 {OTHER} pinned by hand, found {SHA}") as caught:
        fetch(artifact(address("http:/good"), **PREFIXED), store, tmp_path)
    assert caught.value.hint == f"that hash was pinned by hand and stands in {store.lock}: --pin another one, or remove 'vit.npz' from there"
    store.pin_by_hand(artifact("x", **PREFIXED), SHA)
    assert fetch(artifact(address("http:/good"), **PREFIXED), store, tmp_path).evidence == "sha256 pinned by hand"
    assert fetch(artifact("x", **PREFIXED), store, tmp_path).evidence == "sha256 pinned by hand"  # from the store


# what nobody has hashed is looked at before it is pinned


def images():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("images/1.jpg", random.Random(1).randbytes(100_000))
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "right", "wrong", "said"),
    [
        ("vit.npz", GOOD, GOOD[:-100_000], "expected npz, pth, safetensors or flax's msgpack, found a zip file that is cut short or damaged"),
        ("vit.pth", LINEAR.read_bytes(), LINEAR.read_bytes()[:-1], "cut short: "),
        ("vit.safetensors", SAFE, SAFE[:-1], "its tensors are 8 bytes, in the file are 7"),
        ("vit.pth", LINEAR.read_bytes(), images(), "found a zip of something else (images/1.jpg)"),
        ("images.zip", images(), images()[:50_000], "expected a whole zip, found a zip file that is cut short or damaged"),
        ("images.zip", images(), b"some text", "expected a whole zip, found no weights file"),
    ],
    ids=["npz cut short", "pth cut short", "safetensors cut short", "images for a pth", "zip cut short", "text for a zip"],
)
def test_what_no_hash_is_known_of_must_open_before_it_is_pinned(name, right, wrong, said, store, tmp_path):
    (tmp_path / "wrong").write_bytes(wrong)
    (tmp_path / "right").write_bytes(right)
    with serve({"/wrong": body(wrong), "/right": body(right)}) as there:
        for one, other in (("wrong", "right"), (f"{there.base}/wrong", f"{there.base}/right")):
            with pytest.raises(IntegrityError) as caught:
                fetch(Artifact(name=name, urls=(one,)), store, tmp_path)
            assert caught.value.message.startswith(f"{name}: no address delivered it:\n  {one}: ")
            assert said in caught.value.message
            assert str(home()) not in caught.value.message
            assert "nothing of it was kept or pinned" in caught.value.hint
            assert (kept(), partials(), store.pins()) == ([], [], {})
            got = fetch(Artifact(name=name, urls=(one, other)), store, tmp_path)
            assert (got.path.read_bytes(), got.url) == (right, other)
            store.lock.unlink()
            got.path.unlink()


def test_an_entrys_file_without_a_hash_must_be_of_its_layout_and_geometry(tmp_path):
    (tmp_path / "tame.npz").write_bytes(TAME.read_bytes())
    (tmp_path / "noise.npz").write_bytes(GOOD)
    zoo = manifest(tmp_path, tame=source("tame.npz", **UNKNOWN), noise=source("noise.npz", **UNKNOWN))
    zoo.write_text(zoo.read_text().replace("depth: 3", "depth: 4"))
    deeper = run("--zoo", zoo, "fetch", "tame", "noise")
    assert deeper.exit_code == 4
    assert "geometry differs from the manifest: depth 3, expected 4" in deeper.stderr
    assert "1 tensor in no layout that segzoo knows" in deeper.stderr
    assert (kept(), (tmp_path / LOCK_NAME).exists()) == ([], False)
    zoo.write_text(zoo.read_text().replace("depth: 4", "depth: 3"))
    assert run("--zoo", zoo, "fetch", "tame").exit_code == 0
    assert list(json.loads((tmp_path / LOCK_NAME).read_text())["pins"]) == ["tame.npz"]


# the disk


def test_a_disk_that_is_too_small(address, store, tmp_path, server):
    with pytest.raises(EnvironmentFault, match=r"bytes free, 1,000,000,000,000,000 needed") as caught:
        fetch(artifact(address("http:/good"), size=10**15), store, tmp_path)
    assert "SEGZOO_HOME" in caught.value.hint
    assert server.seen == []
    assert kept() == []


# the command


def manifest(folder, **sources):
    """A manifest in `folder` with one backbone for each source."""
    geometry = {"width": 64, "depth": 3, "heads": 4, "mlp": 256, "patch": 16, "grid": 4, "classes": 11}  # of TAME
    backbones = {
        name: {"title": name, "file": f"{name}.pth", "source": {"name": f"{name}.npz", "layout": "augreg", **source}, "geometry": dict(geometry)}
        for name, source in sources.items()
    }
    path = folder / "zoo.yaml"
    path.write_text(yaml.safe_dump({"version": 1, "backbones": backbones}, sort_keys=False))
    return path


def source(*urls, **known):
    return {**(known or WHOLE), "urls": list(urls)}


def run(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments], catch_exceptions=False)


NO_LOCKS = "import fcntl; fcntl.flock = lambda *_: None\nfrom segzoo.__main__ import main; main()"


def process(*arguments, locks=True):
    command = [sys.executable, *(["-m", "segzoo"] if locks else ["-c", NO_LOCKS]), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_the_command_prints_path_and_evidence(address, tmp_path, server):
    zoo = manifest(tmp_path, tiny=source(address("http:/404"), address("http:/good")), small=source("good.npz", **PREFIXED))
    first, second = run("--zoo", zoo, "fetch", "tiny", "small"), run("--zoo", zoo, "fetch", "--all")
    path = home() / "blobs" / SHA
    lines = ("tiny: {}, 2.5 MB, sha256", f"  {path}", f"small: {{}}, 2.5 MB, {BY_PREFIX}", f"  {path}")
    assert first.exit_code == second.exit_code == 0
    assert first.stdout.splitlines() == [line.format("fetched") for line in lines]
    assert second.stdout.splitlines() == [line.format("here already") for line in lines]
    assert first.stderr == f"tiny: passed over {address('http:/404')}: HTTP 404 Not Found\n"
    assert second.stderr == ""
    assert json.loads((tmp_path / LOCK_NAME).read_text()) == {"version": 1, "pins": {"small.npz": {**PIN, "url": "good.npz"}}}
    assert kept() == [SHA]


def test_one_that_fails_does_not_keep_the_rest(address, tmp_path, server):
    zoo = manifest(tmp_path, first=source(address("http:/404")), second=source("lost.npz"), third=source(address("http:/good")))
    done = run("--zoo", zoo, "fetch", "--all", "--json")
    assert done.exit_code == 3
    assert [list(result) for result in json.loads(done.stdout)["result"]][:2] == [["name", "error"]] * 2
    assert json.loads(done.stdout)["result"][2]["sha256"] == SHA
    assert done.stderr.count("error: ") == 2
    assert kept() == [SHA]


def test_the_command_in_json(address, tmp_path):
    zoo = manifest(tmp_path, tiny=source(address("http:/good")), small=source("good.npz", **PREFIXED))
    printed = [json.loads(run("--zoo", zoo, "fetch", "--all", "--json").stdout)["result"] for _ in range(2)]
    both = {"path": str(home() / "blobs" / SHA), **PIN}
    rows = [
        {
            "name": "tiny",
            "evidence": "sha256",
            "url": address("http:/good"),
            "cached": False,
            "received": SIZE,
            "resumed": 0,
            "passed_over": [],
            **both,
        },
        {"name": "small", "evidence": BY_PREFIX, "url": "good.npz", "cached": False, "received": 0, "resumed": 0, "passed_over": [], **both},
    ]
    assert printed == [rows, [{**row, "url": None, "cached": True, "received": 0} for row in rows]]


def test_the_hint_is_shown_once_for_all_that_fail_alike(closed, address, tmp_path):
    zoo = manifest(tmp_path, first=source(f"{closed}/x"), second=source(address("http:/404")), third=source(address("http:/wrong")))
    done = run("--zoo", zoo, "fetch", "--all")
    lines = done.stderr.splitlines()
    (network,) = [line for line in lines if line.startswith("hint: check the connection")]
    assert [line[:6] for line in lines if not line.startswith(" ")].count("hint: ") == 2
    assert {line.split(": ")[1] for line in lines[: lines.index(network)][-2:]} == {"first.npz", "second.npz"}
    for way in ("--mirror URL", "segzoo store add FILE", "segzoo doctor"):
        assert way in network
    assert f"; {network.removeprefix('hint: ')}" in run("--zoo", zoo, "verify", "first").stdout


def test_a_cause_that_several_have_is_said_once_and_v_names_the_addresses(closed, address, tmp_path):
    both = [f"{closed}/x", f"{closed.replace('127.0.0.1', 'localhost')}/x"]
    zoo = manifest(tmp_path, first=source(*both), second=source(both[0]), third=source(address("http:/404")))
    lines = run("--zoo", zoo, "fetch", "first").stderr.splitlines()
    assert lines[0].endswith("Connection refused, at 2 places, which -v names")
    lines = run("--zoo", zoo, "fetch", "--all").stderr.splitlines()
    joint = next(number for number, line in enumerate(lines) if line.startswith("error: 2 files were delivered by no address: "))
    assert lines[joint].endswith("Connection refused, at 2 places, which -v names")
    assert set(lines[joint + 1 : joint + 3]) == {"  first.npz", "  second.npz"}
    assert sum("Connection refused" in line for line in lines) == sum("HTTP 404" in line for line in lines) == 1
    loud = run("-v", "--zoo", zoo, "fetch", "--all").stderr
    assert all(f"  {url}: " in loud for url in both)


@pytest.mark.parametrize(("number", "words"), [(socket.EAI_NONAME, "host name not known"), (socket.EAI_AGAIN, "no name server answers")])
def test_a_host_without_an_address_is_said_in_words(number, words, store, tmp_path, monkeypatch):
    def unresolved(*_, **__):
        raise socket.gaierror(number, "as the resolver puts it")

    monkeypatch.setattr(socket, "getaddrinfo", unresolved)  # whether there is a name server is the machine's affair
    with pytest.raises(NetworkError) as caught:
        fetch(artifact("http://host.invalid/x"), store, tmp_path)
    assert caught.value.message.endswith(f"  http://host.invalid/x: {words} (errno {number})")


def small_files_only(*arguments):
    """A limit on file size stands for a full disk: writes fail half way, with an error from the system."""
    command = [sys.executable, "-m", "segzoo", *map(str, arguments)]
    return subprocess.run(["sh", "-c", 'trap "" XFSZ; ulimit -f 3000; exec "$@"', "sh", *command], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    ("urls", "known", "arguments", "code", "said"),
    [
        (["http:/good"], WHOLE, ["tinny"], 7, "no 'tinny' in this zoo; did you mean tiny?"),
        (["http:/good"], WHOLE, [], 2, "nothing named"),
        (["http:/good"], WHOLE, ["--all", "tiny"], 2, "name some, or give --all, but not both"),
        (["closed:/x", "http:/404"], WHOLE, ["tiny"], 3, "HTTP 404 Not Found"),
        (["closed:/x", "http:/wrong"], WHOLE, ["tiny"], 4, f"found {SHA_WRONG}"),
        (["missing.npz"], WHOLE, ["--all"], 7, "missing.npz: no such file"),
        (["http:/good"], {"sha256": SHA, "size": 10**15}, ["tiny"], 8, "1,000,000,000,000,000 needed"),
    ],
)
def test_the_command_fails_with_one_message(urls, known, arguments, code, said, address, tmp_path):
    done = run("--zoo", manifest(tmp_path, tiny=source(*map(address, urls), **known)), "fetch", *arguments)
    assert (done.exit_code, done.stdout) == (code, "")
    assert done.stderr.startswith("error: ")
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert kept() == []


@pytest.mark.parametrize("place", ["file", "file/below", "file/far/below"])
def test_a_store_that_cannot_be(place, address, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("SEGZOO_HOME", str(tmp_path / place))
    done = run("--zoo", manifest(tmp_path, tiny=source("good.npz")), "fetch", "tiny")
    assert (done.exit_code, done.stdout) == (8, "")
    assert f"{tmp_path / place / 'partials'}: cannot write here" in done.stderr


@pytest.mark.parametrize(("short", "known"), [("http:/good", WHOLE), ("http:/good", PREFIXED), ("good.npz", PREFIXED)])
def test_a_disk_that_fills_half_way(short, known, address, tmp_path):
    done = small_files_only("--zoo", manifest(tmp_path, tiny=source(address(short), **known)), "fetch", "tiny")
    assert (done.returncode, done.stdout) == (8, "")
    assert "not written: File too large" in done.stderr
    assert "Traceback" not in done.stderr
    assert "\x1b" not in done.stderr
    assert kept() == []
    assert not (tmp_path / LOCK_NAME).exists()


def test_ctrl_c_leaves_nothing_half_written(address, tmp_path):
    running = process("--zoo", manifest(tmp_path, tiny=source(address("http:/stalling"))), "fetch", "tiny")
    patience = time.monotonic() + 20
    while not any(path.stat().st_size for path in home().rglob("*.part")) and time.monotonic() < patience:
        time.sleep(0.02)
    running.send_signal(signal.SIGINT)
    stdout, stderr = running.communicate(timeout=20)
    assert (running.returncode, stdout) == (130, "")
    assert "interrupted; what has arrived is kept" in stderr
    assert "Traceback" not in stderr
    assert "\x1b" not in stderr
    (size,) = partials()
    assert 0 < size <= 1_200_000
    assert kept() == []


@pytest.mark.slow
@pytest.mark.parametrize(("known", "path", "sha256"), [(WHOLE, "/together", SHA), (UNKNOWN, "/together-tame", TAME_SHA)])
def test_two_processes_fetch_the_same_at_the_same_time_where_locks_do_nothing(known, path, sha256, address, tmp_path, server):
    zoo = manifest(tmp_path, tiny=source(address(f"http:{path}"), **known))
    store = Store(home(), tmp_path / LOCK_NAME)
    store.blobs.mkdir(parents=True)
    if "sha256" in known:  # both find a damaged blob first
        store.blob(SHA).write_bytes(WRONG)
    both = [process("--zoo", zoo, "fetch", "tiny", locks=False) for _ in range(2)]
    for running in both:
        stdout, stderr = running.communicate(timeout=30)
        assert (running.returncode, stderr) == (0, "")
        assert "\x1b" not in stdout
        assert stdout.endswith(f"  {store.blob(sha256)}\n")
    assert server.seen == [path, path]
    assert kept() == [sha256]
    assert {pinned["sha256"] for pinned in store.pins().values()} == (set() if "sha256" in known else {sha256})


def test_a_store_with_no_home_named_is_the_users_cache(address, tmp_path, monkeypatch):
    monkeypatch.delenv("SEGZOO_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    assert run("--zoo", manifest(tmp_path, tiny=source("good.npz")), "fetch", "tiny").exit_code == 0
    assert kept(tmp_path / "me" / ".cache" / "segzoo" / "blobs") == [SHA]
