"""The fourth rung: does the torch backbone compute what an independent reference computes?"""

from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import partial

import numpy as np

from segzoo.conversion.checkpoint import Checkpoint
from segzoo.conversion.fit import refusal
from segzoo.conversion.plan import plan
from segzoo.conversion.run import run
from segzoo.errors import ConversionError, Skip
from segzoo.evidence.check import Check, proved
from segzoo.evidence.ladder import Climb
from segzoo.extras import lacking
from segzoo.layouts import LAYOUTS, OWN, head_of, neck_of
from segzoo.layouts.layout import Layout


def check_numbers(climb: Climb) -> Check:
    """Compare every intermediate of the backbone in float64 and float32.

    Raises ConversionError for the first intermediate that is off, Skip if a library is not installed.
    """
    file, reference = climb.file, climb.file.family.reference
    if reference is None:
        return Check("numbers", "n/a", "n/a", f"there is no independent reference of the family '{file.family.name}'")
    for module in ("torch", reference.library):
        if fault := lacking(module):
            raise Skip(f"no {module}", f"{fault.message}: {fault.hint}")
    layouts, names = LAYOUTS[file.family.name], OWN[file.family.name]
    may = (replace(layouts[name], sections={**reference.also, **layouts[name].sections}) for name in reference.layouts)
    read = next((layout for layout in may if not refusal(file.found, layout)), None)
    if read is None or refusal(file.found, names):
        return Check("numbers", "n/a", "n/a", reference.limit)
    network = names if refusal(file.found, layouts[reference.network]) else layouts[reference.network]
    basis = climb.basis
    if known := climb.known("numbers", basis):
        return known
    from segzoo.evidence.rungs.parity import differences, probe
    from segzoo.models.references import reference_of
    from segzoo.models.segmentor import build_backbone

    climb.setting.said(f"comparing with {reference.title}", 0, None)
    eps, theirs = climb.entry.eps, reference_of(file.family.name)
    own = _in_layout(network, file)
    if file.found.absent:  # biases, which the network always has
        own = {**_in_layout(names, file), **own}
    model = build_backbone(file.family, file.geometry, own, eps=eps)
    tensors, image = _in_layout(read, file), probe(file.family.image(file.geometry))
    hidden = {name: getattr(file.geometry, name) for name in reference.told}
    found = differences(model, partial(theirs.intermediates, **hidden), tensors, image, eps)
    worst = {dtype: max(one.relative for one in found if one.dtype == dtype) for dtype in ("float64", "float32")}
    if wrong := next((one for one in found if not one.passed), None):
        where = f"torch and {reference.title} part at {wrong.name}"
        raise ConversionError(f"{where}: {wrong.relative:.1e} in {wrong.dtype}, relative to the largest value")
    facts, remark = theirs.remarks(tensors, image, eps, **hidden)
    whose = " of the backbone" if file.geometry.decoder else ""  # the reference has no decoder: only mIoU judges a decoder
    detail = f"torch against {reference.title}, {len(found) // 2} intermediates{whose}: "
    detail += f"{worst['float64']:.1e} in float64, {worst['float32']:.1e} in float32{remark}"
    facts = {"intermediates": [asdict(one) for one in found], **facts, "eps": eps}
    return Check("numbers", "passed", proved("numbers", facts), detail, facts, basis)


def _in_layout(to: Layout, file: Checkpoint) -> Mapping[str, np.ndarray]:
    """The backbone's tensors under the names that a layout writes. The file itself may use another spelling or prefix."""
    parts = [part.section for part in (neck_of(file.found.sections), head_of(file.found.sections)) if part]
    steps = plan(file.weights.specs, to, found=file.found, heads=file.geometry.heads, drop=parts)
    return dict(run(steps, file.weights))
