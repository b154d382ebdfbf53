"""Zip archives of data sets, extracted whole or not at all, and never outside the folder meant for them."""

import errno
import shutil
import stat
import unicodedata
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from segzoo.atomic import part_folder, write_hint
from segzoo.errors import EnvironmentFault, IntegrityError
from segzoo.regular import open_regular
from segzoo.store.store import Progress

_CHUNK = 1 << 20
_MOST_FILES = 1_000_000
_MOST_GROWTH = 20  # times the archive's own size: images do not shrink in a zip, a bomb does
_LONGEST = 255  # bytes of a name: what file systems take
_DEEPEST = 16  # folders within one another; so a path has no more than 4,096 bytes
_PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # bzip2 and LZMA make gigabytes of a kilobyte
_ENCRYPTED = 0x1 | 0x40 | 0x2000
_REPARSE = 0x400  # what Windows has in place of a link


def extract(archive: Path, root: str, target: Path, said: Progress) -> None:
    """Extract the folder `root` of an archive as the folder `target`, which appears when all its files are there.

    Raises IntegrityError where a name leaves the folder, is a link or occurs twice, where the contents are damaged, encrypted, packed in
    another way than data sets are, or much larger than the archive; EnvironmentFault where the disk is full or cannot be written.
    """
    with _reading(archive), open_regular(archive) as raw, zipfile.ZipFile(raw) as opened:
        members = _checked(archive, opened, root)
        whole, done = sum(info.file_size for info in members.values()), 0
        free = shutil.disk_usage(next(folder for folder in target.parents if folder.exists())).free
        if free < whole:
            hint = "free some space, or set SEGZOO_HOME to a larger disk"
            raise EnvironmentFault(f"{target}: {free:,} bytes free, {whole:,} needed to unpack {archive.name}", hint)
        with part_folder(target.parent, target.name) as part, _writing(target):
            for name, info in members.items():
                path = part / name
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("xb") as out:
                    for chunk in _bytes(archive, opened, info):
                        out.write(chunk)
                        said(done := done + len(chunk), whole)
            _name(part, target)


def _name(part: Path, target: Path) -> None:
    try:
        part.replace(target)
    except OSError:
        if not target.is_dir():  # another process was faster with the same archive
            raise


def _bytes(archive: Path, opened: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[bytes]:
    """The contents of a member, of just the size that the archive's directory declares."""
    with _reading(archive), opened.open(info) as file:
        left = info.file_size
        while chunk := file.read(_CHUNK):
            left -= len(chunk)
            yield chunk
        if left:
            raise zipfile.BadZipFile(f"{info.filename}: {left:,} bytes less than its directory says")


@contextmanager
def _reading(archive: Path) -> Iterator[None]:
    """Turns what a parser raises for damaged bytes into IntegrityError. There are a dozen kinds, for one flipped bit or another."""
    try:
        yield
    except (IntegrityError, EnvironmentFault, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):  # the latter from an offset before the beginning
            raise EnvironmentFault(f"{archive}: not readable: {error.strerror}") from error
        raise IntegrityError(f"{archive}: damaged: {str(error) or type(error).__name__}") from error


@contextmanager
def _writing(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise EnvironmentFault(f"{target}: cannot unpack here: {error.strerror or error}", hint=write_hint(error)) from error


def _checked(archive: Path, opened: zipfile.ZipFile, root: str) -> dict[str, zipfile.ZipInfo]:
    """The files below `root`, by their path in it. Raises IntegrityError for a name, kind or size that no data set has."""
    infos = opened.infolist()
    if len(infos) > _MOST_FILES or sum(info.file_size for info in infos) > _MOST_GROWTH * archive.stat().st_size + _CHUNK:
        raise IntegrityError(f"{archive}: its contents are much larger than itself; it was not unpacked")
    members: dict[str, zipfile.ZipInfo] = {}
    files: set[str] = set()
    folders: set[str] = set()
    for info in infos:
        if wrong := _misfit(info):
            raise IntegrityError(f"{archive}: {info.orig_filename!a:.300} {wrong}; it was not unpacked")
        path = PurePosixPath(info.orig_filename)
        folded = _folded(info.orig_filename.removesuffix("/"))
        above = folded if info.is_dir() else folded.rpartition("/")[0]
        while above and above not in folders:
            folders.add(above)
            above = above.rpartition("/")[0]
        if info.is_dir():
            continue
        if folded in files:
            raise IntegrityError(f"{archive}: {info.orig_filename!a:.300} is there twice; it was not unpacked")
        files.add(folded)
        if path.is_relative_to(root):
            members[str(path.relative_to(root))] = info
    if both := files & folders:
        raise IntegrityError(f"{archive}: {min(both)!a:.300} is a file and a folder; it was not unpacked")
    if not members:
        raise IntegrityError(f"{archive}: no folder {root} in it")
    return members


def _folded(name: str) -> str:
    """The name as a file system knows it that tells neither large letters from small, nor two spellings of an accent."""
    return name.lower() if name.isascii() else unicodedata.normalize("NFD", unicodedata.normalize("NFD", name).casefold())


def _misfit(info: zipfile.ZipInfo) -> str | None:
    """What is wrong with a member, whatever else is in the archive; None where it may be unpacked."""
    name = info.orig_filename
    steps = name.removesuffix("/").split("/")
    if any(step in ("", ".", "..") for step in steps) or not name.isprintable() or any(mark in name for mark in '\\:*?"<>|'):
        return "is no name inside a folder"
    if len(steps) > _DEEPEST or any(len(step.encode()) > _LONGEST for step in steps):
        return f"is a name of more than {_LONGEST} bytes, or lies in more than {_DEEPEST} folders"
    if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR) or info.external_attr & _REPARSE:
        return "is no plain file"
    if info.flag_bits & _ENCRYPTED:
        return "is encrypted"
    if info.compress_type not in _PACKED and not info.is_dir():
        return f"is packed by method {info.compress_type}: data sets are stored or deflated"
    return None
