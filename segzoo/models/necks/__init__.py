"""Which necks there are: networks from the maps of a backbone to those that a head takes. Each has `widths`, the channels of its maps."""

from collections.abc import Callable

from torch import nn

from segzoo.models.necks.fpn import fpn_neck
from segzoo.models.necks.mla import mla_neck
from segzoo.models.necks.multilevel import multilevel_neck
from segzoo.models.necks.pyramid import pyramid_neck

NECKS: dict[str, Callable[..., nn.Module]] = {"multilevel": multilevel_neck, "mla": mla_neck, "fpn": fpn_neck, "pyramid": pyramid_neck}
"""By kind: a function that makes an empty neck from its geometry and the backbone."""
