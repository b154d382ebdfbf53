"""The second rung: layout, geometry and dtype are those of the manifest."""

from dataclasses import asdict

from segzoo.evidence.check import Check, proved
from segzoo.evidence.ladder import Climb
from segzoo.zoo.opened import open_entry


def check_names(climb: Climb) -> Check:
    file = climb.file = open_entry(climb.entry, climb.fetched.path)
    layout, weights = file.found.layout.name, file.weights
    facts = {"layout": layout, "tensors": len(weights), "dtype": climb.entry.artifact.dtype}
    facts |= {"geometry": asdict(file.geometry), "notes": list(weights.notes)}
    return Check("names", "passed", proved("names", facts), f"{layout}, {len(weights)} tensors, {file.geometry}", facts)
