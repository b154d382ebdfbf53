"""How many bytes the tensors of a file have, and how many parameters a model, by a layout's table and the sizes of a model. No file is needed."""

from collections import Counter
from functools import lru_cache

from segzoo.layouts import HEADS, NECKS
from segzoo.layouts.dimensions import numbers_of
from segzoo.layouts.family import Geometry, Measured
from segzoo.layouts.layout import Layout
from segzoo.layouts.rule import Depths, fill
from segzoo.spec import Spec

_STATISTICS = (".mean", ".var", ".batches")  # of a batch norm, as canonical names end


def shown(layout: Layout, geometry: Geometry) -> Measured | None:
    """What a file of this layout and geometry shows: the inverse of measuring. None where the layout has no place for such a model.

    What a file may lack without being another model is there, unless the geometry says that it is absent. What the geometry does not say
    is not: heads beside the model's own, a pooling head, a second token.
    """
    family, found = layout.family, layout.family.shown(geometry)
    axes, blocks, wanted = dict(family.fixed) | found.axes, dict(found.depths.blocks), set(found.sections)
    levels: int = getattr(geometry.neck, "levels", getattr(geometry.decoder, "levels", 1))
    maps = getattr(geometry, "widths", None) or (getattr(geometry, "width", 0),) * levels
    for part, kinds in ((geometry.neck, NECKS), (geometry.decoder, HEADS)):
        if part is not None:
            kind = kinds[part.kind]
            more, counted = kind.shown(part, maps)
            axes, blocks = axes | more, blocks | counted
            wanted.add(kind.section)
            if kind.section not in layout.sections:
                return None
            maps = (getattr(part, "width", None) or maps[0],) * getattr(part, "levels", len(maps))
    absent = getattr(geometry, "absent", ())
    wanted |= {name for name in layout.optional if name not in absent and family.says_nothing(layout.sections[name])} | layout.needs
    wanted |= {name for name, other in layout.unless.items() if other not in wanted}
    if any(name in family.essential for name in wanted - layout.sections.keys()):
        return None
    return Measured(axes, {}, Depths(blocks, found.depths.units), tuple(name for name in layout.sections if name in wanted))


def nbytes(layout: Layout, geometry: Geometry, dtype: str) -> int | None:
    """Bytes of all tensors of a file of this layout and geometry, with the buffers that it has. None where the layout has no place for the model."""
    found = shown(layout, geometry)
    if found is None:
        return None
    places = lru_cache(None)(found.depths.places)
    numbers = Counter({"weights": 0, "counts": 0})
    for name in found.sections:
        for (native, key, stacked), count in layout.extents[name].items():
            many = stacked if isinstance(stacked, int) else len(places(stacked))
            if "{" in native:  # an axis of each block or level
                each = sum(numbers_of(fill(native, place), found.axes, many) for place in places(key))
            else:
                each = len(places(key)) * numbers_of(native, found.axes, many)
            numbers["weights" if native else "counts"] += count * each
    buffers = sum(one.length(found.axes) * len(places(one.key)) for one in layout.buffers if one.written)
    return Spec((numbers["weights"],), dtype).nbytes + Spec((numbers["counts"] + buffers,), "int64").nbytes


def parameters(layout: Layout, geometry: Geometry) -> int | None:
    """How many numbers of a model training fits: all tensors of such a file but statistics and buffers. None where the layout has no place for it."""
    found = shown(layout, geometry)
    if found is None:
        return None
    rules = layout.expand("", found.depths, found.sections).values()
    return sum(numbers_of(rule.native, found.axes, len(rule.holds)) for rule in rules if not rule.holds[0].endswith(_STATISTICS))
