"""A segmentation model: a backbone, perhaps a neck, and a head, from an image to class scores at the image's size."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segzoo.errors import ConversionError
from segzoo.layouts.family import Family, Geometry
from segzoo.models import BACKBONES
from segzoo.models.heads import HEADS
from segzoo.models.masks import Masks
from segzoo.models.necks import NECKS
from segzoo.models.seen import Seen, noted


class Segmenter(nn.Module):
    """Normalised RGB (b, 3, H, W) to scores (b, classes, H, W), resized bilinear to the image's size.

    The backbone may pad the image. The scores, padding included, are resized to the size without it, as MMSegmentation does.
    """

    def __init__(self, backbone: nn.Module, neck: nn.Module | None, decode_head: nn.Module):
        super().__init__()
        self.backbone = backbone
        self.neck = neck
        self.decode_head = decode_head

    @property
    def stride(self) -> int:
        """Pixels from one token of the backbone to the next."""
        return int(self.backbone.stride)  # type: ignore[arg-type]

    @property
    def channels(self) -> int:
        """The channels of its images."""
        return int(getattr(self.backbone, "channels", 3))

    @property
    def outputs(self) -> int:
        """Scores of a patch: one for each class, or a single one that tells foreground from background."""
        return int(self.decode_head.outputs)  # type: ignore[arg-type]

    def features(self, image: Tensor, layers: Sequence[int] = (2, 5, 8, 11)) -> tuple[Tensor, ...]:
        """The backbone's grids after these blocks, before the head."""
        return self.backbone.features(image, layers)  # type: ignore[operator]

    def scores(self, image: Tensor, seen: Seen | None = None) -> Tensor | Masks:
        """Scores of the patches, or at another size that the neck and head have: (b, classes, h, w), what `forward` resizes.

        A head of queries gives masks and what they mean: no scores yet, since a sigmoid comes after the resizing.
        """
        features = self.backbone(image, seen)
        return self.decode_head(features if self.neck is None else self.neck(features, seen), seen)

    def forward(self, image: Tensor, seen: Seen | None = None) -> Tensor:
        seen = noted(seen)
        scores = self.scores(image, seen)
        size = (image.shape[-2], image.shape[-1])
        if isinstance(scores, Masks):
            found = scores.at(size)
        else:
            seen["head_logits"] = scores
            found = F.interpolate(scores, size, mode="bilinear", align_corners=False)
        seen["crop_logits"] = found
        return found


def build_backbone(family: Family, geometry: Geometry, tensors: Mapping[str, np.ndarray], **options: Any) -> nn.Module:
    """A backbone alone, filled with these tensors: names of the family's `OWN` layout without a prefix. See `build`."""
    return _filled(empty(family, replace(geometry, neck=None, decoder=None), tensors, **options), tensors)


def build(family: Family, geometry: Geometry, tensors: Mapping[str, np.ndarray], *, head_eps: float | None = None, **options: Any) -> nn.Module:
    """The model of this geometry, filled with these tensors: names of the family's `OWN` layout. Without a head it is a backbone alone.

    `options` go to the family's network: what no tensor shows (`eps`, `resample`), or another class (`network`).
    Loading is strict: each parameter is filled once and no tensor is left over. Weights become float32 or stay wider; those that need no
    change are not copied: array and parameter share their memory.
    Raises ConversionError if the tensors do not fit, or if a fact that decides the result is not known, such as the heads.
    """
    return _filled(empty(family, geometry, tensors, head_eps=head_eps, **options), tensors)


def empty(family: Family, geometry: Geometry, tensors: Collection[str], *, head_eps: float | None = None, **options: Any) -> nn.Module:
    """The model of this geometry on torch's meta device: names and shapes, no numbers. `tensors` are the names that it will hold. See `build`."""
    with torch.device("meta"):
        backbone = BACKBONES[family.name](geometry, tensors, **options)
        if geometry.decoder is None:
            return backbone
        neck = NECKS[geometry.neck.kind](geometry.neck, backbone) if geometry.neck else None
        return Segmenter(backbone, neck, HEADS[geometry.decoder.kind](geometry.decoder, neck or backbone, head_eps))


def _filled(module: nn.Module, tensors: Mapping[str, np.ndarray]) -> nn.Module:
    try:
        module.load_state_dict({name: _wide(array) for name, array in tensors.items()}, strict=True, assign=True)
    except RuntimeError as error:
        raise ConversionError(f"the tensors do not fit the model: {error}") from error
    return module.eval().requires_grad_(False)


def _wide(array: np.ndarray) -> torch.Tensor:
    """The numbers in float32 or wider, in the array's own memory if they may stay as they are. Counts and indices keep their type."""
    dtype = array.dtype if array.dtype.kind in "iu" else np.promote_types(array.dtype, np.float32)
    return torch.from_numpy(np.require(array, dtype, ["C", "W"]))
