"""What a model sees in an image, as pictures: a label map, and an overlay that a person can read."""

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from segzoo.evaluation.prediction import Classes, Prediction

_OPACITY = 0.6
_LEGEND = 260  # pixels beside the picture
_ROW = 22


def index_map(labels: np.ndarray, classes: Classes) -> Image.Image:
    """The label map as a palette image: values are class indices, the palette has the colours."""
    image = Image.fromarray(labels, "P")
    image.putpalette([channel for colour in classes.values() for channel in colour])
    return image


def overlay(image: np.ndarray, prediction: Prediction, classes: Classes) -> Image.Image:
    """The image tinted by class, beside a column of the classes found, each with its share."""
    column = legend({name: [share] for name, share in prediction.shares.items()}, classes, image.shape[0])
    return beside([tinted(image, prediction.labels, classes)], column)


def side_by_side(image: np.ndarray, pair: Sequence[Prediction], names: Sequence[str], classes: Sequence[Classes]) -> Image.Image:
    """Two models' pictures side by side, and a third that is faded where the two agree."""
    first, second = (_named(one.labels, its) for one, its in zip(pair, classes, strict=True))
    apart = first != second
    faded = (image.astype(np.float32) * 0.25 + 255 * 0.75).astype(np.uint8)
    panels = [tinted(image, one.labels, its) for one, its in zip(pair, classes, strict=True)]
    panels.append(Image.fromarray(np.where(apart[..., None], image, faded)))
    titles = [*names, f"they differ in {100 * apart.mean():.2f} %"]
    both: dict[str, list[float]] = {name: [one.shares.get(name, 0.0) for one in pair] for one in pair for name in one.shares}
    column = legend(both, {**classes[1], **classes[0]}, image.shape[0])
    return beside([titled(panel, title) for panel, title in zip(panels, titles, strict=True)], column)


def disagreement(pair: Sequence[Prediction], classes: Sequence[Classes]) -> float:
    """The share of pixels, in percent, where two models predict classes with different names."""
    first, second = (_named(one.labels, its) for one, its in zip(pair, classes, strict=True))
    return round(100 * float((first != second).mean()), 2)


def _named(labels: np.ndarray, classes: Classes) -> np.ndarray:
    """The label map with names in place of indices, since two models may number their classes differently."""
    return np.array(list(classes))[labels]


def tinted(image: np.ndarray, labels: np.ndarray, classes: Classes) -> Image.Image:
    colours = np.array(list(classes.values()), np.float32)[labels]
    return Image.fromarray((image * (1 - _OPACITY) + colours * _OPACITY).round().astype(np.uint8))


def titled(picture: Image.Image, title: str) -> Image.Image:
    """A picture under a line of text."""
    sheet = Image.new("RGB", (max(picture.width, int(_font().getlength(title)) + 8), picture.height + _ROW), "white")
    ImageDraw.Draw(sheet).text((4, 4), title, fill="black", font=_font())
    sheet.paste(picture, (0, _ROW))
    return sheet


def legend(shares: Mapping[str, Sequence[float]], classes: Classes, height: int) -> Image.Image:
    """A column of colours, names and shares, the largest first. Classes that do not fit beside the picture are only counted."""
    most = max(height // _ROW - 1, 8)
    ordered = sorted(shares.items(), key=lambda one: -max(one[1]))
    shown, rest = ordered[:most], ordered[most:]
    sheet = Image.new("RGB", (_LEGEND, max(height, _ROW * (len(shown) + bool(rest)) + 6)), "white")
    draw, font = ImageDraw.Draw(sheet), _font()
    for row, (name, percents) in enumerate(shown):
        top = 3 + row * _ROW
        draw.rectangle((8, top + 3, 22, top + 17), fill=classes[name], outline="black")
        draw.text((30, top + 2), name if len(name) < 20 else f"{name[:18]}\u2026", fill="black", font=font)
        draw.text((_LEGEND - 8, top + 2), " | ".join(f"{percent:.1f}" for percent in percents) + " %", fill="black", font=font, anchor="ra")
    if rest:
        draw.text((30, 5 + len(shown) * _ROW), f"and {len(rest)} more, each below {max(rest[0][1]):.1f} %", fill="gray", font=font)
    return sheet


def _font() -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    return ImageFont.load_default(13)


def beside(panels: Sequence[Image.Image], column: Image.Image) -> Image.Image:
    """Pictures from left to right, a few pixels apart, on white."""
    parts, gap = [*panels, column], 6
    sheet = Image.new("RGB", (sum(part.width for part in parts) + gap * (len(parts) - 1), max(part.height for part in parts)), "white")
    left = 0
    for part in parts:
        sheet.paste(part, (left, 0))
        left += part.width + gap
    return sheet
