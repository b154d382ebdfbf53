"""The networks of the made-up family, which need torch."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segzoo import models
from segzoo.errors import ConversionError
from segzoo.models import heads
from segzoo.models.made import made


class Stage(nn.Module):
    def __init__(self, before: int, width: int, side: int, units: int, eps: float):
        super().__init__()
        self.side = side
        self.merge = nn.Linear(before * side * side, width, bias=False)
        self.norm = nn.BatchNorm1d(width, eps)
        self.scale = nn.Parameter(torch.ones(width))
        self.units = nn.ModuleList(nn.ModuleDict({"mix": nn.Linear(width, width)}) for _ in range(units))

    def forward(self, image: Tensor) -> Tensor:
        h, w = image.shape[-2:]
        image = F.pad(image, (0, -w % self.side, 0, -h % self.side))
        # (b, c, h, side, w, side) to (b, h, w, side, side, c): the order that `merge.weight` has its inputs in
        cut = image.unflatten(3, (-1, self.side)).unflatten(2, (-1, self.side)).permute(0, 2, 4, 3, 5, 1)
        x = self.norm(self.merge(cut.flatten(3)).permute(0, 3, 1, 2).flatten(2)).unflatten(2, cut.shape[1:3]).permute(0, 2, 3, 1)
        for unit in self.units:
            x = x + F.gelu(unit["mix"](x))
        return (x * self.scale).permute(0, 3, 1, 2)


class Toy(nn.Module):
    def __init__(self, widths: tuple[int, int], units: tuple[int, int], patch: int, eps: float):
        super().__init__()
        self.stride, self.widths = patch, widths
        (first, second), (few, more) = widths, units
        self.stage1 = Stage(3, first, patch, few, eps)
        self.stage2 = Stage(first, second, 2, more, eps)
        self.stage2.offsets = nn.Parameter(torch.empty(7))
        self.stage2.register_buffer("index", torch.empty(4, 4, dtype=torch.int64))

    def forward(self, image: Tensor, seen: dict[str, Tensor] | None = None) -> list[Tensor]:
        fine = self.stage1(image)
        coarse = self.stage2(fine) * self.stage2.offsets[self.stage2.index].mean()
        return [fine, coarse]


class Join(nn.Module):
    def __init__(self, features: tuple[int, ...], width: int, groups: int, classes: int):
        super().__init__()
        self.groups = groups
        self.lateral0, self.lateral1 = (nn.Conv2d(one, width, 1, bias=False) for one in features)
        self.norm = nn.BatchNorm2d(width)
        self.classes = nn.Conv2d(width, classes, 1)

    def forward(self, features: list[Tensor], seen: dict[str, Tensor] | None = None) -> Tensor:
        fine, coarse = features
        grown = F.interpolate(self.lateral1(coarse), fine.shape[-2:], mode="bilinear", align_corners=False)
        mixed = self.norm(self.lateral0(fine) + grown).unflatten(1, (self.groups, -1))
        return self.classes(mixed.softmax(2).flatten(1, 2))


def toy(geometry, tensors, *, eps=1e-5, resample=None):
    return made(Toy, widths=geometry.widths, units=geometry.units, patch=geometry.patch, eps=eps)


def join(geometry, backbone, eps):
    if geometry.groups is None:
        raise ConversionError("the groups of the join head are not known")
    return made(Join, features=backbone.widths, width=geometry.width, groups=geometry.groups, classes=geometry.classes)


models.BACKBONES["toy"] = toy
heads.HEADS["join"] = join
