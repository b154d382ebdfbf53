"""Which steps of a conversion compute numbers: another grid of positions, and another dtype.

Rules only move numbers. These steps run only if the user asks for them, and the report names them.
"""

from dataclasses import replace

import ml_dtypes
import numpy as np

from segzoo.conversion.checkpoint import Checkpoint
from segzoo.conversion.plan import part_shapes
from segzoo.conversion.positions import METHODS, resampled
from segzoo.conversion.run import pack, unpack
from segzoo.errors import ConversionError
from segzoo.formats import Weights
from segzoo.formats.arrays import NUMPY_DTYPES
from segzoo.spec import Spec


def regridded(read: Checkpoint, grid: tuple[int, int], method: str) -> tuple[Weights, str]:
    """The weights of a file with position embeddings for `grid` = (h, w) patches, and in words what was done.

    The position of the class token stays as it is. Raises ConversionError if there is no position table, or how it lies is not known.
    """
    opened, found, sizes = read.weights, read.found, read.sizes
    key, rule = next(((key, rule) for key, rule in found.rules.items() if found.layout.family.positions in rule.holds), ("", None))
    if rule is None:
        raise ConversionError(f"{found.layout.family.title}: it has no table of positions that could be resampled")
    before = opened.specs[key]
    count, there = part_shapes(rule, sizes)[-1][1], read.grid
    if there is None:
        raise ConversionError(f"{key}: {count} positions are no square grid", hint="say how they lie, rows by columns: --positions 18x32")
    *others, entries, width = before.shape
    after = Spec((*others, entries - count + grid[0] * grid[1], width), before.dtype)

    def regrid(name: str) -> np.ndarray:
        if name != key:
            return opened[name]
        *others, table = unpack(rule, opened[key], sizes)
        return pack(rule, [*others, resampled(table, there, grid, method)], sizes)

    done = f"{there[0]}x{there[1]} to {grid[0]}x{grid[1]}, {METHODS[method]}"
    return replace(opened, specs={**opened.specs, key: after}, read=regrid), done


def cast(opened: Weights, dtype: str) -> tuple[Weights, str]:
    """The same weights with every tensor of floats in `dtype`, rounded to nearest, and in words what was done.

    Reading a tensor raises ConversionError if one of its finite numbers is beyond the range of `dtype`.
    """
    kinds = sorted({spec.dtype for spec in opened.specs.values() if _floats(spec)})
    specs = {name: Spec(spec.shape, dtype) if _floats(spec) else spec for name, spec in opened.specs.items()}

    def narrowed(name: str) -> np.ndarray:
        array = opened[name]
        if not _floats(opened.specs[name]) or array.dtype == NUMPY_DTYPES[dtype]:
            return array
        with np.errstate(over="ignore"):
            narrow = array.astype(NUMPY_DTYPES[dtype])
        if (beyond := np.isinf(narrow) & np.isfinite(array)).any():
            most = float(ml_dtypes.finfo(NUMPY_DTYPES[dtype]).max)  # type: ignore[no-untyped-call]
            raise ConversionError(
                f"{name}: {float(array[beyond][0]):g} is beyond {dtype}, whose largest is {most:g}",
                hint="bfloat16 has the range of float32" if dtype == "float16" else None,
            )
        return narrow

    return replace(opened, specs=specs, read=narrowed), f"{', '.join(kinds)} to {dtype}, rounded to nearest"


def _floats(spec: Spec) -> bool:
    return "float" in spec.dtype
