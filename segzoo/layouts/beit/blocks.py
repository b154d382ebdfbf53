"""The blocks of a BEiT as rules, and the index into its tables of relative positions. What differs between libraries are names.

The axes: `d` width, `e` attention width (equal to d), `m` mlp, `heads`, `n` tokens without the class token, `table` relative positions, `y x` patch
sides, `chan` channels of the image, `classes`.
"""

from array import array
from collections.abc import Mapping
from functools import lru_cache
from math import isqrt

from segzoo.layouts.rule import Nested, Rule, affine

QKV = tuple(f"blocks.{{i}}.{part}" for part in "qkv")


def stem(token: str, patch: str) -> tuple[Rule, ...]:
    """The rules of class token and patch embedding, by a library's names."""
    return Rule(token, ("cls",), "1 1 d"), *affine(patch, "patch", "d chan y x")


def positions(key: str) -> tuple[Rule, ...]:
    """The rule of the absolute positions, the class token's first."""
    return (Rule(key, ("pos.cls", "pos.grid"), "1 1+n d"),)


def encoder(block: str, *, norms: tuple[str, str], qkv: str | tuple[str, str, str], proj: str, mlp: tuple[str, str]) -> tuple[Rule, ...]:
    """The rules of all blocks without biases of attention, by a library's names relative to a block.

    `qkv` is one name where a library joins query, key and value in one tensor.
    """
    joined = isinstance(qkv, str)
    attention = (
        (Rule(f"{block}.{qkv}.weight", tuple(f"{part}.weight" for part in QKV), "(s e) d -> s e d"),)
        if joined
        else tuple(Rule(f"{block}.{name}.weight", (f"{part}.weight",), "e d") for name, part in zip(qkv, QKV, strict=True))
    )
    return (
        *affine(f"{block}.{norms[0]}", "blocks.{i}.norm1", "d"),
        *attention,
        *affine(f"{block}.{proj}", "blocks.{i}.proj", "d e"),
        *affine(f"{block}.{norms[1]}", "blocks.{i}.norm2", "d"),
        *affine(f"{block}.{mlp[0]}", "blocks.{i}.fc1", "m d", "m"),
        *affine(f"{block}.{mlp[1]}", "blocks.{i}.fc2", "d m"),
    )


def two_biases(query: str, value: str) -> tuple[Rule, ...]:
    """The rules of a BEiT's biases of queries and values."""
    return Rule(query, ("blocks.{i}.q.bias",), "e"), Rule(value, ("blocks.{i}.v.bias",), "e")


def joined_biases(key: str) -> tuple[Rule, ...]:
    """The rule of biases of queries, keys and values in one tensor."""
    return (Rule(key, tuple(f"{part}.bias" for part in QKV), "(s e) -> s e"),)


def tables(key: str) -> tuple[Rule, ...]:
    """The rule of the relative positions, a table a block."""
    return (Rule(key, ("blocks.{i}.table",), "table heads"),)


def scales(first: str, second: str) -> tuple[Rule, ...]:
    """The rules of LayerScale: what each half of a block is multiplied by, channel by channel."""
    return Rule(first, ("blocks.{i}.scale1",), "d"), Rule(second, ("blocks.{i}.scale2",), "d")


def index(sizes: Mapping[str, int], places: Mapping[str, int]) -> Nested:
    """Which row of the table holds the bias of each pair of tokens, the class token first: (1 + window x window, 1 + window x window).

    The last three rows are for the class token and another one, for another one and the class token, and for the class token alone.
    """
    return _index(sizes["table"])


def pairs(sizes: Mapping[str, int]) -> int:
    """How many numbers the index has: one for each pair of tokens, the class token among them."""
    return (_side(sizes["table"]) ** 2 + 1) ** 2


def _side(table: int) -> int:
    """The side of the window that a table of relative positions is for."""
    return (isqrt(table - 3) + 1) // 2


@lru_cache(1)  # 20 MB at 640 pixels, the same in each of 24 blocks
def _index(table: int) -> memoryview:
    side = _side(table)
    across = 2 * side - 1
    values = array("q", [table - 1, *[table - 3] * side**2])
    columns = [  # for a token of each column: the rows of the table for all tokens up to side - 1 rows below and above it
        array("q", [row * across + column + side - 1 - other for row in reversed(range(across)) for other in range(side)]) for column in range(side)
    ]
    for row in range(side):
        begin = (side - 1 - row) * side
        for column in columns:
            values.append(table - 2)
            values += column[begin : begin + side**2]
    return memoryview(values).toreadonly().cast("B").cast("q", (side**2 + 1, side**2 + 1))
