"""Stem and stages of a ResNet of bottlenecks as rules. All libraries have the same tensors; what differs is their names.

The axes, with the number of the stage behind: `m` width within a bottleneck, `g` that into its second convolution (equal to m), `d` width of the
stage's output, `in0x0` and so on width of a block's input, by stage and block. `stem` width of the stem, `chan` channels of the image, `sy sx` sides
of the stem's convolution, `ky kx` sides of a bottleneck's second one, `classes`.
"""

from collections.abc import Sequence

from segzoo.layouts.rule import Rule, batch_norm

STAGES = tuple(enumerate("wxyz"))
"""The stages, each with the letter that counts its blocks in templates."""

Layer = tuple[str, str]
"""A library's names of a convolution and of the norm after it."""


def blocks(template: str) -> list[str]:
    """A library's name for a block, for each stage. `%d` in it stands for the stage, `%s` for the placeholder of the block."""
    return [template % (stage, f"{{{letter}}}") for stage, letter in STAGES]


def sections(*, stem: Layer, blocks: Sequence[str], layers: Sequence[Layer], shortcut: Layer) -> dict[str, tuple[Rule, ...]]:
    """The sections of stem and bottlenecks, by a library's names. Names within a block are relative to it.

    `blocks` has one template a stage, `layers` the three layers of a bottleneck. The first block of each stage has a `shortcut`.
    How many batches each norm has seen is a section of its own: files of before torch 0.4.1 do not have it.
    """
    found = [(stem, "stem", "stem chan sy sx", "stem")]
    for (stage, letter), key in zip(STAGES, blocks, strict=True):
        m, d, into = f"m{stage}", f"d{stage}", f"in{stage}x"
        block, holds = f"{{{letter}}}", f"stages.{stage}.{{{letter}}}"
        patterns = ((f"{m} {into}{block} 1 1 -> {m} {into}{block}", m), (f"{m} g{stage} ky kx", m), (f"{d} {m} 1 1 -> {d} {m}", d))
        for place, ((conv, norm), pattern) in enumerate(zip(layers, patterns, strict=True)):
            found.append(((f"{key}.{conv}", f"{key}.{norm}"), f"{holds}.{place}", *pattern))
        first = key.replace(block, "0")
        names = (f"{first}.{shortcut[0]}", f"{first}.{shortcut[1]}")
        found.append((names, f"stages.{stage}.shortcut", f"{d} {into}0 1 1 -> {d} {into}0", d))
    rules: dict[str, list[Rule]] = {"encoder": [], "batch counts": []}
    for (conv, norm), holds, axes, width in found:
        *normed, batches = batch_norm(norm, f"{holds}.norm", width)
        rules["encoder"] += [Rule(f"{conv}.weight", (f"{holds}.conv.weight",), axes), *normed]
        rules["batch counts"].append(batches)
    return {name: tuple(some) for name, some in rules.items()}
