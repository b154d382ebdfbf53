"""Which networks there are, in plain torch. Their parameters have the names of the family's layout `OWN`, so that state dicts load strictly."""

from collections.abc import Callable

from torch import nn

from segzoo.models.beit.network import beit
from segzoo.models.convnext.network import convnext
from segzoo.models.mit.network import mit
from segzoo.models.resnet.network import resnet
from segzoo.models.swin.network import swin_transformer
from segzoo.models.twins.network import twins
from segzoo.models.vit.network import vision_transformer

BACKBONES: dict[str, Callable[..., nn.Module]] = {
    "vit": vision_transformer,
    "swin": swin_transformer,
    "convnext": convnext,
    "twins": twins,
    "beit": beit,
    "mit": mit,
    "resnet": resnet,
}
"""By family: a function that makes an empty backbone from a geometry, the tensors that it will hold, and options.

Each backbone has a `stride`, in pixels. Its `forward` takes (image, seen); `seen` collects the named intermediates.
"""
