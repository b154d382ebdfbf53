"""Where a data set is on this machine."""

from pathlib import Path

from segzoo.datasets.pairs import samples, samples_in
from segzoo.datasets.sample import Sample
from segzoo.errors import Skip
from segzoo.manifest.entries import Dataset
from segzoo.store.store import Store
from segzoo.store.unpacked import folder_of


def all_samples(name: str, dataset: Dataset, base: Path, store: Store, data: Path | None) -> tuple[Path, tuple[Sample, ...]]:
    """The folder of a data set, and its images. The folder is `data` or in it, beside the manifest in `base`, or in the store.

    Raises Skip where the data set is not on this machine, EnvironmentFault where its images and labels do not pair up.
    """
    if data is not None:
        return samples_in(data, dataset.root, dataset.loads, dataset.split, dataset.images)
    folder = base / dataset.path if dataset.path is not None else folder_of(name, dataset, store)
    if folder is not None and (dataset.path is not None or folder.is_dir()):
        return folder, samples(dataset.loads, folder, dataset.split, dataset.images)
    way = f"segzoo fetch {name}, or name its folder with --data DIR" if dataset.archive else "get it by hand and name its folder with --data DIR"
    raise Skip("no data", f"data set {name} is not here: {way}" + (f" ({dataset.home})" if dataset.home and not dataset.archive else ""))
