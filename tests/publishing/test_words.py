"""Words of strangers on a page, in a card, in a plot: the structure is ours whatever they say, and the page allows a browser nothing but itself."""

import ast
import base64
import hashlib
import json
import re
import shlex
import warnings
import xml.dom.minidom
from dataclasses import replace

import numpy as np
import pytest
import yaml
from hostile import TEXTS, printable, unseen
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pages import TAME, Tags, assert_ours, structure
from PIL import Image, ImageFont
from support import thorough_after

import segzoo
from segzoo.conversion.config_reader import names
from segzoo.conversion.plan import Dropped
from segzoo.evaluation.prediction import Prediction
from segzoo.evidence.receipt import command
from segzoo.evidence.rungs.difference import TOLERANCE
from segzoo.manifest.spelling import spelt
from segzoo.publishing.compare import side_by_side
from segzoo.publishing.export.card import card
from segzoo.publishing.export.forms import Made
from segzoo.publishing.legend import shortened
from segzoo.publishing.markdown import code, fenced, prose
from segzoo.publishing.overlay import overlay
from segzoo.publishing.report import plots
from segzoo.publishing.report.beside import Cost
from segzoo.publishing.report.facts import Score, Section
from segzoo.publishing.totals import as_csv
from segzoo.zoo.likeness import match_entry
from segzoo.zoo.zoo import open_zoo

ANY = st.text(st.characters(exclude_categories=()), min_size=1, max_size=60) | st.sampled_from([*TEXTS.values()])


@pytest.mark.parametrize("which", TEXTS)
def test_a_page_has_the_same_structure_whatever_its_words_are(which):
    assert_ours(TEXTS[which])


@settings(max_examples=4, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(ANY)
def test_and_so_it_has_for_any_word(word):
    assert_ours(word.strip() or "word")


def test_the_policy_allows_the_pages_own_sheet_and_nothing_else():
    page = Tags(TAME[0])
    (policy,) = [value for name, value in page.attributes if name == "content" and "default-src" in value]
    (style,) = page.styles
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"
    section = Section("one", "One", 2, {}, parity={"float64": [("stem", 1e-12), ("head", 1e-11)]})
    for tags in (page, Tags(plots.parity(section))):
        assert not [name for name, _ in tags.attributes if name == "style" or name.startswith("on")]
        assert not {tag for tag, _ in tags.tags} & {"script", "base", "form", "iframe", "object", "embed", "link"}
    assert Tags(plots.parity(section)).styles == []


def test_plots_read_no_formula_and_lack_no_letter():
    score = Score("ss", {"mIoU": 50.0}, 50.1, 0.1, None, 40.0, 60.0, 1, 2, [], [], {})
    sections = [Section(word, word, 2, {}, scores=[replace(score, mode=word)]) for word in TEXTS.values()]
    names = [(word, 1e-12) for word in TEXTS.values()]
    parity = Section("one", "one", 2, {}, parity=dict.fromkeys(TOLERANCE, names))
    matrix = replace(score, classes=[*TEXTS.values()], matrix=np.eye(len(TEXTS), dtype=np.int64))
    cost = Cost("images/s", {word: [(word, 1.0, 50.0)] for word in TEXTS.values()}, "")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for drawn in (plots.figures(sections), plots.parity(parity), plots.matrix(matrix), plots.against(cost)):
            assert xml.dom.minidom.parseString(plots.plain(drawn)).documentElement.tagName == "svg"


@pytest.mark.parametrize("which", thorough_after(1, TEXTS))
def test_legends_draw_any_class(which):
    word = TEXTS[which]
    classes = {word: (1, 2, 3), "other": (4, 5, 6)}
    labels = np.zeros((40, 60), np.int32)
    found = Prediction(labels, {word: 100.0}, classes)
    assert isinstance(overlay(np.zeros((40, 60, 3), np.uint8), found, classes), Image.Image)
    assert isinstance(side_by_side(np.zeros((40, 60, 3), np.uint8), [found, found], [word, word], [classes, classes]), Image.Image)


def card_of(word):
    """A card in which every text from outside is this word, as far as a manifest allows it."""
    zoo = open_zoo("mini")
    matched = match_entry("mini-linear", zoo, zoo.manifest.entries, None, lambda done, whole: None)
    dataset = zoo.manifest.datasets["ade-mini"].model_copy(update={"title": word, "licence": word})
    artifact = matched.entry.artifact.model_copy(update={"name": word, "provenance": word})
    entry = matched.entry.model_copy(update={"title": word, "licence": word, "checkpoint": artifact})
    matched = replace(matched, entry=entry, classes={word: (1, 2, 3)}, fetched=replace(matched.fetched, evidence=word))
    made = Made("safetensors", "mmseg", 3, 2, (Dropped("classifier", word, (word, word)),), reproduce=word, verify=word, version="1", pixels=True)
    checks = [{"rung": "bytes", "status": "passed", "short": word, "detail": word, "basis": {}, "facts": {}}]
    checks += [{"rung": "names", "status": "failed", "short": word, "detail": word, "basis": {}, "facts": {}}]
    proved = {"passed": False, "checks": checks, "versions": {"torch": word}, "time": word, "machine": word}
    return card(matched, "0" * 64, made, dataset, proved, None)


@pytest.fixture(scope="module")
def tame_card():
    return card_of("word")


@pytest.mark.parametrize("which", TEXTS)
def test_a_card_has_the_same_structure_whatever_its_words_are(which, tame_card):
    word = TEXTS[which]
    text = card_of(word)
    front, body = text.split("\n---\n", 1)
    assert structure(body) == structure(tame_card.split("\n---\n", 1)[1])
    assert unseen(text) == []
    facts = yaml.safe_load(front.removeprefix("---\n"))
    assert list(facts) == list(yaml.safe_load(tame_card.split("\n---\n", 1)[0].removeprefix("---\n")))
    assert facts["license"] == "unknown"


@settings(max_examples=100, deadline=None, derandomize=True)
@given(ANY)
def test_a_text_in_markdown_is_that_text(word):
    said = prose(word)
    for around in ("{}", "- {}", "# a {}", "| a |\n|---|\n| {} |", "**{}**"):
        tame, wild = (structure(around.format(one)) for one in ("word", said or "word"))
        assert wild == tame
    assert structure(code(word)) == structure("`word`") or not word.strip()
    assert structure(f"a\n\n{fenced([word], 'sh')}\n\nb") == structure("a\n\n```sh\nword\n```\n\nb")


@pytest.mark.parametrize("which", thorough_after(1, TEXTS))
def test_an_exported_folder_holds_a_strangers_classes_exactly_and_no_code_of_theirs(which, tmp_path):
    word = printable(TEXTS[which])[:900].strip()  # YAML has no longer keys
    text = (open_zoo("mini").parts[0].path).read_text()
    folder = open_zoo("mini").parts[0].path.parent
    text = text.replace("      sky:", f"      {json.dumps(word, ensure_ascii=False)}:").replace(
        "title: Segmenter Linear, 3 blocks", f"title: {json.dumps(word, ensure_ascii=False)}"
    )
    text = re.sub(r"urls: \[(.*?)\]", lambda found: f"urls: [{(folder / found[1]).as_uri()}]", text)
    (tmp_path / "zoo.yaml").write_text(text)
    segzoo.export("mini-linear", tmp_path / "out", form="safetensors", zoo=tmp_path / "zoo.yaml")
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["classes"][0]["name"] == word
    shipped = ast.dump(ast.parse((tmp_path / "out" / "segmenter.py").read_text()))
    segzoo.export("mini-linear", tmp_path / "tame", form="safetensors", zoo="mini")
    assert shipped == ast.dump(ast.parse((tmp_path / "tame" / "segmenter.py").read_text()))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(path.name for path in (tmp_path / "tame").iterdir())


def test_a_command_from_a_receipt_is_one_command():
    basis = {"images": "1; touch pwned", "of": 3, "modes": ["ss", "$(touch pwned)"], "device": "cpu\ntouch pwned", "precision": "`x`"}
    said = command("one", {"checks": [{"rung": "mIoU", "basis": basis}]}, "")
    assert shlex.split(said)[3:10] == ["--again", "--images", "1; touch pwned", "--mode", "ss", "--mode", "$(touch pwned)"]
    assert "\n" not in said
    assert "--device $'cpu\\ntouch pwned' --precision '`x`'" in said


def test_a_note_in_a_manifest_stays_a_comment():
    lines = spelt({"a": 1}, 2, {"a": "as x\n  evil: 1\x85  more: 2", "": "\u2028models: {}"})
    assert yaml.safe_load("\n".join(lines)) == {"a": 1}


def test_classes_in_a_checkpoint_are_legible_and_stay_apart():
    assert names(["a\nb", "a b", "\x1b"]) == (r"a\nb", "a b", r"\x1b")
    with pytest.raises(ValueError, match="twice"):
        names(["a\n", r"a\n"])


def test_csv_has_a_line_for_each_row_and_no_formula():
    assert as_csv([("=cmd()", "a\nb", 1), ("-x", "plain", 2)]) == [r"'=cmd(),a\nb,1", "'-x,plain,2"]


def test_a_text_that_is_too_long_is_shortened_soon():
    assert len(shortened("x" * 10**6, 100, ImageFont.load_default(9))) < 60
