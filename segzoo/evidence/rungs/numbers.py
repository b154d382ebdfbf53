"""The fourth rung: the torch backbone against an independent reference."""

from collections.abc import Iterator
from dataclasses import asdict, replace
from importlib.util import find_spec

import numpy as np

from segzoo.conversion.plan import plan, refusal
from segzoo.conversion.run import run
from segzoo.errors import ConversionError, Skip
from segzoo.evidence.check import Check, proved
from segzoo.evidence.ladder import Climb
from segzoo.formats import Weights
from segzoo.layouts import LAYOUTS
from segzoo.manifest.entries import Backbone


def check_numbers(climb: Climb) -> Check:
    for module, extra in (("torch", "eval"), ("jax", "jax")):
        if find_spec(module) is None:
            raise Skip(f"no {module}", f"{module} is not installed: pip install 'segzoo[{extra}]'")
    if refusal(climb.found, LAYOUTS["augreg"]):
        return Check("numbers", "n/a", "n/a", "the JAX reference is of AugReg's models, which have no distillation token")
    basis = climb.basis
    if known := climb.known("numbers", basis):
        return known
    from segzoo.evidence.rungs.parity import differences, gelu_drift, probe
    from segzoo.models.segmentor import build

    opened, geometry = climb.opened, replace(climb.geometry, decoder=None)
    eps = climb.entry.eps if isinstance(climb.entry, Backbone) else climb.entry.backbone.eps
    climb.setting.said("comparing with JAX", 0, None)
    backbone = {
        key.removeprefix("backbone."): array for key, array in _in_layout("mmseg", opened, geometry.heads) if not key.startswith("decode_head.")
    }
    model = build(geometry, backbone, eps)
    augreg = dict(_in_layout("augreg", opened, geometry.heads))
    image = probe(geometry.patch * (geometry.grid or 1))
    found = differences(model, augreg, image, eps)  # type: ignore[arg-type]
    worst = {dtype: max(one.relative for one in found if one.dtype == dtype) for dtype in ("float64", "float32")}
    if wrong := next((one for one in found if not one.passed), None):
        raise ConversionError(f"torch and JAX part at {wrong.name}: {wrong.relative:.1e} in {wrong.dtype}, relative to the largest value")
    drift = gelu_drift(augreg, image, eps)
    whose = " of the backbone" if climb.geometry.decoder else ""  # the reference has no decoder: mIoU alone judges that
    detail = f"torch against JAX, {len(found) // 2} intermediates{whose}: {worst['float64']:.1e} in float64, {worst['float32']:.1e} in float32"
    detail += f" (GELU erf on both sides; flax's tanh form would move the tokens by {drift:.1e})"
    facts = {"intermediates": [asdict(one) for one in found], "gelu_tanh_drift": drift, "eps": eps}
    return Check("numbers", "passed", proved("numbers", facts), detail, facts, basis)


def _in_layout(name: str, opened: Weights, heads: int | None) -> Iterator[tuple[str, np.ndarray]]:
    """The file's tensors in a layout, under the names that it writes: a file may have others."""
    return run(plan(opened.specs, name, heads=heads), opened)
