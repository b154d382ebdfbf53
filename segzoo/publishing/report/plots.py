"""What the plots of a report show, as SVG: reported against measured mIoU, mIoU against cost, confusion matrices, torch against JAX by layer.

Plots are drawn in stand-in colours. `themed` replaces them by the colours of the page, light or dark; `plain` by fixed colours.
"""

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from matplotlib.ticker import LogFormatter

from segzoo.evidence.rungs.difference import TOLERANCE
from segzoo.publishing.report.beside import Cost
from segzoo.publishing.report.facts import Score, Section
from segzoo.text import brief, legible

# stand-in: (variable of the page, colour on white paper)
_COLOURS = {
    "#010203": ("--ink", "#1c2430"),
    "#040506": ("--muted", "#5c6773"),
    "#070809": ("--line", "#d5dae0"),
    "#0a0b0c": ("--accent", "#1f6feb"),
    "#0d0e0f": ("--second", "#bc4c00"),
    "#101112": ("--band", "#b6d4fb"),
}
_RIGHT, _WRONG = (0.122, 0.435, 0.922), (0.737, 0.298, 0.0)  # of a confusion matrix; they stand on light and on dark, more or less transparent
_WIDTH = 5.2  # inches, of a plot with letters of 9 points that a telephone shows whole
_FAR = 20  # times the least cost: then the axis is logarithmic
_IN_CELLS = 20  # classes of a matrix that has its percents in it
_RC: Any = {"svg.hashsalt": "segzoo", "svg.fonttype": "path", "font.family": ["DejaVu Sans"], "text.usetex": False}
_INK, _MUTED, _LINE, _ACCENT, _SECOND, _BAND = _COLOURS


def themed(svg: str) -> str:
    """The plot in the colours of the page around it."""
    for colour, (variable, _) in _COLOURS.items():
        svg = svg.replace(colour, f"var({variable})")
    return svg


def plain(svg: str) -> str:
    """The plot in fixed colours, for a white page."""
    for colour, (_, fixed) in _COLOURS.items():
        svg = svg.replace(colour, fixed)
    return svg


@matplotlib.rc_context(_RC)
def figures(sections: Sequence[Section]) -> str | None:
    """The plot of figures; None where there are no two to compare. A dot is the measured mIoU, with a 95 % interval for a subset of images.

    A bar is the reported figure. Its width is the allowed difference, or more where that would be too narrow to see.
    """
    rows = [(section, score) for section in sections for score in section.scores]
    if not rows or (len(rows) == 1 and rows[0][1].reported is None):
        return None
    chart = Figure(figsize=(_WIDTH, 0.7 + 0.36 * len(rows)), layout="constrained")
    axes = chart.subplots()
    ends = [end for _, score in rows for end in (score.low, score.high, score.reported, score.measured["mIoU"]) if end is not None]
    left, right = min(ends), max(ends)
    margin = max(0.08 * (right - left), 1.0)
    least = 0.004 * (right - left + 2 * margin)  # the narrowest bar that the eye can see
    for place, (_, score) in enumerate(rows):
        if score.reported is not None:
            half = max(score.allowed, least)
            axes.barh(place, 2 * half, left=score.reported - half, height=0.62, color=_BAND, label="reported, and what may differ")
        if score.low is not None and score.high is not None:
            axes.plot([score.low, score.high], [place, place], color=_ACCENT, linewidth=1.6, label="95 % interval")
        axes.plot(score.measured["mIoU"], place, "o", color=_ACCENT, markersize=5.5, label="measured", linestyle="none")
    axes.set_yticks(range(len(rows)), [_drawable(f"{section.name} {score.mode}") for section, score in rows], parse_math=False)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(left - margin, right + margin)
    axes.set_xlabel("mIoU, percent")
    handles = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    chart.legend(handles.values(), handles.keys(), loc="outside upper right", ncols=3, frameon=False, fontsize=9, labelcolor=_INK)
    return _svg(chart, "x")


@matplotlib.rc_context(_RC)
def parity(section: Section) -> str | None:
    """The plot of differences between torch and JAX after each step of the forward pass; None where the rung was not climbed.

    Dotted lines show the resolution of the float types, dashed lines the difference that the rung allows.
    """
    if not section.parity:
        return None
    chart = Figure(figsize=(_WIDTH, 4.2), layout="constrained")
    axes = chart.subplots()
    names: list[str] = []
    for (dtype, found), colour, marker in zip(section.parity.items(), (_ACCENT, _SECOND), "os", strict=False):
        names = [name for name, _ in found]
        floor = float(np.finfo(dtype).eps)
        axes.plot([max(value, floor / 16) for _, value in found], marker=marker, markersize=4, color=colour, linewidth=1.4, label=_drawable(dtype))
        axes.axhline(floor, color=colour, linewidth=0.9, linestyle=":", label=f"{_drawable(dtype)} resolves {floor:.0e}")
        axes.axhline(TOLERANCE[dtype], color=colour, linewidth=0.9, linestyle="--", label=f"{_drawable(dtype)} may differ {TOLERANCE[dtype]:.0e}")
    axes.set_yscale("log")
    step = max(len(names) // 14, 1)
    shown = [index for index in range(len(names)) if index % step == 0 or index == len(names) - 1]
    axes.set_xticks(shown, [_drawable(names[index]) for index in shown], rotation=35, ha="right", parse_math=False)
    axes.set_ylabel("largest difference, relative")
    chart.legend(loc="outside upper right", ncols=2, frameon=False, fontsize=8, labelcolor=_INK)
    return _svg(chart, "y")


@matplotlib.rc_context(_RC)
def matrix(score: Score) -> str | None:
    """The confusion matrix, each row divided by its sum; None where there is none. Right is blue, wrong is orange, and the square root of the
    share is how strong a colour is, so that small shares are seen. Rows without a labelled pixel are empty. Few classes have the percents in them.
    """
    if score.matrix is None:
        return None
    count = len(score.classes)
    shares = score.matrix / np.maximum(score.matrix.sum(1, keepdims=True), 1)
    cells = np.empty((count, count, 4))
    cells[..., :3], cells[..., 3] = _WRONG, 0.8 * np.sqrt(shares)
    cells[np.diag_indices(count)] = np.column_stack([np.tile(_RIGHT, (count, 1)), 0.8 * np.sqrt(shares.diagonal())])
    side = max(7.2, 1.8 + 0.17 * count)
    chart = Figure(figsize=(side, side), layout="constrained")
    axes = chart.subplots()
    axes.imshow(cells, interpolation="none")
    names = [_drawable(name) for name in score.classes]
    axes.set_xticks(range(count), names, rotation=90, parse_math=False)
    axes.set_yticks(range(count), names, parse_math=False)
    axes.set_xlabel("predicted")
    axes.set_ylabel("labelled")
    if count <= _IN_CELLS:
        for row, column in zip(*np.nonzero(shares >= 0.0005), strict=True):
            axes.text(column, row, f"{100 * shares[row, column]:.1f}", ha="center", va="center", color=_INK, fontsize=9 if count <= 10 else 6)
    return _svg(chart, None, 9 if count <= _IN_CELLS else 7)


@matplotlib.rc_context(_RC)
def against(cost: Cost) -> str | None:
    """The plot of mIoU against cost, a dot for each model, and a colour and a sign for each group; None without a point.

    Names stand beside the dots. In a group of many, a line goes through those that no other is both cheaper and better than.
    """
    if not any(cost.groups.values()):
        return None
    chart = Figure(figsize=(_WIDTH, 4.2), layout="constrained")
    axes = chart.subplots()
    for place, (name, points) in enumerate(cost.groups.items()):
        colour, marker = _distinct(place)
        axes.plot([x for _, x, _ in points], [y for _, _, y in points], marker, color=colour, markersize=6, linestyle="none", label=_drawable(name))
        ahead = cost.ahead(name)
        axes.plot([x for _, x, _ in ahead], [y for _, _, y in ahead], color=colour, linewidth=1)
        for model, x, y in () if ahead else points:
            axes.annotate(_drawable(model), (x, y), (6, 4), textcoords="offset points", color=_INK, fontsize=8, parse_math=False)
    across = [x for points in cost.groups.values() for _, x, _ in points]
    if max(across) > _FAR * min(across):
        _logarithmic(axes)
    axes.margins(0.15)
    axes.set_xlabel(cost.kind)
    axes.set_ylabel("mIoU, percent")
    chart.legend(loc="outside upper right", frameon=False, fontsize=8, labelcolor=_INK)
    return _svg(chart, "both")


def _distinct(place: int) -> tuple[str, str]:
    """The colour and the sign of a group, by its place among the others."""
    return (_ACCENT, _SECOND, _INK, _MUTED)[place % 4], "os^vDPX*<>"[place // 4 % 10]


@matplotlib.rc_context(_RC)
def scattered(groups: Mapping[str, Sequence[tuple[float, float]]], across: str, up: str, logarithmic: bool = True) -> str | None:
    """The plot of points, in a colour and a sign for each group; None where there is no point."""
    if not any(groups.values()):
        return None
    chart = Figure(figsize=(_WIDTH, 3.6), layout="constrained")
    axes = chart.subplots()
    for place, (name, points) in enumerate(groups.items()):
        colour, marker = _distinct(place)
        axes.scatter(
            [x for x, _ in points], [y for _, y in points], s=14, color=colour, marker=marker, label=_drawable(name), linewidths=0, alpha=0.7
        )
    if logarithmic:
        _logarithmic(axes)
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    chart.legend(loc="outside upper right", ncols=3, frameon=False, fontsize=8, labelcolor=_INK)
    return _svg(chart, "both")


def _logarithmic(axes: Any) -> None:
    """A logarithmic axis across, with plain numbers."""
    axes.set_xscale("log")
    for formatted in (axes.xaxis.set_major_formatter, axes.xaxis.set_minor_formatter):
        formatted(LogFormatter(minor_thresholds=(1, 0.4)))


def _drawable(name: str) -> str:
    """A name as an axis has room for it, in letters that the font has."""
    font = get_font(findfont("DejaVu Sans"))
    signs = (sign if font.get_char_index(ord(sign)) else sign.encode("ascii", "backslashreplace").decode() for sign in legible(name[:1000]))
    return brief("".join(signs), 40)


def _attributes(style: str) -> str:
    """A style as attributes of SVG: the page allows no style but its own sheet. Of two values the later counts, as in a style."""
    found = {name.strip(): value.strip() for name, _, value in (one.partition(":") for one in style.split(";")) if value}
    return " ".join(f'{name}="{value}"' for name, value in found.items())


def _svg(chart: Figure, grid: str | None, size: int = 9) -> str:
    """The chart as SVG in stand-in colours, the same bytes for the same figures. `size` is that of the names at its axes."""
    for axes in chart.axes:
        axes.set_facecolor("none")
        if grid:
            axes.grid(axis=grid, color=_LINE, linewidth=0.8)  # type: ignore[arg-type]
        axes.set_axisbelow(True)
        axes.tick_params(which="both", colors=_MUTED, labelsize=size)
        axes.xaxis.label.set_color(_INK)
        axes.yaxis.label.set_color(_INK)
        for side, spine in axes.spines.items():
            spine.set_visible(side in ("left", "bottom"))
            spine.set_color(_LINE)
    for label in (label for legend in chart.legends for label in legend.get_texts()):
        label.set_parse_math(False)
    text = io.StringIO()
    chart.savefig(text, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = text.getvalue()
    svg = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->\s*|<style.*?</style>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    svg = re.sub(r'style="([^"]*)"', lambda found: _attributes(found[1]), svg)
    svg = svg.replace("<svg ", '<svg stroke-linejoin="round" stroke-linecap="butt" ', 1)  # what the plot's own sheet said
    return re.sub(r'(<svg [^>]*?)width="[^"]*" height="[^"]*"|(<svg [^>]*?)height="[^"]*"([^>]*?)width="[^"]*"', r"\1\2\3", svg, count=1)
