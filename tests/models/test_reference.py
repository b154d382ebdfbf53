"""The JAX reference against the outputs of flax's own model; torch against the reference."""

import numpy as np
import pytest
from support import GOLDEN, TAME

from segzoo.conversion.plan import plan
from segzoo.conversion.run import run
from segzoo.evidence.rungs.parity import differences, probe
from segzoo.formats import open_weights
from segzoo.layouts.vit import VIT
from segzoo.models.segmentor import build
from segzoo.models.vit.reference import forward, intermediates, remarks

NAMES = {"logits": "logits", "tokens": "final_norm", "embed": "patch_embed", "block_0": "block0", "block_1": "block1", "block_2": "block2"}
REGIMES = {"tame": TAME, "outlier": GOLDEN / "augreg" / "mini.outlier.npz"}
# relative to the largest value: float32 noise of another order of additions, and float64's
CASES = [("flax_f32", np.float32, "tanh", 5e-6), ("flax_f64", np.float64, "tanh", 1e-13), ("flax_f64erf", np.float64, "erf", 1e-13)]


@pytest.mark.parametrize("regime", REGIMES)
@pytest.mark.parametrize(("oracle", "dtype", "gelu", "tolerance"), CASES, ids=[case[0] for case in CASES])
def test_the_reference_is_flax(regime, oracle, dtype, gelu, tolerance):
    golden = np.load(GOLDEN / "augreg" / f"mini.{regime}.{oracle}.npz")
    seen = forward(open_weights(REGIMES[regime]), np.load(GOLDEN / "augreg" / "mini.input.npy"), gelu=gelu, dtype=dtype)
    for theirs, ours in NAMES.items():
        expected = golden[theirs].reshape(seen[ours].shape)
        assert seen[ours].dtype == dtype
        assert np.abs(seen[ours] - expected).max() <= tolerance * np.abs(expected).max(), theirs


@pytest.mark.parametrize("regime", REGIMES)
def test_torch_is_the_reference(regime):
    weights = open_weights(REGIMES[regime])
    steps = plan(weights.specs, "mmseg")
    model = build(VIT, steps.geometry, dict(run(steps, weights)))
    found = differences(model, intermediates, weights, probe((64, 64, 3)), 1e-6)
    assert [one.name for one in found if one.dtype == "float64"] == ["patch_embed", "after_pos", "block0", "block1", "block2", "final_norm"]
    assert all(one.passed for one in found)
    assert max(one.relative for one in found if one.dtype == "float64") < 1e-13
    other_eps = differences(build(VIT, steps.geometry, dict(run(steps, weights)), eps=1e-5), intermediates, weights, probe((64, 64, 3)), 1e-6)
    assert next(one for one in other_eps if not one.passed).name == "block0"


def test_the_tanh_form_of_gelu_is_told_apart():
    facts, said = remarks(open_weights(TAME), probe((64, 64, 3)), 1e-6)
    assert 5e-5 < facts["gelu_tanh_drift"] < 5e-3
    assert f"{facts['gelu_tanh_drift']:.1e}" in said
