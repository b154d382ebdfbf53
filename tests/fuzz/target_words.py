"""Words of strangers: what escapes them, and what writes them into Markdown, a page, JSON."""

import json

from harness import Target
from hostile import TEXTS, unseen
from pages import assert_ours, structure

from segzoo.publishing.markdown import code, fenced, prose
from segzoo.publishing.totals import as_csv
from segzoo.text import brief, json_text, legible, quoted


def _word(path):
    return path.read_bytes().decode("utf-8", "surrogateescape")


def _escapes(path):
    word = _word(path)
    escaped = [legible(word), brief(word, 20), quoted(word), prose(word), code(word), *as_csv([[word]])]
    for shown in (*escaped, json_text(word), json_text(word, ensure_ascii=False)):
        assert unseen(shown) == []
        assert "\n" not in shown
    assert json.loads(json_text(word)) == json.loads(json_text(word, ensure_ascii=False)) == word
    assert legible(legible(word)) == legible(word)


def _markdown(path):
    word = _word(path).strip() or "word"
    if not legible(word).strip():
        return
    for around in ("{}", "- {}", "# a {}", "| a |\n|---|\n| {} |", "> {}", "**{}**"):
        assert structure(around.format(prose(word))) == structure(around.format("word"))
    assert structure(code(word)) == structure("`word`")
    assert structure(f"a\n\n{fenced([word], 'sh')}\n\nb") == structure("a\n\n```sh\nword\n```\n\nb")


def _page(path):
    assert_ours(_word(path).strip() or "word")


SEEDS = [word.encode("utf-8", "surrogatepass")[:2000] for word in TEXTS.values()]
TARGETS = [
    Target("escapes", lambda: SEEDS, _escapes),
    Target("markdown", lambda: SEEDS, _markdown, share=0.3),
    Target("page", lambda: SEEDS[:4], _page, share=0.03),
]
