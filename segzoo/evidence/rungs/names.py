"""The second rung: layout, geometry and dtype are those of the manifest."""

from dataclasses import asdict

from segzoo.evidence.check import Check, proved
from segzoo.evidence.ladder import Climb
from segzoo.zoo.opened import read


def check_names(climb: Climb) -> Check:
    source = read(climb.entry, climb.fetched.path)
    climb.opened, climb.found, climb.geometry = source.opened, source.found, source.geometry
    layout, dtype, opened = source.found.layout.name, climb.entry.artifact.dtype, source.opened
    facts = {"layout": layout, "tensors": len(opened), "dtype": dtype, "geometry": asdict(source.geometry), "notes": list(opened.notes)}
    return Check("names", "passed", proved("names", facts), f"{layout}, {len(opened)} tensors, {source.geometry}", facts)
