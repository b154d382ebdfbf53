"""The second rung: are layout, geometry and dtype those of the manifest?"""

from dataclasses import asdict

from segzoo.evidence.check import Check, proved
from segzoo.evidence.ladder import Climb
from segzoo.zoo.opened import disagreements, open_entry


def check_names(climb: Climb) -> Check:
    """Open the file and hold it to its entry. Raises ConversionError for what differs."""
    file = climb.file = open_entry(climb.entry, climb.fetched.path)
    layout, weights = file.found.layout.name, file.weights
    facts = {"layout": layout, "tensors": len(weights), "dtype": climb.entry.artifact.dtype}
    facts |= {"geometry": asdict(file.geometry), "notes": list(weights.notes)}
    detail = f"{layout}, {len(weights)} tensors, {file.geometry}"
    if assumed := climb.setting.assumed.get(climb.fetched.sha256):
        facts["assumed"] = list(assumed)
        detail += f"; no manifest describes the file: {'; '.join(assumed)}"
    if apart := list(disagreements(file, climb.entry)):
        facts["apart"] = apart
        detail += f"; the file itself says otherwise: {'; '.join(apart)}"
    return Check("names", "passed", proved("names", facts), detail, facts)
