"""Whether the values that occur in label maps fit the rule by which they are read.

A rule that is wrong gives figures that look like those of a bad model. What cannot be right is told apart from what may be.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from segzoo.datasets.decode import advice
from segzoo.datasets.sample import IGNORED, NO_CLASS, Meaning
from segzoo.datasets.survey import Survey
from segzoo.errors import EnvironmentFault

_SURE = "`labels: {from: 1, ignore: [0, 255]}` says that 0 is unlabelled and the rule is right"
_UNLABELLED = "every label in them is one to be ignored: they are not the data set's labels, or the manifest has the wrong `loader` or `labels`"
_NAMED = 6


@dataclass(frozen=True, slots=True)
class Misfit:
    """Something about the values that does not fit. If it is `certain`, no figure by this rule means anything."""

    said: str
    hint: str | None = None
    certain: bool = False

    @property
    def fault(self) -> EnvironmentFault:
        return EnvironmentFault(self.said, self.hint)


def misfits(survey: Survey, names: Sequence[str], whole: bool) -> Iterator[Misfit]:
    """What does not fit, the certain things first. `whole` says that the survey is of the whole data set, not of some images."""
    classes = len(names)
    for meaning in dict.fromkeys(meaning for meaning, _ in survey.pixels):
        yield from _strange(survey, meaning, classes)
        yield from _begins_at_zero(survey, meaning, names)
    labelled = survey.labelled(classes)
    reachable = {index for meaning, _ in survey.pixels for index in meaning.reachable(classes)}
    if not labelled:
        yield Misfit(f"no pixel of the {survey.images} images is labelled: there is nothing to measure", _UNLABELLED, True)
    elif len(labelled) == 1 < len(reachable):
        only = names[next(iter(labelled))]
        hint = "the values mean something else: `labels` in the manifest can name the class of each"
        guessed = any(value in meaning.unsaid for meaning, value in survey.pixels)
        yield Misfit(f"all labels are of one class, '{only}', of {classes}", hint, len(survey.pixels) == 1 or (len(reachable) == 2 and guessed))
    if whole and labelled and (never := [name for index, name in enumerate(names) if index not in labelled]):
        yield Misfit(f"no label has {len(never)} of the {classes} classes: {_first(never)}")


def _strange(survey: Survey, meaning: Meaning, classes: int) -> Iterator[Misfit]:
    """Values that are neither a class nor ignored."""
    strange = sorted(value for mine, value in survey.pixels if mine == meaning and meaning.class_of(value, classes) == NO_CLASS)
    if strange:
        pixels = sum(survey.pixels[meaning, value] for value in strange)
        what = "colours" if meaning.coloured else "labels"
        said = f"{survey.first[meaning, strange[0]]}: {what} {_first(map(meaning.shown, strange))} are neither a class nor ignored"
        hint = advice(meaning, strange)
        yield Misfit(f"{said}: {pixels} pixels in all, of {survey.images} label maps; the data set has {classes} classes", hint, True)


def _begins_at_zero(survey: Survey, meaning: Meaning, names: Sequence[str]) -> Iterator[Misfit]:
    """Labels that begin at 0, under a rule by which they begin at 1 and nobody has stated that 0 is unlabelled."""
    classes = len(names)
    values = {value for mine, value in survey.pixels if mine == meaning}
    if meaning.first != 1 or not meaning.unsaid & values:
        return
    rule = f"by the rule 0 is unlabelled and 1 is '{names[0]}'"
    zero, last = 0 in values & meaning.unsaid, classes in values
    void = IGNORED in meaning.unsaid & values and classes < IGNORED
    if zero and void and not last:
        said = f"255 occurs in the labels and {classes} does not, though {rule}: the labels seem to begin at 0, and 255 to be what is ignored"
        right = f"{{values: {{0: {names[0]}, 255: {names[1]}}}}}" if values == {0, IGNORED} and classes == 2 else "{from: 0, ignore: [255]}"
        yield Misfit(said, f"`labels: {right}` in the manifest, if that is so; {_SURE}", True)
    elif zero and not last and classes > 1 and set(range(1, classes)) <= values:
        said = f"the labels have all values from 0 to {classes - 1}, as {classes} classes that begin at 0, though {rule}"
        yield Misfit(said, f"`labels: {{from: 0}}` in the manifest, if that is so; {_SURE}", True)
    elif void:
        share = 100 * survey.pixels[meaning, IGNORED] / sum(pixels for (mine, _), pixels in survey.pixels.items() if mine == meaning)
        yield Misfit(f"255 occurs in {share:.2f} % of the labels' pixels, and is ignored, as 0 is")


def _first(words: Iterator[str] | Sequence[str]) -> str:
    """The first words of a list, and how many there are more."""
    every = list(words)
    rest = f" and {len(every) - _NAMED} more" if len(every) > _NAMED else ""
    return ", ".join(every[:_NAMED]) + rest
