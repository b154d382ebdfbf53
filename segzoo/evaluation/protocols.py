"""How a program looks at an image: at which sizes, in which windows."""

from segzoo.evaluation.resize import rescaled

RATIOS = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)


def sizes(size: tuple[int, int], scale: tuple[int, int], mode: str) -> list[tuple[int, int]]:
    """The sizes (height, width) at which a mode looks at an image."""
    if mode == "ms+flip":
        return [rescaled(size, (int(scale[0] * ratio), int(scale[1] * ratio))) for ratio in RATIOS]
    if mode == "ms+flip-1.x":
        return [rescaled(size, (int(size[0] * ratio + 0.5), int(size[1] * ratio + 0.5))) for ratio in RATIOS]
    return [rescaled(size, scale)]
