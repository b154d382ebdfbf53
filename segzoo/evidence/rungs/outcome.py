"""The outcome of an mIoU rung from its facts: its status, and the words for it.

A rung holds a figure for each mode in which it was measured, perhaps by several runs. It failed if one figure is wrong. It passed
if one figure agrees with a reported figure or with known counts. Otherwise it is skipped: measured, but nothing is proved.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from segzoo.errors import AccuracyError
from segzoo.evidence.check import Check
from segzoo.manifest.entries import Reported
from segzoo.vocabulary import MODES

_HARDLY = ", under 1 %: predictions and labels hardly ever agree, so look whether the labels mean what the manifest says"
_APART = {"modes": None, "speed": None}  # runs that differ in these only ask the same question


def outcome(facts: Mapping[str, Any], basis: Mapping[str, Any], asked: Sequence[str] = ()) -> Check:
    """The check that these facts make, judged by the modes that are asked for, or by all if none is.

    A wrong figure fails the check, whatever its mode. The short form is the figure that decides.
    """
    found: Mapping[str, Any] = facts["modes"]
    modes = [mode for mode in MODES if mode in found]
    basis = {**basis, "modes": modes, "speed": "speed" in facts}
    detail = _sentence(facts, basis)
    asked = [mode for mode in asked if mode in found] or modes  # after a wrong figure no other mode is measured
    refuting = [mode for mode in modes if wrong(found[mode])]
    proving = [mode for mode in asked if _proves(found[mode])]
    decides = (refuting or proving or asked)[0]
    short = f"{found[decides]['measured']['mIoU']:.2f}" + (f" {decides}" if decides != "ss" else "")
    if refuting:
        return Check("mIoU", "failed", short, detail, dict(facts), basis, AccuracyError.exit_code)
    if not proving and any(found[mode]["verdict"] == "undecided" for mode in asked):
        short = "too few"
    return Check("mIoU", "passed" if proving else "skipped", short, detail, dict(facts), basis)


def _sentence(facts: Mapping[str, Any], basis: Mapping[str, Any]) -> str:
    """What is said of each mode, then of speed, agreement and notes, then the images and the device."""
    said = {mode: facts["modes"][mode]["said"] for mode in basis["modes"]}
    details = [sentence if mode == "ss" else f"{mode}: {sentence}" for mode, sentence in said.items()]
    if "speed" in facts:
        details.append(f"{facts['speed']['images_per_second']:.2f} images/s" + _beside(basis["reported"]))
    if agreement := facts.get("agreement_with_fp32"):
        details.append(f"{agreement['pixels_percent']:.3f} % of the pixels of {agreement['images']} images as in fp32")
    details += [*facts.get("labels", []), *facts.get("notes", [])[-1:]]
    precision = f", {basis['precision']}" if basis["precision"] != "fp32" else ""
    return f"{'; '.join(details)}; {facts['images']} of {facts['of']} images on {basis['device']}{precision}"


def same_counts(stored: Mapping[str, Any], whose: str) -> str:
    """That the counts of every image equal known ones, in words."""
    close = stored["close_calls"]
    return f"the pixel counts of every image equal {whose}" + (f", but for {close} close calls" if close else "")


def sentence(facts: Mapping[str, Any], why: str, decimals: int) -> str:
    """What is said of a mode, unless its counts are not those that are known. `why` is the verdict in words."""
    measured, reported, stored = facts["measured"], facts["reported"], facts.get("stored_counts")
    same = same_counts(stored, "those stored") if stored else ""
    figure = f"{measured['mIoU']:.2f} measured"
    figure += ", none reported" if reported is None else f", {reported:.{decimals}f} reported: {why}"
    extra = f"aAcc {measured['aAcc']:.2f}, mAcc {measured['mAcc']:.2f}" + (_HARDLY if measured["aAcc"] < 1 else "")
    return "; ".join(filter(None, [figure, same, extra]))


def of_mode(reported: Mapping[str, Any] | None, mode: str) -> float | None:
    """The figure reported for a mode, as the basis of a check holds what the manifest says."""
    return Reported.model_validate(reported).of(mode) if reported else None


def unequal(facts: Mapping[str, Any]) -> bool:
    """Whether the counts of a mode's images are not those that are known."""
    return "stored_counts" in facts and not facts["stored_counts"]["equal"]


def same_question(check: Mapping[str, Any], basis: Mapping[str, Any]) -> bool:
    """Whether an mIoU check has this basis, modes apart. Its figures then go into one receipt with those of this run."""
    modes = check.get("facts", {}).get("modes", {})
    if not modes or not all("said" in one for one in modes.values()):
        return False
    return {**check["basis"], **_APART} == {**json.loads(json.dumps(basis)), **_APART}


def wrong(facts: Mapping[str, Any]) -> bool:
    """Whether a mode's figure or counts are off. If the counts of each image are as known, the figure of a subset cannot refute them."""
    refuted = facts.get("verdict") == "refuted"
    return unequal(facts) or refuted or (facts.get("verdict") == "inconsistent" and "stored_counts" not in facts)


def _proves(facts: Mapping[str, Any]) -> bool:
    """Whether a mode's figure, if it is not wrong, was compared with known counts or a reported figure."""
    return "stored_counts" in facts or facts["verdict"] in ("confirmed", "consistent")


def _beside(reported: Mapping[str, Any] | None) -> str:
    return f" ({reported['fps']} reported on {reported['device'] or 'another device'})" if reported and reported["fps"] else ""
