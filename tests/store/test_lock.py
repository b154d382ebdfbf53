"""The lock file as it grows: one file, then a folder of files; old ones are read; nothing pinned is ever lost on the way."""

import json
import shutil
import subprocess
import sys

import pytest
from click.testing import CliRunner

from segzoo.cli import main
from segzoo.errors import IntegrityError
from segzoo.manifest.artifact import Artifact
from segzoo.store.lock import LOCK_NAME, MOST, read_lock
from segzoo.store.store import Store

SHA = "1" * 64
OTHER = "2" * 64


def artifact(number):
    return Artifact(name=f"file_{number}.npz", urls=("x.npz",))


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "home", tmp_path / LOCK_NAME)


@pytest.fixture
def spread(store):
    """A store whose lock file has just become a folder."""
    fill(store, MOST)
    assert not (store.lock.parent / f"{LOCK_NAME}.d").exists()
    store.pin(artifact(MOST), SHA, 5, "https://a.test/x")
    return store


def fill(store, count, sha256=SHA):
    """A lock file as versions before this one wrote it."""
    pins = {artifact(number).name: {"sha256": sha256, "size": 5, "url": "https://a.test/x"} for number in range(count)}
    store.lock.write_text(json.dumps({"version": 1, "pins": pins}, indent=2, sort_keys=True) + "\n")


def test_an_old_file_is_read_and_grows_into_a_folder_that_says_the_same(spread):
    assert json.loads(spread.lock.read_text()) == {"version": 2, "folder": f"{LOCK_NAME}.d"}
    assert spread.pins() == {artifact(number).name: {"sha256": SHA, "size": 5, "url": "https://a.test/x"} for number in range(MOST + 1)}
    assert {spread.expectation(artifact(number)).sha256 for number in range(MOST + 1)} == {SHA}
    assert spread.expectation(artifact(MOST + 1)).sha256 is None
    pages = sorted((spread.lock.parent / f"{LOCK_NAME}.d").iterdir())
    assert all(json.loads(page.read_text()).keys() == {"version", "pins"} for page in pages)
    assert not [path for path in spread.lock.parent.rglob("*") if path.name.endswith((".part", ".held"))]


def test_a_pin_touches_one_page_and_a_line_of_it(spread):
    before = {page: page.read_text() for page in (spread.lock.parent / f"{LOCK_NAME}.d").iterdir()}
    page = read_lock(spread.lock).page(artifact(9999).name)
    spread.pin(artifact(9999), OTHER, 7, "https://a.test/y")
    changed = [one for one in page.parent.iterdir() if before.get(one) != one.read_text()]
    assert changed == [page]
    assert set(page.read_text().replace(",", "").splitlines()) - set(before.get(page, "").replace(",", "").splitlines()) <= {
        f'    "file_9999.npz": {{"sha256": "{OTHER}" "size": 7 "url": "https://a.test/y"}}',
        *("{", '  "pins": {', "  }", '  "version": 1', "}"),
    }


def test_another_hash_is_refused_with_the_page_that_has_it_and_a_pin_by_hand_replaces_it(spread):
    page = read_lock(spread.lock).page(artifact(3).name)
    with pytest.raises(IntegrityError, match=rf"is pinned in .*{page.name}") as caught:
        spread.pin(artifact(3), OTHER, 5, "u")
    assert str(page) in caught.value.hint
    spread.pin_by_hand(artifact(3), OTHER)
    assert spread.pinned(artifact(3).name) == {"sha256": OTHER, "by": "hand"}


def test_a_kill_before_the_lock_file_names_the_folder_changes_nothing(spread, tmp_path):
    """Then the file is still the truth, and pages beside it are stale: those of a pin that was removed meanwhile too."""
    fill(spread, MOST, OTHER)
    pins = json.loads(spread.lock.read_text())
    del pins["pins"][artifact(0).name]
    spread.lock.write_text(json.dumps(pins))
    assert spread.expectation(artifact(0)).sha256 is None
    assert spread.expectation(artifact(1)).sha256 == OTHER
    for number in (MOST, MOST + 1):
        spread.pin(artifact(number), SHA, 5, "u")
    assert read_lock(spread.lock).spread
    assert spread.pinned(artifact(0).name) is None
    assert spread.pinned(artifact(1).name)["sha256"] == OTHER
    assert len(spread.pins()) == MOST + 1


@pytest.mark.parametrize(
    "head",
    [
        {"version": 2},
        {"version": 2, "folder": "../elsewhere"},
        {"version": 2, "folder": "/etc"},
        {"version": 2, "folder": ["segzoo.lock.d"]},
        {"version": 2, "folder": "segzoo.lock.d", "pins": {}},
        {"version": 2.0, "folder": "segzoo.lock.d"},
        {"version": 3, "folder": "segzoo.lock.d"},
    ],
)
def test_a_lock_file_leads_nowhere_but_to_its_own_folder(head, store):
    store.lock.write_text(json.dumps(head))
    with pytest.raises(IntegrityError, match="not a lock file that segzoo wrote"):
        store.expectation(artifact(1))


def test_a_pin_in_the_wrong_page_is_an_error_and_never_forgotten(spread):
    """As after a merge by hand."""
    pages = sorted((spread.lock.parent / f"{LOCK_NAME}.d").iterdir())
    shutil.copy(pages[0], pages[1])
    stray = next(iter(json.loads(pages[1].read_text())["pins"]))
    with pytest.raises(IntegrityError, match=f"'{stray}' stands in the wrong file, expected it in {pages[0].name}"):
        spread.pins()


PINS = """
import sys
from pathlib import Path
from segzoo.manifest.artifact import Artifact
from segzoo.store.store import Store
store = Store(Path(sys.argv[1]) / "home", Path(sys.argv[1]) / "segzoo.lock")
for number in range(int(sys.argv[2]), int(sys.argv[3])):
    store.pin(Artifact(name=f"file_{number}.npz", urls=("x.npz",)), "1" * 64, 5, "u")
"""


def test_processes_that_pin_while_the_file_becomes_a_folder_lose_none(store):
    fill(store, MOST - 5)
    crew = [subprocess.Popen([sys.executable, "-c", PINS, store.lock.parent, str(first), str(first + 12)]) for first in (1000, 2000)]
    assert [process.wait() for process in crew] == [0, 0]
    assert store.pins().keys() == {artifact(number).name for number in (*range(MOST - 5), *range(1000, 1012), *range(2000, 2012))}


def test_commands_read_a_folder_as_they_read_a_file(spread):
    geometry = "{width: 64, depth: 1, heads: 1, mlp: 64, patch: 16, grid: 2}"
    entry = f"{{title: t, file: t.pth, source: {{name: {artifact(1).name}, urls: [t.npz]}}, geometry: {geometry}}}"
    zoo = spread.lock.parent / "zoo.yaml"
    zoo.write_text(f"version: 1\nbackbones:\n  tiny: {entry}\n")
    done = CliRunner().invoke(main, ["--zoo", str(zoo), "info", "tiny"], catch_exceptions=False)
    assert f"{SHA}, in {spread.lock}" in done.stdout
