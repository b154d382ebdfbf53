"""Before scoring: do the labels of the data set fit the rule by which they are read?"""

from collections.abc import Sequence

from segzoo.datasets.misfits import misfits
from segzoo.datasets.sample import Sample
from segzoo.datasets.survey import survey
from segzoo.store.store import Progress


def labels_fit(chosen: Sequence[Sample], everything: Sequence[Sample], names: Sequence[str], said: Progress) -> list[str]:
    """What is to be said of the labels of the chosen images. Raises EnvironmentFault for what cannot be right.

    Few images may look wrong by chance. If they do, the labels of all images are counted before anything is refused.
    """
    found = survey(chosen, lambda done: said(done, len(chosen)))
    remarks = list(misfits(found, names, len(chosen) == len(everything)))
    if any(one.certain for one in remarks) and len(chosen) < len(everything):
        others = set(everything) - set(chosen)
        found = survey([sample for sample in everything if sample in others], lambda done: said(done, len(others)), found)
        remarks = list(misfits(found, names, whole=True))
    for one in remarks:
        if one.certain:
            raise one.fault
    return [one.said for one in remarks]
