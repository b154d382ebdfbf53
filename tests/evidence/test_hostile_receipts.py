"""Receipts of strangers: whatever stands at any place of one, it is refused in words or it does no harm; it keeps nothing from the others."""

import contextlib
import json
import os
import shutil
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from support import MINI, thorough_after

import segzoo
from segzoo.cli import main
from segzoo.errors import SegzooError
from segzoo.evidence.in_toto import statement
from segzoo.evidence.keeping import changed, of_other_data, outweighed, settled
from segzoo.evidence.known import known, proved_before
from segzoo.evidence.reading import read_receipt
from segzoo.evidence.receipt import command
from segzoo.evidence.recheck import recheck
from segzoo.manifest.document import load_manifest
from segzoo.publishing.report.facts import gather
from segzoo.publishing.report.plots import figures, parity
from segzoo.store.store import Store, home
from segzoo.vocabulary import LARGEST_RECEIPT

ENTRY = "mini-linear"
DEEP = [[[[[[[[[[[]]]]]]]]]]]
VALUES = {
    "null": None,
    "true": True,
    "minus one": -1,
    "half": 0.5,
    "minus zero": -0.0,
    "a large whole number": 10**18,
    "more than a float": 10**400,
    "a large float": 1e308,
    "decimals": -(10**9),
    "no text": "",
    "a path": "../../etc/passwd",
    "a device": "/dev/stdin",
    "control characters": "\x1b[2J\n\u202e",
    "half a pair": "\ud800",
    "markup": "[/red]<script>$x^2$",
    "a long text": "x" * 1_100_000,
    "an empty list": [],
    "an empty object": {},
    "a list in lists": DEEP,
    "an object": {"": None},
    "a number as text": "1",
}


def run(*words, code=None):
    done = CliRunner().invoke(main, ["--zoo", "mini", *map(str, words)])
    assert done.exception is None or isinstance(done.exception, SystemExit | SegzooError), repr(done.exception)
    assert code is None or done.exit_code == code, done.output + done.stderr
    return done


def path(name=ENTRY) -> Path:
    return home() / "receipts" / "mini" / f"{name}.json"


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """The text of a receipt of ten images in two modes, with all that a run may write; and a store with its weights."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("SEGZOO_HOME", str(tmp_path_factory.mktemp("home")))
        run("verify", ENTRY, "mini-vit", "--device", "cpu", "--images", "10", "--mode", "ss", "--mode", "whole", "--speed", code=0)
        return path().read_text(), home()


@pytest.fixture
def here(good, monkeypatch, tmp_path):
    """A home of one's own with the receipt of that run."""
    shutil.copytree(good[1], tmp_path / "home")
    monkeypatch.setenv("SEGZOO_HOME", str(tmp_path / "home"))
    return path()


def places(value, where=()):
    """Every place in a receipt; of the images the first two, of a matrix the first rows."""
    if where:
        yield where
    if isinstance(value, dict):
        for key, one in list(value.items())[: 2 if where[-1:] == ("per_image",) else None]:
            yield from places(one, (*where, key))
    elif isinstance(value, list):
        for index, one in enumerate(value[: 2 if where[-2:-1] in (("confusion",), ("per_image",)) or where[-1:] == ("confusion",) else None]):
            yield from places(one, (*where, index))


def put(record, where, value):
    *to, last = where
    for part in to:
        record = record[part]
    record[last] = value


def attempt(file, store, entry, classes) -> bool:
    """All that is done with a receipt, on a file. Whether it holds."""
    earlier, notes = json.loads(file.with_suffix(".good").read_text()), []
    record = known(file, notes.append)
    assert (record is None) is bool(notes)
    findings = []
    with contextlib.suppress(SegzooError):
        findings = list(recheck(file, store, classes=classes))
    if record is None or not findings:
        assert notes
        assert len(notes[0]) < 10_000
        assert notes[0].startswith(f"{file}: ")
        return False
    statement(record)
    command(ENTRY, record, "")
    section = gather(ENTRY, entry, classes, record)
    assert isinstance(section.verdict + section.kind, str)
    figures([section])
    parity(section)
    changed(record, entry)
    outweighed(earlier, record), outweighed(record, earlier), of_other_data(earlier, record), settled(earlier, record)
    proved_before(ENTRY, file.parent, lambda note: None, any_version=True)
    return all(one.status != "broken" for one in findings)


PARTS = [pytest.param(slice(0, None, 211), id="each 211th"), *(pytest.param(slice(part, None, 29), marks=pytest.mark.thorough) for part in range(29))]


@pytest.mark.parametrize("part", PARTS)
def test_whatever_stands_anywhere_in_a_receipt_is_refused_or_harmless(good, tmp_path, part):
    text, folder = good
    manifest = load_manifest(MINI / "zoo.yaml")
    entry = manifest.models[ENTRY]
    classes, store = list(manifest.classes_of(entry)), Store(folder, folder / "segzoo.lock")
    file = tmp_path / f"{ENTRY}.json"
    file.with_suffix(".good").write_text(text)
    file.write_text(text)
    assert attempt(file, store, entry, classes)
    tried = [(where, value) for where in places(json.loads(text)) for value in VALUES]
    assert len(tried) > 5000
    harmless = set()
    for where, value in tried[part]:
        record = json.loads(text)
        put(record, where, VALUES[value])
        file.write_text(json.dumps(record))
        if json.dumps(record, sort_keys=True) == json.dumps(json.loads(text), sort_keys=True):
            continue
        if attempt(file, store, entry, classes):
            harmless.add(where)
    free = {"title", "time", "versions", "machine", "seconds", "detail", "notes", "urls", "provenance", "artifact", "tensors", "by_way_of"}
    free |= {"in_this_layout_only", "hardware", "peak_memory", "processes", "speed", "intermediates", "eps", "gelu_tanh_drift", "short", "file"}
    free |= {"protocol", "reported", "loader", "split", "keys", "device", "dtype", "published", "size", "data_digest", "counts", "name"}
    assert not {where for where in harmless if not free.intersection(where)}


TEXTS = {
    "deep": lambda text: "[" * 100_000 + "]" * 100_000,
    "deep within": lambda text: text.replace('"absent": []', '"absent": ' + "[" * 5000 + "]" * 5000, 1),
    "not a number": lambda text: text.replace('"seconds": 0', '"seconds": NaN', 1),
    "a million digits": lambda text: text.replace('"code": 0', '"code": ' + "9" * 1_000_000, 1),
    "beyond floats": lambda text: text.replace('"code": 0', '"code": 1e400', 1),
    "a key twice": lambda text: text.replace('"passed": true', '"passed": false, "passed": true', 1),
    "cut": lambda text: text[: len(text) // 2],
    "a pair that is half": lambda text: text.replace('"machine": "', '"machine": "\\udfff', 1),
    "upper case": lambda text: text.replace(
        json.loads(text)["checks"][0]["facts"]["sha256"], json.loads(text)["checks"][0]["facts"]["sha256"].upper()
    ),
    "two bytes a character": lambda text: text.encode("utf-16"),
    "not text": lambda text: bytes(range(256)),
    "a version to come": lambda text: text.replace("segzoo-receipt/3", "segzoo-receipt/4", 1),
    "nothing": lambda text: "",
}


@pytest.mark.parametrize("damage", thorough_after(2, TEXTS))
def test_a_broken_text_is_named_and_keeps_nothing_from_the_others(here, damage):
    before = here.read_text()
    damaged = TEXTS[damage](before)
    assert damaged != before
    here.write_bytes(damaged if isinstance(damaged, bytes) else damaged.encode())
    found = run("receipt", "check", code=4)
    assert f"{ENTRY}: receipt: broken: {here}: " in found.stdout
    assert "mini-vit: receipt: holds" in found.stdout
    assert run("receipt", "show", ENTRY, "--in-toto", code=4).stderr.startswith(f"error: {here}: ")
    run("list", code=0)
    done = run("verify", "mini-vit", ENTRY, "--device", "cpu", "--images", "2", code=0)
    assert str(here) in done.stderr
    run("receipt", "check", code=0)  # the run has left its own


def test_what_is_no_file_is_not_waited_for(here):
    here.unlink()
    os.mkfifo(here)
    (home() / "receipts" / "mini" / f"{ENTRY}.unfinished").symlink_to("/dev/zero")
    found = run("receipt", "check", code=4)
    assert "expected a file, found a pipe, a folder or a device" in found.stdout
    done = run("verify", ENTRY, "--device", "cpu", "--images", "2", code=0)
    assert done.stderr.count("expected a file, found a pipe, a folder or a device") == 2
    run("receipt", "check", code=0)


def test_a_receipt_of_another_entry_is_not_this_ones(here):
    shutil.copy(path("mini-vit"), here)
    done = run("verify", ENTRY, "--device", "cpu", "--images", "2", code=0)
    assert f"{here}: name: expected {ENTRY}, found mini-vit" in done.stderr


def test_a_report_and_a_card_quote_only_what_holds(here, tmp_path):
    record = json.loads(here.read_text())
    record["checks"][3]["facts"]["intermediates"][0]["relative"] = 0.5
    here.write_text(json.dumps(record))
    done = run("report", "--no-images", "-o", tmp_path / "page", code=4)
    assert f"{ENTRY}: receipt broken" in done.stdout
    assert "mini-vit: passed" in done.stdout
    segzoo.export(ENTRY, tmp_path / "out", form="safetensors", zoo="mini")
    card = (tmp_path / "out" / "README.md").read_text()
    assert "There is a receipt, but it is broken (segzoo receipt check says why). Not verified yet" in card


def largest() -> str:
    """The largest receipt that a run over ADE20K may write: each class in every image, in four modes."""
    pixels = 2048 * 2048
    rows = [[index, pixels, pixels, pixels] for index in range(150)]
    confusion = [[pixels * 2000 if row == column else 0 for column in range(150)] for row in range(151)]
    one = {"per_image": {f"ADE_val_{image:08}.jpg": rows for image in range(2000)}, "confusion": confusion}
    return json.dumps({mode: one for mode in ("ss", "ms+flip", "ms+flip-1.x", "whole")}, indent=2)


@pytest.mark.thorough
def test_the_largest_receipt_of_ade20k_is_within_the_limit():
    from segzoo.evidence.receipt import dumps

    assert len(dumps(json.loads(largest()))) < LARGEST_RECEIPT


def test_a_text_beyond_the_limit_is_not_parsed(tmp_path):
    file = tmp_path / "large.json"
    with file.open("wb") as large:
        large.truncate(200_000_000)
    began = time.process_time()
    with pytest.raises(SegzooError, match="more than 67108864 bytes"):
        read_receipt(file)
    assert time.process_time() - began < 2
