"""The top rung: a model's mIoU on its data set, compared with the reported figure and with known counts of each image.

The manifest names a file of counts that the reference implementation made. In a smoke run the known counts are the receipt's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from segzoo.errors import EnvironmentFault, NotFoundError, Skip
from segzoo.evaluation.alone import Alone
from segzoo.evaluation.counts import Counts, accuracy, counts_of, iou, metrics, percent, total
from segzoo.evaluation.verdict import judge
from segzoo.evidence.check import Check
from segzoo.evidence.ladder import Climb, Setting
from segzoo.evidence.rungs.outcome import outcome, same_counts, sentence, wrong
from segzoo.evidence.rungs.question import KnownCounts, Question, ask, basis_of, counts_known, kept_of
from segzoo.extras import lacking
from segzoo.manifest.entries import Backbone
from segzoo.zoo.data import data_set_of

if TYPE_CHECKING:
    from segzoo.evaluation.evaluator import Evaluator

_ONE_CLASS = "the data set has one class, whose pixels count as the background of a model with one output: name a background before it"
_OTHERS = Check("mIoU", "passed", "", "the first process says it")


def check_miou(climb: Climb) -> Check:
    """Run the data set through the model in each mode, and compare the figures.

    A check that fails has all its counts among its facts, so that they show where the model is off. Raises EnvironmentFault,
    IntegrityError (other data), NotFoundError (no receipt to compare with).
    """
    entry, setting = climb.entry, climb.setting
    if isinstance(entry, Backbone):
        return Check("mIoU", "n/a", "n/a", "a backbone has no mIoU")
    for module in ("torch", "PIL"):
        if fault := lacking(module):
            raise Skip(f"no {module}", f"{fault.message}: {fault.hint}")
    world = setting.world or Alone()
    with world.together():
        question = ask(entry, setting)
        basis = basis_of(climb, question)
        kept = {} if setting.smoke else kept_of(climb, basis)
    known = [mode for mode, facts in kept.get("modes", {}).items() if not wrong(facts)] if not setting.again else ()
    modes = [mode for mode in setting.modes if not world.any(mode in known)]
    if not modes and not (setting.speed and not world.any("speed" in kept)):
        record = climb.previous.get("mIoU", {})
        return _OTHERS if world.rank else replace(outcome(kept, basis, setting.modes), time=record["time"], seconds=record["seconds"])
    from segzoo.evidence.rungs.labels import labels_fit

    remarks: list[str] = []
    with world.together():
        if modes and not world.rank:
            names = list(setting.manifest.classes_of(entry))
            remarks = labels_fit(question.chosen, question.everything, names, lambda done, whole: setting.said("labels", done, whole))
    return _scored(climb, question, modes, {**kept, **({"labels": remarks} if remarks else {})}, basis, world)


def _scored(climb: Climb, question: Question, modes: Sequence[str], kept: Mapping[str, Any], basis: dict[str, Any], world: Any) -> Check:
    """Measure in these modes. The figures that are kept of other modes go into the same check."""
    from segzoo.evaluation.agreement import agreement
    from segzoo.evaluation.evaluator import Evaluator
    from segzoo.evaluation.precision import device_of
    from segzoo.evaluation.speed import forget_peak, hardware, peak_memory, speed
    from segzoo.zoo.loading import module

    entry, setting = question.entry, climb.setting
    with world.together():
        stored = {mode: counts_known(climb, question, mode) for mode in modes}
        if setting.smoke is not None:  # the receipt may have some images only
            common = set.intersection(*(set(known or ()) for known in stored.values()))
            question.chosen[:] = [sample for sample in question.chosen if sample.name in common]
            if not question.chosen:
                raise NotFoundError("the receipt has none of the chosen images", hint="segzoo verify NAME --images all")
        device = device_of(setting.device)
        forget_peak(device)
        evaluator = Evaluator(
            module(climb.file, entry), entry.protocol, entry.labels, device, setting.precision, lambda note: setting.said(note, 0, None)
        )
    if entry.head.classes == 1 and len(setting.manifest.datasets[data_set_of(setting.manifest, entry)].classes) == 1:
        evaluator.notes.append(_ONE_CLASS)
    facts: dict[str, Any] = {**kept, "images": len(question.chosen), "of": question.of, "processes": world.size, "hardware": hardware(device)}
    facts["modes"] = dict(kept.get("modes", {}))
    for mode in modes:
        facts["modes"][mode] = _in_mode(evaluator, question, mode, stored[mode], setting, world)
        if wrong(facts["modes"][mode]):
            return outcome(facts, basis, setting.modes)
    facts["peak_memory"] = peak_memory(device)  # read now: the float32 model below would count too
    if world.rank:
        return _OTHERS
    if setting.speed:
        facts["speed"] = speed(evaluator, question.chosen)
    if setting.precision != "fp32" and modes:
        reference = Evaluator(module(climb.file, entry), entry.protocol, entry.labels, device)
        facts["agreement_with_fp32"] = agreement(evaluator, reference, question.chosen[:20], modes[0])
    if evaluator.notes:
        facts["notes"] = evaluator.notes
    return outcome(facts, basis, setting.modes)


def _in_mode(evaluator: Evaluator, question: Question, mode: str, stored: KnownCounts | None, setting: Setting, world: Any) -> dict[str, Any]:
    """The facts of one mode, with the sentence about them."""
    entry = question.entry
    counts, confusion = _counted(evaluator, question, mode, setting, world)
    whole = total(counts.values())
    if not whole.label.any():
        none = f"no pixel of the {len(counts)} images is labelled: there is nothing to measure"
        raise EnvironmentFault(none, hint="--images with a larger number")
    measured, reported = metrics(whole), entry.reported.of(mode) if entry.reported else None
    facts: dict[str, Any] = {"measured": measured, "reported": reported}
    names = list(setting.manifest.classes_of(entry))
    figures = zip(names, iou(whole), accuracy(whole), strict=True)
    facts["per_class"] = {name: {"IoU": percent(one), "Acc": percent(other)} for name, one, other in figures}
    facts["confusion"] = confusion.tolist()
    facts["per_image"] = {name: one.sparse for name, one in counts.items()}
    if stored:
        close, unequal = _compare(evaluator, question, counts, stored, mode)
        facts["stored_counts"] = {"equal": not unequal, "close_calls": close}
        if unequal:
            apart = f"the pixel counts of {len(unequal)} of {len(question.chosen)} images differ from those stored, the first {unequal[0]}"
            return facts | {"said": f"{apart}; {mode} mIoU {measured['mIoU']:.2f}"}
    if setting.smoke is not None:
        return facts | {"said": f"{same_counts(facts['stored_counts'], 'those of the receipt')}; {measured['mIoU']:.2f} measured"}
    decimals = entry.reported.decimals if entry.reported else 0
    verdict, why = (None, "") if reported is None else judge(list(counts.values()), reported, decimals, question.of)
    return facts | {"verdict": verdict, "said": sentence(facts, why, decimals)}


def _counted(evaluator: Evaluator, question: Question, mode: str, setting: Setting, world: Any) -> tuple[dict[str, Counts], np.ndarray]:
    """The counts of each image, and the confusion matrix of all. Every process does its share; the sum goes to all of them."""
    import torch

    classes, chosen = question.entry.labels, question.chosen
    place = {sample.name: index for index, sample in enumerate(chosen)}
    each = torch.zeros(len(chosen), 3, classes, dtype=torch.int64)
    confusion = torch.zeros(classes + 1, classes, dtype=torch.int64)
    with world.together():
        for done, (sample, one) in enumerate(evaluator.evaluate(chosen, mode, (world.rank, world.size)), 1):
            confusion += torch.from_numpy(one)
            each[place[sample.name]] = torch.from_numpy(np.stack(counts_of(one).arrays))
            setting.said("images" if mode == "ss" else mode, min(done * world.size, len(chosen)), len(chosen))
    world.total(each)
    world.total(confusion)
    return {sample.name: Counts(*each[index].numpy()) for index, sample in enumerate(chosen)}, confusion.numpy()


def _compare(evaluator: Evaluator, question: Question, counts: KnownCounts, stored: KnownCounts, mode: str) -> tuple[int, list[str]]:
    """How many close calls explain differing counts, and the images whose counts no close call explains."""
    from segzoo.evaluation.agreement import explained

    close = 0
    wrong: list[str] = []
    for sample in question.chosen:
        if sample.name not in stored:
            raise EnvironmentFault(f"the stored counts have no image {sample.name}")
        if counts[sample.name] != stored[sample.name]:
            allowed, calls = explained(evaluator, sample, counts[sample.name], stored[sample.name], mode)
            close += calls
            wrong += [] if allowed else [sample.name]
    return close, wrong
