"""What a command reads: a file of the user's own, or a name in the zoo."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from segzoo.cli.options import Choice
from segzoo.cli.terminal.progress import byte_progress
from segzoo.errors import NotFoundError
from segzoo.regular import no_file
from segzoo.vocabulary import WEIGHTS

if TYPE_CHECKING:
    from segzoo.manifest.entries import Entry


def weights(choice: Choice, source: str) -> Path:
    """A file of weights: the user's own, or that of a name in the zoo. Raises NotFoundError."""
    path = own(source)
    if path.is_file():
        return path
    refuse_missing(source)
    return fetched(choice, source)[0]


def own(source: str) -> Path:
    """A path, or what a folder of weights stands for. Raises UsageError for a folder that stands for several."""
    if not (path := Path(source)).is_dir():
        return path
    from segzoo.formats.shards import standing_for

    return standing_for(path)


def refuse_missing(source: str) -> None:
    """Raises NotFoundError for what can only be a file and is not there, at once: the manifest need not be opened for that."""
    path = Path(source)
    if not path.is_dir() and (error := no_file(path)):
        raise error
    address = source.startswith(("http://", "https://"))  # the error for an address says what to do with it
    if not address and not path.exists() and (path.name != source or path.suffix.lower() in WEIGHTS):
        raise NotFoundError(f"{source}: no such file", hint="a name of the zoo stands for its file: segzoo list shows them")


def fetched(choice: Choice, name: str) -> tuple[Path, Entry]:
    """The file behind a name in the zoo, fetched if it is not here, and its entry. Raises NotFoundError."""
    from segzoo.zoo.names import resolve_one  # pydantic, which a file that is missing does not need

    zoo = choice.open()
    entry = resolve_one(zoo, name, zoo.manifest.entries)
    with byte_progress(entry.artifact.name) as said:
        return zoo.fetch(entry.artifact, said).path, entry
