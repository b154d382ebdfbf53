"""The manifest entry of a data set that lies in a folder, from what is in it: where images and labels are, and what the labels mean."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segzoo.datasets.arrangement import Arrangement, arranged
from segzoo.datasets.classes import described
from segzoo.datasets.listing import ABSENT, fault_of
from segzoo.datasets.loaders import loader
from segzoo.datasets.pairs import found_in
from segzoo.datasets.sample import IGNORED, Meaning, Sample
from segzoo.datasets.survey import survey
from segzoo.errors import EnvironmentFault
from segzoo.manifest.entries import Dataset
from segzoo.manifest.spelling import spelt

_MOST_COLOURS = 1000
_VOIDS = (IGNORED, 65535)  # what marks pixels that do not count, if it stands apart from the other values


@dataclass(frozen=True)
class Description:
    """A proposed entry: its name, its fields, comments above some of them, and the same as a record."""

    name: str
    plain: Mapping[str, Any]
    notes: Mapping[str, str]
    dataset: Dataset

    @property
    def text(self) -> str:
        """The entry as it stands in a manifest, below `datasets:`."""
        return "\n".join([f"  {self.name}:", *spelt(self.plain, 4, self.notes)]) + "\n"

    def doubt(self, largest: int) -> str | None:
        """Why class indices from 0 to `largest` cannot be compared with these labels for certain; None where they can."""
        labels, classes = self.plain["labels"], len(self.plain["classes"])
        if "colours" in labels:
            return "the labels are colours, and nothing says which of them is class 0"
        if "values" in labels and list(labels["values"]) != [0, IGNORED]:
            return f"the labels have the values {', '.join(map(str, list(labels['values'])[:6]))}, and nothing says which of them is class 0"
        if labels.get("from") == 0 and largest < classes - 1:
            return f"the labels go from 0 to {classes - 1} and the predictions to {largest}: 0 may be a class, or mean unlabelled"
        return None


def describe(folder: Path) -> Description:
    """The entry for a folder. Raises EnvironmentFault where its images and labels cannot be told, or the labels cannot be read."""
    here = folder.resolve()
    found = arranged(here)
    split = found.splits[0]
    images = {one: found_in(loader("folders", found.settings), here, one) for one in found.splits}
    meaning = Meaning(coloured=found.colours)
    there = [Sample(one.name, one.image, one.label, meaning) for one in images[split] if fault_of(one.label) != ABSENT]
    values = sorted(value for _, value in survey(there).pixels)
    labels, classes, note = _coloured(values) if found.colours else _rule(values)
    plain: dict[str, Any] = {
        "title": f"Images of {here.name}",
        "loader": "folders",
        "root": here.name,
        "path": here.name,
        "folders": dict(found.settings),
        "split": split,
        "images": len(images[split]),
        **({"other_splits": {one: len(images[one]) for one in found.splits[1:]}} if found.splits[1:] else {}),
        "labels": labels,
        "classes": classes,
    }
    notes = {"path": "relative to this manifest", "labels": note, "classes": "in the order of the labels: give them their names", **_rivals(found)}
    record = {**plain, "labels": {**labels, "ignore": tuple(labels.get("ignore", ()))}}
    name = re.sub(r"[^a-z0-9._-]+", "-", here.name.lower()).strip("-._")[:64] or "mine"
    return Description(name, plain, {field: text for field, text in notes.items() if text}, Dataset.model_validate(record))


def _rivals(found: Arrangement) -> dict[str, str]:
    return {"folders": f"other label maps of the same images end in {', '.join(found.rivals)}"} if found.rivals else {}


def _coloured(values: list[int]) -> tuple[dict[str, Any], dict[str, tuple[int, int, int]], str]:
    if len(values) > _MOST_COLOURS:
        raise EnvironmentFault(
            f"the label maps have {len(values)} different colours, more than classes could have",
            hint="were they resized or compressed? write them anew from what they were made of",
        )
    classes = {f"class {index}": (value >> 16, value >> 8 & 255, value & 255) for index, value in enumerate(values)}
    return {"colours": True}, classes, "the label maps are pictures in the colours of the classes; `ignore: [[R, G, B]]` takes one out"


def _rule(values: list[int]) -> tuple[dict[str, Any], dict[str, tuple[int, int, int]], str]:
    """The rule by which these values are classes, the classes, and a comment."""
    if not values:
        raise EnvironmentFault("the label maps have no pixels")
    voids = [void for void in _VOIDS if void == values[-1] and len(values) > 1 and values[-2] < void - 1]
    rest = [value for value in values if value not in voids]
    if rest == [0] and voids == [IGNORED]:
        return (
            {"values": {0: "class 0", 255: "class 1"}},
            described(2),
            "0 and 255 are taken for two classes; `from: 0` and `ignore: [255]` is the other way",
        )
    ignore = {"ignore": voids} if voids else {}
    first = min(rest[0], 1)
    if (number := rest[-1] + 1 - first) > 2 * len(rest):
        return {"values": {value: f"class {index}" for index, value in enumerate(rest)}, **ignore}, described(len(rest)), "the values that occur"
    note = "if 0 is unlabelled: {from: 1, ignore: [0, 255]}, and one class less" if first == 0 else "0 does not occur"
    return {"from": first, **ignore}, described(number), note
