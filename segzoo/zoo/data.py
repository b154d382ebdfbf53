"""Where a data set is on this machine."""

from pathlib import Path

from segzoo.datasets.pairs import samples, samples_in
from segzoo.datasets.sample import Sample
from segzoo.errors import Skip
from segzoo.manifest.document import Manifest
from segzoo.manifest.entries import Dataset, Model
from segzoo.store.store import Store
from segzoo.store.unpacked import folder_of


def data_set_of(manifest: Manifest, model: Model) -> str:
    """The name of the data set that a model is measured on. Raises Skip where the manifest names none."""
    if model.protocol.dataset is None:
        raise Skip("no data", "the manifest names no data set for it (protocol.dataset): segzoo verify FILE --data DIR measures a file on a folder")
    return model.protocol.dataset


def all_samples(name: str, dataset: Dataset, base: Path, store: Store, data: Path | None) -> tuple[Path, tuple[Sample, ...]]:
    """The folder of a data set, and its images. The folder is `data` or in it, beside the manifest in `base`, or in the store.

    Raises Skip where the data set is not on this machine, EnvironmentFault where its images and labels do not pair up.
    """
    if data is not None:
        return samples_in(data, dataset.root, dataset.loader, dataset.split, dataset.images)
    folder = base / dataset.path if dataset.path is not None else folder_of(name, dataset, store)
    if folder is not None and (dataset.path is not None or folder.is_dir()):
        return folder, samples(dataset.loader, folder, dataset.split, dataset.images)
    way = f"segzoo fetch {name}, or name its folder with --data DIR" if dataset.archive else "get it by hand and name its folder with --data DIR"
    raise Skip("no data", f"data set {name} is not here: {way}" + (f" ({dataset.home})" if dataset.home and not dataset.archive else ""))
