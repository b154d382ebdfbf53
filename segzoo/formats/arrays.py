"""Work on arrays whatever they hold: to copy, hash and compare them, and to find NaN."""

import hashlib
from collections.abc import Mapping, Sequence

import ml_dtypes
import numpy as np

from segzoo.errors import ConversionError

NUMPY_DTYPES = {"float32": np.dtype(np.float32), "float16": np.dtype(np.float16), "bfloat16": np.dtype(ml_dtypes.bfloat16)}
"""The real numbers that a conversion may write, by numpy's name."""


def dtype_of(name: str) -> np.dtype:
    """numpy's dtype of this name, of those too that it has from ml_dtypes."""
    return np.dtype(getattr(ml_dtypes, name, name))


def copy(array: np.ndarray, out: np.ndarray) -> None:
    """Copy an array into `out`. A transposed matrix is copied in strips as wide as a cache line, which halves the time."""
    if array.ndim != 2 or array.flags.c_contiguous:
        np.copyto(out, array)
        return
    for start in range(0, array.shape[1], 16):
        out[:, start : start + 16] = array[:, start : start + 16]


def identical(mine: np.ndarray, theirs: np.ndarray) -> bool:
    """Whether two arrays have the same dtype, shape and bytes. A NaN equals itself."""
    if mine.dtype != theirs.dtype or mine.shape != theirs.shape:
        return False
    left, right = (np.ascontiguousarray(array).reshape(-1).view(np.uint8) for array in (mine, theirs))
    return np.array_equal(left, right)


def finite(array: np.ndarray) -> bool:
    """Whether all numbers are finite. A sum is cheap and finds any that is not; if the sum overflows, each number is looked at."""
    if array.dtype.kind in "iub":
        return True
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(array.sum())) or bool(np.isfinite(array).all())


def refuse_not_finite(tensors: Mapping[str, np.ndarray]) -> None:
    """Raises ConversionError where tensors hold NaN or infinity: no model can use them."""
    if wrong := [name for name in tensors if not finite(tensors[name])]:
        raise not_finite(wrong)


def not_finite(names: Sequence[str]) -> ConversionError:
    """The error for tensors of these names."""
    more = f" and {len(names) - 6} more" if len(names) > 6 else ""
    return ConversionError(f"not finite: {', '.join(names[:6])}{more}", hint="the training diverged, or the file is damaged")


def tensor_digest(array: np.ndarray) -> str:
    """SHA-256 over dtype, shape and bytes: the same tensor has the same digest in any file."""
    digest = hashlib.sha256(f"{array.dtype.name} {list(array.shape)}\n".encode())
    digest.update(raw_bytes(array))
    return digest.hexdigest()


def raw_bytes(array: np.ndarray) -> memoryview:
    """The bytes of an array, in order."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
