"""Weights in several files: a folder as transformers saves one, or the index in it that says which shard has which tensor."""

import re
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from segzoo.errors import IntegrityError, NotFoundError, UsageError
from segzoo.formats.weights import ANEW, INDEX, Weights
from segzoo.json_in import read_json
from segzoo.text import quoted
from segzoo.vocabulary import WEIGHTS

_USUAL = (
    *("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json", "pytorch_model_fsdp.bin"),
    *("flax_model.msgpack", "flax_model.msgpack.index.json"),
)
_SECOND = re.compile(r"(model|pytorch_model)_\d+\.(safetensors|bin)")  # Accelerate's names of a run's other models
_STATE = re.compile(r".*optim_states\.pt|(optimizer|scheduler|scaler|rng_state)\b.*")  # of a training run, beside its model
_LARGEST = 1 << 25  # bytes of an index
_MOST = 1000  # shards


def standing_for(path: Path) -> Path:
    """The file of weights, or the index, that a folder stands for; a file, and a folder without weights, stand for themselves.

    Raises UsageError where a folder has several, or weights in the parts of a distributed run.
    """
    if not path.is_dir():
        return path
    if (path / ".metadata").is_file():
        raise UsageError(f"{path}: a distributed checkpoint of torch, whose parts hold pieces of tensors", hint=_joined(path))
    usual = (path / name for name in _USUAL)
    found = next((one for one in usual if one.is_file()), None)
    if found is not None and not (second := sorted(one for one in path.iterdir() if _SECOND.fullmatch(one.name))):
        return found
    others = [found, *second] if found else sorted(one for one in path.iterdir() if _is_weights(one) and not _STATE.fullmatch(one.name))
    if len(others) > 1:
        raise UsageError(f"{path}: a folder of {len(others)} files of weights; which is meant cannot be known", hint=f"name one: {others[0]}")
    return others[0] if others else path


def shards_of(index: Path) -> list[Path]:
    """The shards that an index names, whether they are there or not. Raises IntegrityError for one that is no file beside it."""
    return [_place(index, name) for name in dict.fromkeys(_weight_map(index).values())]


def _is_weights(path: Path) -> bool:
    return path.suffix.lower() in WEIGHTS or path.name.endswith(INDEX)


def _joined(folder: Path) -> str:
    where = quoted(str(folder))
    return f"python -m torch.distributed.checkpoint.format_utils dcp_to_torch {where} whole.pth joins them; segzoo reads whole.pth"


def open_index(index: Path, open_one: Callable[[Path], Weights]) -> Weights:
    """The tensors of all shards that an index names. Raises NotFoundError for a shard that is not there, IntegrityError where index and
    shards disagree.
    """
    places = _weight_map(index)
    shards = {name: open_one(_beside(index, name)) for name in dict.fromkeys(places.values())}
    for name, shard in shards.items():
        promised = {tensor for tensor, place in places.items() if place == name}
        _refuse_others(index, name, "has not", promised - shard.specs.keys())
        _refuse_others(index, name, "has, but the index does not name,", shard.specs.keys() - promised)

    def read(tensor: str) -> np.ndarray:
        return shards[places[tensor]].read(tensor)

    notes = dict.fromkeys(note for shard in shards.values() for note in shard.notes)
    return Weights(
        index,
        next(iter(shards.values())).format,
        {tensor: shards[place].specs[tensor] for tensor, place in places.items()},
        read,
        (f"{len(shards)} shards", *notes),
        strange={tensor: what for shard in shards.values() for tensor, what in shard.strange.items()},
        files=tuple(shard.path for shard in shards.values()),
    )


def _weight_map(index: Path) -> dict[str, str]:
    """The shard of each tensor, by the index."""
    content = read_json(index, limit=_LARGEST)
    places = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(places, dict) or not places or not all(isinstance(place, str) for place in places.values()):
        raise IntegrityError(f"{index}: expected a weight_map from tensors to files", ANEW)
    if len(set(places.values())) > _MOST:
        raise IntegrityError(f"{index}: more than {_MOST} shards, which no weights have", hint="do not trust this file")
    return places


def _place(index: Path, name: str) -> Path:
    """The path of a shard beside its index."""
    if Path(name).name != name or name.endswith(INDEX):
        raise IntegrityError(f"{index}: '{name[:100]}' is no file beside it", hint="do not trust this file")
    return index.parent / name


def _beside(index: Path, name: str) -> Path:
    """The path of a shard that is there. Raises NotFoundError where it is not."""
    path = _place(index, name)
    if not path.is_file():
        raise NotFoundError(f"{path}: no such file, but {index.name} names it", hint="fetch all shards, or copy them into one folder")
    return path


def _refuse_others(index: Path, shard: str, what: str, names: Iterable[str]) -> None:
    if first := min(names, default=None):
        raise IntegrityError(f"{index}: {shard} {what} '{first}'", hint="index and shards are of different models, or a shard is an old one")
