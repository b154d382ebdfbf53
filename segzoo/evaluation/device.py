"""Where the work is done, if nothing is said."""

import os


def best_device() -> str:
    """A GPU of NVIDIA's or Apple's if there is one; under torchrun each process its own."""
    from importlib.util import find_spec

    if find_spec("torch") is None:
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return f"cuda:{os.environ['LOCAL_RANK']}" if "LOCAL_RANK" in os.environ else "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"
