"""The device that is used if the user names none."""

import os
import sys
from pathlib import Path

from segzoo.extras import installed

_DRIVERS = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/nvhost-gpu", "/dev/kfd", "/dev/dxg")
"""On Linux the devices of the drivers: NVIDIA's own and those of its boards, AMD's, and a GPU that Windows lends."""


def best_device() -> str:
    """An NVIDIA or Apple GPU if there is one, else the CPU. Under torchrun each process has its own GPU."""
    if not installed("torch") or not _perhaps():
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return f"cuda:{os.environ['LOCAL_RANK']}" if "LOCAL_RANK" in os.environ else "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _perhaps() -> bool:
    """Whether there may be a GPU. torch is the one to ask, and takes a second to import: on Linux without a driver nobody need ask it."""
    return sys.platform != "linux" or any(Path(driver).exists() for driver in _DRIVERS)
