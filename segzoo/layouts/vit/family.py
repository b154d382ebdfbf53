"""The plain Vision Transformer as a family: which of its sections are alternatives, and what its names leave open."""

import math
from collections.abc import Collection, Mapping

from segzoo.layouts.family import Family, Reference
from segzoo.layouts.rule import Rule
from segzoo.layouts.vit.geometry import Geometry, ModelBackbone, Sizes, described, described_model, grid_of, lying, measured
from segzoo.layouts.vit.variants import ASIDE, VARIANTS
from segzoo.spec import Spec

# A file has one alternative of each list: a stem, what stands before the patch embedding, and what comes after the last block.
STEMS = (("stem",), ("stem without class position", "class token"), ("stem without class position",), ("distilled stem",))
ROOTS = ((), ("residual root",), ("residual network",))
WITHOUT_NORM = "no final norm"
NORMS = (("final norm",), (WITHOUT_NORM,))
"""A layout that has a place for files without the final norm names this empty section. In all others the norm must be there."""
ESSENTIAL = {
    "stem": "a class token with a position of its own",
    "stem without class position": "positions for the patches only",
    "class token": "a class token",
    "distilled stem": "a distillation token, which every block attends to",
    "residual root": "the root of a ResNet before its patch embedding",
    "residual network": "a ResNet before its patch embedding",
    "encoder": "an encoder",
    "final norm": "a norm after its last block",
    WITHOUT_NORM: "no norm after its last block",
}
"""Sections without which a backbone is another model, in words. A target that has no place for one of them is refused."""


def plausible(rules: Mapping[str, Rule], specs: Mapping[str, Spec], positions: int | None) -> bool:
    """Whether the position table has the right number of entries for the grid: `positions` where it is given, else a square number."""
    grids = [_grid(rule, specs[key]) for key, rule in rules.items() if "pos.grid" in rule.holds and key in specs]
    return all(grid == positions if positions is not None else _square(grid) for grid in grids)


def unsure(rules: Mapping[str, Rule], specs: Mapping[str, Spec], sections: Collection[str]) -> str | None:
    """Whether it is open if a position table has an entry for the class token, in words; None where it is not.

    It is open if the file has a class token and the layout knows both kinds of table, unless the number of entries less one is a square.
    """
    if not {"stem", "stem without class position"} <= set(sections):
        return None
    held = {name for rule in rules.values() for name in rule.holds}
    key, rule = next(((key, rule) for key, rule in rules.items() if "pos.grid" in rule.holds), ("", None))
    if rule is None or key not in specs or "cls" not in held or "dist" in held:
        return None
    entries = specs[key].shape[1] if len(specs[key].shape) == 3 else 0
    if _square(entries - 1):
        return None
    with_class = f"{entries - 1} positions and one for the class token"
    read, other = (with_class, entries) if "pos.cls" in held else (f"{entries} positions and none for the class token", entries - 1)
    return f"{key} has {entries} entries: read as {read}; if that is wrong, say --positions {other}"


def _grid(rule: Rule, spec: Spec) -> int:
    """How many entries of a position table are the grid's, if the rule is right: all but one for each token that has its own."""
    return spec.shape[1] - len(rule.holds) + 1 if len(spec.shape) == 3 else 0


def _square(number: int) -> bool:
    return number > 0 and math.isqrt(number) ** 2 == number


def _summary(geometry: Geometry) -> str:
    return f"width {geometry.width}, {geometry.depth} blocks, patch {geometry.patch}"


def _confirm(geometry: Geometry) -> str | None:
    """The option that confirms the grid; None for a square grid, which needs no confirmation."""
    return f"and if it is right, --positions {geometry.positions}" if geometry.grid is None else None


VIT = Family(
    name="vit",
    title="ViT",
    always="encoder",
    measure=measured,
    sizes=Sizes,
    backbone=ModelBackbone,
    describe=described,
    describe_model=described_model,
    summary=_summary,
    kin=("width", "depth", "mlp", "patch"),
    eps_of="AugReg, timm and MMSegmentation",
    choices=(STEMS, ROOTS, NORMS),
    neutral={"patch.bias": 0, "blocks.*.[qkv].bias": 0, "blocks.*.proj.bias": 0},
    essential=ESSENTIAL,
    variants=VARIANTS,
    aside=ASIDE,
    asked={"h": ("the attention heads", "say how many with --heads N (width // 64 is right for Ti, S, B and L, and wrong for others)")},
    stands_on={"classifier": ("pre_logits", "pooling head")},
    plausible=plausible,
    unsure=unsure,
    confirm=_confirm,
    image=lambda geometry: (*(geometry.patch * side for side in geometry.grid or (1, 1)), geometry.channels),
    positions="pos.grid",
    grid_of=grid_of,
    lying=lying,
    reference=Reference(
        "jax",
        "JAX",
        "augreg",
        "mmseg",
        "the JAX reference is of AugReg's models, which have no distillation token",
        also=(WITHOUT_NORM,),
        told=("class_token",),
    ),
)
