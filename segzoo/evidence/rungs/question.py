"""What the mIoU rung measures: the data set, the images, and the counts that they must give."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from segzoo.errors import EnvironmentFault, IntegrityError, NotFoundError
from segzoo.evaluation.counts import Counts
from segzoo.evidence.ladder import Climb, Setting
from segzoo.evidence.receipt import SAME
from segzoo.evidence.rungs.outcome import same_question
from segzoo.manifest.entries import Dataset, Model
from segzoo.zoo.data import all_samples, data_set_of

if TYPE_CHECKING:
    from segzoo.datasets.sample import Sample


KnownCounts = Mapping[str, Counts]
"""By image, the counts that an evaluation must find again."""


@dataclass(frozen=True)
class Question:
    """The images to evaluate, `everything` that the data set has, and the `digest` of all its pairs."""

    entry: Model
    chosen: list[Sample]
    everything: tuple[Sample, ...]
    digest: str

    @property
    def of(self) -> int:
        return len(self.everything)


def kept_of(climb: Climb, basis: Mapping[str, Any]) -> Mapping[str, Any]:
    """The facts of an earlier run that asked the same question, perhaps in other modes; none where there was no such run."""
    record = climb.previous.get("mIoU", {})
    return record["facts"] if same_question(record, basis) else {}


def ask(entry: Model, setting: Setting) -> Question:
    """Find the data set's images and choose among them. Raises IntegrityError for other data than the manifest names."""
    from segzoo.datasets.pairs import digest
    from segzoo.datasets.subset import subset

    named = data_set_of(setting.manifest, entry)
    dataset = setting.manifest.datasets[named]
    folder, found = all_samples(named, dataset, setting.base, setting.store, setting.data)
    data_digest = digest(found)
    if dataset.digest is not None and data_digest != dataset.digest:
        raise IntegrityError(f"{folder}: the data set is not the one that the manifest names: digest {data_digest}, expected {dataset.digest}")
    return Question(entry, subset(found, setting.smoke or setting.images), found, data_digest)


def basis_of(climb: Climb, question: Question) -> dict[str, Any]:
    """All that the counts and the verdict depend on."""
    entry, setting = question.entry, climb.setting
    dataset = setting.manifest.datasets[data_set_of(setting.manifest, entry)]
    return {
        "sha256": climb.fetched.sha256,
        "geometry": asdict(climb.file.geometry),
        "eps": [entry.eps, entry.head_eps],
        "protocol": entry.protocol.plain,
        "reported": entry.reported.model_dump(mode="json") if entry.reported else None,
        "counts": entry.counts.model_dump(mode="json") if entry.counts else None,
        "data_digest": question.digest,
        "loader": dataset.loader,
        **described(dataset),
        "split": dataset.split,
        "of": question.of,
        "images": len(question.chosen),
        "modes": list(setting.modes),
        "device": setting.device,
        "precision": setting.precision,
        "speed": setting.speed,
    }


def described(dataset: Dataset) -> dict[str, Any]:
    """What the manifest says of a data set's folders and labels, where its loader does not say all."""
    return dataset.model_dump(mode="json", by_alias=True, include={"folders", "labels"}, exclude_none=True)


def counts_known(climb: Climb, question: Question, mode: str) -> KnownCounts | None:
    """The counts that each image must have: those of the receipt in a smoke run, else those that the manifest names, if any."""
    entry, setting = question.entry, climb.setting
    if setting.smoke is not None:
        return _of_receipt(climb, question, mode)
    if entry.counts is None or mode not in entry.counts.keys or setting.precision != "fp32":
        return None
    path = setting.fetch(entry.counts.file).path
    try:
        images = json.loads(path.read_text(encoding="utf-8"))[entry.counts.keys[mode]]["per_image"]
        return {name: Counts(*(np.array(one[kind], np.int64) for kind in ("intersect", "pred", "label"))) for name, one in images.items()}
    except (ValueError, KeyError, TypeError) as error:
        raise EnvironmentFault(f"{entry.counts.file.name}: no per-image counts under '{entry.counts.keys[mode]}': {error!r}") from error


def _of_receipt(climb: Climb, question: Question, mode: str) -> KnownCounts:
    """The counts in the receipt. Raises NotFoundError where it has none for these bytes, these data and this precision."""
    again = "segzoo verify NAME without --smoke writes one"
    record = climb.previous.get("mIoU")
    if record is None or mode not in record["facts"].get("modes", {}):
        raise NotFoundError(f"no receipt has the counts of each image in mode {mode}", hint=again)
    mine = basis_of(climb, question)
    for what in SAME:
        if (then := record["basis"].get(what)) != json.loads(json.dumps(mine.get(what))):
            way = f"--precision {then} compares with it" if what == "precision" else again
            raise NotFoundError(f"the receipt of {record['time']} is of another {what}: {then}, now {mine.get(what)}", hint=way)
    images = record["facts"]["modes"][mode]["per_image"]
    try:
        return {name: Counts.from_sparse(rows, question.entry.labels) for name, rows in images.items()}
    except (ValueError, IndexError, TypeError) as error:
        raise IntegrityError(f"the receipt of {record['time']} is damaged: {error}", hint=again) from error
