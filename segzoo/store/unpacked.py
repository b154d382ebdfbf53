"""A data set from its archive: unpacked once into the store, its images counted, its contents named by a digest."""

import json
import shutil
from pathlib import Path

from segzoo.atomic import replacing
from segzoo.datasets.pairs import digest, samples
from segzoo.errors import EnvironmentFault, IntegrityError
from segzoo.json_in import read_json
from segzoo.manifest.entries import Dataset
from segzoo.store.store import Progress, Store
from segzoo.store.unzip import extract


def folder_of(name: str, dataset: Dataset, store: Store) -> Path | None:
    """Where a data set belongs in the store, whether it is there or not; None where no full hash of its archive is known."""
    sha256 = store.expectation(dataset.archive).sha256 if dataset.archive else None
    return store.home / "datasets" / f"{name}-{sha256[:16]}" if sha256 else None


def install(name: str, dataset: Dataset, archive: Path, store: Store, said: Progress) -> tuple[Path, str]:
    """Unpack a data set if it is not there yet. Returns its folder, and the digest of the split that is evaluated.

    Raises IntegrityError (a hostile or damaged archive, or other contents than the manifest says), EnvironmentFault.
    """
    folder = folder_of(name, dataset, store)
    assert folder is not None, "an archive that was fetched has a hash"
    record = folder.with_suffix(".json")
    if folder.is_dir() and (known := _recorded(record)):
        return folder, known
    there = folder.is_dir()  # and nothing is recorded of it: a process was killed between the two
    if not there:
        extract(archive, dataset.root, folder, said)
    try:
        measured = _measured(dataset, archive, folder)
    except IntegrityError:
        shutil.rmtree(folder, ignore_errors=True)
        if there and not folder.is_dir():
            return install(name, dataset, archive, store, said)
        raise
    with replacing(record) as part:
        part.write_text(json.dumps({"archive": archive.name, "digest": measured, "images": dataset.counts}, indent=2) + "\n", encoding="utf-8")
    return folder, measured


def _recorded(record: Path) -> str | None:
    """The digest that was measured when a data set was unpacked; None where nothing is recorded, or nothing that can be read."""
    try:
        found = read_json(record)
    except (OSError, IntegrityError):
        return None
    known = found.get("digest") if isinstance(found, dict) else None
    return known if isinstance(known, str) else None


def _measured(dataset: Dataset, archive: Path, folder: Path) -> str:
    """The digest of the split that is evaluated. Raises IntegrityError where the folder is not the data set that the manifest describes."""
    try:
        for split, count in dataset.counts.items():
            found = samples(dataset.loads, folder, split, count)
            if split == dataset.split:
                measured = digest(found)
    except EnvironmentFault as error:
        raise IntegrityError(f"{archive.name}: not the data set that the manifest describes: {error.message}") from error
    if dataset.digest is not None and measured != dataset.digest:
        raise IntegrityError(f"{archive.name}: contents with digest {measured}, expected {dataset.digest}")
    return measured
