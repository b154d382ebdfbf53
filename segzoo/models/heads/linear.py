"""The linear head of Segmenter (Strudel et al., ICCV 2021), as in mmseg 1.2.2."""

from torch import Tensor, nn

from segzoo.models.vit.network import Seen


class LinearDecoder(nn.Module):
    """A 1x1 convolution from features (b, d, h, w) to class scores (b, c, h, w): FCNHead with `num_convs=0`."""

    def __init__(self, *, features: int, classes: int):
        super().__init__()
        self.conv_seg = nn.Conv2d(features, classes, 1)

    def forward(self, features: Tensor, seen: Seen | None = None) -> Tensor:
        return self.conv_seg(features)
