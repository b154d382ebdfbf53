"""Several models in one set of names: a teacher beside its student, averaged weights beside the plain ones."""

import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from segzoo.errors import ConversionError
from segzoo.formats.weights import Names, Weights, renamed
from segzoo.formats.wrappers import bare
from segzoo.text import brief, quoted

PLAIN = "plain"
_EMA = "ema_"
_MOST_NAMED = 4  # models in a hint
ALIKE = 0.9  # of the names: a copy may lack a buffer, or have one more
_ALIKE_KINDS = 0.8  # of the names without their numbers: towers of images and of texts share those of their blocks, and few others
_MOST_MODELS = 16
_FEWEST = 8  # names: `head.weight` and `head_dist.weight` are no two models
_DEPTH = 4
_NUMBER = re.compile(r"\d+")


def chosen(opened: Weights, at: str | None) -> Weights:
    """The tensors of the model that `at` names: where a checkpoint keeps it, or what its names begin with.

    Raises ConversionError if there are several models and `at` names none of them, or if there is no such model.
    """
    models = models_in(opened.specs)
    if at is None or at == opened.place:
        if len(models) > 1:
            raise ConversionError(f"{opened.path}: {len(models)} models: {_listed(models)}", hint=which(opened.path, models))
        return opened
    names = models.get(at) or _under(at, opened.specs)
    if not names:
        known = f"it holds {_listed(models)}" if models else "it holds one model"
        raise ConversionError(f"{opened.path}: no tensors at '{at}': {known}", hint="segzoo inspect FILE --keys lists all names")
    note = f"{len(names)} of {len(opened)} tensors taken, at '{at}'"
    return renamed(opened, names, note)


def which(path: Path, models: Iterable[str]) -> str:
    """What to type to take one of several models out of a file."""
    first, *others = (f"--at {quoted(brief(one, 60))}" for one in models)
    more = f", or {' or '.join(others[: _MOST_NAMED - 1])}" + (" and so on" if len(others) >= _MOST_NAMED else "") if others else ""
    return f"segzoo convert {quoted(str(path))} DST {first} takes one of them out{more}; at= in Python"


def alike(some: Collection[str], others: Collection[str]) -> bool:
    """Whether two sets of names are those of one model and a copy of it. Words of wrappers do not count."""
    names = [set(map(bare, names)) for names in (some, others)]
    kinds = [{_NUMBER.sub("#", name) for name in each} for each in names]
    return all(len(first & second) >= least * max(len(first), len(second)) for (first, second), least in ((names, ALIKE), (kinds, _ALIKE_KINDS)))


def models_in(names: Collection[str]) -> dict[str, Names]:
    """The models in these names, if there are several: by what their names begin with, `ema` for mmcv's averaged weights, `plain`
    for names without a prefix.
    """
    return _averaged(names) or _prefixed(names, "", 0)


def _averaged(names: Collection[str]) -> dict[str, Names]:
    """mmcv's EMAHook keeps the average of `a.b` as the buffer `ema_a_b`, beside it."""
    plain = [name for name in names if not name.startswith(_EMA)]
    averages = {name: f"{_EMA}{name.replace('.', '_')}" for name in plain}
    there = {name: average for name, average in averages.items() if average in names}
    if len(set(there.values())) < len(there):  # `a.b` and `a_b` have the same average
        return {}
    if len(there) < ALIKE * len(plain) or len(there) < min(_FEWEST, len(plain)) or not there:
        return {}
    return {PLAIN: {name: name for name in plain}, "ema": there}


def _prefixed(names: Collection[str], start: str, depth: int) -> dict[str, Names]:
    """Models whose names begin with `start` and one more word each."""
    groups: dict[str, dict[str, str]] = {}
    inside = [name for name in names if name.startswith(start)]
    for name in inside:
        word, dot, rest = name.removeprefix(start).partition(".")
        if dot:
            groups.setdefault(word, {})[rest] = name
    large: dict[str, Names] = {word: group for word, group in groups.items() if len(group) >= _FEWEST and not word[-1:].isdigit()}  # as blocks do
    for word in sorted(large, key=lambda word: -len(large[word]))[_MOST_MODELS:]:
        del large[word]
    for word, group in large.items():
        copies = {other for other in large if other != word and alike(large[other], group)}
        if copies and 2 * len(group) * (1 + len(copies)) > len(names):  # else two parts of one model that are built alike
            return {f"{start}{one}": large[one] for one in large if one in {word, *copies}}
        own = set(group.values())
        outside = {name.removeprefix(start): name for name in inside if name not in own}
        if len(outside) >= _FEWEST and alike(outside, group):
            return {f"{start}{PLAIN}": outside, f"{start}{word}": group}
    widest = max(large, key=lambda word: len(large[word]), default=None)
    if widest is None or depth == _DEPTH or 2 * len(large[widest]) <= len(names):
        return {}
    return _prefixed(names, f"{start}{widest}.", depth + 1)


def _under(at: str, names: Collection[str]) -> Names:
    """The names that begin with `at` and a dot, without these."""
    return {name.removeprefix(f"{at}."): name for name in names if name.startswith(f"{at}.")}


def _listed(models: Mapping[str, Names]) -> str:
    return ", ".join(f"'{label}' ({len(names)} tensors)" for label, names in models.items())
