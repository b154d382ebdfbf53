"""The four stages of a Twins as rules. All libraries have the same numbers; what differs is their names, and what is joined in one tensor.

The axes, with the number of the stage behind: `d` width, `e` attention width (equal to d), `m` mlp, `ry rx` sides of the convolution that makes keys
of several tokens. `y x` patch sides, `chan` channels of the image, `row col` sides of the patches of later stages, `ky kx` sides of the position
encodings, `classes`.
"""

from collections.abc import Sequence

from segzoo.layouts.rule import Rule, affine

STAGES = tuple(enumerate("wxyz"))
"""The stages, each with the letter that counts its blocks in templates."""
REDUCING = STAGES[:-1]
"""The stages whose blocks attend to fewer keys than tokens."""

REDUCTION = ("attn.sr", "attn.norm")
"""What most libraries call the convolution that makes keys of several tokens, and its norm."""

Joined = Sequence[tuple[str, str]]
"""A library's tensors of query, key and value: a name with `%s` for `weight` and `bias`, and which of `q`, `k` and `v` it joins."""


def blocks(template: str) -> list[str]:
    """A library's name for a block, for each stage. `%d` in it stands for the stage, `%s` for the placeholder of the block."""
    return [template % (stage, f"{{{letter}}}") for stage, letter in STAGES]


def encoder(*, patches: str, patch: str, positions: str, blocks: Sequence[str], mlp: tuple[str, str]) -> tuple[Rule, ...]:
    """The rules of all but the attention, by a library's names.

    `patches` is the name of a stage's patch embedding, with `%d` for the stage; `patch` is that of its convolution, relative to it. `positions` names
    a position encoding, with `%d` for the stage. `blocks` has one template a stage; the names of `mlp` are relative to it.
    """
    rules: list[Rule] = []
    for (stage, letter), key in zip(STAGES, blocks, strict=True):
        d, m, holds = f"d{stage}", f"m{stage}", f"stages.{stage}.{{{letter}}}"
        rules += affine(f"{patches % stage}.{patch}", f"patches.{stage}", f"{d} d{stage - 1} row col" if stage else f"{d} chan y x", d)
        rules += affine(f"{patches % stage}.norm", f"patches.{stage}.norm", d, d)
        rules += affine(positions % stage, f"positions.{stage}", f"{d} 1 ky kx -> {d} ky kx", d)
        rules += affine(f"{key}.norm1", f"{holds}.norm1", d, d)
        rules += affine(f"{key}.norm2", f"{holds}.norm2", d, d)
        rules += affine(f"{key}.{mlp[0]}", f"{holds}.fc1", f"{m} {d}", m)
        rules += affine(f"{key}.{mlp[1]}", f"{holds}.fc2", f"{d} {m}", d)
    return tuple(rules)


def all_global(blocks: Sequence[str], joined: Joined, proj: str, reduction: tuple[str, str] = REDUCTION) -> tuple[Rule, ...]:
    """The attention of a PCPVT, and of a MiT: each block attends to the whole map."""
    each = zip(STAGES, blocks, strict=True)
    return tuple(rule for (stage, letter), key in each for rule in _global(stage, f"{{{letter}}}", key, joined, proj, reduction))


def alternating(blocks: Sequence[str], joined: Joined, proj: str) -> tuple[Rule, ...]:
    """The attention of an SVT: blocks of even index attend within windows, those of odd index to the whole map."""
    rules: list[Rule] = []
    for (stage, letter), key in zip(STAGES, blocks, strict=True):
        even, odd = f"{{{letter}:even}}", f"{{{letter}:odd}}"
        rules += _projections(stage, even, key.replace(f"{{{letter}}}", even), (("attn.qkv.%s", "qkv"),), "attn.proj")
        rules += _global(stage, odd, key.replace(f"{{{letter}}}", odd), joined, proj)
    return tuple(rules)


def _projections(stage: int, block: str, key: str, joined: Joined, proj: str) -> tuple[Rule, ...]:
    holds, d, e = f"stages.{stage}.{block}", f"d{stage}", f"e{stage}"
    rules = []
    for name, parts in joined:
        stacks = len(parts) > 1
        axes = (f"(s {e}) {d} -> s {e} {d}", f"(s {e}) -> s {e}") if stacks else (f"{e} {d}", e)
        for tensor, pattern in zip(("weight", "bias"), axes, strict=True):
            rules.append(Rule(f"{key}.{name % tensor}", tuple(f"{holds}.{part}.{tensor}" for part in parts), pattern))
    return (*rules, *affine(f"{key}.{proj}", f"{holds}.proj", f"{d} {e}", d))


def _global(stage: int, block: str, key: str, joined: Joined, proj: str, reduction: tuple[str, str] = REDUCTION) -> tuple[Rule, ...]:
    rules = _projections(stage, block, key, joined, proj)
    if stage == STAGES[-1][0]:
        return rules
    holds, d, e = f"stages.{stage}.{block}", f"d{stage}", f"e{stage}"
    conv, norm = (f"{key}.{name}" for name in reduction)
    return (*rules, *affine(conv, f"{holds}.reduction", f"{e} {d} ry{stage} rx{stage}", e), *affine(norm, f"{holds}.reduction.norm", d, d))
