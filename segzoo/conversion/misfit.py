"""Why a file fits no layout: what it lacks and what it has beyond the nearest one, which variant that is, and what may be left out."""

import math
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from fnmatch import translate
from glob import escape
from heapq import nsmallest
from typing import TYPE_CHECKING

from segzoo.errors import ConversionError
from segzoo.layouts import FAMILIES, NAMES
from segzoo.layouts.rule import indices
from segzoo.spec import Spec
from segzoo.text import listed, quoted

if TYPE_CHECKING:
    from segzoo.conversion.detect import Found

_NOTHING = "nothing was written"
_MOST_DROPS = 20  # options that a hint names
_TRAINING_PATTERNS = (
    *("criterion*", "loss", "losses", "loss_*", "*_loss", "metric*", "*_metric*", "*_acc", "optimizer*", "*scheduler*", "queue*", "center"),
    *("ema", "ema_*", "*_ema", "teacher", "n_averaged", "num_updates", "total_ops", "total_params", "auxiliary_head*", "aux_head*"),
)
"""Parts of a dotted name that belong to training or counting, whatever the model."""
_TRAINING = re.compile("|".join(map(translate, _TRAINING_PATTERNS)))
_LONG_NUMBER = re.compile(r"(?<![A-Za-z\d])\d\d+")  # an index; not that of `w12`


def misfit(names: Collection[str], nearest: "Found", only: str | None, fits: Callable[[Collection[str]], bool]) -> ConversionError:
    """The error for names that no layout has. `only` is the layout that the caller named. `fits` says whether these names fit a layout."""
    if names and not nearest.names & set(names):
        return _strange(names, only)
    missing, unexpected = sorted(nearest.rules.keys() - set(names)), sorted(set(names) - nearest.names)
    differences = [f"missing {_some(missing)}"] if missing else []
    differences += [f"unexpected {_some(unexpected)}"] if unexpected else []
    where = f" after the prefix '{nearest.outer}'" if nearest.outer else ""
    message = f"nearest to layout '{nearest.layout.name}'{where}, but {'; '.join(differences)}"
    return ConversionError(message, hint=f"{_cause(names, nearest, missing, unexpected, fits)}; {_NOTHING}")


def in_parts(specs: Mapping[str, Spec]) -> ConversionError | None:
    """The error for tensors that hold only a process's part of a model, or nothing; None for any others."""
    if not any(math.prod(spec.shape) for spec in specs.values()):
        return ConversionError(
            f"{len(specs)} tensors without a number in them, as DeepSpeed's ZeRO stage 3 leaves them: the numbers are in the files beside",
            hint="python zero_to_fp32.py FOLDER OUT joins them; DeepSpeed puts that program beside its checkpoints",
        )
    if flat := [name for name in specs if name.rpartition(".")[2] in ("flat_param", "_flat_param")]:
        return ConversionError(
            f"{flat[0]}: FSDP's flat parameter, a process's part of many tensors in one",
            hint="save the model with FSDP's FULL_STATE_DICT, which has each tensor under its name",
        )
    return None


def of_a_video(specs: Mapping[str, Spec]) -> ConversionError | None:
    """The error for a model of videos, whose patches have a third side; None for any others."""
    for name, spec in specs.items():
        if "patch_embed" in name and len(spec.shape) == 5:
            return ConversionError(
                f"{name}: shape {list(spec.shape)}: patches of {spec.shape[2]} pictures each: a model of videos",
                hint=f"segzoo has no place for a third side of patches; {_NOTHING}",
            )
    return None


def _strange(names: Collection[str], only: str | None) -> ConversionError:
    if only:
        return ConversionError(f"no tensor is named as in layout '{only}'", hint="leave --from out: the layout is detected")
    known, titles = ", ".join(NAMES), listed([family.title for family in FAMILIES.values()])
    number = "1 tensor" if len(names) == 1 else f"{len(names)} tensors"
    return ConversionError(
        f"{number} in no layout that segzoo knows ({known}); such as {', '.join(nsmallest(3, names))}",
        hint=f"segzoo converts {titles} weights; is this a checkpoint of another architecture?",
    )


def _cause(names: Collection[str], nearest: "Found", missing: list[str], unexpected: list[str], fits: Callable[[Collection[str]], bool]) -> str:
    """The likely cause, and what to do about it. A `--drop` is tried before it is named."""
    asides = set(unexpected) - needed(unexpected, nearest)
    if asides and not missing and len(asides) == len(unexpected) and fits([name for name in names if name not in asides]):
        trained = all(any(map(_TRAINING.match, name.split("."))) for name in asides if nearest.outer and not name.startswith(nearest.outer))
        whose = "belong to training, not to the model" if trained else f"stand beside the model, which is under '{nearest.outer}'"
        return f"these {whose}: convert {_drops(asides, names)} leaves them out"
    rest = [name for name in unexpected if name not in asides]
    lacking, there = _canonical(missing, nearest), _canonical(nearest.rules.keys() - set(missing), nearest)
    alike = {_LONG_NUMBER.sub("10", name) for name in rest}  # no variant is known by a block beyond the ninth, of which there may be thousands
    if found := [variant.title for variant in nearest.layout.family.variants if variant.fits(lacking, there, alike)]:
        return f"a variant of {nearest.layout.family.title} that layout '{nearest.layout.name}' has no place for: {'; '.join(found)}"
    if (rest or missing) and _alike_in_every_block(nearest, missing, rest):
        return "the same names in every block: a variant that segzoo does not know"
    if missing:
        return "the file is cut short, edited, or of a variant that segzoo does not know"
    forced = f"--force-drop {_drops(rest, names)}"
    return f"a variant that segzoo does not know; if you know that the model does not need them, convert {forced} leaves them out"


def _drops(chosen: Iterable[str], names: Collection[str]) -> str:
    """The options that leave out the chosen names; of many patterns the first few."""
    patterns = _patterns(sorted(chosen), names)
    drops = " ".join(f"--drop {quoted(pattern)}" for pattern in patterns[:_MOST_DROPS])
    return drops + (f", and so on for {len(patterns) - _MOST_DROPS} more names," if len(patterns) > _MOST_DROPS else "")


def needed(names: Iterable[str], nearest: "Found") -> set[str]:
    """The tensors, of those that the layout does not know, that may be part of the model as far as anybody can tell.

    Not needed are tensors that belong to training by their name, and those outside a prefix that a training program put before the model.
    """
    aside = [re.compile(translate(pattern)) for pattern in nearest.layout.family.aside]
    inessential = nearest.layout.expand(nearest.prefix, nearest.depths, _inessential(nearest))
    own = {rule.key.removeprefix(nearest.outer).replace("{p}", "").split(".")[0] for rule in nearest.layout.rules}
    own |= {"head", "heads", "neck", "decode_head", "decoder", "segmentation_head", "classifier", "fc"}

    def may_be(name: str) -> bool:
        inner, parts = name.removeprefix(nearest.outer).removeprefix(nearest.prefix), name.split(".")
        if any(map(_TRAINING.match, parts)) or any(pattern.match(one) for pattern in aside for one in (name, inner)):
            return False
        outside = bool(nearest.outer) and not name.startswith(nearest.outer)
        return name not in inessential and not (outside and parts[0] not in own)

    return {name for name in names if may_be(name)}


def _inessential(nearest: "Found") -> list[str]:
    """The sections without which the model is the same, such as a classifier behind a backbone."""
    return [section for section in nearest.layout.sections if section not in nearest.layout.family.essential and "decoder" not in section]


def _patterns(chosen: Sequence[str], names: Collection[str]) -> list[str]:
    """The fewest patterns that fit the chosen names and no others: a whole module where possible, else names that begin alike up to an
    underscore, such as `ema_*`, else the name itself.
    """
    among_all, among_chosen = Counter[str](), Counter[str]()
    for counted, some in ((among_all, names), (among_chosen, chosen)):
        for name in some:
            counted.update(_starts(name))
    whole = {start for start, number in among_chosen.items() if among_all[start] == number}
    patterns: dict[str, None] = {}
    for name in chosen:
        *modules, alike = _starts(name)
        fitting = next((start for start in modules if start in whole), None) or (alike if alike in whole and among_all[alike] > 1 else None)
        patterns[f"{escape(fitting)}*" if fitting else escape(name)] = None
    return list(patterns)


def _starts(name: str) -> list[str]:
    """What a name begins with: up to each of its dots, and last up to its first underscore."""
    parts = name.split(".")
    return [*("".join(f"{part}." for part in parts[:end]) for end in range(1, len(parts))), f"{name.split('_')[0]}_"]


def _canonical(missing: Iterable[str], nearest: "Found") -> list[str]:
    return [name for key in missing for name in nearest.rules[key].holds]


def _alike_in_every_block(nearest: "Found", missing: Iterable[str], unexpected: Iterable[str]) -> bool:
    """Whether each block of the encoder lacks the same names and has the same names beyond."""
    start = next((rule.key for rule in nearest.layout.rules if "i" in indices(rule.key)), "")
    before = re.escape(start.split("{i}")[0].replace("{p}", nearest.prefix))
    block = re.compile(rf"{before}(\d+)(\D.*)") if start else None
    blocks: Mapping[int, set[tuple[bool, str]]] = {index: set() for index in range(nearest.depths["i"])}
    for lacking, names in ((True, missing), (False, unexpected)):
        for name in names:
            match = block and block.fullmatch(name)
            if not match or int(match[1]) not in blocks:
                return False
            blocks[int(match[1])].add((lacking, match[2]))
    first, *others = blocks.values() or [set()]
    return bool(first) and all(other == first for other in others)


def _some(names: list[str], most: int = 6) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{len(names)}: {', '.join(names[:most])}{more}"
