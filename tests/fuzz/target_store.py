"""What strangers give the store: bundles, archives of data sets, digests and lock files, lists of names on stdin."""

import hashlib
import io
import json
import os
import sys
import tarfile
import zipfile
from pathlib import Path

from harness import Target

from segzoo.cli.images import named
from segzoo.datasets.inputs import inputs
from segzoo.errors import SegzooError
from segzoo.manifest.artifact import Artifact
from segzoo.store.bundle import INDEX, load_bundle
from segzoo.store.store import Store
from segzoo.store.unzip import extract

DATA = b"the bytes of a file " * 50
SHA = hashlib.sha256(DATA).hexdigest()
PIN = {"sha256": SHA, "size": len(DATA), "url": "https://a.test/x.pth"}
WANTED = Artifact(name="x.pth", urls=("x.pth",), sha256_prefix=SHA[:8])


def silent(done, whole):
    pass


def bundle(form=tarfile.PAX_FORMAT):
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=form) as archive:
        for name, data in ((INDEX, json.dumps({"version": 1, "pins": {"x.pth": PIN}}).encode()), (f"blobs/{SHA}", DATA)):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return made.getvalue()


def load(path: Path):
    store = Store(path.parent / "home", path.parent / "segzoo.lock")
    try:
        return load_bundle(path, [WANTED], store, silent)
    finally:
        assert {one.name for one in store.blobs.glob("*")} <= {SHA}
        assert_inside(path)


def archive(method):
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", method) as opened:
        for name in ("set/", "set/images/", "set/images/a.jpg", "set/labels/ü.png", "else/b"):
            opened.writestr(name, b"" if name.endswith("/") else name.encode() * 30)
    return made.getvalue()


def unpack(path: Path):
    try:
        extract(path, "set", path.parent / "home" / "set", silent)
    finally:
        assert_inside(path)
        assert not any(one.is_symlink() or not (one.is_file() or one.is_dir()) for one in path.parent.rglob("*"))


def assert_inside(path: Path):
    """What was written is in the places meant for it, and nothing unfinished is left."""
    assert {one.name for one in path.parent.iterdir()} <= {path.name, "home", "segzoo.lock"}
    assert not [one for one in path.parent.rglob("*") if one.name.endswith((".part", ".held"))]


def digest(path: Path):
    store = Store(path.parent / "home", path.parent / "segzoo.lock")
    found = store.blob(path.read_bytes().decode("utf-8", "surrogateescape"))
    assert found.parent == store.blobs
    assert not found.name.strip("0123456789abcdef")
    return found


def pins(path: Path):
    store = Store(path.parent / "home", path)
    for pin in store.pins().values():
        assert store.blob(pin["sha256"]).parent == store.blobs
    try:
        return store.expectation(WANTED)
    except SegzooError:
        return None


def listed(path: Path):
    """A list of images as `predict MODEL -` gets it."""
    (path.parent / "photos").mkdir()
    (path.parent / "photos" / "a.jpg").write_bytes(b"not looked into")
    before, here = sys.stdin, Path.cwd()
    os.chdir(path.parent)
    try:
        with path.open(encoding="utf-8", errors="surrogateescape") as sys.stdin:
            return inputs(named(["-"]), Path("out"))
    finally:
        sys.stdin = before
        os.chdir(here)


TARGETS = [
    Target("bundle", lambda: [bundle(), bundle(tarfile.USTAR_FORMAT), bundle(tarfile.GNU_FORMAT)], load, name="a.tar"),
    Target("data-set zip", lambda: [archive(zipfile.ZIP_STORED), archive(zipfile.ZIP_DEFLATED)], unpack, name="a.zip"),
    Target("digest", lambda: [SHA.encode()], digest),
    Target("list on stdin", lambda: [b"photos\n", b"photos/a.jpg\nphotos/*.jpg\n\n  photos\n"], listed, name="list.txt"),
    Target("lock file", lambda: [json.dumps({"version": 1, "pins": {"x.pth": PIN}}, indent=2).encode()], pins, name="segzoo.lock"),
]
