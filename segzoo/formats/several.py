"""Several models in one set of names: a teacher beside its student, averaged weights beside the plain ones."""

from collections.abc import Collection, Mapping
from dataclasses import replace

from segzoo.errors import ConversionError
from segzoo.formats.weights import Weights

PLAIN = "plain"
WHICH = "segzoo convert FILE DST --at NAME takes one of them out, and at= in Python"
_EMA = "ema_"
MODULE = "module."
ALIKE = 0.9  # of the names: a copy may lack a buffer, or have one more
_MOST_MODELS = 16
_FEWEST = 8  # names: `head.weight` and `head_dist.weight` are no two models
_DEPTH = 4

Names = Mapping[str, str]
"""The name of each tensor within its model, to its name in the file."""


def chosen(opened: Weights, at: str | None) -> Weights:
    """The tensors of the model that `at` names: where a checkpoint keeps it, or what its names begin with.

    Raises ConversionError if there are several models and `at` names none of them, or if there is no such model.
    """
    models = models_in(opened.specs)
    if at is None or at == opened.place:
        if len(models) > 1:
            raise ConversionError(f"{opened.path}: {len(models)} models: {_listed(models)}", hint=WHICH)
        return opened
    names = models.get(at) or _under(at, opened.specs)
    if not names:
        known = f"it holds {_listed(models)}" if models else "it holds one model"
        raise ConversionError(f"{opened.path}: no tensors at '{at}': {known}", hint="segzoo inspect FILE --keys lists all names")
    note = f"{len(names)} of {len(opened)} tensors taken, at '{at}'"
    return renamed(opened, names, note)


def renamed(opened: Weights, names: Names, note: str) -> Weights:
    """Tensors of a file under other names, and no others."""
    specs = {inner: opened.specs[name] for inner, name in names.items()}
    strange = {inner: opened.strange[name] for inner, name in names.items() if name in opened.strange}
    return replace(
        opened,
        specs=specs,
        strange=strange,
        read=lambda inner: opened.read(names[inner]),
        piecewise=lambda inner: opened.piecewise(names[inner]),
        notes=(*opened.notes, note),
    )


def alike(some: Collection[str], others: Collection[str]) -> bool:
    """Whether two sets of names are those of one model and a copy of it. A wrapper's prefix does not count."""
    first, second = ({name.removeprefix(MODULE) for name in names} for names in (some, others))
    return len(first & second) >= ALIKE * max(len(first), len(second))


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
    large: dict[str, Names] = {
        word: _unwrapped(group) for word, group in groups.items() if len(group) >= _FEWEST and not word[-1:].isdigit()
    }  # blocks are numbered
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
    return _unwrapped({name.removeprefix(f"{at}."): name for name in names if name.startswith(f"{at}.")})


def _unwrapped(group: Names) -> Names:
    """The same names without a wrapper's prefix; with it where two would become one, since one of their tensors would be lost."""
    bare = {inner.removeprefix(MODULE): name for inner, name in group.items()}
    return bare if len(bare) == len(group) else group


def _listed(models: Mapping[str, Names]) -> str:
    return ", ".join(f"'{label}' ({len(names)} tensors)" for label, names in models.items())
