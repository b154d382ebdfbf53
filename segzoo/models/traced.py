"""Whether a network runs to be written down as a graph, not to compute."""

import torch


def traced() -> bool:
    return torch.compiler.is_compiling() or torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]


def only_computed() -> bool:
    """Whether it runs for its result alone: without gradients, and not to be written down."""
    return not (torch.is_grad_enabled() or traced())
