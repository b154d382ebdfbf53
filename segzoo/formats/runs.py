"""Training runs in JAX: trees whose names are paths joined with `/`, and which hold the optimiser beside the model. It is told by its name.

flax's `TrainState` has `opt_state` beside `params`. Its optimisers before optax had a `state` with `param_states` beside their `target`.
big_vision's `train.py` saves `params` and `opt`, vit_jax's `train.py` a tuple of parameters, optax's state and step.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from segzoo.errors import ConversionError
from segzoo.formats.nests import some
from segzoo.formats.several import alike, which
from segzoo.formats.weights import Weights, renamed

_OPTIMISERS = ("opt_state", "opt", "optimizer")
_OF_OPTAX = {"mu", "nu", "trace", "count"}
_BESIDE = ("step", "rng", "dropout_rng", "chrono")
"""What a run keeps beside its optimiser."""
_AROUND = ("target", "optimizer", "state", "train_state", "model", "0")
"""What may stand around `params`, or around the names themselves."""
_DEPTH = 4
_FEWEST = 8  # tensors that make a model
_MOST_MODELS = 16


def model_of(opened: Weights, at: str | None) -> Weights:
    """The tensors of the model in a tree, under their paths from `params` on, or from the path `at`. Any other file is left as it is.

    Raises ConversionError where there are several models and nothing says which is meant.
    """
    if not any("/" in name for name in opened.specs):
        return opened
    if at and (under := _under(at, opened.specs)):
        return replace(renamed(opened, under, f"{len(under)} of {len(opened)} tensors taken, at '{at}'"), place=at)
    aside = sorted(_beside(_tree(opened.specs)))
    starts = tuple(f"{place}/" for place in aside)
    left = [name for name in opened.specs if name not in aside and not name.startswith(starts)]
    if len(left) < len(opened):
        number = len(opened) - len(left)
        opened = renamed(opened, {name: name for name in left}, f"{number} tensors of the optimiser and its run left out: {some(aside)}")
    place = _place(opened.path, left)
    return replace(renamed(opened, _under(place, left), f"tensors found under '{place}'"), place=place) if place else opened


def _under(at: str, names: Iterable[str]) -> dict[str, str]:
    """The names that begin with this path, without it."""
    return {name.removeprefix(f"{at}/"): name for name in names if name.startswith(f"{at}/")}


def _tree(names: Iterable[str]) -> dict[str, Any]:
    """The first levels of the tree."""
    root: dict[str, Any] = {}
    for name in names:
        nest = root
        for word in name.split("/", _DEPTH)[:_DEPTH]:
            nest = nest.setdefault(word, {})
    return root


def _beside(nest: Mapping[str, Any], start: str = "") -> set[str]:
    """The paths of what is no part of the model."""
    names = {one for one in _OPTIMISERS if "target" not in nest.get(one, {"target"}) and (one != "opt" or "params" in nest)}
    names |= {"state"} if "target" in nest and "param_states" in nest.get("state", {}) else set()
    names |= {"1"} if not start and nest.keys() <= {"0", "1", "2"} and "0" in nest and _words(nest.get("1", {})) & _OF_OPTAX else set()
    if names:
        names |= {one for one in (*_BESIDE, "2" if "1" in names else "step") if one in nest}
    inner = [one for one in nest if one not in names and one in (*_AROUND, "opt", "params")]
    return {f"{start}{one}" for one in names}.union(*(_beside(nest[one], f"{start}{one}/") for one in inner))


def _words(nest: Mapping[str, Any]) -> set[str]:
    """All words in a tree."""
    return set(nest).union(*map(_words, nest.values()))


def _place(path: Path, names: Collection[str]) -> str:
    """The path of the model among these names; it ends before `params`. Raises ConversionError where there are several models."""
    place = ""
    for _ in range(_DEPTH):
        start = f"{place}/" if place else ""
        groups: dict[str, set[str]] = {}
        for name in names:
            word, _, rest = name.removeprefix(start).partition("/")
            groups.setdefault(word, set()).add(rest)
        _refuse_copies(path, start, groups, len(names))
        word, inner = next(iter(groups.items()), ("", {""}))
        doubled = word == "params" and all(name.startswith("params/") for name in inner)
        if len(groups) > 1 or "" in inner or not (word in _AROUND or doubled):
            break
        place = f"{start}{word}"
    return place


def _refuse_copies(path: Path, start: str, groups: Mapping[str, Collection[str]], number: int) -> None:
    """Raises ConversionError where several branches of the tree have the same names, and are no parts of one model that are built alike."""
    large = [word for word, names in groups.items() if len(names) >= _FEWEST and not word[-1:].isdigit()]  # as blocks do
    large = sorted(large, key=lambda word: -len(groups[word]))[:_MOST_MODELS]
    copies = [one for one in large if any(one != other and alike(groups[one], groups[other]) for other in large)]
    if 2 * sum(len(groups[one]) for one in copies) > number:
        models = {f"{start}{one}": len(groups[one]) for one in copies}
        listed = ", ".join(f"'{one}' ({count} tensors)" for one, count in models.items())
        raise ConversionError(f"{path}: {len(models)} models: {listed}; which is meant cannot be known", hint=which(path, models))
