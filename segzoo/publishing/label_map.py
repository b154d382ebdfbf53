"""Label maps as files: class indices for programs, or the values that a benchmark's server expects."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from segzoo.datasets.classes import Classes
from segzoo.datasets.loaders.cityscapes import CITYSCAPES_IDS, CITYSCAPES_NAMES
from segzoo.datasets.sample import IGNORED
from segzoo.errors import UsageError


def index_map(labels: np.ndarray, classes: Classes) -> Image.Image:
    """The label map as an image whose values are class indices.

    Up to 255 classes it has 8 bits and a palette with the colours. Beyond, it has 16 bits and no palette: 255 is a class then,
    and in a file of 8 bits it would be taken for pixels that do not count.
    """
    if len(classes) > IGNORED:
        return Image.fromarray(labels.astype(np.uint16, copy=False))
    image = Image.fromarray(labels.astype(np.uint8), "P")
    image.putpalette([channel for colour in classes.values() for channel in colour])
    return image


@dataclass(frozen=True)
class Server:
    """What a benchmark's server expects: label maps NAME.png of 8 bits with a value for each class.

    `names` are those of the classes, in order, if they are known here.
    """

    classes: int
    value: Callable[[int], int]
    names: Sequence[str] = ()


SERVERS: Mapping[str, Server] = {
    "ade20k": Server(150, lambda index: index + 1),
    "cityscapes": Server(19, lambda index: CITYSCAPES_IDS[index], CITYSCAPES_NAMES),
}


def server_map(labels: np.ndarray, name: str, classes: int) -> Image.Image:
    """The label map with the values that a benchmark's server expects, of 8 bits."""
    table = np.array([SERVERS[name].value(index) for index in range(classes)], np.uint8)
    return Image.fromarray(table[labels])


def fitting(name: str, classes: Classes) -> str | None:
    """What is to be said of a model whose classes may not be those of a benchmark; None if all is well.

    Raises UsageError if they are certainly others: too many for the server's values, or the benchmark's own in another order.
    """
    server, found = SERVERS[name], list(classes)
    hint = "without --as, NAME.labels.png holds the class indices"
    if (server.names and len(found) != server.classes) or len(found) > IGNORED:
        raise UsageError(f"--as {name}: its server expects {server.classes} classes, and the model has {len(found)}", hint)
    for index, (mine, theirs) in enumerate(zip(found, server.names, strict=False)):
        if mine != theirs and mine in server.names:
            raise UsageError(f"--as {name}: class {index} of the model is {mine}, and that of the benchmark is {theirs}", hint)
    if len(found) != server.classes:
        return f"--as {name}: its server expects {server.classes} classes, and the model has {len(found)}"
    if server.names and found != list(server.names):
        return f"--as {name}: the model's classes have other names than the benchmark's: taken to be those, in the same order"
    return None
