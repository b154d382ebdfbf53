"""The store and its lock: where bytes are, what is pinned, and what a damaged or hostile lock cannot do."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from segzoo.cli import main
from segzoo.errors import EnvironmentFault, IntegrityError
from segzoo.manifest.artifact import Artifact
from segzoo.store.fetch import fetch
from segzoo.store.store import LOCK_NAME, Store, home

ONE, TWO = "1" * 64, "2" * 64


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "home", tmp_path / "lab" / LOCK_NAME)


def artifact(name="vit.pth", **known):
    return Artifact(name=name, urls=("vit.pth",), **known)


def write(path, content=b"bytes"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("environment", "place"),
    [
        ({"SEGZOO_HOME": "/a", "XDG_CACHE_HOME": "/b"}, "/a"),
        ({"SEGZOO_HOME": "~/a", "XDG_CACHE_HOME": "/b"}, "/me/a"),
        ({"SEGZOO_HOME": "a"}, "{cwd}/a"),
        ({"SEGZOO_HOME": "", "XDG_CACHE_HOME": "/b"}, "/b/segzoo"),
        ({"XDG_CACHE_HOME": "/b"}, "/b/segzoo"),
        ({"XDG_CACHE_HOME": ""}, "/me/.cache/segzoo"),
        ({}, "/me/.cache/segzoo"),
    ],
)
def test_home(environment, place, monkeypatch):
    monkeypatch.delenv("SEGZOO_HOME")
    for name, value in {"HOME": "/me", **environment}.items():
        monkeypatch.setenv(name, value)
    assert home() == Path(place.format(cwd=Path.cwd()))


@pytest.mark.parametrize(
    ("known", "pinned", "here", "found"),
    [
        ({}, None, [ONE], None),
        ({"sha256_prefix": "11111111"}, None, [ONE], None),
        ({"sha256": ONE}, None, [], None),
        ({"sha256": ONE}, None, [ONE], ONE),
        ({"sha256": ONE}, TWO, [ONE, TWO], ONE),
        ({"sha256_prefix": "11111111"}, ONE, [ONE], ONE),
        ({"sha256_prefix": "11111111"}, ONE, [], None),
        ({}, TWO, [ONE, TWO], TWO),
    ],
)
def test_find(known, pinned, here, found, store):
    for sha256 in here:
        write(store.blob(sha256))
    if pinned:
        store.pin(artifact(), pinned, 5, "https://a.test/vit.pth")
    assert store.find(artifact(**known)) == (store.blob(found) if found else None)
    assert store.find(artifact("another.pth")) is None


def test_looking_makes_nothing(store, tmp_path):
    assert store.find(artifact()) is None
    assert store.pins() == {}
    assert list(tmp_path.iterdir()) == []


def test_a_pin_stays(store):
    store.pin(artifact(), ONE, 5, "https://a.test/vit.pth")
    before = store.lock.read_bytes()
    store.pin(artifact(), ONE, 5, "https://a.test/vit.pth")
    with pytest.raises(IntegrityError, match=rf"vit.pth: {ONE} is pinned in .*{LOCK_NAME}, found {TWO}"):
        store.pin(artifact(), TWO, 5, "https://b.test/vit.pth")
    assert store.lock.read_bytes() == before
    assert json.loads(before) == {"version": 1, "pins": {"vit.pth": {"sha256": ONE, "size": 5, "url": "https://a.test/vit.pth"}}}
    assert not list(store.lock.parent.glob(".*"))


def test_pins_made_at_the_same_time_are_all_kept(store):
    names = [f"{number}.pth" for number in range(24)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: store.pin(artifact(name), ONE, 5, "u"), names))
    assert set(store.pins()) == set(names)


def lock_of(**pin):
    return json.dumps({"version": 1, "pins": {"vit.pth": pin}}).encode()


FALSE_FACTS = [
    *[("sha256", value) for value in (None, 1, True, [], "1" * 63, "1" * 65, "G" * 64, "\N{FULLWIDTH DIGIT ONE}" * 64)],
    *[("size", value) for value in (None, -1, 2**63, True, 1.5, "5", float("nan"), [])],
    *[("url", value) for value in (None, 1, [], {})],
    *[("by", value) for value in (None, "Hand", "first use", True, ["hand"])],
    ("mode", "x"),
]
HOSTILE = [
    b"",
    b"\xff\xfe",
    b"{",
    b"[]",
    b"null",
    b"{}",
    b'{"pins": null}',
    b'{"pins": ["vit.pth"]}',
    b'{"pins": {"vit.pth": null}}',
    b'{"pins": {"vit.pth": "x"}}',
    b'{"pins": {"vit.pth": {}}}',
    b'{"pins": {"vit.pth": {"sha256": 5}}}',
    b'{"pins": {"vit.pth": {"sha256": ""}}}',
    b'{"pins": {"vit.pth": {"sha256": "%s"}}}' % (b"A" * 64),
    b'{"pins": {"vit.pth": {"sha256": "%s\\n"}}}' % (b"1" * 64),
    b'{"pins": {"vit.pth": {"sha256": "../../lab/precious"}}}',
    b"[" * 200_000,
    b" " * ((4 << 20) + 1),
    lock_of(),
    *[lock_of(**{key: value}) for key, value in FALSE_FACTS],
    lock_of(sha256="1" * 64).replace(b'"version": 1', b'"version": 2'),
    lock_of(sha256="1" * 64).replace(b'"version": 1', b'"version": true'),
    lock_of(sha256="1" * 64).replace(b'"version": 1, ', b""),
    lock_of(sha256="1" * 64).replace(b'"vit.pth": {', b'"vit.pth": {}, "vit.pth": {'),
]


@pytest.mark.parametrize("content", HOSTILE)
def test_a_damaged_or_hostile_lock(content, store):
    """A lock comes along with somebody's manifest: what it says must never become another path than a blob's."""
    precious = store.lock.parent / "precious"
    write(precious, b"mine")
    write(store.lock, content)
    store.blobs.mkdir(parents=True)
    said = rf"{LOCK_NAME}: not a lock file that segzoo wrote"
    for act in (store.pins, lambda: store.find(artifact()), lambda: store.pin(artifact(), ONE, 5, "u"), lambda: fetch(artifact(), store, Path())):
        with pytest.raises(IntegrityError, match=said) as caught:
            act()
        assert "remove it to pin anew" in caught.value.hint
    assert store.lock.read_bytes() == content
    assert precious.read_bytes() == b"mine"


@pytest.mark.parametrize(("key", "value"), FALSE_FACTS)
def test_what_a_lock_says_of_a_file_has_a_type_and_a_range(key, value, store):
    good = {"sha256": ONE, "size": 5, "url": "https://a.test/x", "by": "hand"}
    write(store.lock, lock_of(**good))
    assert store.pins() == {"vit.pth": good}
    write(store.lock, lock_of(**(good | {key: value})))
    with pytest.raises(IntegrityError, match=rf"{LOCK_NAME}: not a lock file that segzoo wrote: (pins: 'vit.pth': .*{key}|.*NaN)"):
        store.pins()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_lock_that_is_no_file(store):
    store.lock.parent.mkdir()
    os.mkfifo(store.lock)
    with pytest.raises(IntegrityError, match="expected a file, found a folder, a pipe or a device"):
        store.pins()


def test_a_damaged_lock_in_the_command(tmp_path):
    geometry = {"width": 64, "depth": 1, "heads": 1, "mlp": 64, "patch": 16, "grid": 2}
    entry = {"title": "t", "file": "t.pth", "source": {"name": "t.npz", "urls": ["t.npz"]}, "geometry": geometry}
    (tmp_path / "zoo.yaml").write_text(yaml.safe_dump({"version": 1, "backbones": {"tiny": entry}}))
    (tmp_path / LOCK_NAME).write_text("{")
    done = CliRunner().invoke(main, ["--zoo", str(tmp_path / "zoo.yaml"), "fetch", "tiny"], catch_exceptions=False)
    assert (done.exit_code, done.stdout) == (4, "")
    assert f"error: {tmp_path / LOCK_NAME}: not a lock file that segzoo wrote" in done.stderr


def test_a_lock_that_cannot_be_written(tmp_path):
    write(tmp_path / "file")
    (tmp_path / "lab" / f".{LOCK_NAME}.00000000.held").mkdir(parents=True)
    for lock in (tmp_path / "file" / LOCK_NAME, tmp_path / "lab" / LOCK_NAME):
        with pytest.raises(EnvironmentFault, match=rf"{LOCK_NAME}: cannot pin vit.pth here: "):
            Store(tmp_path, lock).pin(artifact(), ONE, 5, "u")
