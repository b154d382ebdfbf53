"""Text from outside: shown on one line with escapes, exact in JSON, one word to a shell."""

import json
import subprocess

import pytest
from hostile import TEXTS, unseen
from hypothesis import given
from hypothesis import strategies as st

from segzoo.text import brief, json_text, legible, quoted

ANY = st.text(st.characters(exclude_categories=()), max_size=40)
ESCAPES = {
    "\n": r"\n",
    "\r\t": r"\r\t",
    "\x1b[2K\x07\x7f": r"\x1b[2K\x07\x7f",
    "\x85\x9b": r"\u0085\u009b",
    "\u202e\u2066\u200b\ufeff\u2028": r"\u202e\u2066\u200b\ufeff\u2028",
    "\U000e0041": r"\U000e0041",
    "\udce4\ud800": r"\xe4\ud800",
    "\u3164\u2800\u00a0": r"\u3164\u2800\xa0".replace(r"\xa0", r"\u00a0"),
    "\u5929\u7a7a Stra\u00dfe \U0001f600 [red] C:\\new": "\u5929\u7a7a Stra\u00dfe \U0001f600 [red] C:\\new",
}


@pytest.mark.parametrize(("text", "shown"), ESCAPES.items())
def test_each_sign_stands_for_itself_or_for_its_escape(text, shown):
    assert legible(text) == shown


@given(ANY)
def test_what_is_legible_is_printable_and_stays_as_it_is(text):
    assert legible(text).isprintable()
    assert unseen(legible(text)) == []
    assert legible(legible(text)) == legible(text)
    legible(text).encode()


@given(ANY, ANY)
def test_other_texts_look_otherwise(one, other):
    """A backslash apart, which may begin what looks like an escape."""
    one, other = one.replace("\\", ""), other.replace("\\", "")
    assert (legible(one) == legible(other)) == (one == other)


def test_a_long_text_is_cut_in_the_middle_and_its_length_is_said():
    assert brief("a" * 700 + "\n" + "b" * 533, 10) == "aaaaa \u2026 1,234 characters \u2026 bbbbb"
    assert brief("\n" * 10, 10) == r"\n" * 10
    assert len(brief("x" * 10**6)) < 350


@given(st.dictionaries(ANY, ANY, max_size=3))
def test_json_is_exact_and_legible(record):
    for ascii_only in (True, False):
        text = json_text(record, ensure_ascii=ascii_only)
        assert json.loads(text) == {key: json.loads(json.dumps(value)) for key, value in json.loads(json.dumps(record)).items()}
        assert unseen(text) == []
        text.encode()


@pytest.mark.parametrize("text", [*TEXTS.values(), "plain", "", "a'b\\c\n'"])
def test_a_quoted_word_is_one_word_to_a_shell(text):
    text = text.replace("\x00", "").replace("\ud800", "").replace("\udfff", "")[:5000]
    assert legible(quoted(text)) == quoted(text)
    done = subprocess.run(["bash", "-c", f"printf %s {quoted(text)}"], capture_output=True, check=True, env={"LC_ALL": "C.UTF-8"})
    assert done.stdout == text.encode("utf-8", "surrogateescape")
