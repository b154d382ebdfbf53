"""What the page of a report looks like, as HTML and as Markdown, made from facts and pictures."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from segzoo.evidence.receipt import now
from segzoo.publishing.report.facts import Section
from segzoo.vocabulary import RUNGS

GENERATOR = '<meta name="generator" content="segzoo report">'  # every page has this line, which tells that segzoo made it


def _figure(value: float | None, decimals: int = 2) -> str:
    return "-" if value is None else f"{value:.{decimals}f}"


@dataclass(frozen=True)
class Picture:
    """A picture of the report: `svg` as text, or `jpeg` as bytes. `file` is its file name; `alt` says what it shows."""

    file: str
    alt: str
    svg: str | None = None
    jpeg: bytes | None = None


@dataclass(frozen=True)
class Example:
    """One image. `which` is best, median or worst; `caption` has its figures in words. The four pictures go from left to right;
    `legend` has the classes in them with their colours.
    """

    which: str
    caption: str
    pictures: Sequence[Picture]
    legend: Mapping[str, tuple[int, int, int]]


@dataclass(frozen=True)
class Illustrated:
    """A section with its pictures. `missing` says why there are no examples."""

    section: Section
    parity: Picture | None
    examples: Sequence[Example]
    missing: str | None

    @property
    def pictures(self) -> list[Picture]:
        return [*([self.parity] if self.parity else []), *(picture for example in self.examples for picture in example.pictures)]


def render(sections: Sequence[Illustrated], overview: Picture | None, label: str, themed: Callable[[str], str]) -> tuple[str, str]:
    """The page as HTML and as Markdown. The HTML needs no other file and no network; the Markdown's pictures are in `pictures/`.

    `themed` gives a plot the colours of the page.
    """
    import base64

    from jinja2 import Environment, PackageLoader, StrictUndefined

    def inline(picture: Picture) -> str:
        return base64.b64encode(picture.jpeg or b"").decode()

    def cell(text: object) -> str:
        """A text escaped for a cell of a Markdown table."""
        escaped = "".join("\\" + sign if sign in "\\`*_[]<>|" else sign for sign in str(text))
        return escaped.replace("\n", " ")

    facts = {"generator": GENERATOR, "sections": sections, "overview": overview, "label": label, "rungs": RUNGS, "time": now()}
    pages = []
    for name in ("report.html", "report.md"):
        environment = Environment(
            loader=PackageLoader("segzoo", "pages"),
            autoescape=name.endswith(".html"),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
        )
        environment.filters |= {"inline": inline, "cell": cell, "figure": _figure, "themed": themed}
        pages.append(environment.get_template(name).render(facts))
    return pages[0], pages[1]
