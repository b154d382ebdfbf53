"""What a model computes for the picture of its witness."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from segzoo.datasets.image import read_image
from segzoo.evaluation.precision import arithmetic
from segzoo.manifest.witness import Published


def scores_of(model: nn.Module, path: Path, published: Published) -> list[list[float]]:
    """The model's scores for a picture, in float32 on the CPU, at the place of the published ones. Raises EnvironmentFault for a file that is no
    picture of the model's channels.
    """
    first, top, left = published.at
    rows, columns = len(published.scores), len(published.scores[0])
    with torch.inference_mode(), arithmetic("fp32"):
        scores: Tensor = model(seen(read_image(path, len(published.mean)), published))[0, first]
    return [[float(one) for one in row] for row in scores[top : top + rows, left : left + columns]]


def seen(pixels: np.ndarray, published: Published) -> Tensor:
    """Pixels uint8 (h, w, channels) as the model takes them: (1, channels, H, W), resized and normalised."""
    if published.size is not None:
        sides = published.size[::-1]  # Pillow has the width first
        bands = [np.asarray(Image.fromarray(band).resize(sides, Image.Resampling.BILINEAR)) for band in np.moveaxis(pixels, 2, 0)]
        pixels = np.stack(bands, 2)
    plain = (torch.from_numpy(pixels.astype(np.float32)) - torch.tensor(published.mean)) / torch.tensor(published.std)
    return plain.permute(2, 0, 1)[None].contiguous()
