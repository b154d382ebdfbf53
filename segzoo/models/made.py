"""How a network is made, so that it can be made again elsewhere."""

from typing import Any, TypeVar

from torch import nn

M = TypeVar("M", bound=nn.Module)


def made(network: type[M], **arguments: Any) -> M:
    """The network of these arguments. It remembers them as `arguments`: an exported model's config has them. They are plain values."""
    module = network(**arguments)
    module.arguments = arguments  # type: ignore[assignment]
    return module
