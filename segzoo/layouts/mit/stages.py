"""The four stages of a MiT as rules. All libraries have the same numbers; what differs is their names, and what is joined in one tensor.

Its attention is that of a Twins PCPVT, in axes too. The other axes, with the number of the stage behind: `d` width, `m` mlp, `y x` patch sides.
`chan` channels of the image, `ky kx` sides of the convolutions within the MLPs, `classes`.
"""

from collections.abc import Sequence

from segzoo.layouts.rule import Rule, affine
from segzoo.layouts.twins.stages import STAGES


def encoder(
    *, patches: Sequence[tuple[str, str]], blocks: Sequence[str], norms: tuple[str, str], mlp: tuple[str, str, str], matrix: str = ""
) -> tuple[Rule, ...]:
    """The rules of all but the attention and the norms of the outputs, by a library's names.

    `patches` has the names of a stage's patch embedding and its norm. `blocks` has one template a stage; the other names are relative to it.
    `mlp` are the two layers with the convolution between them. `matrix` has the axes that a library gives to the two layers beyond a matrix's.
    """
    rules: list[Rule] = []
    for (stage, letter), (conv, norm), key in zip(STAGES, patches, blocks, strict=True):
        d, m, holds = f"d{stage}", f"m{stage}", f"stages.{stage}.{{{letter}}}"
        expand, within, contract = (f"{key}.{name}" for name in mlp)
        rules += affine(conv, f"patches.{stage}", f"{d} {f'd{stage - 1}' if stage else 'chan'} y{stage} x{stage}", d)
        rules += affine(norm, f"patches.{stage}.norm", d, d)
        rules += affine(f"{key}.{norms[0]}", f"{holds}.norm1", d, d)
        rules += affine(f"{key}.{norms[1]}", f"{holds}.norm2", d, d)
        rules += affine(expand, f"{holds}.fc1", f"{m} {d}{matrix} -> {m} {d}", m)
        rules += affine(within, f"{holds}.conv", f"{m} 1 ky kx -> {m} ky kx", m)
        rules += affine(contract, f"{holds}.fc2", f"{d} {m}{matrix} -> {d} {m}", d)
    return tuple(rules)
