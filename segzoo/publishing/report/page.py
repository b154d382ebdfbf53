"""What the page of a report looks like, as HTML and as Markdown, made from facts and pictures."""

import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from segzoo.evidence.receipt import now
from segzoo.publishing.markdown import Written, fenced, prose, within
from segzoo.publishing.report.beside import Group
from segzoo.publishing.report.facts import Section
from segzoo.publishing.report.heading import Heading
from segzoo.text import brief
from segzoo.vocabulary import RUNGS

GENERATOR = '<meta name="generator" content="segzoo report">'  # every page has this line, which tells that segzoo made it

_LONGEST = 4000  # characters of a text on the page


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
    """One image. `which` is best, median, worst, worst-2 and so on; `caption` has its figures in words. The four pictures go from left to right;
    `legend` has the classes in them with their colours.
    """

    which: str
    caption: str
    pictures: Sequence[Picture]
    legend: Mapping[str, tuple[int, int, int]]


@dataclass(frozen=True)
class Illustrated:
    """A section with its pictures: torch against JAX, examples, the confusion matrix. `missing` says why there are no examples."""

    section: Section
    parity: Picture | None
    examples: Sequence[Example]
    missing: str | None
    matrix: Picture | None = None

    @property
    def pictures(self) -> list[Picture]:
        return [*filter(None, (self.matrix, self.parity)), *(picture for example in self.examples for picture in example.pictures)]


@dataclass(frozen=True)
class Together:
    """What the page shows of all sections: reported against measured mIoU, mIoU against cost, the reported mIoU of models that were not
    measured against their size, and models side by side.
    """

    overview: Picture | None = None
    cost: Picture | None = None
    reported: Picture | None = None
    groups: Sequence[Group] = ()

    @property
    def pictures(self) -> list[Picture]:
        return [*filter(None, (self.overview, self.cost, self.reported))]


def _policy(style: str) -> str:
    """What a browser may do for the page: use its one style sheet and the pictures in it. It runs no script, and opens no connection."""
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"


def _joined(detail: str) -> str:
    """The detail of a check on one line. That of a check that failed may have several: a list of addresses, a hint."""
    return "; ".join(line.strip() for line in detail.split("\n"))


def render(sections: Sequence[Illustrated], together: Together, heading: Heading, themed: Callable[[str], str]) -> tuple[str, str]:
    """The page as HTML and as Markdown. The HTML needs no other file and no network; the Markdown's pictures are in `pictures/`.

    `themed` gives a plot the colours of the page.
    """
    facts = {"sections": sections, "together": together, "heading": heading, "rungs": RUNGS}
    return rendered("report", facts, themed)


def rendered(name: str, facts: Mapping[str, Any], themed: Callable[[str], str]) -> tuple[str, str]:
    """The page of this name in `segzoo/pages`, made of facts: as HTML and as Markdown. Whatever text the facts hold is escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    def inline(picture: Picture) -> Markup:
        return Markup(base64.b64encode(picture.jpeg or b"").decode())  # noqa: S704 - letters and digits

    def html(value: object) -> object:
        """A value before jinja2 escapes it."""
        return brief(value, _LONGEST) if isinstance(value, str) and not isinstance(value, Markup) else value

    def markdown(value: object) -> object:
        return prose(brief(value, _LONGEST)) if isinstance(value, str) and not isinstance(value, Written) else value

    facts = {"generator": GENERATOR, "time": now(), **facts}
    pages = []
    for file, written in ((f"{name}.html", html), (f"{name}.md", markdown)):
        environment = Environment(
            loader=PackageLoader("segzoo", "pages"),
            autoescape=file.endswith(".html"),
            undefined=StrictUndefined,
            finalize=written,  # whatever stands in {{ }}: no text of a page can be forgotten
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
        )
        environment.filters |= {
            "inline": inline,
            "figure": _figure,
            "joined": _joined,
            "themed": themed,
            "within": within,
            "fenced": lambda line: fenced([line]),
        }
        style = PackageLoader("segzoo", "pages").get_source(environment, "report.css")[0]
        pages.append(environment.get_template(file).render(facts, style=style, policy=_policy(style)))
    return pages[0], pages[1]
