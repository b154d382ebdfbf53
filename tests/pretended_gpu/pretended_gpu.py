"""A GPU for machines without one: tensors that lie on `cuda`, whose numbers a processor computes.

As on a GPU, no operation takes tensors of two devices, numpy sees none of them, and only a copy brings one back. So what fails here for its
devices fails on a GPU. What only a real one can show stays open: speed, memory, rounding.
"""

import math
from contextlib import contextmanager, nullcontext

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

aten = torch.ops.aten
LARGE = 2**25  # numbers
MAY_MOVE = {aten._to_copy.default, aten.copy_.default}


class OnGpu(torch.Tensor):
    """A tensor that says it lies on a GPU. `held` has its numbers."""

    @staticmethod
    def __new__(cls, held):
        sizes = {"strides": held.stride(), "storage_offset": held.storage_offset(), "dtype": held.dtype, "layout": held.layout}
        return torch.Tensor._make_wrapper_subclass(cls, held.shape, device="cuda:0", requires_grad=held.requires_grad, **sizes)

    def __init__(self, held):
        self.held = held

    def __repr__(self):
        return f"OnGpu({tuple(self.shape)}, {self.dtype})"

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        return computed(function, args, kwargs or {})


class Gpu(TorchDispatchMode):
    """While it lasts, what is made on `cuda` lies there."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        return computed(function, args, kwargs or {})


class Undriven(TorchFunctionMode):
    """What torch would ask a driver for: which GPU `cuda` is, and to make it the current one."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function in (torch.Tensor.__getitem__, torch.Tensor.__setitem__) and isinstance(args[0], OnGpu):
            found = function(*held(args))
            return found if found is None else OnGpu(found)
        kwargs = {name: _numbered(one) for name, one in (kwargs or {}).items()}
        if function is torch.Tensor.contiguous and isinstance(args[0], OnGpu):
            return args[0] if args[0].is_contiguous(**kwargs) else args[0].clone(memory_format=kwargs.get("memory_format", torch.contiguous_format))
        if function in (torch.Tensor.__invert__, torch.Tensor.copy_) and isinstance(args[0], OnGpu):
            return computed(aten.bitwise_not.default if len(args) == 1 else aten.copy_.default, args, kwargs)
        if function is torch.Tensor.nonzero and isinstance(args[0], OnGpu):
            return computed(aten.nonzero.default, args, kwargs)
        if function in (torch.Tensor.__int__, torch.Tensor.__bool__, torch.Tensor.__float__):
            return function(held(args[0]))
        if function in (torch.tensor, torch.as_tensor, torch.asarray) and not isinstance(args[0], OnGpu) and kwargs.get("device") is not None:
            return function(*args, **{**kwargs, "device": None}).to(kwargs["device"])
        return function(*map(_numbered, args), **kwargs)


def _numbered(one):
    known = isinstance(one, torch.device) or (isinstance(one, str) and one == "cuda")
    return torch.device("cuda", 0) if known and torch.device(one) == torch.device("cuda") else one


def held(tree):
    return tree_map(lambda one: one.held if isinstance(one, OnGpu) else one, tree)


def computed(function, args, kwargs):
    """What an operation gives, on the GPU if its tensors or its `device` are there. Raises RuntimeError for tensors of two devices."""
    tensors = [one for one in tree_leaves((args, kwargs)) if isinstance(one, torch.Tensor)]
    there = [one for one in tensors if isinstance(one, OnGpu)]
    if there and function not in MAY_MOVE and any(one.ndim for one in tensors if not isinstance(one, OnGpu)):
        raise RuntimeError(f"{function}: expected all tensors on one device, found cuda:0 and cpu")
    if function is aten._fused_sdp_choice.default:
        return 0  # the plain attention: the others are kernels of one device
    if function in (aten.pin_memory.default, aten._pin_memory.default):
        return args[0]
    if function is aten.is_pinned.default:
        return False
    on_gpu = bool(there)
    if kwargs.get("device") is not None:
        on_gpu = torch.device(kwargs["device"]).type == "cuda"
        kwargs = {**kwargs, "device": torch.device("cpu")} | ({"pin_memory": False} if "pin_memory" in kwargs else {})
    result = timed_only(function, args) if on_gpu else None
    if result is None:
        args_held, kwargs_held = held((args, kwargs))
        result = function(*args_held, **kwargs_held)
    if function is aten.copy_.default:
        return args[0]
    own = {id(one.held): one for one in there}  # what an operation changes in place stays one tensor
    return tree_map(lambda one: own[id(one)] if id(one) in own else OnGpu(one) if isinstance(one, torch.Tensor) and on_gpu else one, result)


def timed_only(function, args):
    """A result without numbers where a bench makes and multiplies matrices so large that only a GPU is quick enough; None elsewhere."""
    if function is aten.randn.default and math.prod(args[0]) > LARGE:
        return torch.empty(args[0])
    if function is aten.mm.default and args[0].shape[0] * args[1].shape[1] > LARGE:
        return args[0].held.new_empty(args[0].shape[0], args[1].shape[1])
    return None


@contextmanager
def pretended():
    """While it lasts, torch says that there is one GPU."""
    said = {
        "is_available": lambda: True,
        "_lazy_init": lambda: None,
        "synchronize": lambda device=None: None,
        "empty_cache": lambda: None,
        "get_device_capability": lambda device=None: (9, 0),
        "get_device_name": lambda device=None: "a pretended GPU",
        "max_memory_allocated": lambda device=None: 10**6,
        "reset_peak_memory_stats": lambda device=None: None,
    }
    patch = pytest.MonkeyPatch()
    for name, answer in said.items():
        patch.setattr(torch.cuda, name, answer)
    # tensors of inference mode have no views that are a wrapper's
    patch.setattr(torch, "inference_mode", lambda mode=True: torch.no_grad() if mode else nullcontext())
    overwritten = torch.__future__.get_overwrite_module_params_on_conversion()
    torch.__future__.set_overwrite_module_params_on_conversion(True)  # parameters of another class cannot take the numbers of a wrapper
    try:
        with Gpu(), Undriven():
            yield
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(overwritten)
        patch.undo()
