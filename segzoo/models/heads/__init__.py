"""Which heads there are: networks from the features of a backbone to class scores, or to masks and what they mean."""

from collections.abc import Callable

from torch import nn

from segzoo.models.heads.dpt import dpt_head
from segzoo.models.heads.fpn import fpn_head
from segzoo.models.heads.linear import linear_head
from segzoo.models.heads.mask import mask_head
from segzoo.models.heads.mask2former import mask2former_head
from segzoo.models.heads.nvlabs import nvlabs_head
from segzoo.models.heads.segformer import segformer_head
from segzoo.models.heads.setr import setr_head
from segzoo.models.heads.setr_mla import setr_mla_head
from segzoo.models.heads.uper import uper_head

HEADS: dict[str, Callable[..., nn.Module]] = {
    "mask": mask_head,
    "linear": linear_head,
    "uper": uper_head,
    "fpn": fpn_head,
    "setr": setr_head,
    "setr-mla": setr_mla_head,
    "dpt": dpt_head,
    "segformer": segformer_head,
    "segformer-nvlabs": nvlabs_head,
    "mask2former": mask2former_head,
}
"""By kind: a function that makes an empty head from its geometry, the backbone or neck before it, and the eps of its layer norms."""
