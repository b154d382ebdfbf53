"""What pages and cards are made of: the tags of HTML, the kinds of blocks and spans of Markdown, and a report all of one word."""

from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
from hostile import unseen
from markdown_it import MarkdownIt

from segzoo.evaluation.counts import Counts
from segzoo.publishing.report import plots
from segzoo.publishing.report.beside import Group
from segzoo.publishing.report.facts import Confusion, Score, Section
from segzoo.publishing.report.heading import Heading
from segzoo.publishing.report.page import Example, Illustrated, Picture, Together, render

MARKDOWN = MarkdownIt("commonmark").enable("table").enable("strikethrough")


def structure(markdown):
    """The kinds of the blocks and spans of a Markdown text, without its texts; code spans and what they hold are one kind."""
    kinds = []
    for block in MARKDOWN.parse(markdown):
        kinds.append((block.type, block.tag, block.info, tuple(block.attrs.items())))
        inner = [(one.type, one.tag, tuple(one.attrs)) for one in block.children or ()]
        kinds += [one for index, one in enumerate(inner) if one[0] != "text" or index == 0 or inner[index - 1][0] != "text"]
    return kinds


class Tags(HTMLParser):
    """The tags of a page with the names of their attributes, and the texts of its style and script."""

    def __init__(self, page):
        super().__init__(convert_charrefs=True)
        self.tags, self.styles, self.inside, self.attributes = [], [], "", []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, tuple(name for name, _ in attributes)))
        self.attributes += attributes
        self.inside = tag

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        self.inside = ""

    def handle_endtag(self, tag):
        self.tags.append((f"/{tag}", ()))
        self.inside = ""

    def handle_comment(self, data):
        self.tags.append(("<!--", ()))

    def handle_data(self, data):
        if self.inside in ("style", "script"):
            self.styles.append(data)


def page_of(word):
    """A page on which every text from outside is this word. Its plots are drawn once: they have no texts, only paths."""
    check = {"status": "passed", "short": word, "detail": word, "basis": {}}
    confusion = Confusion(word, word, 5, 50.0)
    counts = {word: Counts(*np.ones((3, 2), np.int64))}
    score = Score(
        word, {"mIoU": 50.0, "aAcc": 1.0, "mAcc": 2.0}, 50.1, 0.1, word, 40.0, 60.0, 1, 2, [(word, 50.0, None)], [confusion], counts, [word]
    )
    section = Section(
        "one",
        word,
        2,
        {"ss": 50.1},
        passed=True,
        checks={"bytes": check, "names": check | {"status": word}},
        scores=[score, replace(score, mode="ss")],
        provenance=[("address", word), ("versions", word)],
        command=word,
        broken=[word, word],
        changed=[word],
    )
    example = Example("best", word, [Picture(word, word, jpeg=b"x")], {word: (1, 2, 3)})
    shown = Illustrated(section, Picture(f"{word}.svg", word, "<svg></svg>"), [example], word, Picture(f"{word}-m.svg", word, "<svg></svg>"))
    drawn = Picture("a.svg", word, "<svg></svg>")
    together = Together(drawn, drawn, drawn, [Group(word, 2, ["one", "two"], [(word, 1, [1.0, None], None)], [(word, 2, [1.0, 2.0], 2.0)])])
    return render([shown], together, Heading(word, (word, word), word), plots.themed)


TAME = page_of("word")


def assert_ours(word):
    html, markdown = page_of(word)
    assert Tags(html).tags == Tags(TAME[0]).tags
    assert structure(markdown) == structure(TAME[1])
    assert unseen(html) == unseen(markdown) == []
