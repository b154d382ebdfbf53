"""A Segmenter: backbone and head, from an image to class scores at the image's size."""

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segzoo.errors import ConversionError
from segzoo.layouts.vit.geometry import Decoder, Geometry
from segzoo.models.heads.linear import LinearDecoder
from segzoo.models.heads.mask import MaskTransformer
from segzoo.models.vit.network import Seen, VisionTransformer


class Segmenter(nn.Module):
    """Normalised RGB (b, 3, H, W) to scores (b, classes, H, W), resized bilinear to the size that came in.

    A padded input's scores are resized straight to the unpadded size, as MMSegmentation does.
    """

    def __init__(self, backbone: VisionTransformer, decode_head: nn.Module):
        super().__init__()
        self.backbone = backbone
        self.decode_head = decode_head

    def scores(self, image: Tensor, seen: Seen | None = None) -> Tensor:
        """Scores of the patches, (b, classes, H/p, W/p): what `forward` resizes."""
        return self.decode_head(self.backbone(image, seen), seen)

    def forward(self, image: Tensor, seen: Seen | None = None) -> Tensor:
        seen = {} if seen is None else seen
        scores = seen["head_logits"] = self.scores(image, seen)
        seen["crop_logits"] = F.interpolate(scores, size=image.shape[-2:], mode="bilinear", align_corners=False)
        return seen["crop_logits"]


def backbone(
    geometry: Geometry, eps: float = 1e-6, distilled: bool = False, resample: str = "bicubic", vit: type[VisionTransformer] = VisionTransformer
) -> VisionTransformer:
    """An empty backbone of this geometry, of the class `vit`. Raises ConversionError where heads or a square grid are unknown."""
    if geometry.heads is None:
        raise ConversionError("the number of attention heads is not known; it decides the result and shows in no tensor")
    if geometry.grid is None:
        raise ConversionError(f"{geometry.positions} positions are no square grid")
    return vit(
        width=geometry.width,
        depth=geometry.depth,
        heads=geometry.heads,
        mlp=geometry.mlp,
        patch=geometry.patch,
        grid=geometry.grid,
        eps=eps,
        distilled=distilled,
        resample=resample,
    )


def decoder(geometry: Decoder, features: int, eps: float = 1e-5) -> nn.Module:
    """An empty head of this geometry on features of this width."""
    if geometry.kind == "linear":
        return LinearDecoder(features=features, classes=geometry.classes)
    if geometry.heads is None or geometry.width is None or geometry.mlp is None:
        raise ConversionError("the number of attention heads of the mask transformer is not known")
    return MaskTransformer(
        features=features,
        width=geometry.width,
        depth=geometry.depth,
        heads=geometry.heads,
        mlp=geometry.mlp,
        classes=geometry.classes,
        eps=eps,
    )


def build(
    geometry: Geometry,
    tensors: Mapping[str, np.ndarray],
    eps: float = 1e-6,
    decoder_eps: float = 1e-5,
    resample: str = "bicubic",
    vit: type[VisionTransformer] = VisionTransformer,
) -> nn.Module:
    """The module of this geometry with these tensors (names of layout `OWN`) in it: a Segmenter, or a backbone alone.

    Loading is strict: each parameter is filled once and no tensor is left over. float32 or wider.
    """
    distilled = any(name.endswith("dist_token") for name in tensors)
    with torch.device("meta"):
        module: nn.Module = backbone(geometry, eps, distilled, resample, vit)
        if geometry.decoder is not None:
            module = Segmenter(module, decoder(geometry.decoder, geometry.width, decoder_eps))  # type: ignore[arg-type]
    state = {name: torch.from_numpy(np.array(array, np.promote_types(array.dtype, np.float32))) for name, array in tensors.items()}
    try:
        module.load_state_dict(state, strict=True, assign=True)
    except RuntimeError as error:
        raise ConversionError(f"the tensors do not fit the model: {error}") from error
    return module.eval().requires_grad_(False)
