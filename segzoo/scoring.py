"""The top rung: a model's mIoU on its data set, against the reported figure and, where they are stored, the counts of each image."""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from segzoo.errors import AccuracyError, EnvironmentFault, IntegrityError
from segzoo.ladder import Check, Climb, Setting, Skip
from segzoo.miou import Counts, metrics, total
from segzoo.verdict import judge
from segzoo.zoo import Backbone, Dataset, Model


def score(climb: Climb) -> Check:
    """The rung: the data set through the model in each mode, and what that says. Raises AccuracyError, EnvironmentFault."""
    entry, setting = climb.entry, climb.setting
    if isinstance(entry, Backbone):
        return Check("mIoU", "n/a", "n/a", "a backbone has no mIoU")
    for module in ("torch", "PIL"):
        if find_spec(module) is None:
            raise Skip(f"no {module}", f"{module} is not installed: pip install 'segzoo[eval]'")
    from segzoo.datasets.pairs import digest, samples

    dataset = setting.zoo.datasets[entry.protocol.dataset]
    folder = dataset_folder(entry.protocol.dataset, dataset, setting)
    found = samples(folder, dataset.split, dataset.images)
    data_digest = digest(found)
    if dataset.digest is not None and data_digest != dataset.digest:
        raise IntegrityError(f"{folder}: the data set is not the one that the manifest names: digest {data_digest}, expected {dataset.digest}")
    return _scored(climb, entry, found, data_digest)


def dataset_folder(name: str, dataset: Dataset, setting: Setting) -> Path:
    """Where the data set is: `--data` (the folder itself or the one above), beside the manifest, or in the store."""
    if setting.data is not None:
        return setting.data / dataset.root if (setting.data / dataset.root).is_dir() else setting.data
    if dataset.path is not None:
        return setting.base / dataset.path
    from segzoo.datasets.unpacked import folder_of

    if (folder := folder_of(name, dataset, setting.store)) is not None and folder.is_dir():
        return folder
    raise Skip("no data", f"data set {name} is not here: segzoo fetch {name}, or name its folder with --data DIR")


def _scored(climb: Climb, entry: Model, found: tuple[Any, ...], data_digest: str) -> Check:
    import torch

    from segzoo.evaluation import subset
    from segzoo.model import build

    setting = climb.setting
    model = build(climb.geometry, climb.opened, entry.backbone.eps, entry.head.eps or 1e-5)
    chosen = subset(found, setting.images)
    facts: dict[str, Any] = {"images": len(chosen), "of": len(found), "data_digest": data_digest, "device": setting.device, "precision": "float32"}
    facts |= {"protocol": entry.protocol.model_dump(exclude_none=True), "modes": {}}
    details = []
    undecided = False
    for mode in setting.modes:
        outcome, detail, decided = _in_mode(model, mode, climb, entry, chosen, len(chosen) == len(found), torch.device(setting.device))
        facts["modes"][mode] = outcome
        details.append(detail if mode == "ss" else f"{mode}: {detail}")
        undecided |= not decided
    images = f"{len(chosen)} of {len(found)} images on {setting.device}"
    if undecided:
        raise Skip("too few", f"{'; '.join(details)}; {images}")
    first = facts["modes"][setting.modes[0]]["measured"]["mIoU"]
    return Check("mIoU", "passed", f"{first:.2f}", f"{'; '.join(details)}; {images}", facts)


def _in_mode(model: Any, mode: str, climb: Climb, entry: Model, chosen: list[Any], whole: bool, device: Any) -> tuple[dict[str, Any], str, bool]:
    """The facts of one mode, the same in words, and whether anything could be said of the reported figure."""
    from segzoo.evaluation import evaluate, explained

    setting, protocol = climb.setting, entry.protocol
    counts: dict[str, Counts] = {}
    for sample, counted in evaluate(model, chosen, protocol, entry.head.classes, device, mode):
        counts[sample.name] = counted
        setting.said("images" if mode == "ss" else mode, len(counts), len(chosen))
    measured, reported = metrics(total(counts.values())), entry.reported.of(mode)
    facts: dict[str, Any] = {"measured": measured, "reported": reported}
    facts["per_image"] = {name: [array.tolist() for array in one.arrays] for name, one in counts.items()}
    stored = stored_counts(entry, setting, mode)
    close = 0
    wrong = []
    for sample in chosen:
        if stored and counts[sample.name] != stored[sample.name]:
            allowed, calls = explained(model, sample, counts[sample.name], stored[sample.name], protocol, device, mode)
            close += calls
            wrong += [] if allowed else [sample.name]
    if wrong:
        apart = f"the pixel counts of {len(wrong)} of {len(chosen)} images differ from those stored, the first {wrong[0]}"
        raise AccuracyError(f"{apart}; {mode} mIoU {measured['mIoU']:.2f}")
    same = ""
    if stored:
        same = "; the pixel counts of every image equal those stored" + (f", but for {close} close calls" if close else "")
        facts["stored_counts"] = {"equal": True, "close_calls": close}
    if reported is None:
        facts["verdict"] = None
        return facts, f"{measured['mIoU']:.2f} measured, none reported{same}", True
    verdict, why = judge(list(counts.values()), reported, whole)
    facts["verdict"] = verdict
    detail = f"{measured['mIoU']:.2f} measured, {reported:.2f} reported: {why}{same}"
    if verdict == "refuted" or (verdict == "inconsistent" and not stored):  # equal counts are the stronger evidence
        raise AccuracyError(detail if mode == "ss" else f"{mode}: {detail}")
    return facts, detail, verdict != "undecided" or bool(stored)


def stored_counts(entry: Model, setting: Setting, mode: str) -> dict[str, Counts] | None:
    """The reference implementation's own counts of each image in a mode, where the manifest has them."""
    if entry.counts is None or mode not in entry.counts.keys:
        return None
    path = setting.fetch(entry.counts.file).path
    try:
        images = json.loads(path.read_text(encoding="utf-8"))[entry.counts.keys[mode]]["per_image"]
        return {name: Counts(*(np.array(one[kind], np.int64) for kind in ("intersect", "pred", "label"))) for name, one in images.items()}
    except (ValueError, KeyError, TypeError) as error:
        raise EnvironmentFault(f"{entry.counts.file.name}: no per-image counts under '{entry.counts.keys[mode]}': {error!r}") from error
