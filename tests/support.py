"""What many tests start from, and how they compare."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from segzoo.manifest.document import packaged
from segzoo.spec import Spec

GOLDEN = Path(__file__).parent / "data"
MINI = packaged("mini/zoo.yaml").parent
TAME = MINI / "mini.tame.npz"
CROPS = ["crop10x16", "crop33x64", "crop40x56", "crop64x64"]


def slow_after(quick, cases, mark=pytest.mark.slow):
    """The cases as parameters: the first few run always, the others only with `-m slow`, or with another mark."""
    return [case if index < quick else pytest.param(case, marks=mark) for index, case in enumerate(cases)]


def thorough_after(quick, cases):
    """The cases as parameters: the first few run always, the others only with `-m thorough`."""
    return slow_after(quick, cases, pytest.mark.thorough)


def specs_of(tensors) -> dict[str, Spec]:
    return {name: Spec(array.shape, array.dtype.name) for name, array in tensors.items()}


def arrays(path) -> dict[str, np.ndarray]:
    """The arrays of an npz, which is closed: a cycle of a tracer's may keep what a test holds, and an open file is an error."""
    with np.load(path) as opened:
        return dict(opened)


def same(mine, theirs) -> bool:
    """Same names, dtypes, shapes and numbers."""
    return mine.keys() == theirs.keys() and all(
        mine[name].dtype == theirs[name].dtype and np.array_equal(mine[name], theirs[name]) for name in theirs
    )


def tensors_of(path):
    """The tensors of a file, read."""
    from segzoo.formats import open_weights

    return dict(open_weights(path))


def remapped(tensors, to, **known):
    """The tensors in another layout."""
    from segzoo.conversion.plan import plan
    from segzoo.conversion.run import run

    return dict(run(plan(specs_of(tensors), to, **known), tensors))


def without(tensors, pattern):
    """The tensors whose names the pattern does not find."""
    return {name: one for name, one in tensors.items() if not re.search(pattern, name)}


def of_the_model(path):
    """The tensors of a file without its auxiliary head."""
    return without(tensors_of(path), "^auxiliary_head")


def in_shards(tensors, folder, kind="safetensors"):
    """Torch tensors as transformers' `save_pretrained(max_shard_size=...)` leaves them, in either of its formats. Returns the index."""
    import torch
    from safetensors.torch import save_file

    folder.mkdir(exist_ok=True)
    stem, places = "model" if kind == "safetensors" else "pytorch_model", {}
    for shard in range(3):
        name = f"{stem}-{shard + 1:05}-of-00003.{kind}"
        part = {key: tensors[key] for key in sorted(tensors)[shard::3]}
        save_file(part, folder / name) if kind == "safetensors" else torch.save(part, folder / name)
        places |= dict.fromkeys(part, name)
    index = folder / f"{stem}.{kind}.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": places}))
    return index


def golden_model(head, without=()):
    """The Segmenter whose intermediates mmseg itself has written down, from its file without some of the tensors."""
    from segzoo.conversion.plan import plan
    from segzoo.conversion.run import run
    from segzoo.formats import open_weights
    from segzoo.layouts import OWN
    from segzoo.models.segmentor import build

    weights = open_weights(GOLDEN / "mmseg" / "checkpoints" / f"mini_{head}.pth")
    steps = plan({name: spec for name, spec in weights.specs.items() if name not in without}, OWN["vit"], heads=2)
    decoder = replace(steps.geometry.decoder, heads=2 if head == "mask" else None)
    return build(steps.layout.family, replace(steps.geometry, decoder=decoder), dict(run(steps, weights)))


UNUSUAL = """
version: 1
backbones:
  odd:
    title: Four channels, 2 x 8 positions, no bias of the patches
    file: odd.pth
    source: {name: odd.pth, layout: mmseg, urls: [odd.pth]}
    geometry: {width: 8, depth: 1, heads: 2, mlp: 16, patch: 4, grid: [2, 8], channels: 4, absent: [patch bias]}
"""


def odd_zoo(folder):
    """A manifest with one backbone, random: what is unusual about it stands in its title."""
    import torch

    generator = torch.Generator().manual_seed(3)
    norms = {f"{norm}.{part}": (8,) for norm in ("layers.0.ln1", "layers.0.ln2", "ln1") for part in ("weight", "bias")}
    shapes = norms | {"cls_token": (1, 1, 8), "pos_embed": (1, 17, 8), "patch_embed.projection.weight": (8, 4, 4, 4)}
    shapes |= {"layers.0.attn.attn.in_proj_weight": (24, 8), "layers.0.attn.attn.in_proj_bias": (24,), "layers.0.ffn.layers.0.0.weight": (16, 8)}
    shapes |= {"layers.0.attn.attn.out_proj.weight": (8, 8), "layers.0.attn.attn.out_proj.bias": (8,), "layers.0.ffn.layers.0.0.bias": (16,)}
    shapes |= {"layers.0.ffn.layers.1.weight": (8, 16), "layers.0.ffn.layers.1.bias": (8,)}
    torch.save({name: torch.randn(*shape, generator=generator) for name, shape in shapes.items()}, folder / "odd.pth")
    (folder / "zoo.yaml").write_text(UNUSUAL)
    return folder / "zoo.yaml"
