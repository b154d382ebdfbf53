"""How large an entry's file will be, where nobody has said it."""

from segzoo.layouts import LAYOUTS
from segzoo.layouts.extent import nbytes
from segzoo.manifest.entries import Entry, family_of, geometry_of


def likely_size(entry: Entry) -> int | None:
    """Bytes of the tensors that the layout's table and the sizes in the manifest speak of; None where the manifest names no layout, or one
    without a place for the model.

    The file is larger: by names, and by what its publisher left in it that the model does not use, such as auxiliary heads (0 to 3 % in
    MMSegmentation's files).
    """
    layout = LAYOUTS[family_of(entry).name].get(entry.artifact.layout or "")
    return None if layout is None else nbytes(layout, geometry_of(entry), entry.artifact.dtype)
