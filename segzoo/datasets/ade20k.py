"""ADE20K's way to decode an image and a label map (SceneParse150), for ADE20K itself and any set laid out like it.

Label 0 is unlabelled, 1..K are the classes. As mmseg 1.2.2's ADE20KDataset with `reduce_zero_label`: 0
becomes 255 (ignored), every other value minus 1.
"""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from segzoo.errors import EnvironmentFault
from segzoo.miou import IGNORED


def read_image(path: Path) -> np.ndarray:
    """RGB uint8 (h, w, 3), turned as its EXIF orientation says, as cv2's colour flag does."""
    try:
        with Image.open(path) as image:
            return np.array(ImageOps.exif_transpose(image).convert("RGB"))
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise EnvironmentFault(f"{path}: not a readable image: {error}") from error


def read_label(path: Path) -> np.ndarray:
    """Class indices uint8 (h, w); 255 is ignored. Labels are never turned or resized."""
    try:
        with Image.open(path) as image:
            if image.mode not in ("L", "P"):
                raise EnvironmentFault(f"{path}: expected 8-bit class indices, found a PNG of mode {image.mode}")
            raw = np.array(image)
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise EnvironmentFault(f"{path}: not a readable label map: {error}") from error
    return np.where(raw == 0, IGNORED, np.where(raw == IGNORED, IGNORED, raw - 1)).astype(np.uint8)
