"""What the calls in a torch pickle stand for: tensors, by what the pickle claims of them. Nothing is called, and nothing is read yet.

Each argument of a call is understood, or the call is refused: a tensor may be the negative of the numbers in the file, by a bit in its last
argument. Calls as in torch 2.13 `torch/_utils.py` and `torch/_tensor.py`.
"""

import math
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

from segzoo.errors import IntegrityError
from segzoo.formats import pickled
from segzoo.formats.pickled import Call, Described, Global
from segzoo.formats.torchzip import STORAGES
from segzoo.spec import Spec

BEYOND = 1 << 63  # what no size is
LONGEST = 1000  # characters of a text that is a fact, or a key
_MOST_AXES = 32
_MOST_NUMBERS = 1 << 31
_DTYPES = {
    **{name: name for name in ("float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool")},
    **{name: name for name in ("uint16", "uint32", "uint64", "complex64", "complex128")},
    **{name: name for name in ("float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu")},
    "float": "float32",
    "double": "float64",
    "half": "float16",
    "long": "int64",
}
"""torch's names of dtypes by numpy's. Those of less than a byte are not among them."""
_STORAGES = {
    **STORAGES,
    **{"ComplexFloatStorage": "complex64", "ComplexDoubleStorage": "complex128"},
    **{"QInt8Storage": "int8", "QUInt8Storage": "uint8", "QInt32Storage": "int32", "QUInt4x2Storage": "uint8", "QUInt2x4Storage": "uint8"},
}
_WHOLE = ("torch.Tensor", "torch._tensor.Tensor", "torch.nn.parameter.Parameter", "torch.nn.parameter.Buffer")
_STRANGE = {
    "_rebuild_sparse_tensor": "a sparse tensor",
    "_rebuild_sparse_csr_tensor": "a sparse tensor",
    "_rebuild_nested_tensor": "a nested tensor",
    "_rebuild_qtensor": "a quantised tensor",
    "_rebuild_meta_tensor_no_storage": "a tensor of the meta device, which has no numbers",
    "_rebuild_wrapper_subclass": "a tensor of a class of its own",
}


class Tensor:
    """A tensor that a pickle describes."""

    spec: Spec

    @property
    def nbytes(self) -> int:
        """How much of memory its numbers fill. Those between them in its storage count too; so does each place of a number that stands for many."""
        return self.spec.nbytes


@dataclass(frozen=True, slots=True)
class Storage:
    """A block of numbers that the pickle points to. `begin` is its first element, where it is a view of a larger block."""

    key: str
    dtype: str
    size: int
    begin: int = 0


@dataclass(frozen=True, eq=False, repr=False)
class Stored(Tensor):
    """A tensor in a storage. It is the negative, or the conjugate, of the numbers there where `negative` or `conjugate` says so."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    negative: bool = False
    conjugate: bool = False

    @property
    def spec(self) -> Spec:  # type: ignore[override]
        return Spec(self.shape, self.storage.dtype)

    @property
    def span(self) -> int:
        """How many elements of its storage lie between its first and its last."""
        return 1 + sum((size - 1) * stride for size, stride in zip(self.shape, self.strides, strict=True)) if all(self.shape) else 0

    @property
    def nbytes(self) -> int:
        return max(Spec((self.span,), self.storage.dtype).nbytes, self.spec.nbytes)


@dataclass(frozen=True, eq=False, repr=False)
class Held(Tensor):
    """A tensor whose numbers stand in the pickle itself, as those of a TPU do. numpy has no bfloat16, so torch writes float32 of one."""

    array: Described
    dtype: str

    @property
    def spec(self) -> Spec:  # type: ignore[override]
        return Spec(self.array.shape, self.dtype)

    def numbers(self) -> np.ndarray:
        """Raises ValueError where the pickle has not as many bytes as it says."""
        found = pickled.numbers(self.array)
        return found.astype(ml_dtypes.bfloat16) if self.dtype == "bfloat16" else found


@dataclass(frozen=True, eq=False, repr=False)
class Strange(Tensor):
    """A tensor of which segzoo cannot tell the numbers. `what` says why."""

    what: str
    spec: Spec
    nbytes = 0


def storage(identity: Any) -> Storage:
    """What a persistent id points to: `("storage", type, key, device, size[, (view key, begin, size)])`."""
    if not isinstance(identity, tuple) or len(identity) not in (5, 6):
        raise IntegrityError("the description of a storage is damaged")
    kind, storage_type, key, _, size, *view = identity
    if kind != "storage" or not isinstance(storage_type, Global) or not isinstance(key, str) or len(key) > LONGEST:
        raise IntegrityError("the description of a storage is damaged")
    if storage_type.name not in _STORAGES:
        raise IntegrityError(f"a storage of type {storage_type}, which segzoo does not read")
    begin = 0
    if view and view[0] is not None:
        _, begin, size = view[0]
    if not plain_number(begin) or type(size) is not int or abs(size) >= BEYOND:
        raise IntegrityError("the description of a storage is damaged")
    return Storage(key, _STORAGES[storage_type.name], size, begin)


def plain_number(number: Any) -> bool:
    return type(number) is int and 0 <= number < BEYOND


def build(what: Global, args: Any) -> Any:
    """The value of the few calls that make a tensor or a dict. Any other call stays undone."""
    if not isinstance(args, tuple) or len(args) > 16:
        return Call(what, args)
    match str(what):
        case "collections.OrderedDict" | "collections.Counter":
            return pickled.mapping(args[0].items() if isinstance(args[0], dict) else args[0]) if args else {}
        case "collections.defaultdict":
            return {}
        case "torch.Size":
            return tuple(args[0])
        case "torch._tensor._rebuild_from_type_v2":
            return _of_class(what, args)
    if what.module in ("torch._utils", "torch._tensor") and what.name.startswith("_rebuild"):
        return _rebuilt(what, args)
    return Call(what, args)


def _rebuilt(what: Global, args: tuple[Any, ...]) -> Any:
    """The tensor that a call of torch's makes."""
    match what.name.removeprefix("_rebuild_"), len(args):
        case "tensor", 4:
            return _stored(args[0], *args[1:4])
        case "tensor_v2", 6 | 7:
            return _stored(*args[:4], *args[6:])
        case "tensor_v3", 7 | 8:
            return _retyped(*args[:4], *args[6:])
        case ("parameter", 3) | ("parameter_with_state", 4):
            return args[0]
        case "device_tensor_from_cpu_tensor", 4:
            return _of_device(args[0], args[1])
        case "device_tensor_from_numpy" | "xla_tensor", 4:
            return _of_numpy(*args[:2])
    if what.name not in _STRANGE:
        raise IntegrityError(
            f"a tensor by {what} of {len(args)} arguments, which segzoo does not know", hint="write the file with a plain torch.save"
        )
    return Strange(_STRANGE[what.name], _claimed(what.name, args))


def _of_class(what: Global, args: tuple[Any, ...]) -> Any:
    """A tensor with attributes of Python's, which are left out; one of another class is not known to be what its storage holds."""
    if len(args) != 4 or not isinstance(args[0], Global):
        raise IntegrityError(f"a tensor by {what} of {len(args)} arguments, which segzoo does not know")
    function, kind, inner, _ = args
    value = build(function, inner)
    if str(kind) in _WHOLE or not isinstance(value, Tensor):
        return value
    return Strange(f"a tensor of class {kind}" if isinstance(kind, Global) else "a tensor of an unknown class", value.spec)


def _stored(storage: Any, offset: Any, shape: Any, strides: Any, metadata: Any = None) -> Stored:
    if len(shape) > _MOST_AXES or len(strides) > _MOST_AXES:
        raise IntegrityError(f"a tensor of {len(shape)} sizes and {len(strides)} strides")
    bits = {} if metadata is None else metadata
    if not isinstance(bits, dict) or not set(bits) <= {"neg", "conj"} or not all(type(bit) is bool for bit in bits.values()):
        raise IntegrityError("a tensor with a property beside its numbers that segzoo does not know")
    return Stored(storage, offset, tuple(shape), tuple(strides), bits.get("neg", False), bits.get("conj", False))


def _retyped(storage: Any, offset: Any, shape: Any, strides: Any, dtype: Any, metadata: Any = None) -> Tensor:
    """A tensor whose dtype is an argument."""
    if (name := _dtype(dtype)) is None:
        return Strange(f"numbers of {dtype}", Spec(_plain_shape(shape), dtype.name))
    return _stored(Storage(storage.key, name, storage.size // Spec((1,), name).nbytes, storage.begin), offset, shape, strides, metadata)


def _dtype(dtype: Any) -> str | None:
    """numpy's name for a dtype of torch's; None where it has none."""
    if not isinstance(dtype, Global) or dtype.module != "torch":
        raise IntegrityError("a tensor whose dtype is none of torch's")
    return _DTYPES.get(dtype.name)


def _of_device(value: Any, dtype: Any) -> Tensor:
    """A tensor as it was before it went to its device, which is what the file has."""
    name = _dtype(dtype)
    if not isinstance(value, Tensor) or value.spec.dtype != name:
        raise IntegrityError("a tensor of a device, whose numbers are of another dtype than it")
    return value


def _of_numpy(value: Any, dtype: Any) -> Held:
    array, name = pickled.described(value), _dtype(dtype)
    if array is None or name is None or array.dtype.name not in ({name, "float32"} if name == "bfloat16" else {name}):
        raise IntegrityError("a tensor of a device, whose numbers are no numpy array of its dtype")
    return Held(array, name)


def _claimed(name: str, args: tuple[Any, ...]) -> Spec:
    """Shape and dtype of a strange tensor, as far as its call shows them plainly."""
    shape: Any = ()
    dtype = "unknown"
    match name.removeprefix("_rebuild_"), args:
        case "qtensor", (Storage() as storage, _, sizes, *_):
            shape, dtype = sizes, f"q{storage.dtype}"
        case "sparse_tensor", (_, (_, Tensor() as values, tuple() as sizes, *_)):
            shape, dtype = sizes, values.spec.dtype
        case "sparse_tensor" | "sparse_csr_tensor", (_, (_, _, Tensor() as values, tuple() as sizes)):
            shape, dtype = sizes, values.spec.dtype
        case "meta_tensor_no_storage", (_, sizes, *_):
            shape = sizes
        case "wrapper_subclass", (_, _, sizes, *_):
            shape = sizes
    return Spec(_plain_shape(shape), dtype)


def _plain_shape(shape: Any) -> tuple[int, ...]:
    """A shape, or that of one number where it is none."""
    plain = isinstance(shape, tuple) and len(shape) <= _MOST_AXES and all(map(plain_number, shape)) and math.prod(shape) < _MOST_NUMBERS
    return shape if plain else ()
