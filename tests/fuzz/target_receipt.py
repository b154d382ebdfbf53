"""Receipts that a stranger wrote: as they are checked, reported, gone on from and signed."""

from functools import cache
from pathlib import Path

from harness import Target
from support import MINI

from segzoo.evidence.in_toto import statement
from segzoo.evidence.recheck import checked, recheck
from segzoo.manifest.document import load_manifest
from segzoo.publishing.report.facts import gather

RECEIPTS = [Path(__file__).parent / "seeds" / name for name in ("mini-linear.json", "mini-vit.json")]


@cache
def _entry():
    manifest = load_manifest(MINI / "zoo.yaml")
    return manifest.models["mini-linear"], list(manifest.classes_of(manifest.models["mini-linear"]))


def _seeds() -> list[bytes]:
    return [path.read_bytes() for path in RECEIPTS]


def _reported(path: Path) -> None:
    entry, classes = _entry()
    record = checked(path, "mini-linear", classes=classes)
    assert gather("mini-linear", entry, classes, record).verdict


TARGETS = [
    Target("receipt", _seeds, lambda path: list(recheck(path)), name="mini-linear.json", share=0.5),
    Target("receipt in a report", lambda: _seeds()[:1], _reported, name="mini-linear.json", share=0.3),
    Target("in-toto statement", lambda: _seeds()[:1], lambda path: statement(checked(path, "mini-linear")), name="mini-linear.json", share=0.3),
]
