"""The table of programs. What its rows do is held against the programs themselves in test_evaluator.py and test_rstrudel.py."""

import pytest
import torch

from segzoo.errors import EnvironmentFault
from segzoo.evaluation.protocols import BY, normalised, views, views_per_image
from segzoo.manifest.entries import Protocol
from segzoo.vocabulary import MODES, PROGRAMS


def protocol(by):
    return Protocol(dataset="x", by=by, scale=(256, 64), crop=64, stride=32, mean=127.5, std=127.5)


def test_every_program_has_a_row():
    assert tuple(BY) == PROGRAMS


@pytest.mark.parametrize(
    ("by", "size", "expected"),
    [("mmseg", (20, 31), (20, 31)), ("rstrudel", (20, 31), (64, 99)), ("rstrudel", (90, 30), (192, 64)), ("rstrudel", (64, 99), (64, 99))],
)
def test_a_small_image_is_enlarged_where_the_program_does_it(by, size, expected):
    assert normalised(torch.zeros(*size, 3, dtype=torch.uint8), protocol(by)).shape == (3, *expected)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("by", PROGRAMS)
def test_a_mode_has_as_many_views_as_it_says(by, mode):
    found = views(torch.zeros(50, 90, 3, dtype=torch.uint8), protocol(by), mode, 16)
    assert len(found) == views_per_image(mode)
    assert sum(view.flipped for view in found) == len(found) // 2


def test_an_image_of_which_nothing_is_left_is_named_with_both_sizes():
    with pytest.raises(EnvironmentFault, match="too thin: 2000x1 pixels would be resized to 256x0"):
        views(torch.zeros(1, 2000, 3, dtype=torch.uint8), protocol("mmseg"), "ss", 16)
