"""The page of the architecture: its order of rooms, its table, and its walks, which are taken."""

import re
import sys
import threading
from pathlib import Path

import pytest
from server import Ranged, serve
from support import TAME
from test_imports import COLUMN, ORDER

from segzoo.conversion.convert import convert
from segzoo.evidence.climb import verify
from segzoo.evidence.ladder import Setting
from segzoo.manifest.artifact import Artifact, Mirror
from segzoo.zoo.zoo import open_zoo

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "architecture.md").read_text()


def test_the_order_is_that_of_the_imports():
    assert f"```text\n{ORDER}\n```" in PAGE
    rows = re.findall(r"^\| (ground|`\w+`(?:, `\w+`)*) \|", PAGE, re.MULTILINE)
    assert {room for row in rows for room in re.findall(r"\w+", row)} >= COLUMN.keys()


def converted(tmp_path):
    convert(TAME, tmp_path / "vit.pth")


def fetched(tmp_path):
    with serve({"/vit.npz": Ranged(TAME.read_bytes())}) as server:
        open_zoo("mini").fetch(Artifact(name="vit.npz", urls=(Mirror(url=f"{server.base}/vit.npz"),)), lambda done, whole: None)


def evaluated(tmp_path):
    zoo = open_zoo("mini")
    checks = list(verify(zoo.manifest.models["mini-linear"], Setting(zoo.manifest, zoo.base, zoo.store, images=12)))
    assert checks[-1].status == "passed"


WALKS = {"An npz through `convert`": converted, "An artifact through `fetch`": fetched, "An image through the mIoU rung": evaluated}


@pytest.mark.parametrize("title", WALKS)
def test_a_walk_passes_the_functions_that_the_page_names_in_their_order(title, tmp_path):
    section = PAGE.split(f"### {title}\n")[1].split("\n#")[0]
    expected = [(str(ROOT / file), function) for file, function in re.findall(r"^\d+\. `(segzoo/[\w/]+\.py)`, `(\w+)`:", section, re.MULTILINE)]
    assert len(expected) == len(re.findall(r"^\d+\. ", section, re.MULTILINE)) > 8
    first: dict[tuple[str, str], int] = {}

    def called(frame, event, argument):
        if event == "call":
            first.setdefault((frame.f_code.co_filename, frame.f_code.co_name), len(first))

    threading.setprofile(called)
    sys.setprofile(called)
    try:
        WALKS[title](tmp_path)
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    assert [one for one in expected if one not in first] == []
    assert expected == sorted(expected, key=first.__getitem__)
