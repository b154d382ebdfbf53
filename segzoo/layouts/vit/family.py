"""The plain Vision Transformer as a family: which of its sections stand for one another, and what its names leave open."""

import math
from collections.abc import Collection, Mapping

from segzoo.layouts.family import Family, Reference
from segzoo.layouts.rule import Rule
from segzoo.layouts.vit.geometry import Geometry, ModelBackbone, Sizes, described, described_model, measured
from segzoo.spec import Spec

# A file has one of each: where its tokens come from, and what stands before the patch embedding.
STEMS = (("stem",), ("stem without class position", "class token"), ("stem without class position",), ("distilled stem",))
ROOTS = ((), ("residual root",), ("residual network",))
ESSENTIAL = {
    "stem": "a class token with a position of its own",
    "stem without class position": "positions for the patches only",
    "class token": "a class token",
    "distilled stem": "a distillation token, which every block attends to",
    "residual root": "the root of a ResNet before its patch embedding",
    "residual network": "a ResNet before its patch embedding",
    "encoder": "an encoder",
}
"""Sections without which a backbone is another model, in words: a target that cannot hold them is refused."""


def plausible(rules: Mapping[str, Rule], specs: Mapping[str, Spec], positions: int | None) -> bool:
    """Whether the table of positions has as many as the grid: as many as are known, else a square number."""
    grids = [_grid(rule, specs[key]) for key, rule in rules.items() if "pos.grid" in rule.holds and key in specs]
    return all(grid == positions if positions is not None else _square(grid) for grid in grids)


def unsure(rules: Mapping[str, Rule], specs: Mapping[str, Spec], sections: Collection[str]) -> str | None:
    """What is open of a file with a class token in a layout of both kinds: whether its table has a position for it."""
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
    """How many positions of the grid a table has, if the rule is right about what else it holds."""
    return spec.shape[1] - len(rule.holds) + 1 if len(spec.shape) == 3 else 0


def _square(number: int) -> bool:
    return number > 0 and math.isqrt(number) ** 2 == number


def _summary(geometry: Geometry) -> str:
    return f"width {geometry.width}, {geometry.depth} blocks, patch {geometry.patch}"


def _confirm(geometry: Geometry) -> str | None:
    """A square grid confirms itself."""
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
    choices=(STEMS, ROOTS),
    essential=ESSENTIAL,
    stands_on={"classifier": ("pre_logits", "pooling head")},
    plausible=plausible,
    unsure=unsure,
    confirm=_confirm,
    side=lambda geometry: geometry.patch * (geometry.grid or 1),
    positions="pos.grid",
    reference=Reference("jax", "JAX", "augreg", "mmseg", "the JAX reference is of AugReg's models, which have no distillation token"),
)
