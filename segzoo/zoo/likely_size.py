"""How large an entry's file will be, where nobody has said it, and how many parameters its model has."""

from collections.abc import Callable

from segzoo.layouts import LAYOUTS, extent
from segzoo.layouts.family import Geometry
from segzoo.layouts.layout import Layout
from segzoo.manifest.entries import Entry, family_of, geometry_of


def likely_size(entry: Entry) -> int | None:
    """Bytes of the tensors that the layout's table and the sizes in the manifest speak of; None where the manifest names no layout, or one
    without a place for the model.

    The file is larger: by names, and by what its publisher left in it that the model does not use, such as auxiliary heads (0 to 3 % in
    MMSegmentation's files).
    """
    return _by_table(entry, lambda layout, geometry: extent.nbytes(layout, geometry, entry.artifact.dtype))


def parameters(entry: Entry) -> int | None:
    """The parameters of the model, without statistics of batch norms; None where `likely_size` is."""
    return _by_table(entry, extent.parameters)


def _by_table(entry: Entry, of: Callable[[Layout, Geometry], int | None]) -> int | None:
    layout = LAYOUTS[family_of(entry).name].get(entry.artifact.layout or "")
    return None if layout is None else of(layout, geometry_of(entry))
