"""What a network computes in, and that nothing else decides it.

float32 is the reference, with TF32 off for matrix products and for convolutions, where PyTorch has it on.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from segzoo.errors import EnvironmentFault

DTYPES = {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def dtype_of(precision: str, device: torch.device) -> torch.dtype:
    """What weights and activations are kept in. Raises EnvironmentFault where the device cannot do it."""
    if precision == "tf32" and device.type != "cuda":
        raise EnvironmentFault(f"tf32 is a way in which NVIDIA's GPUs multiply; the device is {device}", hint="leave out --precision")
    return DTYPES[precision]


@contextmanager
def arithmetic(precision: str) -> Iterator[None]:
    """Matrix products and convolutions in this precision and no other; the settings before are put back."""
    switches: tuple[Any, ...] = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [switch.allow_tf32 for switch in switches]
    try:
        for switch in switches:
            switch.allow_tf32 = precision == "tf32"
        yield
    finally:
        for switch, value in zip(switches, before, strict=True):
            switch.allow_tf32 = value
