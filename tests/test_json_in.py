"""JSON of strangers is read within limits, or refused in plain words."""

import json
import os
import time

import pytest

from segzoo.errors import IntegrityError
from segzoo.json_in import DEEPEST, parse_json, read_json

DEEP = 200_000


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        0,
        -1.5,
        "text",
        [],
        {},
        {"a": [1, {"b": [None]}], "": "\ud800"},
        2**64 - 1,
        1 - 2**64,
        1.7976931348623157e308,
        5e-324,
        [[], {}] * 3,
    ],
)
def test_what_json_can_say(value):
    text = json.dumps(value)
    assert parse_json(text, where="here") == parse_json(text.encode(), where="here") == value


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "expected JSON, found at line 1, column 1: Expecting value"),
        ("{\n'a': 1}", "expected JSON, found at line 2, column 1"),
        ("[1] [2]", "Extra data"),
        ("NaN", "NaN, which is no number in JSON"),
        ("[-Infinity]", "-Infinity, which is no number"),
        ("1e999", "too long or too large: '1e999'"),
        ("-1e999", "too long or too large"),
        ("0." + "1" * 1_000_000, "too long or too large"),
        ("9" * 1_000_000, "an integer of 1000000 characters, '9999"),
        (str(2**64), "64 bits are the most"),
        (str(-(2**64)), "64 bits are the most"),
        ('{"a": 1, "b": {"c": 1, "c": 1}}', "the key 'c' twice in one object"),
        ('{"a": 1, "\\u0061": 1}', "the key 'a' twice in one object"),
        ('{"\x1b[2K' + "k" * 100_000 + '": 1}', "Invalid control character"),
        ("[" * DEEP + "]" * DEEP, "more than 64 lists and objects within one another"),
        ('{"a":' * DEEP + "1" + "}" * DEEP, "more than 64 lists and objects within one another"),
        ("[" * DEEP, "more than 64 lists and objects within one another|expected JSON, found"),
        ("[" * (DEEPEST + 1) + "]" * (DEEPEST + 1), "more than 64 lists and objects within one another"),
        (b"\xff", "expected JSON in UTF-8, found another byte at 0"),
        (json.dumps("text").encode("utf-16"), "expected JSON in UTF-8"),
    ],
)
def test_what_it_may_not_say(text, complaint):
    before = time.process_time()
    with pytest.raises(IntegrityError, match=rf"^here: .*({complaint})") as caught:
        parse_json(text, where="here", hint="do this")
    assert time.process_time() - before < 1
    assert caught.value.hint == "do this"
    assert len(caught.value.message) < 200


def test_a_nest_may_be_as_deep_as_the_limit():
    assert parse_json("[" * DEEPEST + "]" * DEEPEST, where="here")


def test_a_text_beyond_the_limit_is_not_parsed(tmp_path):
    assert parse_json("[1, 2]", where="here", limit=6) == [1, 2]
    with pytest.raises(IntegrityError, match=r"here: .* found more than 5 bytes"):
        parse_json("[1, 2]", where="here", limit=5)
    path = tmp_path / "a.json"
    path.write_text("[1, 2]")
    assert read_json(path, limit=6) == [1, 2]
    with pytest.raises(IntegrityError, match=r"a\.json: .* found more than 5 bytes"):
        read_json(path, limit=5)


def test_a_file_is_a_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero"):
        with pytest.raises(IntegrityError, match="expected a file, found a pipe, a folder or a device"):
            read_json(path)
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path / "none.json")
