"""Zips of stored members are, byte for byte, those that Python's own zipfile writes."""

import io
import struct
import zipfile

import pytest

from segzoo.formats import stored
from segzoo.formats.stored import StoredZip

MEMBERS = {"a": [b""], "folder/b": [b"one ", memoryview(b"two")], "\u00e4\u4e2d": [bytes(1000)], "last": [b"3\n"]}


def theirs(members, zip64=False):
    """Of zipfile."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, chunks in members.items():
            with archive.open(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), "w", force_zip64=zip64) as member:
                for chunk in chunks:
                    member.write(chunk)
    return file.getvalue()


def ours(members, alignment=1):
    file = io.BytesIO()
    archive = StoredZip(file)
    for name, chunks in members.items():
        archive.add(name, chunks, alignment)
    archive.close()
    return file.getvalue()


def test_the_bytes_are_those_of_zipfile():
    assert ours(MEMBERS) == theirs(MEMBERS)
    assert ours({}) == theirs({})


@pytest.mark.parametrize("many", [3, 70_000])
def test_what_is_large_has_the_records_of_zipfile(many, monkeypatch):
    """A limit of some bytes stands for 2 GiB, on both sides; more than 65,535 members need no such thing."""
    if many == 3:
        monkeypatch.setattr(stored, "_LARGE", 500)
        monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 500)
    members = {f"m{number}": [bytes(600 if many == 3 else 0)] for number in range(many)}
    assert ours(members) == theirs(members, zip64=many == 3)


def test_a_large_members_place_and_size_are_found_again(monkeypatch):
    monkeypatch.setattr(stored, "_LARGE", 500)
    members = {"small": [b"x" * 10], "large": [b"y" * 600], "after": [b"z"]}
    with zipfile.ZipFile(io.BytesIO(ours(members, 64))) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == {name: b"".join(chunks) for name, chunks in members.items()}


def test_members_begin_on_multiples_of_the_alignment():
    data = ours(MEMBERS, 64)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for info in archive.infolist():
            name, extra = struct.unpack("<2H", data[info.header_offset + 26 : info.header_offset + 30])
            assert (info.header_offset + 30 + name + extra) % 64 == 0
        assert archive.testzip() is None
