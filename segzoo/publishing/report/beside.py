"""Several models side by side: their figures on the same images, and mIoU against cost."""

from collections.abc import Sequence
from dataclasses import dataclass

from segzoo.publishing.report.facts import Score, Section

Point = tuple[str, float, float]
Row = tuple[str, int, Sequence[float | None], float | None]
_NAMED = 12  # points of a group that have their names beside them


@dataclass(frozen=True)
class Group:
    """Models of the same classes that saw the same images in the same mode. `names` are theirs; of each row `figures` are in that order.

    `whole` has the rows of a model, `classes` the IoU of each class. A row is its name, its decimals, the figures, and the best of them;
    the best is None where none is better, or where it has no meaning.
    """

    mode: str
    images: int
    names: Sequence[str]
    whole: Sequence[Row]
    classes: Sequence[Row]


@dataclass(frozen=True)
class Cost:
    """Points of mIoU against cost, by what they were measured on: name, cost, mIoU. `kind` says what the cost is, `told` all about it.

    `speed`: it is no cost, and more of it is better.
    """

    kind: str
    groups: dict[str, list[Point]]
    told: str
    speed: bool = False

    def ahead(self, group: str) -> list[Point]:
        """Of a group with more points than can be named in a plot those that no other is both cheaper and better than, cheapest first."""
        points, sign = self.groups[group], -1 if self.speed else 1
        if len(points) <= _NAMED:
            return []
        ahead = [one for one in points if not any(sign * x <= sign * one[1] and y >= one[2] and (x, y) != one[1:] for _, x, y in points)]
        return sorted(ahead, key=lambda one: sign * one[1])

    @property
    def caption(self) -> str:
        lines = {group: ahead for group in self.groups if (ahead := self.ahead(group))}
        if not lines:
            return self.told
        named = "; ".join(f"{group}: {', '.join(name for name, _, _ in ahead)}" for group, ahead in lines.items())
        return f"{self.told} A line joins those that no {'faster' if self.speed else 'smaller'} one is ahead of. {named}."


def groups(sections: Sequence[Section]) -> list[Group]:
    """The models that can be compared figure by figure; a model that stands alone is in no group."""
    alike: dict[object, list[tuple[Section, Score]]] = {}
    for section, score in _current(sections):
        same = (score.mode, section.data, tuple(score.classes), frozenset(score.per_image))
        alike.setdefault(same, []).append((section, score))
    return [_group(pairs) for pairs in alike.values() if len(pairs) > 1]


def _current(sections: Sequence[Section]) -> list[tuple[Section, Score]]:
    """The models with a figure, but for receipts of an earlier state of the manifest."""
    return [(section, score) for section in sections if (score := section.shown) and not section.changed]


def _group(pairs: Sequence[tuple[Section, Score]]) -> Group:
    first = pairs[0][1]
    whole = [_row(what, 2, [score.measured[what] for _, score in pairs]) for what in ("mIoU", "aAcc", "mAcc")]
    if any(section.parameters for section, _ in pairs):
        whole.append(("parameters, millions", 2, [section.parameters / 1e6 if section.parameters else None for section, _ in pairs], None))
    if any(section.speed for section, _ in pairs):
        whole.append(("images/s", 2, [section.speed[0] if section.speed else None for section, _ in pairs], None))
    found = [{name: iou for name, iou, _ in score.per_class} for _, score in pairs]
    classes = [_row(name, 2, [one[name] for one in found]) for name in first.classes]
    return Group(first.mode, first.images, [section.name for section, _ in pairs], whole, classes)


def _row(what: str, decimals: int, figures: Sequence[float | None]) -> Row:
    known = [figure for figure in figures if figure is not None]
    return what, decimals, figures, max(known) if len(set(known)) > 1 else None


def cost(sections: Sequence[Section]) -> Cost | None:
    """mIoU against images a second, where every receipt has them of the same hardware, or else against parameters; None for fewer than two points."""
    pairs = _current(sections)
    where = {section.speed[1:] if section.speed else None for section, _ in pairs}
    if len(where) == 1 and (machine := where.pop()):
        kind, costs = "images/s", {section.name: section.speed[0] for section, _ in pairs if section.speed}
        caption = f"mIoU against images a second in single scale, as the receipts have them, on {', '.join(machine)}."
    else:
        kind, costs = "parameters, millions", {section.name: section.parameters / 1e6 for section, _ in pairs if section.parameters}
        caption = "mIoU against parameters, by each model's sizes, without the statistics of batch norms."
    shown = [(section, score) for section, score in pairs if section.name in costs]
    states = {(section.dataset, section.data) for section, _ in shown}
    found: dict[str, list[Point]] = {}
    for section, score in shown:
        several = sum(name == section.dataset for name, _ in states) > 1  # data sets of one name, or of none
        on = f"{section.dataset or 'data'}{f' {section.data}'[:9] if several else ''}, {score.mode}, {score.images} of {score.of} images"
        found.setdefault(on, []).append((section.name, costs[section.name], score.measured["mIoU"]))
    return Cost(kind, found, caption, kind == "images/s") if len(shown) > 1 else None


def reported(sections: Sequence[Section]) -> Cost | None:
    """What is reported of models that have no figure here, against parameters, by data set; None for fewer than two points."""
    found: dict[str, list[Point]] = {}
    for section in sections:
        if section.shown is None and section.parameters and "ss" in section.reported:
            found.setdefault(section.dataset or "data", []).append((section.name, section.parameters / 1e6, section.reported["ss"]))
    caption = (
        "What is reported of the models that were not measured here, in single scale, against their parameters without statistics of batch norms."
    )
    return Cost("parameters, millions", found, caption) if sum(map(len, found.values())) > 1 else None
