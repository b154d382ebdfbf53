"""Which data set a folder holds, for a file whose classes are known: one of the zoo's, one in the folders of a known loader, or any other."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from segzoo.conversion.said import Said
from segzoo.datasets.listing import folder_given, is_folder, listed
from segzoo.datasets.loaders import LOADERS
from segzoo.datasets.pairs import samples_in
from segzoo.errors import EnvironmentFault
from segzoo.manifest.entries import Dataset
from segzoo.zoo.own.dataset import describe

_RULES: Mapping[str, bool | None] = {"ade20k": True, "pascal-context-59": True, "pascal-context": False, "cityscapes": None}
"""By loader, whether 0 is no class in its labels, which mmseg calls `reduce_zero_label`; None where it depends on the files."""
_SPLITS = ("validation", "val", "training", "train")


def holds(data: Path, dataset: Dataset) -> bool:
    """Whether a folder holds this data set of a zoo, as far as names and numbers of files show."""
    try:
        samples_in(data, dataset.root, dataset.loads, dataset.split, dataset.images)
    except EnvironmentFault:
        return False
    return True


def data_set_in(data: Path, classes: Mapping[str, tuple[int, int, int]], said: Said) -> tuple[Dataset, str]:
    """The data set in a folder, or in a folder of it, and what is assumed of it. `said` may say whether 0 is no class in the labels.

    A folder that no loader knows is described by what is in it. Raises EnvironmentFault where no images with labels are found, or the
    labels are by another rule than the loaders', or nothing says which class a value stands for.
    """
    folder_given(data)
    reduce = said.facts.get("labels.reduce_zero")
    others = []
    for loader, root, split, images in _readings(data):
        if reduce is not None and _RULES[loader] not in (None, reduce.value):
            others.append(loader)
            continue
        rule = "0 is no class" if _RULES[loader] else "0 is a class" if _RULES[loader] is False else "by train id"
        facts = {"title": f"Images and labels of a folder, {split}", "loader": loader, "root": root, "split": split, "images": images}
        told = f"read as {loader}, split {split}, {images} images; in its labels {rule}" + (f", as {reduce.source} says" if reduce else "")
        return Dataset.model_validate({**facts, "label_rule": rule, "classes": dict(classes)}), told
    if others and reduce is not None:
        begins = "0 is no class" if reduce.value else "0 is a class"
        raise EnvironmentFault(
            f"{data}: {begins} by {reduce.source}, but not in the labels of loader {others[0]}, whose folders these are",
            hint="describe the data set in a manifest, with the rule that holds",
        )
    return _described(data, classes, None if reduce is None else bool(reduce.value))


def _described(data: Path, classes: Mapping[str, tuple[int, int, int]], reduce: bool | None) -> tuple[Dataset, str]:
    """The data set in two folders of any names, with these classes. `reduce` says whether 0 is no class, if that is known."""
    found = describe(data)
    labels, number = dict(found.plain["labels"]), len(found.plain["classes"])
    if "values" in labels and (len(labels["values"]) != len(classes) or found.doubt(len(classes) - 1)):
        values = ", ".join(map(str, list(labels["values"])[:6]))
        said = found.doubt(len(classes) - 1) or f"the labels have the values {values}, and the file {len(classes)} classes"
        raise EnvironmentFault(f"{data}: {said}", hint=f"segzoo data check {data} shows them, and proposes a manifest entry")
    if "values" in labels:
        labels["values"] = dict(zip(labels["values"], classes, strict=True))
    elif "from" in labels:
        last = labels["from"] + number - 1  # the largest value that occurs
        labels["from"] = int(last == len(classes) if reduce is None else reduce)
        labels["ignore"] = sorted({*labels.get("ignore", ()), *([0] if labels["from"] else [])})
    plain = {**found.plain, "labels": {**labels, "ignore": tuple(labels.get("ignore", ()))}, "classes": dict(classes)}
    rule = ", ".join(f"{key} {'true' if value is True else value}" for key, value in labels.items() if value != [])
    folders = found.plain["folders"]
    where = f"images in {folders['images']}, labels in {folders.get('labels', folders['images'])}"
    told = f"{where}, {plain['images']} of split {plain['split']}; labels: {rule}"
    return Dataset.model_validate(plain), told


def _readings(data: Path) -> Iterator[tuple[str, str, str, int]]:
    """The ways to read a folder: loader, folder of the data set in it, split, and number of images."""
    roots = [".", *(path.name for path in listed(data) if is_folder(path))]
    for root in roots:
        for split in _SPLITS:
            for loader in _RULES:
                try:
                    found = LOADERS[loader](data / root, split)
                except EnvironmentFault:
                    continue
                if found:
                    yield loader, root, split, len(found)
