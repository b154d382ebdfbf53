"""The plain Vision Transformer as a family: which of its sections are alternatives, and what its names leave open."""

import math
from collections.abc import Collection, Mapping

from segzoo.layouts.family import Family, Reference
from segzoo.layouts.rule import Rule
from segzoo.layouts.vit.geometry import (
    Geometry,
    ModelBackbone,
    Sizes,
    described,
    described_model,
    grid_of,
    lying,
    measured,
    shown,
    unlike,
    usual,
)
from segzoo.layouts.vit.variants import ASIDE, VARIANTS
from segzoo.spec import Spec

# A file has one alternative of each list: a stem, what stands before the patch embedding, and what comes after the last block.
_STEMS = (("stem",), ("stem without class position", "class token"), ("stem without class position",))
_POSITIONED = (("stem with register positions",), ("stem with register positions and no class token",))
APART = "registers beside a placed class token"
"""Registers without positions where the class token has one, as in DINOv2. timm has positions for both of them or for neither."""
STEMS = (*_STEMS, ("distilled stem",), *((*one, "register tokens") for one in (*_STEMS[1:], *_POSITIONED)), ("stem", APART))
ROOTS = ((), ("residual root",), ("residual network",))
WITHOUT_NORM = "no final norm"
NORMS = (("final norm",), (WITHOUT_NORM,))
MLPS = (("MLP",), ("gated MLP",))
"""A layout that has a place for files without the final norm names this empty section. In all others the norm must be there."""
ESSENTIAL = {
    "stem": "a class token with a position of its own",
    "stem without class position": "positions for the patches only",
    "class token": "a class token",
    "distilled stem": "a distillation token, which every block attends to",
    "stem with register positions": "a class token and register tokens with positions of their own",
    "stem with register positions and no class token": "register tokens with positions of their own",
    "register tokens": "register tokens, which every block attends to",
    APART: "register tokens without positions, beside a class token with one",
    "residual root": "the root of a ResNet before its patch embedding",
    "residual network": "a ResNet before its patch embedding",
    "encoder": "an encoder",
    "MLP": "an MLP of two layers in each block",
    "gated MLP": "a gated MLP (SwiGLU) in each block",
    "layer scale": "LayerScale in each block",
    "norms of queries and keys": "norms of queries and keys",
    "norm before the blocks": "a norm before its first block",
    "final norm": "a norm after its last block",
    WITHOUT_NORM: "no norm after its last block",
}
"""Sections without which a backbone is another model, in words. A target that has no place for one of them is refused."""


def plausible(rules: Mapping[str, Rule], specs: Mapping[str, Spec], positions: int | None) -> bool:
    """Whether shapes fit the names: the position table has the right number of entries for the grid (`positions` where it is given, else a
    square number), and the first layer of an MLP is as wide as the second, or twice as wide if it is gated.
    """
    grids = [_grid(rule, specs[key], _registers(rules, specs)) for key, rule in rules.items() if "pos.grid" in rule.holds and key in specs]
    return all(grid == positions if positions is not None else _square(grid) for grid in grids) and _as_wide(rules, specs)


def _as_wide(rules: Mapping[str, Rule], specs: Mapping[str, Spec]) -> bool:
    """Whether the matrices of the first block's MLP, out before in, are of one width. True for a section without an MLP."""
    (_, first), (_, second) = (_holding(f"blocks.0.{name}.weight", rules, specs) for name in ("fc1", "fc2"))
    return len(first) != 2 or len(second) != 2 or first[0] == second[1]


def _holding(name: str, rules: Mapping[str, Rule], specs: Mapping[str, Spec]) -> tuple[str, tuple[int, ...]]:
    """The tensor that has this canonical one in it, and its shape without what is stacked beside on its first axis; empty where there is none."""
    key, rule = next(((key, rule) for key, rule in rules.items() if name in rule.holds and key in specs), ("", None))
    shape = specs[key].shape if rule else ()
    return key, (shape[0] // len(rule.holds), *shape[1:]) if rule and shape else ()


def _registers(rules: Mapping[str, Rule], specs: Mapping[str, Spec]) -> int:
    """How many register tokens a file has."""
    shape = _holding("reg", rules, specs)[1]
    return shape[1] if len(shape) == 3 else 0


def unsure(rules: Mapping[str, Rule], specs: Mapping[str, Spec], sections: Collection[str]) -> str | None:
    """What names and shapes leave open, in words: whether a file with one channel is of pictures, and for which tokens a position table has entries.

    The latter is open if the layout knows several kinds of table, unless only with the entries read as the tokens' the others are a square.
    """
    key, shape = _holding("pos.grid", rules, specs)
    held = {name for rule in rules.values() for name in rule.holds}
    if "dist" in held and _holding("patch.weight", rules, specs)[1][1:2] == (1,):
        return (
            "read as a DeiT of pictures with one channel; an AST, which takes sound in patches that overlap, has the same names and is another model"
        )
    one, registers = int("cls" in held), _registers(rules, specs)
    if not {"stem", "stem without class position"} <= set(sections) or "dist" in held or len(shape) < 2 or not one + registers:
        return None
    entries = specs[key].shape[-2]
    read = entries - _grid(rules[key], specs[key], registers)
    known = dict.fromkeys((0, one, one + registers))
    if read and [number for number in known if _square(entries - number)] == [read]:
        return None
    tokens = {(1, False): "the class token", (1, True): "the class token and the registers", (0, True): "the registers"}[one, bool(registers)]
    whose = "the class token" if read == one == 1 else tokens
    said = f"{entries - read} positions and {'none' if not read else 'one' if read == 1 else read} for {whose}"
    others = " or ".join(str(entries - number) for number in known if number != read)
    return f"{key} has {entries} entries: read as {said}; if that is wrong, say --positions {others}"


def lookalike(sections: Collection[str]) -> str | None:
    """Other models whose files have the same names, in words; None where none is known."""
    said = []
    if "gated MLP" in sections:
        said.append("no tensor shows that the gate of its MLP has SiLU: it is taken for SwiGLU")
    elif "norm before the blocks" in sections:
        said.append("no tensor shows whether its activation is GELU or QuickGELU, as OpenAI's CLIP has")
    elif not {"class token", "stem", "distilled stem", "stem with register positions"} & set(sections):
        said.append("no tensor shows whether its activation is GELU or its tanh form, as SigLIPs have")
    if "pooled norm" in sections and not {"layer scale", "qkv bias", "class token", "stem", "register tokens"} & set(sections):
        said.append(
            "timm's models with norms behind attention and MLP (vit_*_rpn_*) have the same names, and are read as models with norms before them"
        )
    return "; ".join(said) or None


def _grid(rule: Rule, spec: Spec, registers: int) -> int:
    """How many entries of a position table are the grid's, if the rule is right: all but one for each token that has its own."""
    others = sum(registers if name == "pos.reg" else 1 for name in rule.holds) - 1
    return spec.shape[-2] - others if len(spec.shape) > 1 else 0


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
    shown=shown,
    sizes=Sizes,
    backbone=ModelBackbone,
    describe=described,
    describe_model=described_model,
    summary=_summary,
    kin=("width", "depth", "mlp", "patch"),
    eps_of="AugReg, timm and MMSegmentation",
    choices=(STEMS, ROOTS, NORMS, MLPS),
    neutral={"patch.bias": 0, "blocks.*.[qkv].bias": 0, "blocks.*.proj.bias": 0},
    essential=ESSENTIAL,
    variants=VARIANTS,
    aside=ASIDE,
    asked={"h": ("the attention heads", "say how many with --heads N (width // 64 is right for Ti, S, B and L, and wrong for others)")},
    stands_on={"classifier": ("pre_logits", "pooling head", "pooled norm")},
    plausible=plausible,
    unsure=unsure,
    lookalike=lookalike,
    unlike=unlike,
    usual=usual,
    confirm=_confirm,
    image=lambda geometry: (*(geometry.patch * side for side in geometry.grid or (1, 1)), geometry.channels),
    positions="pos.grid",
    grid_of=grid_of,
    lying=lying,
    reference=Reference(
        "jax",
        "JAX",
        ("augreg", "timm"),
        "mmseg",
        "the JAX reference is of models in one piece, without a ResNet before the patch embedding",
        also={WITHOUT_NORM: (), APART: (Rule("registers", ("reg",), "1 reg d"),)},
        told=("class_token", "heads", "activation"),
    ),
)
