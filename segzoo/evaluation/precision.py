"""The device and the precision that a network computes in, whatever a program has set in torch before.

The reference is float32 with TF32 off, for matrix products and for convolutions. For convolutions PyTorch has TF32 on.
"""

from collections.abc import Iterator
from contextlib import contextmanager
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

    From torch 2.9 on each setting has two names. Once a program has set the newer one, the older one cannot be read. So
    the newer name is read, and both are set. From then on a CPU has settings of its own too;
    `torch.set_float32_matmul_precision("medium")` turns them to bfloat16.
    """
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    gpu, processor, name = _switches()
    before = [(switch, getattr(switch, name)) for switch in (*gpu, *processor)]
    fast = precision == "tf32"
    try:
        matmul.allow_tf32 = cudnn.allow_tf32 = fast
        if name == "fp32_precision":
            for switch, _ in before:
                switch.fp32_precision = "tf32" if fast and switch in gpu else "ieee"
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = (value in (True, "tf32") for _, value in before[:2])
        for switch, value in before:
            setattr(switch, name, value)


def _switches() -> tuple[tuple[Any, ...], tuple[Any, ...], str]:
    """The settings of GPUs (matrix products and convolutions first), those of CPUs, and the name of the attribute to read."""
    backends: Any = torch.backends
    if not hasattr(backends.cuda.matmul, "fp32_precision"):
        return (backends.cuda.matmul, backends.cudnn), (), "allow_tf32"
    return (backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn), (backends.mkldnn.matmul, backends.mkldnn.conv), "fp32_precision"
