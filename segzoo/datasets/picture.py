"""A picture of a program's own, as the models take it: from a path, a PIL image or an array."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from segzoo.datasets.image import read_image, rgb_of
from segzoo.errors import EnvironmentFault, UsageError

Picture = str | Path | Image.Image | np.ndarray


def is_one(given: Any) -> bool:
    """Whether something is meant as one picture, not as several of them."""
    return not isinstance(given, Iterable) or isinstance(given, str | np.ndarray | Image.Image)


def picture(given: Any, channels: int = 3) -> np.ndarray:
    """RGB uint8 (h, w, 3) of a picture, or (h, w, channels) for a model of other channels: the bands of a file, or an array.

    A file is read as MMSegmentation reads it, and turned as its EXIF says. A PIL image is taken as it stands. An array must be RGB uint8
    (h, w, 3). Raises UsageError for anything else, and EnvironmentFault for a file that cannot be read.
    """
    if isinstance(given, str | Path):
        if Path(given).is_dir():
            raise UsageError(f"{given}: a folder; give its images as a list", hint="sorted(Path(folder).glob('*.jpg'))")
        return read_image(Path(given), channels)
    if isinstance(given, Image.Image) and channels == 3:
        try:
            given.load()
        except Exception as error:  # whatever a decoder raises
            raise EnvironmentFault(f"PIL image {getattr(given, 'filename', '')}: not readable: {error or type(error).__name__}") from error
        return rgb_of(given)
    if not isinstance(given, np.ndarray):
        raise UsageError(f"an image is a path, a PIL image or an array uint8 (h, w, 3), found {type(given).__name__}")
    if given.dtype != np.uint8 or given.ndim != 3 or given.shape[2] != channels or 0 in given.shape:
        shape = " x ".join(map(str, given.shape))
        what = "an RGB image" if channels == 3 else "an image"
        raise UsageError(f"expected {what} uint8 (h, w, {channels}), found {given.dtype} {shape}", hint="the model's own normalisation comes later")
    return np.require(given, requirements=["C", "W"])
