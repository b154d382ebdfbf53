"""What bytes must be is decided in one place, and the lock file is read once for it."""

import hashlib
import json

import pytest

from segzoo.errors import IntegrityError
from segzoo.manifest.artifact import Artifact
from segzoo.store.adopt import adopt, adopt_as
from segzoo.store.expectation import Expectation, Origin
from segzoo.store.fetch import fetch
from segzoo.store.lock import read_lock
from segzoo.store.policy import Policy
from segzoo.store.store import LOCK_NAME, Store

ONE, TWO = "1" * 64, "2" * 64
GOOD = b"the right bytes"
SHA = hashlib.sha256(GOOD).hexdigest()
PREFIX = {"sha256_prefix": SHA[:8]}


@pytest.fixture
def store(tmp_path):
    (tmp_path / "good.npz").write_bytes(GOOD)
    return Store(tmp_path / "home", tmp_path / LOCK_NAME)


def artifact(**known):
    return Artifact(name="vit.npz", urls=("good.npz",), **known)


def write_pins(store, **pin):
    pins = {"another.npz": {"sha256": TWO, "size": 5, "url": "u"}} | ({"vit.npz": pin} if pin else {})
    store.lock.write_text(json.dumps({"version": 1, "pins": pins}))


@pytest.mark.parametrize(
    ("known", "pin", "sha256", "origin"),
    [
        ({}, {}, None, None),
        ({"sha256_prefix": "11111111"}, {}, None, None),
        ({"sha256": ONE}, {}, ONE, Origin.MANIFEST),
        ({"sha256": ONE}, {"sha256": TWO}, ONE, Origin.MANIFEST),
        ({"sha256": ONE}, {"sha256": TWO, "by": "hand"}, ONE, Origin.MANIFEST),  # whoever wrote the lock
        ({"sha256": ONE, "provenance": "third-party: one project"}, {"sha256": TWO, "by": "hand"}, ONE, Origin.MANIFEST),
        ({"sha256_prefix": "11111111"}, {"sha256": ONE}, ONE, Origin.FIRST_USE),
        ({}, {"sha256": TWO}, TWO, Origin.FIRST_USE),
        ({}, {"sha256": TWO, "by": "hand"}, TWO, Origin.HAND),
    ],
)
def test_whose_hash_counts(known, pin, sha256, origin, store):
    write_pins(store, **pin)
    expectation = store.expectation(artifact(**known))
    assert (expectation.sha256, expectation.origin) == (sha256, origin)
    assert (expectation.way_on is None) == (origin in (None, Origin.MANIFEST))
    assert expectation.has_hash == bool(known or pin)


def test_a_pin_made_on_first_use_may_not_contradict_the_prefix_but_one_made_by_hand_counts(store):
    write_pins(store, sha256=TWO)
    with pytest.raises(IntegrityError, match="the manifest says that it begins 11111111"):
        store.expectation(artifact(sha256_prefix="11111111"))
    write_pins(store, sha256=TWO, by="hand")
    assert store.expectation(artifact(sha256_prefix="11111111")).sha256 == TWO


@pytest.mark.parametrize(
    ("expectation", "size", "sha256", "said"),
    [
        (Expectation(ONE, Origin.MANIFEST, None, 5), 5, ONE, None),
        (Expectation(None, None, None, None), 5, ONE, None),
        (Expectation(ONE, Origin.MANIFEST, None, 1000), 5, ONE, "expected 1,000 bytes, found 5"),
        (Expectation(ONE, Origin.MANIFEST, None, None), 5, TWO, f"expected sha256 {ONE}, found {TWO}"),
        (Expectation(ONE, Origin.HAND, None, None), 5, TWO, f"expected sha256 {ONE} pinned by hand, found {TWO}"),
        (Expectation(ONE, Origin.FIRST_USE, None, None), 5, TWO, f"expected sha256 {ONE} pinned on first use, found {TWO}"),
        (Expectation(None, None, "11111111", None), 5, TWO, f"expected a sha256 that begins 11111111, found {TWO}"),
        (Expectation(ONE, Origin.HAND, "22222222", None), 5, ONE, f"expected a sha256 that begins 22222222, found {ONE}"),
    ],
)
def test_how_bytes_differ(expectation, size, sha256, said):
    assert expectation.misfit(size, sha256) == said


@pytest.fixture
def readings(store, monkeypatch):
    """Every reading of the lock file."""
    seen = []

    def spy(lock):
        seen.append(lock)
        return read_lock(lock)

    monkeypatch.setattr("segzoo.store.store.read_lock", spy)
    return seen


@pytest.mark.parametrize(
    ("known", "pin", "number"),
    [
        ({"sha256": SHA}, {}, 1),
        (PREFIX, {"sha256": SHA, "by": "hand"}, 2),
        (PREFIX, {"sha256": SHA}, 2),
        (PREFIX, {}, 3),  # once more where another process may have pinned it meanwhile
    ],
    ids=["the manifest's hash", "pinned by hand", "pinned before", "not pinned yet"],
)
def test_a_fetch_reads_the_lock_once_and_once_more_to_write_a_pin(known, pin, number, store, tmp_path, readings):
    write_pins(store, **pin)
    assert fetch(artifact(**known), store, tmp_path, policy=Policy()).sha256 == SHA
    assert len(readings) == number
    readings.clear()
    assert fetch(artifact(**known), store, tmp_path).cached
    assert len(readings) == 1


@pytest.mark.parametrize(("known", "number"), [({"sha256": SHA}, 1), (PREFIX, 2)])
def test_adopting_reads_the_lock_once_and_once_more_to_write_a_pin(known, number, store, tmp_path, readings):
    write_pins(store)
    others = [Artifact(name=f"{index}.npz", urls=("u",), sha256=ONE) for index in range(5)]
    assert adopt(tmp_path / "good.npz", [*others, artifact(**known)], store).sha256 == SHA
    assert len(readings) == number
    readings.clear()
    assert adopt_as(tmp_path / "good.npz", artifact(**known), store, Policy().look).sha256 == SHA
    assert len(readings) == number
