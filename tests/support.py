"""What many tests start from, and how they compare."""

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


def slow_after(quick, cases):
    """The cases as parameters: the first few run always, the others only with `-m slow`."""
    return [case if index < quick else pytest.param(case, marks=pytest.mark.slow) for index, case in enumerate(cases)]


def specs_of(tensors) -> dict[str, Spec]:
    return {name: Spec(array.shape, array.dtype.name) for name, array in tensors.items()}


def same(mine, theirs) -> bool:
    """Same names, dtypes, shapes and numbers."""
    return mine.keys() == theirs.keys() and all(
        mine[name].dtype == theirs[name].dtype and np.array_equal(mine[name], theirs[name]) for name in theirs
    )


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
