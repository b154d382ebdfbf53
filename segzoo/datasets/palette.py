"""Colours for any number of classes that have none of their own."""


def colours(count: int) -> list[tuple[int, int, int]]:
    """The colours of classes 0 to count - 1, all different up to 2**24. A class keeps its colour, however many follow it.

    The rule is that of the PASCAL VOC devkit (`VOClabelcolormap`): bits 0, 3, 6, ... of the index are the bits of red from the
    highest down, bits 1, 4, 7, ... those of green, bits 2, 5, 8, ... those of blue. So 8 classes differ by 128 in some channel,
    64 classes by 64, and 512 classes by 32. Class 0 is black.
    """
    return [(_channel(index), _channel(index >> 1), _channel(index >> 2)) for index in range(count)]


def _channel(index: int) -> int:
    return sum((index >> 3 * bit & 1) << 7 - bit for bit in range(8))
