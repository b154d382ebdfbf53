"""What broken and killed runs left in the store's folders, and no process holds: parts of downloads, of data sets, of receipts, of pins."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from segzoo.atomic import abandoned, sweep
from segzoo.store.partial import in_use, parts, take_away
from segzoo.store.store import Store, receipts


def leftovers(store: Store) -> dict[Path, int]:
    """The files and folders that nobody writes any more, each with its size in bytes. The former are parts of downloads, which `fetch` uses."""
    found = {path: _size(path) for path in parts(store.partials) if not in_use(path)}
    for folder in _folders(store):
        found |= {path: _size(path) for path in abandoned(folder)}
    return found


def remove_leftovers(store: Store) -> dict[Path, int]:
    """Remove them. Returns those that are gone, each with its size in bytes. What another process removed meanwhile is not counted."""
    found = leftovers(store)
    gone = {path for folder in _folders(store) for path in sweep(folder)}
    for path in found:
        if path.parent == store.partials and take_away(path):
            gone.add(path)
    return {path: size for path, size in found.items() if path in gone}


def _folders(store: Store) -> Iterator[Path]:
    """Where segzoo writes by itself, each once. Where a user names a folder, the next command that writes there sweeps it."""
    with contextlib.suppress(OSError):
        yield from {
            store.home,
            store.home / "datasets",
            store.lock.parent,
            store.lock.with_name(f"{store.lock.name}.d"),
            receipts(),
            *receipts().glob("*/"),
        }


def _size(path: Path) -> int:
    """The bytes in a file, or in the files of a folder, as far as they can be seen."""
    size = 0
    with contextlib.suppress(OSError):
        size += sum(_size(inner) for inner in path.iterdir()) if path.is_dir() and not path.is_symlink() else path.lstat().st_size
    return size
