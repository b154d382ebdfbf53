"""Bundles of strangers: whatever is in them beside plain files is refused before anything is written."""

import hashlib
import io
import json
import os
import shutil
import tarfile
import tracemalloc

import pytest

from segzoo.errors import EnvironmentFault, IntegrityError, NotFoundError
from segzoo.store.bundle import INDEX, load_bundle
from segzoo.store.store import LOCK_NAME, Store, home
from segzoo.store.tarred import members

DATA = os.urandom(3000)
SHA = hashlib.sha256(DATA).hexdigest()
NONE = json.dumps({"version": 1, "pins": {}}).encode()


def header(name, size=0, kind=tarfile.REGTYPE, form=tarfile.USTAR_FORMAT, link="", pax=None):
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname, info.pax_headers = size, kind, link, pax or {}
    return info.tobuf(form)


def member(name, data=b"", **more):
    return header(name, len(data), **more) + data + bytes(-len(data) % 512)


def extended(**fields):
    """A header that changes fields of the next member, as PAX has it."""
    text = b""
    for key, value in fields.items():
        line = f" {key.replace('_', '.')}={value}\n".encode()
        length = next(number for number in range(200_000) if len(str(number)) + len(line) == number)
        text += str(length).encode() + line
    return member("./PaxHeaders/x", text, kind=tarfile.XHDTYPE)


BEGINNING, BLOB, END = member(INDEX, NONE), member(f"blobs/{SHA}", DATA), bytes(1024)
BLOBS = f"blobs/{SHA}"
SPARSE = header(BLOBS, kind=tarfile.GNUTYPE_SPARSE, form=tarfile.GNU_FORMAT)
DEEP = b"[" * 100_000 + b"]" * 100_000

HOSTILE = {
    "nested long names": BEGINNING + b"".join(member("././@LongLink", b"x\0", kind=tarfile.GNUTYPE_LONGNAME) for _ in range(600)) + BLOB + END,
    "nested extended headers": BEGINNING + extended(size=3000) * 600 + BLOB + END,
    "nested long links": BEGINNING + b"".join(member("././@LongLink", b"x\0", kind=tarfile.GNUTYPE_LONGLINK) for _ in range(600)) + BLOB + END,
    "a sparse member of GNU": BEGINNING + SPARSE + END,
    "a sparse member of PAX": BEGINNING + extended(GNU_sparse_major=1, GNU_sparse_minor=0, GNU_sparse_realsize=1 << 40) + BLOB + END,
    "an older sparse member of PAX": BEGINNING + extended(GNU_sparse_size=1 << 40, GNU_sparse_map="0,1") + BLOB + END,
    "a size that the archive has not": BEGINNING + header(BLOBS, 1 << 40, form=tarfile.GNU_FORMAT) + END,
    "a size that the extended header says": BEGINNING + extended(size=1 << 40) + BLOB + END,
    "a size of a million digits": BEGINNING + extended(size="9" * 100_000) + BLOB + END,
    "a negative size": BEGINNING + header(BLOBS, -512, form=tarfile.GNU_FORMAT) + END,
    "another path": BEGINNING + extended(path="../escape") + BLOB + END,
    "a size and another path": BEGINNING + extended(size=3000, path="../escape") + BLOB + END,
    "two extended headers": BEGINNING + extended(size=3000) + extended(size=3000) + BLOB + END,
    "a global header": BEGINNING + member("g", b"20 path=../../escape\n", kind=tarfile.XGLTYPE) + BLOB + END,
    "a header of Solaris": BEGINNING + member("X", b"20 path=../../escape\n", kind=tarfile.SOLARIS_XHDTYPE) + BLOB + END,
    "a symbolic link": BEGINNING + header(BLOBS, kind=tarfile.SYMTYPE, link="/etc/passwd") + END,
    "a hard link": BEGINNING + header(BLOBS, kind=tarfile.LNKTYPE, link="/etc/passwd") + END,
    "a pipe": BEGINNING + header(BLOBS, kind=tarfile.FIFOTYPE) + END,
    "a device": BEGINNING + header(BLOBS, kind=tarfile.CHRTYPE) + END,
    "a disk": BEGINNING + header(BLOBS, kind=tarfile.BLKTYPE) + END,
    "a folder": BEGINNING + header(BLOBS, kind=tarfile.DIRTYPE) + END,
    "a folder of old": BEGINNING + header(f"{BLOBS}/", kind=tarfile.AREGTYPE) + END,
    "a contiguous file": BEGINNING + member(BLOBS, DATA, kind=tarfile.CONTTYPE) + END,
    "an unknown kind": BEGINNING + member(BLOBS, DATA, kind=b"Z") + END,
    "a blob twice": BEGINNING + BLOB + BLOB + END,
    "an index twice": BEGINNING + BEGINNING + BLOB + END,
    "an index at the end": BLOB + BEGINNING + END,
    "no index": BLOB + END,
    "a name that is no hash": BEGINNING + member("blobs/" + "0" * 63, DATA) + END,
    "a hash in capitals": BEGINNING + member(f"blobs/{SHA.upper()}", DATA) + END,
    "a hash and a new line": BEGINNING + member(f"{BLOBS}\n", DATA) + END,
    "a name that leaves": BEGINNING + member(f"blobs/../{BLOBS}", DATA) + END,
    "a name that is no UTF-8": BEGINNING + header("a").replace(b"a", b"\xff", 1) + END,
    "no end": BEGINNING + BLOB,
    "an end within a member": BEGINNING + BLOB[:1024],
    "an end within a header": BEGINNING + BLOB[:100],
    "nothing in it": BEGINNING + END,
    "a deep index": member(INDEX, DEEP) + BLOB + END,
    "a number without end": member(INDEX, b'{"version": ' + b"9" * 1_000_000 + b', "pins": {}}') + BLOB + END,
    "pins twice": member(INDEX, b'{"version": 1, "pins": {}, "pins": {}}') + BLOB + END,
    "a pin that leaves": member(INDEX, json.dumps({"version": 1, "pins": {"a": {"sha256": "../" * 3}}}).encode()) + BLOB + END,
    "a pin that is a list": member(INDEX, json.dumps({"version": 1, "pins": {"a": {"sha256": [SHA]}}}).encode()) + BLOB + END,
    "pins that are a list": member(INDEX, json.dumps({"version": 1, "pins": [[]]}).encode()) + BLOB + END,
}


def load(tmp_path, data):
    (tmp_path / "a.tar").write_bytes(data)
    return load_bundle(tmp_path / "a.tar", [], Store(home(), tmp_path / LOCK_NAME), lambda done, whole: None)


def test_what_is_right_is_loaded(tmp_path):
    assert load(tmp_path, BEGINNING + BLOB + END) == [SHA]
    assert load(tmp_path, BEGINNING + extended(size=3000) + BLOB + END) == [SHA]
    assert (home() / "blobs" / SHA).read_bytes() == DATA


@pytest.mark.parametrize("case", HOSTILE)
def test_what_is_hostile_is_refused_before_anything_is_written(case, tmp_path):
    tracemalloc.start()
    with pytest.raises(IntegrityError) as caught:
        load(tmp_path, HOSTILE[case])
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()
    assert caught.value.message.startswith(f"{tmp_path / 'a.tar'}: ")
    assert len(caught.value.message) < 500
    assert list(home().iterdir()) == []
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar"]


def test_a_disk_that_has_no_room_is_not_written_to(tmp_path):
    """A file may claim more bytes than any disk has: a hole in it takes no room where it lies, but would where it is copied to."""
    whole = (shutil.disk_usage(home()).free // 512 + (1 << 24)) * 512  # 8 GiB more than there is room for
    with (tmp_path / "a.tar").open("wb") as file:
        try:
            file.truncate(whole + 4096)
        except OSError:
            pytest.skip("needs a file system that keeps holes")
        file.write(BEGINNING + header(BLOBS, whole, form=tarfile.GNU_FORMAT))
        assert os.fstat(file.fileno()).st_blocks < 100
    with pytest.raises(EnvironmentFault, match=f"bytes free, {whole:,} needed"):
        load_bundle(tmp_path / "a.tar", [], Store(home(), tmp_path / LOCK_NAME), lambda done, whole: None)
    assert list(home().iterdir()) == []


@pytest.mark.parametrize("size", [0, 1, 511, 512, 8 << 30, (8 << 30) - 1, 1 << 40])
def test_it_reads_what_tarfile_writes(size, tmp_path):
    """The header of a file of 8 GiB and more does not hold its size: an extended one does."""
    info = tarfile.TarInfo(BLOBS)
    info.size = size
    head = info.tobuf(tarfile.PAX_FORMAT)
    with (tmp_path / "a.tar").open("wb") as file:
        file.write(head)
        file.seek(len(head) + -(-size // 512) * 512)
        file.write(END)
    with (tmp_path / "a.tar").open("rb") as file:
        (found,) = members(file, os.fstat(file.fileno()).st_size, "here")
    assert (found.name, found.start, found.size) == (BLOBS, len(head), size)


def test_what_is_not_there(tmp_path):
    with pytest.raises(NotFoundError, match="no such file"):
        load_bundle(tmp_path / "a.tar", [], Store(home(), tmp_path / LOCK_NAME), lambda done, whole: None)
    assert members(io.BytesIO(END), len(END), "here") == []
