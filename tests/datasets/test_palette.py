"""Colours of classes, against the first ones that PASCAL VOC's documentation lists."""

from segzoo.datasets.palette import colours

# VOC2012's devkit, `VOClabelcolormap`: background, aeroplane, bicycle, bird, boat, bottle, ... tv/monitor.
VOC = {
    0: (0, 0, 0),
    1: (128, 0, 0),
    2: (0, 128, 0),
    3: (128, 128, 0),
    4: (0, 0, 128),
    5: (128, 0, 128),
    8: (64, 0, 0),
    19: (128, 192, 0),
    20: (0, 64, 128),
}


def test_colours_are_pascal_vocs_distinct_and_stable():
    found = colours(1000)
    assert {index: found[index] for index in VOC} == VOC
    assert len(set(found)) == 1000
    assert colours(300) == found[:300]
    assert min(max(abs(a - b) for a, b in zip(one, other, strict=True)) for one in found[:300] for other in found[:300] if one != other) == 32
    assert len(set(colours(70000))) == 70000
