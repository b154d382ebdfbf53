"""Zip archives of data sets, extracted whole or not at all, and never outside the folder meant for them."""

import shutil
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from uuid import uuid4

from segzoo.errors import EnvironmentFault, IntegrityError
from segzoo.store.store import Progress

_CHUNK = 1 << 20
_MOST_FILES = 1_000_000
_MOST_GROWTH = 20  # times the archive's own size: images do not shrink in a zip, a bomb does


def extract(archive: Path, root: str, target: Path, said: Progress) -> None:
    """Extract the folder `root` of an archive as the folder `target`, which appears when all its files are there.

    Raises IntegrityError where a name leaves the folder, is a link or occurs twice, and where the contents are damaged
    or much larger than the archive; EnvironmentFault where the disk is full or cannot be written.
    """
    part = target.parent / f".{target.name}.{uuid4().hex}.part"
    try:
        with zipfile.ZipFile(archive) as opened:
            members = _checked(archive, opened, root)
            whole, done = sum(info.file_size for info in members.values()), 0
            free = shutil.disk_usage(_existing(target)).free
            if free < whole:
                raise EnvironmentFault(f"{target}: {free:,} bytes free, {whole:,} needed to unpack {archive.name}")
            for name, info in members.items():
                path = part / name
                path.parent.mkdir(parents=True, exist_ok=True)
                with opened.open(info) as file, path.open("xb") as out:
                    while chunk := file.read(_CHUNK):
                        out.write(chunk)
                        said(done := done + len(chunk), whole)
        part.replace(target)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise IntegrityError(f"{archive}: damaged: {error}") from error
    except OSError as error:
        raise EnvironmentFault(f"{target}: cannot unpack here: {error.strerror or error}") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _checked(archive: Path, opened: zipfile.ZipFile, root: str) -> dict[str, zipfile.ZipInfo]:
    """The files below `root`, by their path in it. Raises IntegrityError for a name, kind or size that no data set has."""
    infos = opened.infolist()
    if len(infos) > _MOST_FILES or sum(info.file_size for info in infos) > _MOST_GROWTH * archive.stat().st_size + _CHUNK:
        raise IntegrityError(f"{archive}: its contents are much larger than itself; it was not unpacked")
    members: dict[str, zipfile.ZipInfo] = {}
    folded: set[str] = set()
    for info in infos:
        path = PurePosixPath(info.orig_filename)
        if (
            path.is_absolute()
            or ".." in path.parts
            or not info.orig_filename.isprintable()
            or any(mark in info.orig_filename for mark in '\\:*?"<>|')
        ):
            raise IntegrityError(f"{archive}: '{info.orig_filename}' is no name inside a folder; it was not unpacked")
        if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise IntegrityError(f"{archive}: '{info.filename}' is no plain file; it was not unpacked")
        if info.is_dir() or not path.is_relative_to(root):
            continue
        name = str(path.relative_to(root))
        if name.casefold() in folded:
            raise IntegrityError(f"{archive}: '{info.filename}' is there twice; it was not unpacked")
        folded.add(name.casefold())
        members[name] = info
    if not members:
        raise IntegrityError(f"{archive}: no folder {root} in it")
    return members


def _existing(path: Path) -> Path:
    return next(folder for folder in path.parents if folder.exists())
