"""Adapters of peft's LoRA: named as what they are, and merged into their base where the user asks for it.

An adapter has for some matrices of a base two small ones, A and B; merged, such a matrix is W + s B A. Where peft would compute something else,
or the adapter is not of this base, it is refused. Names and scales as in peft 0.21 (`tuners/lora/layer.py`, `utils/save_and_load.py`).
"""

import math
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from segzoo.errors import ConversionError, NotFoundError
from segzoo.formats import Weights, open_weights
from segzoo.json_in import read_json
from segzoo.layouts.vit.in_memory import on_disk
from segzoo.text import brief, legible, listed

CONFIG = "adapter_config.json"
_OUTER = "base_model.model."
_PART = re.compile(r"(.+)\.lora_(A|B)(?:\.(?!weight$)[^.]+)?\.weight")
_LARGEST = 1 << 20  # bytes of a config; a number in it
_IN_PEFT = "in peft, merge_and_unload() gives a plain model to save"
_READ = {"peft_type", "r", "lora_alpha", "use_rslora", "rank_pattern", "alpha_pattern", "modules_to_save", "init_lora_weights"}
_OF_TRAINING = {  # fields that leave no trace in a merged model
    *("base_model_name_or_path", "auto_mapping", "peft_version", "revision", "task_type", "inference_mode", "bias", "lora_dropout"),
    *("target_modules", "exclude_modules", "layers_to_transform", "layers_pattern", "megatron_core", "qalora_group_size", "runtime_config"),
    *("ensure_weight_tying", "eva_config"),
}
_INITIALISED = (True, False, "gaussian", "orthogonal", "eva")  # ways that leave the base as it was; others begin by changing it


def of_an_adapter(names: Collection[str]) -> ConversionError | None:
    """The error for names that are those of an adapter, or of a model with one that is not merged; None for any others."""
    modules = {match[1] for name in names if (match := _PART.fullmatch(name))}
    if not modules:
        return None
    if any(f"{module}.base_layer.weight" in names for module in modules):
        return ConversionError(f"a model with LoRA adapters for {len(modules)} of its matrices, which are not merged", _IN_PEFT)
    hint = "segzoo convert BASE DST --merge-lora ADAPTER writes its base with it merged, and merge_lora= in Python"
    return ConversionError(f"a LoRA adapter for {len(modules)} matrices of a model, and no model by itself", hint)


def merged(base: Weights, adapter: Path) -> tuple[Weights, str]:
    """The weights of a base with an adapter merged into them as each tensor is read, and in words what was done.

    `adapter` is a file, with its config beside it, or the folder of both. A product is computed in float64, and the sum rounded once.
    Raises ConversionError where the adapter is none, is not of this base, or merging it would be more than this; NotFoundError, IntegrityError.
    """
    opened = open_weights(adapter)
    config = _config(opened.path)
    scales = _scales(config, opened.path)
    changes, whole = _changes(opened, base, scales), dict(_whole(opened, base, scales))

    def read(name: str) -> np.ndarray:
        if name in whole:
            return opened[whole[name]]
        return changes[name].applied(base[name], opened) if name in changes else base[name]

    specs = {**base.specs, **{name: opened.specs[stored] for name, stored in whole.items()}}
    done = f"{len(changes)} matrices changed by the LoRA adapter {opened.path.name}" + (f", {len(whole)} tensors taken from it" if whole else "")
    if isinstance(trained := config.get("base_model_name_or_path"), str):
        done += f"; it was trained on '{legible(brief(trained))}'"
    return replace(base, specs=specs, read=read), done


@dataclass(frozen=True)
class _Change:
    """What an adapter adds to a matrix: `scale` times the product of `b` and `a`."""

    a: str
    b: str
    scale: float

    def applied(self, weight: np.ndarray, adapter: Weights) -> np.ndarray:
        a, b = (adapter[name].astype(np.float64) for name in (self.a, self.b))
        product = b.reshape(len(b), -1) @ a.reshape(len(a), -1)  # of a convolution too: its A sees the patch, its B one pixel
        changed: np.ndarray = weight.astype(np.float64) + self.scale * product.reshape(weight.shape)
        return changed.astype(weight.dtype)


@dataclass(frozen=True)
class _Scales:
    """The scale of each module by its rank, as a config says. `saved` are the modules that an adapter replaces as a whole."""

    rank: int
    alpha: float
    ranks: Mapping[str, Any]
    alphas: Mapping[str, Any]
    by_root: bool
    saved: tuple[str, ...]

    def of(self, module: str, rank: int) -> float:
        """Raises ValueError where the config has another rank for this module."""
        if (expected := _by_name(self.ranks, module, self.rank)) != rank:
            raise ValueError(f"rank {expected} by {CONFIG}, {rank} by its tensors")
        alpha = _by_name(self.alphas, module, self.alpha)
        return float(alpha) / (math.sqrt(rank) if self.by_root else rank)


def _by_name(pattern: Mapping[str, Any], module: str, otherwise: Any) -> Any:
    """The value for a module: that of the first name which is the module's, or an end of it."""
    return next((value for name, value in pattern.items() if f".{module}".endswith(f".{name}")), otherwise)


def _config(path: Path) -> dict[str, Any]:
    """The config beside an adapter, which alone says its scale."""
    beside = path.parent / CONFIG
    if not beside.is_file():
        raise NotFoundError(f"{beside}: no such file, and nothing else says by what scale {path.name} is merged", hint="put peft's config beside it")
    found = read_json(beside, limit=_LARGEST)
    if not isinstance(found, dict) or found.get("peft_type") != "LORA":
        raise ConversionError(f"{beside}: expected the config of a LoRA adapter (peft_type LORA)")
    return found


def _scales(config: Mapping[str, Any], path: Path) -> _Scales:
    """What a config says of the merging. Raises ConversionError where it says more than is merged here."""
    beside = path.parent / CONFIG
    if others := sorted(name for name, value in config.items() if value and name not in _READ | _OF_TRAINING):
        raise ConversionError(f"{beside}: {listed(others)}: segzoo does not merge such an adapter", hint=_IN_PEFT)
    if (how := config.get("init_lora_weights", True)) not in _INITIALISED:
        said = f"init_lora_weights {how!r}: its training began by changing the base, so it is not for the base as it was published"
        raise ConversionError(f"{beside}: {said}", hint=_IN_PEFT)
    ranks, alphas, saved = (config.get(name) or kind() for name, kind in (("rank_pattern", dict), ("alpha_pattern", dict), ("modules_to_save", list)))
    if not isinstance(ranks, dict) or not isinstance(alphas, dict) or not isinstance(saved, list):
        raise ConversionError(f"{beside}: expected objects for rank_pattern and alpha_pattern, and a list for modules_to_save")
    numbers = (config.get("r"), config.get("lora_alpha"), *ranks.values(), *alphas.values())
    if not all(type(one) in (int, float) and 0 < one < _LARGEST for one in numbers):
        raise ConversionError(f"{beside}: expected positive numbers for r, lora_alpha and their patterns")
    if odd := [name for name in (*ranks, *alphas, *map(str, saved)) if not re.fullmatch(r"[\w.]+", name)]:
        raise ConversionError(f"{beside}: a pattern that is no plain name: {odd[0][:60]!r}", hint=_IN_PEFT)
    return _Scales(config["r"], config["lora_alpha"], ranks, alphas, config.get("use_rslora") is True, tuple(map(str, saved)))


def _changes(opened: Weights, base: Weights, scales: _Scales) -> dict[str, _Change]:
    """The changes by the names of the base's tensors. Raises ConversionError for what is not of this base."""
    pairs: dict[str, dict[str, str]] = {}
    for name in opened.specs:
        if match := _PART.fullmatch(name):
            pairs.setdefault(match[1], {})[match[2]] = name
    if not pairs:
        raise ConversionError(f"{opened.path}: no LoRA adapter: no name has lora_A and lora_B")
    found = {}
    for module, pair in pairs.items():
        where = f"{opened.path}: {module}"
        if pair.keys() != {"A", "B"}:
            raise ConversionError(f"{where}: lora_A without lora_B, or lora_B without lora_A", hint="the adapter is cut short or edited")
        inner = module.removeprefix(_OUTER)
        target = _target(f"{inner}.weight", base)
        if target is None:
            raise ConversionError(f"{where}: {base.path} has no such matrix", hint="--merge-lora takes an adapter that was trained on this base")
        a, b, weight = (opened.specs[pair["A"]].shape, opened.specs[pair["B"]].shape, base.specs[target].shape)
        if not a or not b or (b[0], *a[1:]) != weight or math.prod(b[1:]) != a[0]:
            raise ConversionError(f"{where}: A {list(a)} and B {list(b)} make no matrix {list(weight)}, as {target} is")
        if target in found:
            raise ConversionError(f"{where}: two adapters for {target}", hint="merge one of them, in its own folder")
        for name, spec in ((target, base.specs[target]), *((name, opened.specs[name]) for name in pair.values())):
            if "float" not in spec.dtype or "float8" in spec.dtype:
                raise ConversionError(
                    f"{where}: {name} is {spec.dtype}, expected floats", hint="an adapter is merged into a base that is not quantised"
                )
        try:
            found[target] = _Change(pair["A"], pair["B"], scales.of(inner, a[0]))
        except ValueError as error:
            raise ConversionError(f"{where}: {error}", hint="the config is another adapter's") from error
    return found


def _whole(opened: Weights, base: Weights, scales: _Scales) -> Iterator[tuple[str, str]]:
    """The tensors that an adapter replaces: biases, and those of whole modules, which the base may lack. By name in the base, and in the adapter."""
    for name, spec in opened.specs.items():
        if _PART.fullmatch(name):
            continue
        inner = name.removeprefix(_OUTER).replace(".base_layer.", ".")
        saved = any(f".{module}." in f".{inner}" for module in scales.saved)
        target = _target(inner, base) or (inner if saved else None)
        if target is None or ".lora_" in name or not (saved or inner.endswith(".bias")):
            raise ConversionError(f"{opened.path}: {name}: neither a part of LoRA nor a tensor of {base.path} that it may replace")
        if not saved and spec.shape != base.specs[target].shape:
            raise ConversionError(f"{opened.path}: {name}: {list(spec.shape)}, but {target} is {list(base.specs[target].shape)}")
        yield target, name


def _target(name: str, base: Weights) -> str | None:
    """The tensor of the base that an adapter means. The base may have one more prefix or one less, and transformers 5 has other names in memory."""
    for spelt in (name, on_disk(name)):
        inner = spelt.partition(".")[2]
        if found := next((one for one in (spelt, inner) if one in base.specs), None):
            return found
        if len(ending := [one for one in base.specs if one.endswith(f".{spelt}")]) == 1:
            return ending[0]
    return None
