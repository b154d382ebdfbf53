"""What is kept: files adopted, bundled and listed; data sets unpacked. What is hostile or damaged is refused whole."""

import hashlib
import io
import json
import os
import random
import shutil
import tarfile
import zipfile
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from server import Ranged, serve
from support import MINI

from segzoo.cli import main
from segzoo.datasets.pairs import digest, samples
from segzoo.errors import IntegrityError
from segzoo.store.bundle import INDEX, load_bundle
from segzoo.store.store import LOCK_NAME, Store, home
from segzoo.store.unzip import extract

DATA, OTHER = (random.Random(seed).randbytes(size) for seed, size in ((4, 300_000), (5, 200_000)))  # a last byte by chance may be that of a test
SHA = hashlib.sha256(DATA).hexdigest()


def segzoo(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments], catch_exceptions=False)


def nothing_said(done, whole):
    pass


@pytest.fixture
def zoo(tmp_path):
    """A zoo of two backbones, one known by its full hash, one by eight digits; their hosts are dead."""
    geometry = {"width": 64, "depth": 1, "heads": 1, "mlp": 64, "patch": 16, "grid": 2}
    known = {
        "full": {"name": "full.npz", "sha256": SHA, "size": len(DATA)},
        "prefixed": {"name": "prefixed.npz", "sha256_prefix": hashlib.sha256(OTHER).hexdigest()[:8]},
    }
    backbones = {
        name: {"title": name, "file": f"{name}.pth", "source": {**one, "urls": ["http://127.0.0.1:9/x"]}, "geometry": dict(geometry)}
        for name, one in known.items()
    }
    path = tmp_path / "lab" / "zoo.yaml"
    path.parent.mkdir()
    path.write_text(yaml.safe_dump({"version": 1, "backbones": backbones}))
    (tmp_path / "mine.bin").write_bytes(DATA)
    (tmp_path / "old.npz").write_bytes(OTHER)
    return path


def blobs():
    return sorted(path.name for path in (home() / "blobs").glob("*"))


# adopt


def test_files_are_adopted_by_their_content(zoo, tmp_path):
    done = segzoo("--zoo", zoo, "store", "add", tmp_path / "mine.bin", tmp_path / "old.npz")
    assert done.exit_code == 0
    assert "mine.bin: full.npz, 300.0 kB, sha256" in done.stdout
    assert "old.npz: prefixed.npz, 200.0 kB, prefix (32 bits), pinned on first use" in done.stdout
    assert blobs() == sorted([SHA, hashlib.sha256(OTHER).hexdigest()])
    assert json.loads((zoo.parent / LOCK_NAME).read_text())["pins"]["prefixed.npz"]["sha256"] == hashlib.sha256(OTHER).hexdigest()
    assert (tmp_path / "mine.bin").exists()
    again = segzoo("--zoo", zoo, "fetch", "--all")
    assert (again.exit_code, again.stdout.count("here already")) == (0, 2)
    assert not list((home() / "partials").glob("*"))


def test_what_is_no_file_of_the_zoo_is_not_adopted(zoo, tmp_path):
    (tmp_path / "other").write_bytes(b"something else")
    done = segzoo("--zoo", zoo, "store", "add", tmp_path / "other", tmp_path / "missing", tmp_path, tmp_path / "mine.bin", "--json")
    assert done.exit_code == 7
    results = json.loads(done.stdout)["result"]
    assert [result.get("error", {}).get("code") for result in results] == [7, 7, 7, None]
    assert hashlib.sha256(b"something else").hexdigest() in results[0]["error"]["message"]
    assert blobs() == [SHA]


def test_a_pin_outweighs_the_digits(zoo, tmp_path):
    pins = {"prefixed.npz": {"sha256": hashlib.sha256(OTHER).hexdigest()[:8] + "0" * 56}}
    (zoo.parent / LOCK_NAME).write_text(json.dumps({"version": 1, "pins": pins}))
    done = segzoo("--zoo", zoo, "store", "add", tmp_path / "old.npz")
    assert done.exit_code == 4
    assert blobs() == []


def test_many_unknown_files_are_a_line_each_and_the_hint_and_the_count_come_last(zoo, tmp_path):
    for number in range(3):
        (tmp_path / f"{number}.pth").write_bytes(f"unknown {number}".encode())
    unknown = [tmp_path / f"{number}.pth" for number in range(3)]
    done = segzoo("--zoo", zoo, "store", "add", *unknown[:2], tmp_path / "mine.bin", unknown[2])
    lines = [f"error: {path}: no file in this zoo has its sha256, {hashlib.sha256(path.read_bytes()).hexdigest()}" for path in unknown]
    hint = "hint: segzoo info NAME shows what a file must have; --zoo chooses another zoo"
    assert (done.exit_code, done.stderr.splitlines()) == (7, [*lines, hint])
    assert done.output.splitlines()[-1] == done.stdout.splitlines()[-1] == "1 adopted, 3 of no file in this zoo"
    others = segzoo("--zoo", zoo, "store", "add", tmp_path / "missing", tmp_path / "mine.bin", unknown[0])
    assert others.stdout.splitlines()[-1] == "1 adopted, 1 of no file in this zoo, 1 failed"
    assert "adopted" not in segzoo("--zoo", zoo, "store", "add", tmp_path / "mine.bin").stdout


@pytest.fixture
def unhashed(tmp_path):
    """The mini zoo, its hosts dead, as its files would be known had nobody hashed them."""
    plain = yaml.safe_load((MINI / "zoo.yaml").read_text())
    for one in (plain["backbones"]["mini-vit"]["source"], *(model["checkpoint"] for model in plain["models"].values())):
        del one["sha256"], one["size"]
        one["urls"] = ["http://127.0.0.1:9/x"]
    path = tmp_path / "unhashed" / "zoo.yaml"
    path.parent.mkdir()
    path.write_text(yaml.safe_dump(plain))
    return path


LINEAR = "segmenter_mini_linear-bce9da2d.pth"


@pytest.mark.parametrize("name", ["mini-linear", LINEAR])
def test_a_file_without_a_hash_is_adopted_as_what_the_user_says(name, unhashed, tmp_path):
    shutil.copy(MINI / LINEAR, tmp_path / "checkpoint.pth")
    sha256 = hashlib.sha256((MINI / LINEAR).read_bytes()).hexdigest()
    alone = segzoo("--zoo", unhashed, "store", "add", tmp_path / "checkpoint.pth")
    assert (alone.exit_code, "3 files in this zoo have no known hash" in alone.stderr, "--as NAME" in alone.stderr) == (7, True, True)
    done = segzoo("--zoo", unhashed, "store", "add", "--as", name, tmp_path / "checkpoint.pth")
    assert (done.exit_code, done.stdout) == (0, f"{tmp_path / 'checkpoint.pth'}: {LINEAR}, 2.5 MB, no hash known, pinned on first use\n")
    pins = json.loads((unhashed.parent / LOCK_NAME).read_text())["pins"]
    assert {one: pin["sha256"] for one, pin in pins.items()} == {LINEAR: sha256}
    assert blobs() == [sha256]
    assert "here already" in segzoo("--zoo", unhashed, "fetch", "mini-linear").stdout
    other = segzoo("--zoo", unhashed, "store", "add", "--as", name, MINI / "mini.tame.npz")
    assert (other.exit_code, f"expected sha256 {sha256}" in other.stderr, "--pin SHA256" in other.stderr) == (4, True, True)


def test_what_is_not_what_the_user_says_is_not_adopted(unhashed, zoo, tmp_path):
    (tmp_path / "short.pth").write_bytes((MINI / LINEAR).read_bytes()[:500_000])
    for given, code, said in (
        ((unhashed, "mini-linear", tmp_path / "short.pth"), 4, "cut short"),
        ((unhashed, "mini-mask", MINI / LINEAR), 4, "geometry differs from the manifest"),
        ((unhashed, "mini-mask", MINI / "mini.tame.npz"), 4, "layout 'augreg', the manifest says 'mmseg'"),
        ((unhashed, "mini-masc", MINI / LINEAR), 7, "did you mean mini-mask?"),
        ((unhashed, "mini-mask", tmp_path / "missing"), 7, "no such file"),
        ((zoo, "full", tmp_path / "old.npz"), 4, "old.npz: as full.npz: expected 300,000 bytes, found 200,000"),
        ((zoo, "prefixed", tmp_path / "mine.bin"), 4, "expected a sha256 that begins"),
    ):
        done = segzoo("--zoo", given[0], "store", "add", "--as", *given[1:])
        assert (done.exit_code, said in done.stderr) == (code, True), done.output
        assert "hint: " in done.stderr or given[0] == zoo or code == 7
        assert not (given[0].parent / LOCK_NAME).exists()
    assert blobs() == []
    assert segzoo("--zoo", zoo, "store", "add", "--as", "full", tmp_path / "mine.bin").exit_code == 0
    two = segzoo("--zoo", zoo, "store", "add", "--as", "full", tmp_path / "mine.bin", tmp_path / "old.npz")
    assert (two.exit_code, "--as goes with one FILE" in two.stderr) == (2, True)


# cache


def test_the_cache_is_listed_verified_and_emptied(zoo, tmp_path):
    segzoo("--zoo", zoo, "store", "add", tmp_path / "mine.bin", tmp_path / "old.npz")
    assert segzoo("store", "dir").stdout.strip() == str(home())
    listed = segzoo("--zoo", zoo, "store", "ls")
    assert "300.0 kB  full" in listed.stdout
    assert "200.0 kB  prefixed" in listed.stdout
    assert f"2 files, 500.0 kB, in {home()}" in listed.stdout
    assert "(not in this zoo)" in segzoo("--zoo", "mini", "store", "ls").stdout
    assert segzoo("--zoo", zoo, "store", "verify").exit_code == 0
    (home() / "blobs" / SHA).write_bytes(DATA[:-1] + b"?")
    wrong = segzoo("--zoo", zoo, "store", "verify")
    assert (wrong.exit_code, f"changed on disk: {SHA}  full" in wrong.stdout) == (4, True)
    assert f"hint: segzoo store rm {SHA[:12]} removes it; then fetch anew\n" in wrong.stderr
    assert [row["right"] for row in json.loads(segzoo("--zoo", zoo, "store", "verify", "--json").stdout)["result"]].count(False) == 1
    assert segzoo("--zoo", zoo, "store", "rm", "full").exit_code == 0
    assert blobs() == [hashlib.sha256(OTHER).hexdigest()]
    assert segzoo("--zoo", zoo, "store", "rm", blobs()[0][:7]).exit_code == 7
    assert f"{hashlib.sha256(OTHER).hexdigest()}, in {zoo.parent / 'segzoo.lock'}" in segzoo("--zoo", zoo, "info", "prefixed").stdout
    removed = segzoo("--zoo", zoo, "store", "rm", blobs()[0][:8])
    assert (removed.exit_code, removed.stderr) == (0, f"its hash stays pinned in {zoo.parent / 'segzoo.lock'}\n")
    assert blobs() == []


def test_unfinished_downloads_are_listed_and_pruned(zoo, tmp_path):
    segzoo("--zoo", zoo, "store", "add", tmp_path / "mine.bin")
    part = home() / "partials" / "abc-whole.1.part"
    part.write_bytes(DATA)
    assert "1 unfinished download, 300.0 kB" in segzoo("--zoo", zoo, "store", "ls").stdout
    assert "removed 1 file, 300.0 kB" in segzoo("--zoo", zoo, "store", "prune").stdout
    assert not part.exists()
    assert blobs() == [SHA]
    segzoo("--zoo", "mini", "store", "prune", "--unused")
    assert blobs() == []


# bundles


def test_a_bundle_carries_files_and_pins(zoo, tmp_path, monkeypatch):
    segzoo("--zoo", zoo, "store", "add", tmp_path / "mine.bin", tmp_path / "old.npz")
    assert segzoo("--zoo", zoo, "store", "bundle", tmp_path / "a.tar", "--all").exit_code == 0
    assert segzoo("--zoo", zoo, "store", "bundle", tmp_path / "b.tar", "prefixed", "full").exit_code == 0
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()
    again = segzoo("--zoo", zoo, "store", "bundle", tmp_path / "a.tar", "--all")
    assert (again.exit_code, "a.tar is there already, with the same 2 files" in again.stdout) == (0, True)
    pins = json.loads((zoo.parent / LOCK_NAME).read_text())["pins"]["prefixed.npz"]["sha256"]
    (zoo.parent / LOCK_NAME).unlink()
    monkeypatch.setenv("SEGZOO_HOME", str(tmp_path / "elsewhere"))
    done = segzoo("--zoo", zoo, "store", "load", tmp_path / "a.tar")
    assert (done.exit_code, "2 files put into" in done.stdout) == (0, True)
    assert segzoo("--zoo", zoo, "fetch", "--all", "--offline", "--require-hashes").exit_code == 0
    assert json.loads((zoo.parent / LOCK_NAME).read_text())["pins"]["prefixed.npz"]["sha256"] == pins


@pytest.mark.parametrize(
    "change",
    [
        lambda whole: whole + b"\0",
        lambda whole: whole[:-1],
        lambda whole: whole[:-700] + b"?" + whole[-699:],
        lambda whole: whole.replace(DATA, OTHER + DATA[len(OTHER) :]),
        lambda whole: b"",
    ],
)
def test_another_file_is_no_bundle_that_is_there_already(change, zoo, tmp_path):
    segzoo("--zoo", zoo, "store", "add", tmp_path / "mine.bin")
    target = tmp_path / "a.tar"
    assert segzoo("--zoo", zoo, "store", "bundle", target, "full").exit_code == 0
    whole = target.read_bytes()
    target.write_bytes(change(whole))
    done = segzoo("--zoo", zoo, "store", "bundle", target, "full")
    assert (done.exit_code, "a.tar: exists already, and is another file" in done.stderr) == (2, True)
    assert target.read_bytes() == change(whole)
    assert segzoo("--zoo", zoo, "store", "bundle", target, "full", "--force").exit_code == 0
    assert target.read_bytes() == whole


def test_what_is_not_in_the_store_is_not_bundled(zoo, tmp_path):
    done = segzoo("--zoo", zoo, "store", "bundle", tmp_path / "a.tar", "full")
    assert (done.exit_code, "full.npz: not in the store" in done.stderr) == (7, True)
    assert not (tmp_path / "a.tar").exists()


def tar(path, *members):
    with tarfile.open(path, "w") as archive:
        for name, data, kind in members:
            member = tarfile.TarInfo(name)
            member.type, member.size, member.linkname = kind, len(data) if kind == tarfile.REGTYPE else 0, "/etc/passwd"
            archive.addfile(member, io.BytesIO(data))


FILE, INDEXED = tarfile.REGTYPE, (INDEX, json.dumps({"version": 1, "pins": {}}).encode(), tarfile.REGTYPE)
HOSTILE = {
    "a name that leaves": ("../escape", b"x", FILE),
    "an absolute name": ("/tmp/escape", b"x", FILE),
    "another content": (f"blobs/{SHA}", OTHER, FILE),
    "a hash with more": (f"blobs/{SHA}/x", DATA, FILE),
    "an index that is none": (INDEX, b"[]", FILE),
    "a pin that is none": (INDEX, json.dumps({"version": 1, "pins": {"a": {"sha256": "../x"}}}).encode(), FILE),
    "a later version": (INDEX, json.dumps({"version": 2, "pins": {}}).encode(), FILE),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_bundle_is_refused(case, tmp_path):
    first = [] if HOSTILE[case][0] == INDEX else [INDEXED]
    tar(tmp_path / "a.tar", *first, HOSTILE[case])
    store = Store(home(), tmp_path / LOCK_NAME)
    with pytest.raises(IntegrityError):
        load_bundle(tmp_path / "a.tar", [], store, nothing_said)
    assert [path for path in home().rglob("*") if path.is_file()] == []
    assert not (tmp_path / "escape").exists()


@pytest.mark.parametrize("data", [b"", b"no tar at all" * 100, b"\0" * 10240])
def test_a_file_that_is_no_bundle(data, tmp_path):
    (tmp_path / "a.tar").write_bytes(data)
    with pytest.raises(IntegrityError):
        load_bundle(tmp_path / "a.tar", [], Store(home(), tmp_path / LOCK_NAME), nothing_said)


def test_a_bundle_that_is_cut_short(zoo, tmp_path):
    segzoo("--zoo", zoo, "store", "add", tmp_path / "mine.bin")
    segzoo("--zoo", zoo, "store", "bundle", tmp_path / "a.tar", "full")
    whole = (tmp_path / "a.tar").read_bytes()
    shutil.rmtree(home())
    for length in (100, 1000, 5000, len(whole) // 2):
        (tmp_path / "a.tar").write_bytes(whole[:length])
        assert segzoo("--zoo", zoo, "store", "load", tmp_path / "a.tar").exit_code == 4
        assert blobs() == []


def test_a_bundle_cannot_pin_against_the_published_digits(zoo, tmp_path):
    pins = {"prefixed.npz": {"sha256": SHA}}
    tar(tmp_path / "a.tar", (INDEX, json.dumps({"version": 1, "pins": pins}).encode(), FILE), (f"blobs/{SHA}", DATA, FILE))
    done = segzoo("--zoo", zoo, "store", "load", tmp_path / "a.tar")
    assert (done.exit_code, "whose sha256 begins" in done.stderr) == (4, True)
    assert not (zoo.parent / LOCK_NAME).exists()


# data sets


def archive_of(folder, target, root="ade_mini"):
    with zipfile.ZipFile(target, "w") as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, Path(root) / path.relative_to(folder))
    return target


@pytest.fixture
def lab(tmp_path):
    """The mini zoo with its data set behind an address, as a zip."""
    archive_of(MINI / "ade_mini", tmp_path / "ade_mini.zip")
    data = (tmp_path / "ade_mini.zip").read_bytes()
    shutil.copytree(MINI, tmp_path / "lab", ignore=shutil.ignore_patterns("ade_mini"))
    path = tmp_path / "lab" / "zoo.yaml"
    plain = yaml.safe_load(path.read_text())
    with serve({"/ade.zip": Ranged(data)}) as server:
        dataset = plain["datasets"]["ade-mini"]
        del dataset["path"]
        dataset["archive"] = {"name": "ade.zip", "sha256": hashlib.sha256(data).hexdigest(), "urls": [f"{server.base}/ade.zip"]}

        def write(change=lambda dataset: None):
            change(dataset)
            path.write_text(yaml.safe_dump(plain, sort_keys=False))
            return path

        yield write


def test_a_data_set_is_fetched_unpacked_counted_and_used(lab, tmp_path):
    path = lab()
    before = segzoo("--zoo", path, "verify", "mini-linear", "--require", "mIoU")
    assert (before.exit_code, "segzoo fetch ade-mini" in before.output) == (8, True)
    done = segzoo("--zoo", path, "fetch", "ade-mini", "--json")
    (result,) = json.loads(done.stdout)["result"]
    assert done.exit_code == 0
    folder = Path(result["folder"])
    assert folder.parent == home() / "datasets"
    assert result["digest"] == digest(samples("ade20k", MINI / "ade_mini", "validation", 40))
    assert len(list((folder / "images").rglob("*.jpg"))) == 40
    assert segzoo("--zoo", path, "fetch", "ade-mini").exit_code == 0
    assert segzoo("--zoo", path, "verify", "mini-linear", "--require", "mIoU").exit_code == 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda dataset: dataset.update(images=41), "expected 41 images in 'validation', found 40"),
        (lambda dataset: dataset.update(other_splits={"training": 5}), "no such folder"),
        (lambda dataset: dataset.update(digest="0" * 64), "contents with digest"),
        (lambda dataset: dataset.update(root="elsewhere"), "no folder elsewhere in it"),
    ],
)
def test_another_data_set_than_the_manifest_describes(change, said, lab):
    done = segzoo("--zoo", lab(change), "fetch", "ade-mini")
    assert (done.exit_code, said in done.stderr) == (4, True)
    assert list((home() / "datasets").glob("*")) == []


def zipped(path, *members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data, mode in members:
            info = zipfile.ZipInfo(name)
            info.external_attr, info.compress_type = mode << 16, zipfile.ZIP_DEFLATED
            archive.writestr(info, data)


def test_a_damaged_archive_leaves_nothing(tmp_path):
    zipped(tmp_path / "a.zip", *((f"set/{number}", os.urandom(1000), 0) for number in range(20)))
    data = bytearray((tmp_path / "a.zip").read_bytes())
    data[10_000] ^= 1
    for damaged in (bytes(data), bytes(data[:9000]), b"PK\x03\x04"):
        (tmp_path / "a.zip").write_bytes(damaged)
        with pytest.raises(IntegrityError, match="damaged"):
            extract(tmp_path / "a.zip", "set", tmp_path / "out", nothing_said)
        assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.zip"]


# fetch, what it says and where it writes


def test_a_dry_run_fetches_nothing_and_says_what_would_be(zoo, tmp_path):
    segzoo("--zoo", zoo, "store", "add", tmp_path / "mine.bin")
    done = segzoo("--zoo", zoo, "fetch", "--all", "--dry-run")
    assert done.stdout.splitlines() == [
        "full: here already, 300.0 kB, sha256",
        "prefixed: to fetch, size unknown, prefix (32 bits), pinned on first use",
        "  http://127.0.0.1:9/x",
        "1 file to fetch: 1 of unknown size",
    ]
    assert [one["here"] for one in json.loads(segzoo("--zoo", zoo, "fetch", "--all", "--dry-run", "--json").stdout)["result"]] == [True, False]


def test_files_are_copied_out_under_their_published_names(zoo, tmp_path):
    segzoo("--zoo", zoo, "store", "add", tmp_path / "mine.bin")
    assert segzoo("--zoo", zoo, "fetch", "full", "-o", tmp_path / "out").exit_code == 0
    copy = tmp_path / "out" / "full.npz"
    assert copy.read_bytes() == DATA
    first = copy.stat().st_mtime_ns
    assert segzoo("--zoo", zoo, "fetch", "full", "-o", tmp_path / "out").exit_code == 0
    assert copy.stat().st_mtime_ns == first
    copy.write_bytes(b"edited by the user")
    done = segzoo("--zoo", zoo, "fetch", "full", "-o", tmp_path / "out")
    assert (done.exit_code, copy.read_bytes()) == (2, b"edited by the user")
    assert f"{copy}: there is another file of this name" in done.stderr
    assert (home() / "blobs" / SHA).read_bytes() == DATA


def test_offline_by_the_environment_too(zoo, monkeypatch):
    for arguments in (["--offline"], []):
        done = segzoo("--zoo", zoo, "fetch", "full", *arguments)
        assert done.exit_code == (7 if arguments else 3)
    monkeypatch.setenv("SEGZOO_OFFLINE", "1")
    for command in (["fetch", "full"], ["convert", "full", "out.pth"]):
        done = segzoo("--zoo", zoo, *command)
        assert (done.exit_code, "not fetched: offline" in done.stderr) == (7, True)


def test_a_mirror_by_option_and_environment(zoo, monkeypatch):
    with serve({"/mine/full.npz": Ranged(DATA)}) as server:
        done = segzoo("--zoo", zoo, "fetch", "full", "--mirror", f"{server.base}/mine", "--json")
        assert json.loads(done.stdout)["result"][0]["url"] == f"{server.base}/mine/full.npz"
        segzoo("--zoo", zoo, "store", "rm", "full")
        monkeypatch.setenv("SEGZOO_MIRROR", f"{server.base}/mine/")
        assert segzoo("--zoo", zoo, "fetch", "full", "-q").exit_code == 0
    assert segzoo("--zoo", zoo, "fetch", "full", "--mirror", "ftp://x/").exit_code == 2


def test_a_hash_is_pinned_by_hand(zoo, tmp_path):
    full = hashlib.sha256(OTHER).hexdigest()
    assert segzoo("--zoo", zoo, "fetch", "prefixed", "--pin", "0" * 64).exit_code == 4
    assert segzoo("--zoo", zoo, "fetch", "prefixed", "--pin", "xyz").exit_code == 2
    assert segzoo("--zoo", zoo, "fetch", "--all", "--pin", full).exit_code == 2
    assert segzoo("--zoo", zoo, "fetch", "full", "--pin", full).exit_code == 4
    assert segzoo("--zoo", zoo, "fetch", "prefixed", "--require-hashes").exit_code == 4
    assert segzoo("--zoo", zoo, "fetch", "prefixed", "--pin", full, "--require-hashes").exit_code == 3  # its host is dead
    assert json.loads((zoo.parent / LOCK_NAME).read_text())["pins"]["prefixed.npz"] == {"by": "hand", "sha256": full}
    assert segzoo("--zoo", zoo, "store", "add", tmp_path / "old.npz").exit_code == 0
