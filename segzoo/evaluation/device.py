"""The device that is used if the user names none."""

import os

from segzoo.extras import installed


def best_device() -> str:
    """An NVIDIA or Apple GPU if there is one, else the CPU. Under torchrun each process has its own GPU."""
    if not installed("torch"):
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return f"cuda:{os.environ['LOCAL_RANK']}" if "LOCAL_RANK" in os.environ else "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"
