"""What the user allows: which addresses may be asked, and what a file without a hash must pass."""

import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from segzoo.errors import ConversionError, IntegrityError
from segzoo.manifest.artifact import Artifact
from segzoo.store.http import Client, Patience
from segzoo.vocabulary import WEIGHTS

Look = Callable[[Artifact, Path], None]
UNSEEN = (
    "the manifest names no hash of it, so it must open as the manifest describes it; nothing of it was kept or pinned."
    " If you know that a file is right all the same: segzoo fetch NAME --pin SHA256"
)


def opens(artifact: Artifact, path: Path) -> None:
    """Open a file as its published name says: weights by their headers, an archive by its list of contents.

    Raises IntegrityError where it is something else, or not whole.
    """
    from segzoo.formats import kind_of, open_weights  # numpy, which a file with a hash does not need

    if artifact.layout or artifact.name.lower().endswith(WEIGHTS):
        try:
            open_weights(path)
        except ConversionError as error:
            raise IntegrityError(error.message, error.hint) from error
    elif artifact.name.lower().endswith(".zip"):
        try:
            zipfile.ZipFile(path).close()
        except Exception as error:  # for one flipped bit or another, zipfile raises a dozen kinds
            raise IntegrityError(f"{path}: expected a whole zip, found {kind_of(path)}") from error


@dataclass(frozen=True)
class Policy:
    """What the user allows. `mirrors` are tried first; the published file name is put behind each. `netrc` allows credentials from ~/.netrc.

    A file without a known hash must pass `look`, which raises IntegrityError, before its hash is pinned.
    """

    offline: bool = False
    require_hashes: bool = False
    mirrors: tuple[str, ...] = ()
    netrc: bool = False
    patience: Patience = field(default_factory=Patience)
    look: Look = opens

    def client(self) -> Client:
        return Client(self.patience, self.netrc)
