"""What `data check` says of a data set: facts about its files, and what does not fit."""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from segzoo.datasets.inspect import Inspection, inspect
from segzoo.datasets.misfits import Misfit, misfits
from segzoo.datasets.pairs import faults, found_in
from segzoo.datasets.sample import NO_CLASS, Sample, ignored
from segzoo.errors import EnvironmentFault
from segzoo.zoo.data import NamedData

_MOST_VALUES = 100


def examine_data(data: NamedData, done: Callable[[], None]) -> tuple[list[Sample], dict[str, Any]]:
    """The sound pairs of a data set, and the facts about it; `done` is called after each pair.

    Raises EnvironmentFault where the loader finds nothing.
    """
    dataset, names = data.dataset, list(data.dataset.classes)
    found = found_in(dataset.loads, data.folder, dataset.split)
    wrong = [_problem(fault) for fault in faults(found, data.folder, dataset.split, dataset.images)]
    seen = inspect(found, len(names), done)
    wrong += [_problem(fault) for fault in seen.faults]
    remarks = list(misfits(seen.survey, names, whole=True)) if seen.pairs else []
    return seen.pairs, {
        "data": data.name,
        "folder": str(data.folder),
        "loader": dataset.loader,
        "split": dataset.split,
        "images": len(found),
        "pairs": len(seen.pairs),
        "sizes": _sizes(seen.sizes),
        "image_modes": dict(seen.image_modes.most_common()),
        "label_modes": dict(seen.label_modes.most_common()),
        **_values(seen, names),
        "wrong": [*wrong, *(_problem(one) for one in remarks if one.certain)],
        "remarks": [one.said for one in remarks if not one.certain],
        "assumed": data.assumed,
        "entry": data.proposed.text if data.proposed else None,
    }


def _problem(one: EnvironmentFault | Misfit) -> dict[str, str | None]:
    return {"message": one.said if isinstance(one, Misfit) else one.message, "hint": one.hint}


def _sizes(sizes: Counter[tuple[int, int]]) -> dict[str, Any] | None:
    if not sizes:
        return None
    ordered = sorted(sizes, key=lambda size: (size[0] * size[1], size))
    return {"different": len(sizes), "smallest": ordered[0], "largest": ordered[-1], "most_common": sizes.most_common(1)[0][0]}


def _values(seen: Inspection, names: list[str]) -> dict[str, Any]:
    """The values that occur with their share of all pixels, and the same by class."""
    classes, pixels = len(names), seen.survey.pixels
    word: Mapping[int, str] = {ignored(classes): "ignored", NO_CLASS: "neither a class nor ignored"}
    share = _percent(sum(pixels.values()))
    values = []
    for (meaning, value), count in sorted(pixels.items(), key=lambda one: one[0][1]):
        index = meaning.class_of(value, classes)
        values.append({"value": meaning.shown(value), "means": word.get(index) or names[index], "pixels": count, "percent": share(count)})
    by_class = Counter(seen.survey.by_class(classes))
    rows = [
        {"class": name, "pixels": by_class[index], "percent": share(by_class[index]), "images": seen.images_with[index]}
        for index, name in enumerate(names)
    ]
    return {"different_values": len(values), "values": values[:_MOST_VALUES], "classes": rows, "ignored_percent": share(by_class[ignored(classes)])}


def _percent(whole: int) -> Callable[[int], float]:
    return lambda part: round(100 * part / max(whole, 1), 4)
