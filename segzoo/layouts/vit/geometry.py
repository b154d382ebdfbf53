"""What size a model is, measured from the names and shapes of its tensors."""

import math
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Decoder:
    """A Segmenter's head. `heads` is None where neither tensors nor caller tell."""

    kind: str
    classes: int
    depth: int = 0
    width: int | None = None
    mlp: int | None = None
    heads: int | None = None


@dataclass(frozen=True, slots=True)
class Geometry:
    """A ViT's sizes. `positions` are those of the grid; `heads` is None where nothing tells.

    `residual` counts the units of each stage of the ResNet before a hybrid's patch embedding; none where
    there is its root alone.
    """

    width: int
    depth: int
    heads: int | None
    mlp: int
    patch: int
    positions: int
    classes: int | None = None
    decoder: Decoder | None = None
    residual: tuple[int, ...] | None = None

    @property
    def grid(self) -> int | None:
        """The side of the grid; None where the positions are no square."""
        side = math.isqrt(self.positions)
        return side if side * side == self.positions else None

    @property
    def stride(self) -> int:
        """Pixels from one token to the next: the root of a ResNet takes 4, each stage after its first 2."""
        return self.patch if self.residual is None else self.patch * 4 * 2 ** max(len(self.residual) - 1, 0)

    @property
    def bare(self) -> "Geometry":
        """Without the heads, which tensors may not show, and without a classifier, which may be left over."""
        return replace(self, heads=None, classes=None, decoder=self.decoder and replace(self.decoder, heads=None))

    def __str__(self) -> str:
        heads = self.heads if self.heads is not None else "unknown"
        grid = f"grid {self.grid}" if self.grid else f"{self.positions} positions"
        parts = [f"width {self.width}", f"depth {self.depth}", f"heads {heads}", f"mlp {self.mlp}", f"patch {self.patch}", grid]
        if self.residual is not None:
            parts.append(f"ResNet of {'+'.join(map(str, self.residual))} units" if self.residual else "ResNet root")
            parts.append(f"stride {self.stride}")
        if self.classes is not None:
            parts.append(f"{self.classes} classes")
        if self.decoder is not None:
            layers = f" of depth {self.decoder.depth}" if self.decoder.depth else ""
            parts.append(f"{self.decoder.kind} decoder{layers}, {self.decoder.classes} classes")
        return ", ".join(parts)
