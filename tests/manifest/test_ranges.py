"""Every number of a manifest has a range: whatever is written there is accepted, or refused in one clear line, at once."""

import copy
import time
from functools import lru_cache

import pytest
import yaml
from pace import within
from support import MINI, thorough_after

from segzoo.errors import UsageError
from segzoo.manifest.document import load_manifest, packaged
from segzoo.manifest.entries import geometry_of
from segzoo.manifest.strict_yaml import dotted

WRITTEN = ["0", "-1", "-0", "1", "0.5", "1000000000", "1000000000000", "9223372036854775807", "1" + "0" * 30, "9" * 5000]
WRITTEN += [
    ".nan",
    ".inf",
    "-.inf",
    "1.0e99",
    "1.0e+400",
    "true",
    "null",
    '"1"',
    "0x10",
    "1_000",
    "1:30",
    "2026-01-01",
    "!!binary aGk=",
    "[]",
    "{}",
    "~",
]


@lru_cache
def whole():
    """A manifest with every number that a manifest may have: the mini zoo and two entries of the shipped one."""
    plain = yaml.safe_load((MINI / "zoo.yaml").read_text())
    plain["datasets"]["ade-mini"] |= {"other_splits": {"training": 3}, "labels": {"from": 1, "ignore": [255]}}
    plain["datasets"]["of-values"] = {
        **{"title": "Values", "loader": "folders", "root": "v", "folders": {"images": "i", "labels": "l"}, "split": "all", "images": 2},
        **{"labels": {"values": {0: "one", 7: "two"}}, "classes": {"one": [1, 2, 3], "two": [4, 5, 6]}},
    }
    model = next(iter(plain["models"].values()))
    model["reported"] |= {"fps": 3.5, "train_memory_gb": 4.5, "decimals": 2}
    model["protocol"] |= {"threshold": 0.25, "published_scale": [64, 64], "crop": [64, 64], "stride": [48, 48], "mean": [1.0, 2.0, 3.0]}
    return plain


def numbers(plain, where=()):
    """The places of all numbers, one for each field: of the images' colours and of equal entries the first."""
    found = {}
    for key, one in plain.items() if isinstance(plain, dict) else enumerate(plain):
        if isinstance(one, dict | list):
            found |= numbers(one, (*where, key))
        elif isinstance(one, int | float) and not isinstance(one, bool):
            kind = where[0] if where else "", str(where[2:]).replace(str(where[1:2]), ""), key
            found.setdefault(kind, (*where, key))
    return found


PLACES = sorted(
    {tuple("*" if index == 1 else part for index, part in enumerate(where)): where for where in numbers(whole()).values()}.values(), key=str
)


def written(where, text):
    plain = copy.deepcopy(whole())
    *to, last = where
    inner = plain
    for part in to:
        inner = inner[part]
    inner[last] = "HERE"
    return yaml.safe_dump(plain, sort_keys=False, width=1 << 20).replace("HERE", text)


def test_every_number_of_the_schema_is_tried():
    named = {str(part) for where in PLACES for part in where if isinstance(part, str)}
    assert {"version", "images", "training", "size", "width", "depth", "heads", "mlp", "patch", "grid", "image", "eps", "classes"} <= named
    assert {"scale", "crop", "stride", "mean", "std", "threshold", "published_scale", "miou", "decimals", "fps", "train_memory_gb"} <= named


def refusal(path):
    """What is said against a manifest; nothing if it is accepted."""
    try:
        for entry in load_manifest(path).entries.values():
            str(geometry_of(entry))
    except UsageError as error:
        return error.message
    return ""


@pytest.mark.parametrize("where", thorough_after(15, PLACES), ids=dotted)
def test_a_number_is_accepted_or_refused_in_one_line(where, tmp_path):
    path = tmp_path / "zoo.yaml"
    accepted = []
    for text in WRITTEN:
        path.write_text(written(where, text))
        began = time.process_time()
        said = refusal(path)
        accepted += [] if said else [text]
        assert said.startswith(f"{path}:" if said else "")
        assert len(said) < 600
        assert "\n" not in said
        assert time.process_time() - began < 2, text
    assert not {"9" * 5000, ".nan", ".inf", "-.inf", "1.0e+400", "!!binary aGk=", '"1"', "1:30", "9223372036854775807"} & set(accepted)


TEXTS = {
    "nested lists": ("[" * 50_000, 1, "nested more than 20 deep"),
    "nested maps": ("a: " * 3 + "{a: " * 50_000, 1, ""),
    "nested blocks": ("\n".join(" " * depth + "a:" for depth in range(200)), 21, "nested more than 20 deep"),
    "a bomb": ("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]", 1, "anchors and aliases are not used"),
    "a merge": ("version: 1\nmodels:\n  <<: {a: 1}", 3, "a key must be a text"),
    "a tag": ("version: 1\nmodels: !!python/object:os.system {}", 2, "tags are not used in a manifest"),
    "a set": ("version: 1\nmodels: !!set {a}", 2, "tags are not used in a manifest"),
    "a null character": ("version: 1\ntitle: a\0b", 2, "a control character"),
    "a delete character": ("version: 1\ntitle: \x7f", 2, "a control character"),
    "a mark of byte order": ("version: 1\n\ufeffmodels: {}", 2, "a byte order mark within the text"),
    "a tab": ("version: 1\nmodels:\n\ta: 1", 3, "not YAML"),
    "two documents": ("version: 1\n---\nversion: 1", 2, "a second document begins"),
    "half a pair": ('version: 1\nmodels: "\\ud800"', 2, "not YAML"),
    "a huge text": ("version: 1\nmodels: " + "x" * 5_000_000, 2, "models: Input should be a valid dictionary"),
    "a huge key": ("version: 1\n? " + "k" * 900_000 + "\n: 1", 2, "no field 'kkkk"),
    "many keys": ("version: 1\nbackbones:\n  b:\n" + "\n".join(f"    k{i}: 1" for i in range(60_000)), 3, "the field 'title' is missing"),
    "many values": ("version: 1\nbackbones: [" + "1," * 300_000 + "]", 2, "backbones: Input should be a valid dictionary"),
    "many entries": ("version: 1\nbackbones:\n" + "\n".join(f"  b{i}: 1" for i in range(60_000)), 3, "backbones.b0: "),
}


@pytest.mark.parametrize("fault", TEXTS)
def test_a_text_that_is_too_much_is_one_line_at_once(fault, tmp_path):
    text, line, said = TEXTS[fault]
    path = tmp_path / "zoo.yaml"
    path.write_text(text)
    with within(2), pytest.raises(UsageError) as raised:
        load_manifest(path)
    assert raised.value.message.startswith(f"{path}:{line}: ")
    assert said in raised.value.message
    assert len(raised.value.message) < 600


@pytest.mark.parametrize(
    ("content", "said"), [("version: 1".encode("utf-16"), "not readable as text"), (b"a" * 9_000_000, "of at most 8,388,608 bytes")]
)
def test_what_is_no_manifest_by_its_bytes(content, said, tmp_path):
    (tmp_path / "zoo.yaml").write_bytes(content)
    with pytest.raises(UsageError, match=said):
        load_manifest(tmp_path / "zoo.yaml")


def test_a_mark_of_byte_order_may_begin_a_manifest(tmp_path):
    (tmp_path / "zoo.yaml").write_bytes(b"\xef\xbb\xbfversion: 1\r\nmodels: {}\r\n")
    assert load_manifest(tmp_path / "zoo.yaml").version == 1


@pytest.mark.parametrize("name", ["zoo.yaml", "mini/zoo.yaml"])
def test_both_parsers_of_pyyaml_read_the_same(name, monkeypatch):
    from segzoo.manifest import strict_yaml

    fast = strict_yaml.read_yaml(packaged(name))
    monkeypatch.setattr(strict_yaml, "_LOADER", yaml.SafeLoader)
    assert strict_yaml.read_yaml(packaged(name)) == fast
