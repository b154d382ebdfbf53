"""The mask transformer of Segmenter (Strudel et al., ICCV 2021), as in mmseg 1.2.2."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segzoo.errors import ConversionError
from segzoo.layouts.heads.mask import Decoder
from segzoo.models.made import made
from segzoo.models.seen import Seen, noted
from segzoo.models.vit.network import Block


class MaskTransformer(nn.Module):
    """Class embeddings and patches attend to one another; a patch's score for a class is the product of the two, normalised.

    All layer norms have eps 1e-5, whatever the backbone has (SegmenterMaskTransformerHead's default).
    """

    def __init__(self, *, features: int, width: int, depth: int, heads: int, mlp: int, classes: int, eps: float = 1e-5):
        super().__init__()
        self.outputs = classes
        self.dec_proj = nn.Linear(features, width)
        self.cls_emb = nn.Parameter(torch.empty(1, classes, width))
        self.layers = nn.ModuleList(Block(width, heads, mlp, eps) for _ in range(depth))
        self.decoder_norm = nn.LayerNorm(width, eps)
        self.patch_proj = nn.Linear(width, width, bias=False)
        self.classes_proj = nn.Linear(width, width, bias=False)
        self.mask_norm = nn.LayerNorm(classes, eps)

    def forward(self, features: Tensor, seen: Seen | None = None) -> Tensor:
        seen = noted(seen)
        b, _, h, w = features.shape
        x = seen["dec_proj"] = self.dec_proj(features.flatten(2).transpose(1, 2))
        x = torch.cat([x, self.cls_emb.expand(b, -1, -1)], 1)
        for index, block in enumerate(self.layers):
            x = seen[f"dec_block{index}"] = block(x)
        x = seen["decoder_norm"] = self.decoder_norm(x)
        patches = seen["patch_proj"] = self.patch_proj(x[:, : h * w])
        classes = seen["classes_proj"] = self.classes_proj(x[:, h * w :])
        masks = F.normalize(patches, dim=2) @ F.normalize(classes, dim=2).transpose(1, 2)
        masks = seen["mask_norm"] = self.mask_norm(masks)
        return masks.transpose(1, 2).unflatten(2, (h, w))


def mask_head(geometry: Decoder, backbone: Any, eps: float | None) -> MaskTransformer:
    """An empty head on the features of a backbone. Raises ConversionError if the number of its attention heads is not known."""
    if geometry.heads is None or geometry.width is None or geometry.mlp is None:
        raise ConversionError("the number of attention heads of the mask transformer is not known")
    sizes = {name: getattr(geometry, name) for name in ("width", "depth", "heads", "mlp", "classes")}
    return made(MaskTransformer, features=backbone.width, eps=eps or 1e-5, **sizes)
