"""An image with its label map, and what the values in a label map mean."""

from dataclasses import dataclass, field
from pathlib import Path

IGNORED = 255
_WIDE_IGNORED = 65535
AS_IT_IS = bytes(range(256))
# 0 is unlabelled and ignored, 1 is the first class (mmseg's `reduce_zero_label`).
FROM_ONE = bytes([IGNORED, *range(254), IGNORED])


@dataclass(frozen=True, slots=True)
class Sample:
    """An image and its label map. `meaning` has the class of each of the 256 values in the file, 255 for ignored."""

    name: str
    image: Path
    label: Path
    meaning: bytes = field(default=FROM_ONE, repr=False)


def ignored(classes: int) -> int:
    """The value of ignored pixels in a label map: 255, or 65535 where the classes are so many that 255 is one of them."""
    return IGNORED if classes <= IGNORED else _WIDE_IGNORED
