"""The resize against cv2's own bytes, and mmcv's own output sizes."""

import json

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from support import GOLDEN

from segzoo.evaluation.protocols import sizes
from segzoo.evaluation.resize import rescaled, resize

RESIZED = np.load(GOLDEN / "mmseg" / "expected" / "mini_inputs_ss.npz")


@pytest.mark.parametrize("key", RESIZED.files)
def test_bit_equal_to_cv2(key):
    with Image.open(GOLDEN / "mmseg" / "data" / "mini" / "images" / "validation" / f"{key.split('/')[0]}.png") as image:
        pixels = np.array(image.convert("RGB"))
    assert np.array_equal(resize(torch.from_numpy(pixels), rescaled(pixels.shape[:2], (256, 64))).numpy(), RESIZED[key])


def test_sizes_are_mmcvs():
    table = json.loads((GOLDEN / "mmseg" / "expected" / "resize_sizes.json").read_text())
    compared = 0
    for row in table:
        for setting, size in row["out"].items():
            if not setting.startswith("x"):
                scale = tuple(map(int, setting.split("x")))
                assert rescaled(tuple(row["hw"]), scale) == tuple(size)
                compared += 1
    assert compared == 2 * len(table) == 322


def test_sizes_of_augmentation_are_mmcvs():
    """1.x rounds twice, which no single rounding gives."""
    table = json.loads((GOLDEN / "mmseg" / "expected" / "resize_sizes.json").read_text())
    ratios = ["x0.5", "x0.75", "x1.0", "x1.25", "x1.5", "x1.75"]
    for row in table:
        assert sizes(tuple(row["hw"]), (2048, 512), "ms+flip-1.x") == [tuple(row["out"][ratio]) for ratio in ratios]
    assert len(table) == 161
    assert sizes((512, 683), (2048, 512), "ms+flip")[0] == (256, 342)


def test_halving_averages_four_and_the_same_size_is_untouched():
    pixels = torch.tensor([[[1], [2]], [[4], [8]]], dtype=torch.uint8).expand(2, 2, 3)
    assert resize(pixels, (1, 1)).tolist() == [[[4, 4, 4]]]  # (15 + 2) >> 2
    assert resize(pixels, (2, 2)) is pixels


def test_any_size_to_any_other_is_bit_equal_to_cv2():
    random = np.random.default_rng(7)
    for _ in range(150):
        height, width, *size = (int(side) for side in random.integers(1, 260, 4))
        pixels = random.integers(0, 256, (height, width, 3), np.uint8)
        ours = resize(torch.from_numpy(pixels), (size[0], size[1])).numpy()
        assert np.array_equal(ours, cv2.resize(pixels, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)), (height, width, size)


LEAST = {
    (512, 683): [(640, 854), (640, 854), (640, 854), (800, 1067), (960, 1281), (1120, 1494)],
    (2100, 1402): [(959, 640), (959, 640), (959, 640), (1198, 800), (1438, 960), (1678, 1120)],
    (97, 641): [(640, 4229), (640, 4229), (640, 4229), (800, 5287), (960, 6344), (1120, 7401)],
    (512, 512): [(640, 640), (640, 640), (640, 640), (800, 800), (960, 960), (1120, 1120)],
}
"""By mmcv 2.1.0's `rescale_size`, of the scale that `Resize(min_size=640)` of mmseg 0.30.0 makes of (2560, 640) and each ratio."""


@pytest.mark.parametrize(("size", "expected"), LEAST.items())
def test_a_least_short_side_is_kept_at_ms_flip_alone(size, expected):
    assert sizes(size, (2560, 640), "ms+flip", 640) == expected
    assert sizes(size, (2560, 640), "ss", 640) == sizes(size, (2560, 640), "ss")
    assert sizes(size, (2560, 640), "ms+flip-1.x", 640) == sizes(size, (2560, 640), "ms+flip-1.x")
