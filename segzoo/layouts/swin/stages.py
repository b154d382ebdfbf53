"""The four stages of a Swin Transformer as rules. All libraries have the same tensors; what differs is their names, and one order.

The axes, with the number of the stage behind: `d` width, `e` attention width (equal to d), `m` mlp, `heads`. `table` relative positions,
`y x` patch sides, `chan` channels of the image, `row col` the place of one of the four neighbours that a merging joins, `classes`.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from math import isqrt
from typing import Any

from segzoo.layouts.rule import Buffer, Nested, Rule, affine

STAGES = tuple(enumerate("wxyz"))
"""The stages, each with the letter that counts its blocks in templates."""
MERGES = STAGES[:-1]
"""The stages that a merging of patches follows."""

NEIGHBOURS = "col row d{}"
"""In what order most libraries join four neighbours: one after the other, those of a column together. `{}` stands for the stage."""


def blocks(template: str) -> list[str]:
    """A library's name for a block, for each stage. `%d` in it stands for the stage, `%s` for the placeholder of the block."""
    return [template % (stage, f"{{{letter}}}") for stage, letter in STAGES]


def encoder(
    *,
    patch: str,
    patch_norm: str,
    blocks: Sequence[str],
    merges: Sequence[str],
    norms: tuple[str, str],
    table: str,
    qkv: str | tuple[str, str, str],
    proj: str,
    mlp: tuple[str, str],
    neighbours: str = NEIGHBOURS,
) -> tuple[Rule, ...]:
    """The rules of patch embedding, blocks and mergings, by a library's names. Names within a block are relative to it.

    `blocks` has one template a stage, `merges` one name a merging. `qkv` is one name where a library joins query, key and value in one tensor.
    `neighbours` is the order of a merging's inputs; the canonical one is a convolution's, channels first.
    """
    return (
        *affine(patch, "patch", "d0 chan y x", "d0"),
        *affine(patch_norm, "patch.norm", "d0", "d0"),
        *(rule for (stage, letter), key in zip(STAGES, blocks, strict=True) for rule in _block(stage, letter, key, norms, table, qkv, proj, mlp)),
        *(rule for (stage, _), key in zip(MERGES, merges, strict=True) for rule in _merge(stage, key, neighbours)),
    )


def _block(
    stage: int, letter: str, key: str, norms: tuple[str, str], table: str, qkv: str | tuple[str, str, str], proj: str, mlp: tuple[str, str]
) -> tuple[Rule, ...]:
    holds, d, e, m = f"stages.{stage}.{{{letter}}}", f"d{stage}", f"e{stage}", f"m{stage}"
    parts = [f"{holds}.{part}" for part in "qkv"]
    if isinstance(qkv, str):
        attention: tuple[Rule, ...] = (
            Rule(f"{key}.{qkv}.weight", tuple(f"{part}.weight" for part in parts), f"(s {e}) {d} -> s {e} {d}"),
            Rule(f"{key}.{qkv}.bias", tuple(f"{part}.bias" for part in parts), f"(s {e}) -> s {e}"),
        )
    else:
        attention = tuple(rule for name, part in zip(qkv, parts, strict=True) for rule in affine(f"{key}.{name}", part, f"{e} {d}", e))
    return (
        *affine(f"{key}.{norms[0]}", f"{holds}.norm1", d, d),
        Rule(f"{key}.{table}", (f"{holds}.table",), f"table heads{stage}"),
        *attention,
        *affine(f"{key}.{proj}", f"{holds}.proj", f"{d} {e}", d),
        *affine(f"{key}.{norms[1]}", f"{holds}.norm2", d, d),
        *affine(f"{key}.{mlp[0]}", f"{holds}.fc1", f"{m} {d}", m),
        *affine(f"{key}.{mlp[1]}", f"{holds}.fc2", f"{d} {m}", d),
    )


def _merge(stage: int, key: str, neighbours: str) -> tuple[Rule, ...]:
    """A norm and a matrix on four neighbours. No name or shape tells in which order they are joined."""
    after, theirs, ours = f"d{stage + 1}", f"({neighbours.format(stage)})", f"(d{stage} row col)"
    return (
        *affine(f"{key}.norm", f"merges.{stage}.norm", f"{theirs} -> {ours}", f"{theirs} -> {ours}"),
        Rule(f"{key}.reduction.weight", (f"merges.{stage}.reduction.weight",), f"{after} {theirs} -> {after} {ours}"),
    )


def index(sizes: Mapping[str, int], places: Any) -> Nested:
    """Which row of the table holds the bias of each pair of tokens in a window: (window x window, window x window)."""
    return _index(sizes["table"])


def flat_index(sizes: Mapping[str, int], places: Any) -> Nested:
    """The same in one row."""
    return _flat(sizes["table"])


def pairs(sizes: Mapping[str, int]) -> int:
    """How many numbers an index has: one for each pair of tokens."""
    return _side(sizes["table"]) ** 4


def _side(table: int) -> int:
    """The side of the window that a table of relative positions is for."""
    return (isqrt(table) + 1) // 2


@cache
def _index(table: int) -> list[Nested]:
    side = _side(table)
    tokens = [(row, column) for row in range(side) for column in range(side)]
    return [[(row - other + side - 1) * (2 * side - 1) + column - across + side - 1 for other, across in tokens] for row, column in tokens]


@cache
def _flat(table: int) -> list[Nested]:
    return [one for row in _index(table) if isinstance(row, list) for one in row]


def indices(keys: Sequence[str], name: str, *, written: bool = True, flat: bool = False) -> tuple[Buffer, ...]:
    """The buffers of all blocks that look up relative positions. `keys` are the templates of the blocks, `name` is relative to them."""
    return tuple(Buffer(f"{key}.{name}", flat_index if flat else index, pairs, written) for key in keys)
