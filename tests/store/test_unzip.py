"""Archives of data sets from strangers, and what is left when unpacking is killed."""

import errno
import io
import os
import random
import shutil
import stat
import struct
import subprocess
import sys
import tracemalloc
import zipfile
from pathlib import Path

import pytest
from pace import within

from segzoo.errors import EnvironmentFault, IntegrityError
from segzoo.store.unzip import extract

LONG = "n" * 256


def packed(*members, method=zipfile.ZIP_DEFLATED):
    """A zip of members (name, data, and whatever else a ZipInfo has)."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", method) as archive:
        for name, data, *more in members:
            info = zipfile.ZipInfo(name)
            info.compress_type = method
            for field, value in more[0].items() if more else ():
                setattr(info, field, value)
            archive.writestr(info, data)
    return made.getvalue()


def one(name, data=b"x", **more):
    return packed(("set/one", b"one"), (name, data, more))


def named(wrong, like="set/?????"):
    """A zip with a member whose name is these bytes, which Python would not write."""
    placeholder = like.replace("?", "é") if wrong is None else "set/" + "~" * (len(wrong) - 4)
    return one(placeholder).replace(placeholder.encode(), wrong)


def unix(mode):
    return {"external_attr": mode << 16, "create_system": 3}


def patched(data, at, value):
    """A zip whose directory and headers say something else of the second member."""
    changed = bytearray(data)
    local, central = data.find(b"PK\x03\x04", 4), data.rfind(b"PK\x01\x02")
    for place in (local + at - 2, central + at) if at < 20 else (central + at,):
        changed[place : place + len(value)] = value
    return bytes(changed)


SAID = {
    "": "",
    "name": "is no name inside a folder",
    "kind": "is no plain file",
    "twice": "is there twice",
    "both": "is a file and a folder",
    "method": "is packed by method",
    "encrypted": "is encrypted",
    "long": "is a name of more than 255 bytes, or lies in more than 16 folders",
    "large": "much larger than itself",
    "damaged": "damaged: ",
}
HOSTILE = {
    "a point": ("name", one("set/.")),
    "a point and more": ("name", one("set/./two")),
    "two points": ("name", one("set/..")),
    "two points and more": ("name", one("set/../../escape")),
    "two points at first": ("name", one("../escape")),
    "two slashes": ("name", one("set//two")),
    "a slash at first": ("name", one("/set/two")),
    "a slash alone": ("name", one("/")),
    "no name": ("name", one("")),
    "a backslash": ("name", one("set/..\\..\\escape")),
    "a drive": ("name", one("C:/escape")),
    "a drive within": ("name", one("set/C:two")),
    "a stream": ("name", one("set/one:stream")),
    "a NUL": ("name", named(b"set/t\0o")),
    "a new line": ("name", one("set/t\no")),
    "an escape": ("name", one("set/\x1b[2J")),
    "letters that turn round": ("name", one("set/\u202egpj.exe")),
    "no UTF-8": ("damaged", one("set/ééé").replace("ééé".encode(), b"\xff\xfe\xff\xfe\xff\xfe")),
    "a link": ("kind", one("set/two", b"/etc/passwd", **unix(stat.S_IFLNK | 0o777))),
    "a link outside the folder that is wanted": ("kind", one("else/two", b"/etc/passwd", **unix(stat.S_IFLNK | 0o777))),
    "a pipe": ("kind", one("set/two", **unix(stat.S_IFIFO))),
    "a socket": ("kind", one("set/two", **unix(stat.S_IFSOCK))),
    "a device": ("kind", one("set/two", **unix(stat.S_IFCHR))),
    "a disk": ("kind", one("set/two", **unix(stat.S_IFBLK))),
    "a link of Windows": ("kind", one("set/two", external_attr=0x400)),
    "large and small letters": ("twice", one("set/ONE")),
    "letters that fold": ("twice", packed(("set/straße", b"1"), ("set/STRASSE", b"2"))),
    "two spellings": ("twice", packed(("set/\u00e9", b"1"), ("set/e\u0301", b"2"))),
    "a file below a file": ("both", one("set/one/two")),
    "a file below a file, by its letters": ("both", one("set/One/two")),
    "a folder in place of a file": ("both", one("set/one/", b"")),
    "a long name": ("long", one(f"set/{LONG}")),
    "a long folder": ("long", one(f"set/{LONG}/two")),
    "a long name of few letters": ("long", one("set/" + "é" * 128)),
    "a long path": ("long", one("set/" + "a/" * 3000 + "two")),
    "bzip2": ("method", packed(("set/one", bytes(1 << 20)), method=zipfile.ZIP_BZIP2)),
    "LZMA": ("method", packed(("set/one", bytes(1 << 20)), method=zipfile.ZIP_LZMA)),
    "an unknown method": ("method", patched(one("set/two"), 10, b"\x63\0")),
    "zstd": ("method", patched(one("set/two"), 10, b"\x5d\0")),
    "encrypted": ("encrypted", patched(one("set/two"), 8, b"\x01\0")),
    "encrypted strongly": ("encrypted", patched(one("set/two"), 8, b"\x41\0")),
    "its names encrypted": ("encrypted", patched(one("set/two"), 8, b"\0\x20")),
    "a bomb": ("large", one("set/two", bytes(100_000_000))),
    "a bomb in the folder beside": ("large", one("else/two", bytes(100_000_000))),
    "more than it declares": ("damaged", patched(one("set/two", bytes(10_000)), 24, struct.pack("<L", 100))),
    "less than it declares": ("damaged", patched(one("set/two", bytes(10_000)), 24, struct.pack("<L", 20_000))),
    "a header elsewhere": ("damaged", patched(one("set/two"), 42, struct.pack("<L", 5))),
    "a header behind the end": ("damaged", patched(one("set/two"), 42, b"\xff\xff\xff\x7f")),
    "a later version of zip": ("damaged", patched(one("set/two"), 6, b"\xff\0")),
}


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_archive_is_not_unpacked(case, tmp_path):
    kind, data = HOSTILE[case]
    (tmp_path / "a.zip").write_bytes(data)
    tracemalloc.start()
    with pytest.raises(IntegrityError, match="it was not unpacked" if kind != "damaged" else "damaged: ") as caught:
        extract(tmp_path / "a.zip", "set", tmp_path / "out" / "set", lambda done, whole: None)
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()
    assert SAID[kind] in caught.value.message
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 1000
    assert sorted(path.name for path in tmp_path.rglob("*")) in (["a.zip"], ["a.zip", "out"])


@pytest.mark.parametrize("name", ["set/{}", "set/{}/a/b/c/d/e/f/g", "set/{:0200}/é"])
def test_many_members_are_looked_at_in_little_time(name, tmp_path):
    """1 MB of a zip's directory."""
    names = [name.format(number) for number in range(500_000 // (50 + len(name.format(0))))]
    (tmp_path / "a.zip").write_bytes(packed(*((one, b"") for one in names), (f"{names[0]}/x", b"")))
    with within(2), pytest.raises(IntegrityError, match="is a file and a folder"):
        extract(tmp_path / "a.zip", "set", tmp_path / "set", lambda done, whole: None)


def test_names_of_all_languages_and_both_methods(tmp_path):
    names = ["a b.jpg", "ü/é.png", "日本/図.jpg", ".hidden", "a.b.c", "-", "n" * 255]
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        data = packed(("set/", b""), ("set/empty/", b""), *((f"set/{name}", name.encode() * 100) for name in names), method=method)
        (tmp_path / "a.zip").write_bytes(data)
        extract(tmp_path / "a.zip", "set", tmp_path / f"set{method}", lambda done, whole: None)
        found = {str(path.relative_to(tmp_path / f"set{method}")): path.read_bytes() for path in tmp_path.glob(f"set{method}/**/*") if path.is_file()}
        assert found == {name: name.encode() * 100 for name in names}


def test_a_disk_without_room(tmp_path, monkeypatch):
    (tmp_path / "a.zip").write_bytes(one("set/two", bytes(50_000)))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(100, 60, 40))
    with pytest.raises(EnvironmentFault, match="40 bytes free, 50,003 needed"):
        extract(tmp_path / "a.zip", "set", tmp_path / "set", lambda done, whole: None)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip"]


UNPACKS = """
import resource, signal, sys
from pathlib import Path
from segzoo.errors import SegzooError
from segzoo.store.unzip import extract
if limit := int(sys.argv[2]):
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
def said(done, whole):
    print(done, flush=True)
try:
    extract(Path(sys.argv[1]), "set", Path(sys.argv[1]).parent / "set", said)
except SegzooError as error:
    print(type(error).__name__, error)
"""


def unpacking(archive, limit=0):
    return subprocess.Popen([sys.executable, "-c", UNPACKS, archive, str(limit)], stdout=subprocess.PIPE, text=True)


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on the size of files")
def test_a_disk_that_fills(tmp_path):
    (tmp_path / "a.zip").write_bytes(packed(*((f"set/{number}", random.randbytes(2000 * number)) for number in range(1, 5))))
    said = unpacking(tmp_path / "a.zip", 5000).communicate()[0]
    assert said.splitlines()[-1] == f"EnvironmentFault {tmp_path / 'set'}: cannot unpack here: {os.strerror(errno.EFBIG)}"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip"]


@pytest.mark.parametrize(("members", "turns"), [(600, 3), pytest.param(10_000, 30, marks=pytest.mark.thorough)])
def test_a_kill_leaves_nothing_that_the_next_run_does_not_remove(members, turns, tmp_path):
    (tmp_path / "a.zip").write_bytes(packed(*((f"set/{number}", random.randbytes(3000)) for number in range(members))))
    left = 0
    for turn in range(turns):
        running = unpacking(tmp_path / "a.zip")
        for _ in range(1 + members // turns * turn):
            running.stdout.readline()
        running.kill()
        running.communicate()
        hidden = [path for path in tmp_path.iterdir() if path.name.startswith(".")]
        assert len(hidden) <= 2  # this kill's, and nothing of those before
        left += bool(hidden)
        assert not (tmp_path / "set").exists()
    assert left == turns
    unpacking(tmp_path / "a.zip").communicate()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip", "set"]
    assert len(list(Path(tmp_path / "set").iterdir())) == members


def test_two_processes_unpack_the_same(tmp_path):
    (tmp_path / "a.zip").write_bytes(packed(*((f"set/{number}", b"x" * number) for number in range(500))))
    both = [unpacking(tmp_path / "a.zip") for _ in range(3)]
    assert [running.communicate()[0].splitlines()[-1] for running in both] == [str(499 * 250)] * 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip", "set"]
    assert len(list((tmp_path / "set").iterdir())) == 500
