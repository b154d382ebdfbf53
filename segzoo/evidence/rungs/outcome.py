"""What the facts of an mIoU rung come to: whether they prove or refute something, and in which words.

A rung holds a figure for each mode in which it was measured, perhaps by several runs. It is failed where one of them is
wrong, passed where one is held against something, and else skipped: measured, but proving nothing.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from segzoo.errors import AccuracyError
from segzoo.evidence.check import Check
from segzoo.vocabulary import MODES

_APART = {"modes": None, "speed": None}  # what several runs may each have asked in their own way


def outcome(facts: Mapping[str, Any], basis: Mapping[str, Any], asked: Sequence[str] = ()) -> Check:
    """The check that these facts make: of the modes that are asked for, or of all. But a wrong figure fails it in any mode.

    Its short form is the figure that decides.
    """
    found: Mapping[str, Any] = facts["modes"]
    modes = [mode for mode in MODES if mode in found]
    basis = {**basis, "modes": modes, "speed": "speed" in facts}
    details = [found[mode]["said"] if mode == "ss" else f"{mode}: {found[mode]['said']}" for mode in modes]
    if "speed" in facts:
        details.append(f"{facts['speed']['images_per_second']:.2f} images/s" + _beside(basis["reported"]))
    if agreement := facts.get("agreement_with_fp32"):
        details.append(f"{agreement['pixels_percent']:.3f} % of the pixels of {agreement['images']} images as in fp32")
    details += facts.get("notes", [])[-1:]
    precision = f", {basis['precision']}" if basis["precision"] != "fp32" else ""
    detail = f"{'; '.join(details)}; {facts['images']} of {facts['of']} images on {basis['device']}{precision}"
    asked = [mode for mode in asked if mode in found] or modes  # above a wrong one others are not measured
    refuting = [mode for mode in modes if wrong(found[mode])]
    proving = [mode for mode in asked if _proves(found[mode])]
    decides = (refuting or proving or asked)[0]
    short = f"{found[decides]['measured']['mIoU']:.2f}" + (f" {decides}" if decides != "ss" else "")
    if refuting:
        return Check("mIoU", "failed", short, detail, dict(facts), basis, AccuracyError.exit_code)
    if not proving and any(found[mode]["verdict"] == "undecided" for mode in asked):
        short = "too few"
    return Check("mIoU", "passed" if proving else "skipped", short, detail, dict(facts), basis)


def same_question(check: Mapping[str, Any], basis: Mapping[str, Any]) -> bool:
    """Whether an mIoU check is of this basis, be it in other modes: then its figures stand beside those of this run."""
    modes = check.get("facts", {}).get("modes", {})
    if not modes or not all("said" in one for one in modes.values()):
        return False
    return {**check["basis"], **_APART} == {**json.loads(json.dumps(basis)), **_APART}


def wrong(facts: Mapping[str, Any]) -> bool:
    """Whether a mode's figure or counts are not those that they should be. Equal counts are stronger evidence than a subset's figure."""
    counts = facts.get("stored_counts")
    if counts and not counts["equal"]:
        return True
    return facts.get("verdict") == "refuted" or (facts.get("verdict") == "inconsistent" and not counts)


def _proves(facts: Mapping[str, Any]) -> bool:
    """Whether a mode's figure, which is not wrong, was held against something: known counts, or a reported figure."""
    return "stored_counts" in facts or facts["verdict"] in ("confirmed", "consistent")


def _beside(reported: Mapping[str, Any] | None) -> str:
    return f" ({reported['fps']} reported on {reported['device'] or 'another device'})" if reported and reported["fps"] else ""
