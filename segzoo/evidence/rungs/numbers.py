"""The fourth rung: does the torch backbone compute what an independent reference computes, and the model what somebody has published?"""

from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from segzoo.conversion.checkpoint import Checkpoint
from segzoo.conversion.fit import refusal
from segzoo.conversion.plan import Plan, plan
from segzoo.conversion.run import run
from segzoo.errors import ConversionError, Skip
from segzoo.evidence.check import Check, proved
from segzoo.evidence.ladder import Climb
from segzoo.evidence.rungs.difference import apart, off
from segzoo.extras import lacking
from segzoo.layouts import LAYOUTS, OWN, head_of, neck_of
from segzoo.layouts.family import Reference
from segzoo.layouts.layout import Layout
from segzoo.manifest.entries import Model
from segzoo.manifest.witness import Witness
from segzoo.store.fetched import Fetched


def check_numbers(climb: Climb) -> Check:
    """Compare every intermediate of the backbone with a reference, in float64 and float32; and the model's scores with published ones, where
    the manifest has some and their picture is here.

    Raises ConversionError for the first intermediate or score that is off, Skip if a library is not installed.
    """
    if fault := lacking("torch"):
        raise Skip("no torch", f"{fault.message}: {fault.hint}")
    entry, setting, unjudged = climb.entry, climb.setting, _unjudged(climb.file)
    witness = entry.witness if isinstance(entry, Model) else None
    picture, why = _picture(climb, witness) if witness else (None, "")
    if unjudged and not picture:
        if not witness or unjudged.status == "skipped":
            return replace(unjudged, detail="; ".join(filter(None, [unjudged.detail, why])))
        return Check("numbers", "skipped", "no picture", f"{unjudged.detail}; {why}")
    basis = climb.basis
    if witness:
        basis["reference"] = unjudged is None
    if witness and picture:
        basis["witness"] = witness.basis(picture.sha256)
    if known := climb.known("numbers", basis):
        return known
    facts, said = ({"intermediates": []}, unjudged.detail) if unjudged else _by_reference(climb)
    facts |= {"eps": entry.eps}
    if witness and picture:
        setting.said(f"scores of {witness.picture.name}", 0, None)
        facts["witness"] = _by_witness(climb, witness, picture.path)
        count = sum(map(len, witness.scores))
        said = f"{count} scores of {witness.picture.name} as published, {facts['witness']['apart']:.0e} apart; {said}"
    detail = "; ".join(filter(None, [said, why]))
    return Check("numbers", "passed", proved("numbers", facts), detail, facts, basis)


def _unjudged(file: Checkpoint) -> Check | None:
    """The check that says why no reference judges the file here; None where one does."""
    reference = file.family.reference
    if reference is None:
        return Check("numbers", "n/a", "n/a", f"there is no independent reference of the family '{file.family.name}'")
    if _read(file, reference) is None or refusal(file.found, OWN[file.family.name]):
        return Check("numbers", "n/a", "n/a", reference.limit)
    if fault := lacking(reference.library):
        return Check("numbers", "skipped", f"no {reference.library}", f"{fault.message}: {fault.hint}")
    return None


def _read(file: Checkpoint, reference: Reference) -> Layout | None:
    """The first of the reference's layouts that has a place for the file, with the sections that it can do beyond; None if none has."""
    may = (LAYOUTS[file.family.name][name] for name in reference.layouts)
    return next((one for layout in may if not refusal(file.found, one := replace(layout, sections={**reference.also, **layout.sections}))), None)


def _picture(climb: Climb, witness: Witness) -> tuple[Fetched | None, str]:
    """The picture of a witness, fetched if that is asked for; else why its scores are not compared."""
    if fault := lacking("PIL"):
        return None, f"no scores of {witness.picture.name} compared: {fault.message}: {fault.hint}"
    picture = climb.setting.second_source(witness.picture)
    return picture, "" if picture else f"no scores of {witness.picture.name} compared, which is not on this machine: --equivalents fetches it"


def _by_witness(climb: Climb, witness: Witness, path: Path) -> dict[str, Any]:
    """The model's scores of the picture. Raises ConversionError for the first that is not the published one."""
    from segzoo.evidence.rungs.witness import scores_of
    from segzoo.zoo.loading import module

    mine = scores_of(module(climb.file, climb.entry), path, witness)
    if place := off(mine, witness.scores, witness.tolerance):
        (row, column), (label, top, left) = place, witness.at
        where = f"{witness.picture.name}: class {label}, row {top + row}, column {left + column}"
        raise ConversionError(
            f"{where}: the score is {mine[row][column]:.6g}, published is {witness.scores[row][column]:.6g} to {witness.tolerance:g}",
            hint=f"the file, the picture or the manifest is not that of {witness.source}",
        )
    return {"scores": mine, "apart": apart(mine, witness.scores)}


def _by_reference(climb: Climb) -> tuple[dict[str, Any], str]:
    """The differences of all intermediates, and what is said of them. Raises ConversionError for the first that is off."""
    from segzoo.evidence.rungs.parity import differences, probe
    from segzoo.models.references import reference_of
    from segzoo.models.segmentor import build_backbone

    file, reference, eps = climb.file, climb.file.family.reference, climb.entry.eps
    assert reference is not None  # what has none is unjudged
    climb.setting.said(f"comparing with {reference.title}", 0, None)
    theirs, layout, read = reference_of(file.family.name), LAYOUTS[file.family.name][reference.network], _read(file, reference)
    assert read is not None  # what has none is unjudged
    network = OWN[file.family.name] if refusal(file.found, layout) else layout
    own, names = dict(run(_steps(network, file), file.weights)), _steps(OWN[file.family.name], file)
    if own.keys() != names.specs.keys():  # the network always has biases, which may be absent in a file, and never an index
        own = {name: own.get(name, one) for name, one in run(names, file.weights)}
    model = build_backbone(file.family, file.geometry, own, eps=eps)
    tensors, image = dict(run(_steps(read, file), file.weights)), probe(file.family.image(file.geometry))
    hidden = {name: getattr(file.geometry, name) for name in reference.told}
    found = differences(model, partial(theirs.intermediates, **hidden), tensors, image, eps)
    worst = {dtype: max(one.relative for one in found if one.dtype == dtype) for dtype in ("float64", "float32")}
    if wrong := next((one for one in found if not one.passed), None):
        where = f"torch and {reference.title} part at {wrong.name}"
        raise ConversionError(f"{where}: {wrong.relative:.1e} in {wrong.dtype}, relative to the largest value")
    facts, remark = theirs.remarks(tensors, image, eps, **hidden)
    whose = " of the backbone" if file.geometry.decoder else ""  # the reference has no decoder: a witness or the mIoU judges a decoder
    said = f"torch against {reference.title}, {len(found) // 2} intermediates{whose}: "
    said += f"{worst['float64']:.1e} in float64, {worst['float32']:.1e} in float32{remark}"
    return {"intermediates": [asdict(one) for one in found], **facts}, said


def _steps(to: Layout, file: Checkpoint) -> Plan:
    """What makes the backbone's tensors under the names that a layout writes. The file itself may use another spelling or prefix."""
    parts = [part.section for part in (neck_of(file.found.sections), head_of(file.found.sections)) if part]
    return plan(file.weights.specs, to, found=file.found, heads=file.geometry.heads, drop=parts)
