"""What a file of the AugReg release must be, by its row in the index: its address, its size in bytes, its geometry.

A file is a plain `np.savez`: 4 bytes a parameter, and for each tensor a header and an entry in the zip's list, whose lengths follow from the
names. All but the classifier and the positions is the same in all files of a family. The sizes that follow are equal to the three that are
published byte by byte, and within rounding to twelve more (README and notebooks of google-research/vision_transformer at c6de1e5).
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from segzoo.layouts.vit.geometry import Geometry

BASE = "https://storage.googleapis.com/vit_models/augreg/"
CLASSES = {"i1k": 1000, "i21k": 21843, "i21k_30": 21843, "imagenet2012": 1000, "cifar100": 100, "kitti": 4, "oxford_iiit_pet": 37, "resisc45": 45}
UPSTREAM_RESOLUTION = 224
EPS = 1e-6


@dataclass(frozen=True, slots=True)
class Family:
    """A family of the release. `stride` is how many pixels a token stands for; `base` are the bytes of a file, and `params` its parameters,
    without classifier and positions.
    """

    width: int
    depth: int
    heads: int
    patch: int
    stride: int
    base: int
    params: int
    residual: tuple[int, ...] | None = None

    def expected(self, resolution: int, classes: int) -> "Expected":
        grid = resolution // self.stride
        more = (self.width + 1) * classes + self.width * (grid * grid + 1)
        sizes = Geometry(self.width, self.depth, self.heads, 4 * self.width, self.patch, grid * grid, classes, residual=self.residual)
        return Expected(self.base + 4 * more, self.params + more, asdict(sizes))


@dataclass(frozen=True, slots=True)
class Expected:
    """The bytes of a file, the parameters in it, and its geometry."""

    size: int
    params: int
    geometry: dict[str, Any]


FAMILIES = {
    "Ti/16": Family(192, 12, 3, 16, 16, 22_011_286, 5_486_592),
    "S/32": Family(384, 12, 6, 32, 32, 89_963_926, 22_474_752),
    "S/16": Family(384, 12, 6, 16, 16, 86_424_982, 21_590_016),
    "B/32": Family(768, 12, 12, 32, 32, 349_732_246, 87_416_832),
    "B/16": Family(768, 12, 12, 16, 16, 342_654_358, 85_647_360),
    "B/8": Family(768, 12, 12, 8, 8, 340_884_886, 85_204_992),
    "L/16": Family(1024, 24, 16, 16, 16, 1_212_527_750, 303_099_904),
    "R+Ti/16": Family(192, 12, 3, 8, 32, 24_606_052, 6_135_104, ()),
    "R26+S/32": Family(384, 12, 6, 1, 32, 144_198_196, 36_027_712, (2, 2, 2, 2)),
    "R50+L/32": Family(1024, 24, 16, 1, 32, 1_311_843_716, 327_918_656, (3, 4, 6, 3)),
}


def expected(row: Mapping[str, Any], families: Mapping[str, Family] = FAMILIES) -> Expected | None:
    """What the file of a row must be; None for a family or a data set that this table does not have."""
    family, classes = families.get(row["name"]), CLASSES.get(row["adapt_ds"] or row["ds"])
    if family is None or classes is None:
        return None
    return family.expected(row["adapt_resolution"] or UPSTREAM_RESOLUTION, classes)


def certain(row: Mapping[str, Any]) -> bool:
    """Whether the size is sure. Models that were pretrained on i1k may have a hidden layer before the classifier (paper, 3.2)."""
    return row["kind"] == "finetuned" or row["ds"] != "i1k"
