"""The device that is used if the user names none."""

import os


def best_device() -> str:
    """An NVIDIA or Apple GPU if there is one, else the CPU. Under torchrun each process has its own GPU."""
    from importlib.util import find_spec

    if find_spec("torch") is None:
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return f"cuda:{os.environ['LOCAL_RANK']}" if "LOCAL_RANK" in os.environ else "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"
