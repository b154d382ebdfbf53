"""Where a data set is on this machine, and which data set an argument names."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from segzoo.datasets.pairs import inside, samples, samples_in
from segzoo.datasets.sample import Sample
from segzoo.errors import EnvironmentFault, NotFoundError, Skip, one_of
from segzoo.manifest.document import Manifest
from segzoo.manifest.entries import Dataset, Model
from segzoo.store.store import Store
from segzoo.store.unpacked import folder_of
from segzoo.zoo.names import resolve_one

if TYPE_CHECKING:
    from segzoo.zoo.own.dataset import Description
    from segzoo.zoo.zoo import Zoo


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
        return samples_in(data, dataset.root, dataset.loads, dataset.split, dataset.images)
    folder = _place(name, dataset, base, store)
    return folder, samples(dataset.loads, folder, dataset.split, dataset.images)


def _place(name: str, dataset: Dataset, base: Path, store: Store) -> Path:
    """The folder of a data set, beside the manifest or in the store. Raises Skip where it is not on this machine."""
    folder = base / dataset.path if dataset.path is not None else folder_of(name, dataset, store)
    if folder is not None and (dataset.path is not None or folder.is_dir()):
        return folder
    way = f"segzoo fetch {name}, or name its folder with --data DIR" if dataset.archive else "get it by hand and name its folder with --data DIR"
    raise Skip("no data", f"data set {name} is not here: {way}" + (f" ({dataset.home})" if dataset.home and not dataset.archive else ""))


@dataclass(frozen=True)
class NamedData:
    """The data set that an argument names, and where it is. `proposed` describes a folder that no manifest knows."""

    name: str
    dataset: Dataset
    folder: Path
    proposed: "Description | None" = None

    @property
    def assumed(self) -> list[str]:
        """What a folder's own description takes for granted."""
        if self.proposed is None:
            return []
        rule = self.proposed.plain["labels"]
        said = ", ".join(f"{key} {str(value).lower() if isinstance(value, bool) else value}" for key, value in rule.items())
        return [f"no manifest describes {self.folder.name}: {len(self.dataset.classes)} classes, labels {said}, split '{self.dataset.split}'"]


def named_data(given: str, zoo: "Zoo", like: str | None = None, split: str | None = None) -> NamedData:
    """A data set of the zoo by its name, or a folder: that of the zoo's data set `like`, or one that is described by what is in it.

    `split` is another split than the one to evaluate. Raises NotFoundError, UsageError for an unknown split, and EnvironmentFault.
    """
    among = zoo.manifest.datasets
    if like is not None:
        dataset = resolve_one(zoo, like, among)
        found = NamedData(like, dataset, inside(Path(given), dataset.root))
    elif given in among:
        try:
            found = NamedData(given, among[given], _place(given, among[given], zoo.base, zoo.store))
        except Skip as error:
            hint = f"with its folder in place of its name, --like {given} says which data set that is"
            raise EnvironmentFault(error.detail.replace(", or name its folder with --data DIR", ""), hint) from error
    elif Path(given).is_dir():
        from segzoo.zoo.own.dataset import describe

        proposed = describe(Path(given))
        found = NamedData(proposed.name, proposed.dataset, Path(given), proposed)
    elif "/" in given or not among:
        raise NotFoundError(f"{given}: no such folder, and no data set of this zoo", hint=f"data sets are {', '.join(among) or 'none'}")
    else:
        return NamedData(given, resolve_one(zoo, given, among), Path())
    return found if split is None else _of_split(found, split)


def _of_split(found: NamedData, split: str) -> NamedData:
    counts = found.dataset.counts
    one_of("split", split, counts)
    others = {name: count for name, count in counts.items() if name != split}
    dataset = found.dataset.model_copy(update={"split": split, "images": counts[split], "other_splits": others})
    return NamedData(found.name, dataset, found.folder, found.proposed)
