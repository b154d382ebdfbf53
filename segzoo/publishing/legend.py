"""The column beside a picture: colours, names and shares of the classes in it."""

from collections.abc import Mapping, Sequence

from PIL import Image, ImageDraw, ImageFont

from segzoo.datasets.classes import Classes
from segzoo.text import legible

_LETTERS = 13  # pixels of a letter beside a picture whose shorter side has _BESIDE pixels
_BESIDE = 512
_SMALLEST = 9
_LONGEST = 200  # letters that are tried
_WIDTH, _ROW = 20, 1.7  # of a legend and of a line in it, in letters


def letters(height: int, width: int) -> int:
    """The size of letters, in pixels, that can be read beside a picture of this size."""
    return max(round(_LETTERS * min(height, width) / _BESIDE), _SMALLEST)


def width_of(height: int, width: int) -> int:
    """The width of the legend of a picture: never more than that of the picture."""
    return min(_WIDTH * letters(height, width), width)


def legend(shares: Mapping[str, Sequence[float]], classes: Classes, height: int, width: int | None = None) -> Image.Image:
    """A column as high as its picture, the largest share first. Classes that do not fit are only counted.

    `width` is that of the picture, and decides with `height` how large the letters are.
    """
    size = letters(height, width or height)
    row, font = round(_ROW * size), ImageFont.load_default(size)
    sheet = Image.new("RGB", (width_of(height, width or height), height), "white")
    draw, fit = ImageDraw.Draw(sheet), max(height // row, 0)
    ordered = sorted(shares.items(), key=lambda one: -max(one[1]))
    shown = ordered if len(ordered) <= fit else ordered[: max(fit - 1, 0)]
    margin = size // 2
    for line, (name, percents) in enumerate(shown):
        top = line * row + (row - size) // 2
        percent = " | ".join(f"{one:.1f}" for one in percents) + " %"
        draw.rectangle((margin, top, margin + size, top + size), fill=classes[name], outline="black")
        room = sheet.width - 4 * margin - size - font.getlength(percent)
        draw.text((2 * margin + size, top), shortened(name, room, font), fill="black", font=font)
        draw.text((sheet.width - margin, top), percent, fill="black", font=font, anchor="ra")
    if fit and (rest := ordered[len(shown) :]):
        said = f"and {len(rest)} more, each at most {max(rest[0][1]):.1f} %"
        draw.text((margin, len(shown) * row + (row - size) // 2), shortened(said, sheet.width - 2 * margin, font), fill="dimgray", font=font)
    return sheet


def shortened(text: str, room: float, font: ImageFont.ImageFont | ImageFont.FreeTypeFont) -> str:
    """The text, legible, or as much of it as fits into so many pixels."""
    text = legible(text[:_LONGEST])
    if font.getlength(text) <= room:
        return text
    while text and font.getlength(f"{text}\u2026") > room:
        text = text[:-1]
    return f"{text}\u2026" if text else ""


def titled(picture: Image.Image, title: str) -> Image.Image:
    """A picture under a line of text, as wide as before."""
    size = letters(*reversed(picture.size))
    font, row = ImageFont.load_default(size), round(_ROW * size)
    sheet = Image.new("RGB", (picture.width, picture.height + row), "white")
    ImageDraw.Draw(sheet).text((2, (row - size) // 2), shortened(title, picture.width - 4, font), fill="black", font=font)
    sheet.paste(picture, (0, row))
    return sheet
