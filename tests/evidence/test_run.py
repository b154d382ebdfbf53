"""A run as a program drives it: what it yields, what it leaves in the folder of receipts, and which receipt outweighs which."""

import copy
import json

import pytest

from segzoo.errors import EnvironmentFault
from segzoo.evidence.keeping import outweighed
from segzoo.evidence.reading import read_receipt
from segzoo.evidence.receipt import check_of, unfinished
from segzoo.evidence.run import ALL_IMAGES, Climbed, Ended, keep, run, setting_for, to_fetch
from segzoo.vocabulary import RUNGS
from segzoo.zoo.zoo import open_zoo

ENTRY = "mini-linear"


def setting(zoo, **more):
    return setting_for(zoo, **{"device": "cpu", "images": 10, "modes": (), "data": None, "world": None, **more})


def entries(zoo):
    return {ENTRY: zoo.manifest.entries[ENTRY]}


@pytest.fixture
def zoo():
    return open_zoo("mini")


@pytest.fixture
def finished(zoo):
    """The receipt of a run over ten images, in the folder of receipts."""
    *_, end = run(zoo, entries(zoo), setting(zoo))
    return end


def test_a_run_yields_each_check_and_then_what_became_of_the_receipt(zoo):
    assert [artifact.name for artifact in to_fetch(zoo, entries(zoo).values())] == ["segmenter_mini_linear-bce9da2d.pth", "metrics.json"]
    folder = zoo.receipts_of(ENTRY)
    parts = []
    for step in run(zoo, entries(zoo), setting(zoo)):
        parts.append(unfinished(ENTRY, folder).exists())
        last = step
        if isinstance(step, Climbed):
            assert (step.name, step.check.rung) == (ENTRY, RUNGS[len(parts) - 1])
    assert parts == [False, True, True, True, True, False]  # a check is written down when the caller asks for the next
    assert isinstance(last, Ended)
    assert (last.folder, last.note) == (folder, None)
    assert read_receipt(folder / f"{ENTRY}.json") == json.loads(json.dumps(last.receipt))
    assert to_fetch(zoo, entries(zoo).values()) == []


def test_receipts_may_lie_elsewhere_than_in_a_store_that_nobody_may_write(zoo, tmp_path, monkeypatch):
    (zoo.store.home / "receipts").write_text("in the way")
    with pytest.raises(EnvironmentFault, match="cannot write here"):
        list(run(zoo, entries(zoo), setting(zoo, images=2)))
    monkeypatch.setenv("SEGZOO_RECEIPTS", str(tmp_path / "mine"))
    *_, end = run(zoo, entries(zoo), setting(zoo, images=2))
    assert end.folder == tmp_path / "mine" / "mini" == zoo.receipt_of(ENTRY).parent
    assert (end.folder / f"{ENTRY}.json").is_file()


def test_a_smoke_run_writes_nothing(zoo, finished):
    before = (finished.folder / f"{ENTRY}.json").read_bytes()
    *_, end = run(zoo, entries(zoo), setting(zoo, images=None, smoke=30))
    assert (end.folder, end.note, end.receipt["passed"]) == (None, None, True)
    assert [path.name for path in finished.folder.iterdir()] == [f"{ENTRY}.json"]
    assert (finished.folder / f"{ENTRY}.json").read_bytes() == before


def test_what_the_user_leaves_open_is_filled_in(zoo):
    found = setting(zoo, images=None, modes=("whole", "ss", "whole"))
    assert (found.images, found.modes) == (50, ("whole", "ss"))
    assert (setting(zoo, images=ALL_IMAGES).images, setting(zoo).modes) == (None, ("ss",))
    with pytest.raises(EnvironmentFault, match="no device 'gpu'"):
        setting(zoo, device="gpu")


def test_a_run_that_measures_less_leaves_the_receipt_and_no_part(zoo, finished):
    *_, end = run(zoo, entries(zoo), setting(zoo, images=5))
    assert (end.folder, end.note) == (None, f"{ENTRY}: the receipt stays as it was, since it has the mIoU of 10 images, not 5")
    assert [path.name for path in finished.folder.iterdir()] == [f"{ENTRY}.json"]


def test_a_receipt_of_another_manifest_does_not_count(zoo, finished):
    path = finished.folder / f"{ENTRY}.json"
    record = read_receipt(path)
    fewer = copy.deepcopy(record)
    check_of(fewer, "mIoU")["basis"]["images"] = 5
    check_of(record, "mIoU")["basis"]["reported"]["miou"] = 12.0
    path.write_text(json.dumps(record))
    assert keep(fewer, zoo.manifest.entries[ENTRY], finished.folder).folder == finished.folder


def failed(record, rung, basis=None):
    check = check_of(record, rung)
    check.update(status="failed", code=6, basis=check["basis"] if basis is None else basis)


CHANGES = {
    "the same": (lambda mine, its: None, None),
    "fewer images": (lambda mine, its: check_of(mine, "mIoU")["basis"].update(images=5), "the mIoU of 10 images, not 10"),
    "more images": (lambda mine, its: check_of(its, "mIoU")["basis"].update(images=5), None),
    "another precision": (lambda mine, its: check_of(mine, "mIoU")["basis"].update(precision="bf16"), "the mIoU in fp32, not bf16"),
    "a better precision": (lambda mine, its: check_of(its, "mIoU")["basis"].update(precision="bf16"), None),
    "fewer modes": (lambda mine, its: check_of(its, "mIoU")["basis"].update(modes=["ss", "whole"]), "the mIoU in mode whole too"),
    "other data": (lambda mine, its: check_of(mine, "mIoU")["basis"].update(images=5, data_digest="0"), None),
    "other bytes": (lambda mine, its: check_of(its, "mIoU")["basis"].update(images=20, sha256="0"), None),
    "no data": (lambda mine, its: check_of(mine, "mIoU").update(status="skipped", basis={}), "the mIoU of 10 images"),
    "nothing measured before": (lambda mine, its: check_of(its, "mIoU").update(status="skipped", basis={}), None),
    "a new refutation": (lambda mine, its: [failed(mine, "mIoU"), check_of(mine, "mIoU")["basis"].update(images=5)], None),
    "a refutation again": (
        lambda mine, its: [failed(mine, "mIoU"), failed(its, "mIoU"), check_of(mine, "mIoU")["basis"].update(images=5)],
        "the mIoU of 10 images, not 10",
    ),
    "an error in place of a figure": (lambda mine, its: [failed(mine, "mIoU", {}), failed(its, "mIoU")], None),
    "a broken rung below": (lambda mine, its: [failed(mine, "numbers"), check_of(mine, "mIoU").update(status="skipped", basis={})], None),
}


@pytest.mark.parametrize("change", CHANGES)
def test_which_receipt_outweighs_which(change, finished):
    mine, its = (json.loads(json.dumps(finished.receipt)) for _ in range(2))
    alter, expected = CHANGES[change]
    alter(mine, its)
    assert outweighed(mine, its) == expected
    assert outweighed(mine, None) is None
