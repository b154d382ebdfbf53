"""The device and the precision that a network computes in, whatever a program has set in torch before.

The reference is float32 with TF32 off, for matrix products and for convolutions. For convolutions PyTorch has TF32 on.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Condition, local
from typing import Any

import torch

from segzoo.errors import EnvironmentFault

_HERE = "segzoo doctor says which devices are here; --device cpu always works"
TORCH_DTYPES = {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def device_of(name: str) -> torch.device:
    """The device of this name. Raises EnvironmentFault if there is none, or if torch cannot compute on it."""
    try:
        device = torch.device(name)
    except RuntimeError as error:  # torch's own message lists twenty kinds, which most people do not have
        raise EnvironmentFault(f"no device '{name}'; there are cpu, cuda, cuda:N and mps", hint=_HERE) from error
    try:
        torch.ones(1, device=device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # a build without CUDA answers with an assertion
        reason = str(error).splitlines()[0]
        raise EnvironmentFault(f"device '{name}' cannot be used: {reason}", hint=_HERE) from error
    return device


def dtype_of(precision: str, device: torch.device) -> torch.dtype:
    """The dtype of weights and activations. Raises EnvironmentFault if the device does not have this precision."""
    if precision == "tf32" and device.type != "cuda":
        raise EnvironmentFault(f"tf32 is a way in which NVIDIA's GPUs multiply; the device is {device}", hint="leave out --precision")
    if precision == "tf32" and torch.cuda.get_device_capability(device) < (8, 0):
        raise EnvironmentFault(f"tf32: {torch.cuda.get_device_name(device)} is older than the first GPUs that have it", hint="--precision fp16")
    return TORCH_DTYPES[precision]


@contextmanager
def arithmetic(precision: str) -> Iterator[None]:
    """Matrix products and convolutions in this precision and no other; afterwards the earlier settings are put back.

    The settings are those of the whole process. Threads that need the same ones work side by side; a thread that needs others waits.
    """
    fast = precision == "tf32"
    outer = getattr(_MINE, "fast", None)
    if outer not in (None, fast):  # a thread that waited for others while it holds its own turn would wait for ever
        _TURN.give_back()
    _TURN.take(fast)
    _MINE.fast = fast
    try:
        yield
    finally:
        _TURN.give_back()
        if outer not in (None, fast):
            _TURN.take(outer)
        _MINE.fast = outer


class _Turn:
    """Who computes now: how many blocks of all threads are open, all with TF32 or all without it."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._open, self._fast = 0, False
        self._before: list[tuple[Any, Any]] = []

    def take(self, fast: bool) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._open == 0 or self._fast == fast)
            if self._open == 0:
                self._fast, self._before = fast, _set(fast)
            self._open += 1

    def give_back(self) -> None:
        with self._changed:
            self._open -= 1
            if self._open == 0:
                _put_back(self._before)
                self._changed.notify_all()


_TURN, _MINE = _Turn(), local()


def _set(fast: bool) -> list[tuple[Any, Any]]:
    """Turn TF32 on or off. Returns the switches with what they were.

    From torch 2.9 on each setting has two names. Once a program has set the newer one, the older one cannot be read. So
    the newer name is read, and both are set. From then on a CPU has settings of its own too;
    `torch.set_float32_matmul_precision("medium")` turns them to bfloat16.
    """
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    gpu, processor, name = _switches()
    before = [(switch, getattr(switch, name)) for switch in (*gpu, *processor)]
    matmul.allow_tf32 = cudnn.allow_tf32 = fast
    if name == "fp32_precision":
        for switch, _ in before:
            switch.fp32_precision = "tf32" if fast and switch in gpu else "ieee"
    return before


def _put_back(before: Sequence[tuple[Any, Any]]) -> None:
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    matmul.allow_tf32, cudnn.allow_tf32 = (value in (True, "tf32") for _, value in before[:2])
    _, _, name = _switches()
    for switch, value in before:
        setattr(switch, name, value)


def _switches() -> tuple[tuple[Any, ...], tuple[Any, ...], str]:
    """The settings of GPUs (matrix products and convolutions first), those of CPUs, and the name of the attribute to read."""
    backends: Any = torch.backends
    if not hasattr(backends.cuda.matmul, "fp32_precision"):
        return (backends.cuda.matmul, backends.cudnn), (), "allow_tf32"
    return (backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn), (backends.mkldnn.matmul, backends.mkldnn.conv), "fp32_precision"
