"""What receipts say about a zoo's entries, gathered for a page that people read. `page.render` makes the page from these facts.

Nothing is measured here. All figures come from receipts; an entry without a receipt is "not verified yet".
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from segzoo.evaluation.counts import Counts
from segzoo.evaluation.interval import interval
from segzoo.evaluation.verdict import tolerance
from segzoo.evidence.check import came_of
from segzoo.evidence.keeping import changed
from segzoo.evidence.receipt import command
from segzoo.manifest.entries import FIGURES, Backbone, Entry
from segzoo.vocabulary import RUNGS

_CONFUSIONS = 10


@dataclass(frozen=True)
class Confusion:
    """The pixels of class `label` that are predicted as `pred`. `share` is their part of all pixels of `label`, in percent."""

    label: str
    pred: str
    pixels: int
    share: float


@dataclass(frozen=True)
class Score:
    """One mode of the evaluation, with figures in percent. `low` and `high` are the 95 % interval of a subset. `allowed` is the
    difference in points that a figure may have from the reported one. `matrix` (classes, classes) has the pixels of each label, a row,
    by prediction; its order is that of `classes`, while `per_class` begins with the best.
    """

    mode: str
    measured: Mapping[str, float]
    reported: float | None
    allowed: float
    verdict: str | None
    low: float | None
    high: float | None
    images: int
    of: int
    per_class: Sequence[tuple[str, float | None, float | None]]
    confusions: Sequence[Confusion]
    per_image: Mapping[str, Counts]
    classes: Sequence[str] = ()
    matrix: np.ndarray | None = None

    @property
    def said(self) -> str:
        return self.verdict or "none reported"


@dataclass(frozen=True)
class Section:
    """One entry of the page. `checks` are by rung, and empty before the entry is verified. `parity` has for each float type the
    intermediates in the order of the forward pass, each with its relative difference. `dataset` is the name of the data set that the model is
    for; None for a backbone, and for a folder that no manifest names.
    """

    name: str
    title: str
    decimals: int
    reported: Mapping[str, float]
    passed: bool | None = None
    checks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    scores: Sequence[Score] = ()
    parity: Mapping[str, Sequence[tuple[str, float]]] = field(default_factory=dict)
    provenance: Sequence[tuple[str, str]] = ()
    precision: str = "fp32"
    command: str = ""
    broken: Sequence[str] = ()
    changed: Sequence[str] = ()
    parameters: int | None = None
    dataset: str | None = None

    @property
    def _basis(self) -> Mapping[str, Any]:
        """What the mIoU depends on."""
        return self.checks.get("mIoU", {}).get("basis", {})

    @property
    def data(self) -> str | None:
        """The digest of the data set that the mIoU was measured on; None before it was."""
        return self._basis.get("data_digest")

    @property
    def speed(self) -> tuple[float, str, str, str] | None:
        """Images a second, and what they depend on: hardware, device, precision. None where they were not measured."""
        facts = self.checks.get("mIoU", {}).get("facts", {})
        if "speed" not in facts:
            return None
        return facts["speed"]["images_per_second"], facts.get("hardware", "an unknown machine"), self._basis["device"], self._basis["precision"]

    @property
    def single(self) -> Score | None:
        """The single-scale score, which a table shows beside the reported figure."""
        return next((score for score in self.scores if score.mode == "ss"), None)

    @property
    def shown(self) -> Score | None:
        """The score that stands for the model: that of single scale, or else the first."""
        return self.single or next(iter(self.scores), None)

    @property
    def verdict(self) -> str:
        """The result of the whole ladder in a few words, or what is wrong with the receipt."""
        if self.broken:
            return "receipt broken"
        if self.changed:
            return f"outdated: {', '.join(self.changed)}"
        if self.passed is None:
            return "not verified yet"
        if not self.passed:
            return next(f"failed: {rung}" for rung, check in self.checks.items() if check["status"] == "failed")
        if judged := [score.verdict for score in self.scores if score.verdict]:
            return judged[0]
        came = {rung: self.came_of(rung) for rung in self.checks}
        lacking = ", ".join(rung for rung, word in came.items() if word == "skipped")
        if self.shown and came.get("mIoU") == "measured":
            figure = f"measured {self.shown.measured['mIoU']:.2f}" + (f" {self.shown.mode}" if self.shown.mode != "ss" else "")
            return figure + (f"; skipped: {lacking}" if lacking else "")
        return f"passed, but for {lacking}" if lacking else "passed"

    def came_of(self, rung: str) -> str:
        """What came of a rung, in a word."""
        return came_of(self.checks[rung]["status"], self.checks[rung]["basis"])

    @property
    def kind(self) -> str:
        """How the page colours the verdict: good, bad, or open."""
        if self.broken or self.passed is False:
            return "bad"
        good = self.passed and self.verdict in ("passed", "confirmed", "consistent", "inconsistent")
        return "good" if good else "open"


def gather(
    name: str,
    entry: Entry,
    classes: Sequence[str],
    record: Mapping[str, Any] | None,
    zoo_option: str = "",
    broken: Sequence[str] = (),
    called: str = "",
) -> Section:
    """The facts of an entry from its receipt. `classes` are the names of a model's classes.

    `record` is None where there is no valid receipt. `zoo_option` goes into the command that reproduces the receipt, and so does `called`, the
    entry as a person names it there, if that is not its name. `broken` says what is
    wrong with an invalid receipt.
    """
    figures, dataset = (None, None) if isinstance(entry, Backbone) else (entry.reported, entry.protocol.dataset)
    reported = {mode: figure for mode in FIGURES if figures and (figure := figures.of(mode)) is not None}
    decimals = figures.decimals if figures else 2
    if record is None:
        return Section(name, entry.title, decimals, reported, command=f"segzoo {zoo_option}verify {called or name}", broken=broken, dataset=dataset)
    checks = {check["rung"]: check for check in record["checks"]}
    score, numbers = checks.get("mIoU", {}), checks.get("numbers", {})
    modes = score.get("facts", {}).get("modes", {})
    asked = score.get("basis", {}).get("modes", ())
    others = any(set(one["per_class"]) != set(classes) for one in modes.values())
    parity: dict[str, list[tuple[str, float]]] = {}
    for one in numbers.get("facts", {}).get("intermediates", ()):
        parity.setdefault(one["dtype"], []).append((one["name"], one["relative"]))
    return Section(
        name,
        entry.title,
        decimals,
        reported,
        passed=record["passed"],
        checks={rung: checks[rung] for rung in RUNGS if rung in checks},
        scores=[] if others else [_score(mode, modes[mode], score["facts"]["of"], decimals, classes) for mode in asked],
        parity=parity,
        provenance=list(_provenance(entry, record, checks)),
        precision=score.get("basis", {}).get("precision", "fp32"),
        command=command(called or name, record, zoo_option),
        broken=broken,
        changed=[*changed(record, entry), *(["classes"] if others else [])],
        dataset=dataset,
    )


def _score(mode: str, facts: Mapping[str, Any], of: int, decimals: int, classes: Sequence[str]) -> Score:
    counts = {name: Counts.from_sparse(rows, len(classes)) for name, rows in facts["per_image"].items()}
    low, high = (interval(list(counts.values()), of) if len(counts) < of else None) or (None, None)
    per_class = [(name, values["IoU"], values["Acc"]) for name, values in facts["per_class"].items()]
    per_class.sort(key=lambda row: -1.0 if row[1] is None else row[1], reverse=True)
    matrix = np.array(facts["confusion"], np.int64)[:-1]  # its last row has labels beyond the classes
    return Score(
        mode,
        facts["measured"],
        facts["reported"],
        tolerance(decimals),
        facts.get("verdict"),
        low,
        high,
        len(counts),
        of,
        per_class,
        _confusions(matrix, classes),
        counts,
        classes,
        matrix,
    )


def _confusions(labelled: np.ndarray, classes: Sequence[str]) -> list[Confusion]:
    """The most frequent mistakes, by pixels, in a matrix (classes, classes)."""
    wrong = labelled - np.diag(labelled.diagonal())
    order = np.argsort(-wrong, axis=None, kind="stable")[:_CONFUSIONS]
    places = zip(*np.unravel_index(order, wrong.shape), strict=True)
    return [
        Confusion(classes[row], classes[column], int(wrong[row, column]), 100 * float(wrong[row, column] / labelled[row].sum()))
        for row, column in places
        if wrong[row, column]
    ]


def _provenance(entry: Entry, record: Mapping[str, Any], checks: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """Rows of name and value: which file was verified, where it comes from, how and with what it was verified."""
    file, trip, score = (checks.get(rung, {}).get("facts", {}) for rung in ("bytes", "round trip", "mIoU"))
    if file:
        yield "file", f"{file['artifact']}, {file['size']:,} bytes"
        yield "sha256", file["sha256"]
        yield "evidence", file["evidence"] + (f" ({file['provenance']})" if file.get("provenance") else "")
        yield from (("address", url) for url in file["urls"])
    if layout := checks.get("names", {}).get("facts", {}).get("layout"):
        through = ", ".join(f"{name} ({count} tensors)" for name, count in trip.get("by_way_of", {}).items())
        yield "mapping", f"{layout}" + (f"; there and back, bit for bit, by way of {through}" if through else "")
    basis = checks.get("mIoU", {}).get("basis", {})
    if score.get("modes"):
        protocol = basis["protocol"]
        yield "protocol", f"{protocol['by']}: scale {protocol['scale']}, windows of {protocol['crop']} every {protocol['stride']} px"
        yield "data", f"{protocol['dataset']}, {basis['split']}, {score['images']} of {score['of']} images, digest {basis['data_digest']}"
        many = f", {score['processes']} processes" if score["processes"] > 1 else ""
        yield "device", f"{basis['device']}, {basis['precision']}{many}"
        if "hardware" in score:
            yield "hardware", score["hardware"]
        if memory := score.get("peak_memory", {}).get("bytes"):
            yield "peak memory", f"{memory / 1e9:.2f} GB of {score['peak_memory']['of']}, in inference (published memory is of training)"
        if speed := score.get("speed"):
            yield "speed", f"{speed['images_per_second']} images/s, as MMSegmentation's benchmark measures"
    if not isinstance(entry, Backbone) and entry.reported:
        yield "reported by", entry.reported.source
    yield "versions", ", ".join(f"{name} {version}" for name, version in record["versions"].items() if version)
    yield "machine", record["machine"]
    yield "time", record["time"]
