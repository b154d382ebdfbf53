"""The names that transformers' flax classes give to tensors (transformers 4.57.1, the last with flax), made of those of its torch classes."""

import re
from dataclasses import replace

from segzoo.layouts.layout import Beside, Layout
from segzoo.layouts.rule import Rule


def in_flax(layout: Layout) -> Layout:
    """The table under flax's names: `/` between the words, matrices (in, out), convolutions with the channels last."""
    return replace(
        layout,
        prefixes=tuple(map(_key, layout.prefixes)),
        beside=tuple(map(_beside, layout.beside)),
        buffers=(),  # flax counts positions where it needs them
        sections={name: tuple(map(_rule, rules)) for name, rules in layout.sections.items()},
    )


def _key(name: str) -> str:
    return name.replace(".", "/")


def _beside(one: Beside) -> Beside:
    return replace(one, starts=tuple(map(_key, one.starts)), ends=tuple(map(_key, one.ends)), prefix=one.prefix and _key(one.prefix))


def _rule(rule: Rule) -> Rule:
    """The rule for the same tensor. A table of embeddings is no matrix, and is not turned."""
    key, axes = _key(rule.key), re.findall(r"\([^)]*\)|\S+", rule.native)
    module = key.removesuffix("/weight")
    if module == key:
        return replace(rule, key=key)
    if module.endswith("_embedding") and len(axes) == 2:
        return replace(rule, key=f"{module}/embedding")
    turned = [*axes[2:], axes[1], axes[0]] if len(axes) > 1 else axes
    return Rule(f"{module}/{'kernel' if len(axes) > 1 else 'scale'}", rule.holds, f"{' '.join(turned)} -> {rule.canonical}")
