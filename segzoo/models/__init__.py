"""The networks in plain torch. Parameter names are those of a family's layout `OWN`, so that state dicts load strictly."""

from collections.abc import Callable

from torch import nn

from segzoo.models.vit.network import vision_transformer

BACKBONES: dict[str, Callable[..., nn.Module]] = {"vit": vision_transformer}
"""By family, what makes an empty backbone from a geometry, the tensors that it will have, and options. Each has a `stride`, in pixels,
and takes (image, seen), where `seen` collects named intermediates.
"""
