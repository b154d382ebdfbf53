"""The four stages of a ConvNeXt as rules. All libraries have the same tensors; what differs is their names, and how a layer scale lies.

The axes, with the number of the stage behind: `d` width, `m` mlp. `ky kx` sides of a depthwise convolution, `y x` patch sides, `chan` channels of the
image, `row col` the sides of a convolution that halves a map, `classes`.
"""

from collections.abc import Sequence

from segzoo.layouts.rule import Rule, affine

STAGES = tuple(enumerate("wxyz"))
"""The stages, each with the letter that counts its blocks in templates."""
MERGES = STAGES[:-1]
"""The stages that a halving of the map follows."""


def blocks(template: str) -> list[str]:
    """A library's name for a block, for each stage. `%d` in it stands for the stage, `%s` for the placeholder of the block."""
    return [template % (stage, f"{{{letter}}}") for stage, letter in STAGES]


def encoder(
    *,
    stem: tuple[str, str],
    blocks: Sequence[str],
    merges: Sequence[tuple[str, str]],
    conv: str,
    norm: str,
    mlp: tuple[str, str],
    scale: str,
    scale_axes: str = "{d}",
    mlp_axes: str = "{} {}",
) -> tuple[Rule, ...]:
    """The rules of stem, blocks and halvings, by a library's names. Names within a block are relative to it.

    `stem` names its convolution and norm, `blocks` has one template a stage, `merges` the norm and convolution of each halving.
    `scale_axes` and `mlp_axes` are how a library stores the layer scale and the two matrices.
    """
    rules = [*affine(stem[0], "stem.conv", "d0 chan y x", "d0"), *affine(stem[1], "stem.norm", "d0", "d0")]
    for (stage, letter), key in zip(STAGES, blocks, strict=True):
        holds, d, m = f"stages.{stage}.{{{letter}}}", f"d{stage}", f"m{stage}"
        rules += (
            *affine(f"{key}.{conv}", f"{holds}.conv", f"{d} 1 ky kx -> {d} ky kx", d),
            *affine(f"{key}.{norm}", f"{holds}.norm", d, d),
            *affine(f"{key}.{mlp[0]}", f"{holds}.fc1", f"{mlp_axes.format(m, d)} -> {m} {d}", m),
            *affine(f"{key}.{mlp[1]}", f"{holds}.fc2", f"{mlp_axes.format(d, m)} -> {d} {m}", d),
            Rule(f"{key}.{scale}", (f"{holds}.scale",), f"{scale_axes.format(d=d)} -> {d}"),
        )
    for (stage, _), (before, halving) in zip(MERGES, merges, strict=True):
        rules += affine(before, f"merges.{stage}.norm", f"d{stage}", f"d{stage}")
        rules += affine(halving, f"merges.{stage}.conv", f"d{stage + 1} d{stage} row col", f"d{stage + 1}")
    return tuple(rules)
