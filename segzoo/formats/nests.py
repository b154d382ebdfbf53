"""Where a checkpoint keeps its tensors: under a name that many programs use, at the top, or in the only dict that has any."""

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from segzoo.errors import ConversionError, IntegrityError
from segzoo.formats.pickled import Call, OddKey, content
from segzoo.formats.several import ALIKE, alike, which
from segzoo.formats.wrappers import bare

T = TypeVar("T")
Place = tuple[str, ...]

ODD = "load it with torch and torch.save a dict that gives each tensor a name of its own"
_NESTS = ("state_dict", "model", "model_state_dict", "state_dict_ema", "module")
_DEPTH = 4
_MOST = 6
_FEW = 10  # of two dicts with this ratio of tensors, the smaller is no model
_LONGEST = 1000  # characters of a name


def state_dict(path: Path, root: Any, kind: type[T], at: str | None = None) -> tuple[dict[str, T], list[str], str]:
    """The tensors of a checkpoint by name, notes on where they were found, and that place. Tensors are objects of the class `kind`.

    `at` is the place that the caller wants, if the checkpoint has it. Raises ConversionError where tensors have no names, or several
    dicts hold the same names, or none of several is known; IntegrityError where there are none.
    """
    _refuse_nameless(path, root, kind)
    if isinstance(root, list | tuple):
        root = {str(index): value for index, value in enumerate(root)}
    nests = _nests(root, kind)
    place, found = _chosen(path, root, kind, nests, at)
    named = [(str(key), value) for key, value in found.items() if _is_named(key, value, kind)]
    tensors = dict(named)
    if len(tensors) < len(named):
        twice, _ = Counter(name for name, _ in named).most_common(1)[0]
        raise IntegrityError(f"{path}: '{_short(twice)}' is there twice, as a text and as a number; which tensor is meant cannot be known", ODD)
    if nameless := [_text(key) for key, value in found.items() if isinstance(value, kind) and not isinstance(key, str | int)]:
        raise IntegrityError(f"{path}: a tensor under a key that is no name: {nameless[0]}", ODD)
    notes = [f"tensors found under {_spelt(place)}"] if place else []
    if others := sorted(_text(key) for key, value in found.items() if not isinstance(value, kind)):
        notes.append(f"left out, being no tensors: {some(others)}")
    if beside := {other: number for other, number in nests.items() if other not in ((), place)}:
        notes.append(f"{_counts(beside)} passed over")
    return tensors, notes, ".".join(place)


def _refuse_nameless(path: Path, root: Any, kind: type) -> None:
    number = sum(isinstance(value, kind) for value in root) if isinstance(root, list | tuple) else 0
    found = "a tensor without a name" if isinstance(root, kind) else f"a {type(root).__name__} of {_tensors(number)} without names" if number else ""
    if found:
        hint = "load it with torch and torch.save a dict that gives each tensor its name"
        raise ConversionError(f"{path}: expected names with tensors, found {found}", hint)


def _nests(root: Any, kind: type) -> dict[Place, int]:
    """The number of tensors in each dict that has some, by its place. An optimiser's tensors do not count: their keys are numbers.

    Each dict is opened once, however often the pickle repeats it, so that the size of the file bounds the work.
    """
    found: dict[Place, int] = {}
    counted: dict[int, int] = {}
    level: list[tuple[Place, Any]] = [((), root)] if isinstance(root, dict) else []
    for _ in range(_DEPTH + 1):
        below: list[tuple[Place, Any]] = []
        for place, nest in level:
            if id(nest) not in counted:
                named = {key: as_dict(value) for key, value in nest.items() if isinstance(key, str) and len(key) <= _LONGEST}
                counted[id(nest)] = sum(isinstance(value, kind) for value in named.values())
                below += [((*place, key), value) for key, value in named.items() if isinstance(value, dict)]
            if counted[id(nest)]:
                found[place] = counted[id(nest)]
        level = below
    return found


def _chosen(path: Path, root: Any, kind: type, nests: Mapping[Place, int], at: str | None) -> tuple[Place, dict[Any, Any]]:
    """The dict that is meant, and its place."""
    top = root if isinstance(root, dict) else {}
    wanted = [place for place in nests if ".".join(place) == at] if at is not None else []
    if len(wanted) > 1:
        raise ConversionError(f"{path}: {len(wanted)} places are called '{at}', by dots in their names; which is meant cannot be known", ODD)
    if wanted and wanted[0]:
        return wanted[0], _nest(top, wanted[0])
    for place, nest in (*(((name,), as_dict(top.get(name))) for name in _NESTS), ((), top)):
        if isinstance(nest, dict) and any(_is_named(key, value, kind) for key, value in nest.items()):
            _refuse_copies(path, top, place, nest, nests)
            return place, nest
    if not nests:
        raise IntegrityError(f"{path}: no tensors found by name in this checkpoint; at its top: {some(map(_text, top)) or 'no keys'}")
    if len(nests) > 1:
        raise ConversionError(f"{path}: {_no_such(at)}{_counts(nests)}; which is meant cannot be known", hint=_which(path, nests))
    (place,) = nests
    return place, _nest(top, place)


def _which(path: Path, nests: Mapping[Place, int]) -> str:
    """What to type to take one of several models. A dict of few tensors, such as those of a loss, is no model."""
    return which(path, [".".join(place) for place, number in nests.items() if place and _FEW * number >= max(nests.values())])


def _no_such(at: str | None) -> str:
    return f"nothing at '{at}', but " if at else ""


def _nest(top: dict[Any, Any], place: Place) -> dict[Any, Any]:
    for key in place:
        top = as_dict(top[key])
    return top


def as_dict(value: Any) -> Any:
    """The dict that a mapping of another class was filled with, such as a config's; any other value as it is."""
    return content(value) if isinstance(value, Call) and value.items else value


def _refuse_copies(path: Path, top: dict[Any, Any], place: Place, nest: dict[Any, Any], nests: Mapping[Place, int]) -> None:
    """Raises ConversionError if other dicts have the names of the one that is usually meant: averaged weights, or another network."""
    names = {bare(key) for key in nest if isinstance(key, str)}
    copies: dict[int, bool] = {}  # by the dict: a pickle repeats one in two bytes
    for one in nests:
        other = _nest(top, one)
        if one not in ((), place) and id(other) not in copies:
            copies[id(other)] = len(other) >= ALIKE * len(names) and alike([key for key in other if isinstance(key, str)], names)
    others = [one for one in nests if one not in ((), place) and copies[id(_nest(top, one))]]
    if others and names:
        models = {one: nests.get(one, len(names)) for one in (place, *others)}
        raise ConversionError(f"{path}: {len(models)} models: {_counts(models)}; which is meant cannot be known", hint=_which(path, models))


def _is_named(key: Any, value: Any, kind: type) -> bool:
    return isinstance(value, kind) and isinstance(key, str | int)


def _text(key: Any) -> str:
    """A key as a person reads it. A tuple is not written out: a pickle repeats a part in two bytes, so the text may be long."""
    key = key.value if isinstance(key, OddKey) else key
    return _short(key) if isinstance(key, str) else str(key) if isinstance(key, int) and abs(key) < 1 << 64 else f"a {type(key).__name__}"


def _counts(nests: Mapping[Place, int]) -> str:
    first, *others = list(nests.items())[:_MOST]
    said = [f"{_tensors(first[1])} under {_spelt(first[0])}", *(f"{number} under {_spelt(place)}" for place, number in others)]
    return ", ".join(said) + (f" and {len(nests) - _MOST} more" if len(nests) > _MOST else "")


def _tensors(number: int) -> str:
    return "1 tensor" if number == 1 else f"{number} tensors"


def _spelt(place: Place) -> str:
    return f"'{'.'.join(map(_short, place))}'"


def _short(name: str) -> str:
    """A name from a file, on one line and not too long."""
    name = name if len(name) <= 60 else f"{name[:57]}..."
    return name if name.isprintable() else ascii(name)[1:-1]


def some(names: Iterable[str]) -> str:
    """The first few of several names, and how many more there are."""
    names = list(names)
    return ", ".join(map(_short, names[:_MOST])) + (f" and {len(names) - _MOST} more" if len(names) > _MOST else "")
