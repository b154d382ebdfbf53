"""What a receipt holds, when a rung is taken from it, and when it is not; the smoke run against its own counts."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import asdict

import numpy as np
import pytest
import torch
import yaml
from click.testing import CliRunner
from support import GOLDEN, MINI, slow_after

import segzoo
from segzoo.cli import main
from segzoo.evaluation.counts import Counts, accuracy, iou, metrics, percent, total
from segzoo.evaluation.verdict import judge
from segzoo.evidence.contradictions import summed
from segzoo.evidence.keeping import changed
from segzoo.evidence.receipt import dumps
from segzoo.evidence.rungs.outcome import outcome, sentence
from segzoo.manifest.document import load_manifest
from segzoo.manifest.entries import geometry_of
from segzoo.store.store import home

ENTRY = "mini-linear"


def verify(*arguments, zoo="mini"):
    done = CliRunner().invoke(main, ["--zoo", str(zoo), "verify", ENTRY, "--device", "cpu", *arguments])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


def path(label="mini"):
    return home() / "receipts" / label / f"{ENTRY}.json"


def checks(label="mini"):
    return {check["rung"]: check for check in json.loads(path(label).read_text())["checks"]}


def from_receipts(done):
    found = re.search(r"(\d+) of them from receipts", done.stdout)
    return int(found[1]) if found else 0


def test_it_holds_every_images_counts_and_what_follows_from_them():
    verify("--images", "all")
    facts = checks()["mIoU"]["facts"]
    single = facts["modes"]["ss"]
    stored = json.loads((MINI / "expected" / "metrics.json").read_text())["linear/ss"]
    whole = total(Counts.from_sparse(rows, 8) for rows in single["per_image"].values())
    assert whole == Counts(*(np.array(stored["totals"][kind]) for kind in ("intersect", "pred", "label")))
    assert single["measured"] == stored["metrics"]
    confusion = np.array(single["confusion"])
    assert confusion.shape == (9, 8)
    assert confusion.diagonal().tolist() == stored["totals"]["intersect"]
    assert list(single["per_class"]) == sorted(["sky", "grass", "sand", "disc", "box", "triangle", "ring", "stripes"])
    assert single["per_class"]["sky"]["IoU"] == round(100 * whole.intersect[0] / whole.union[0], 2)
    assert facts["peak_memory"]["bytes"] > 1e8
    assert facts["hardware"] == f"CPU with {torch.backends.cpu.get_cpu_capability()}, threads: {torch.get_num_threads()}"
    assert (facts["images"], facts["of"], facts["processes"]) == (40, 40, 1)


def test_it_is_read_back_as_it_was_written_and_lists_stay_on_a_line():
    record = {"b": [[1, 2], [3.5, -4e-7]], "a": ["[ 1,\n 2 ]"], "c": []}
    text = dumps(record)
    assert json.loads(text) == record
    assert "[3.5, -4e-07]" in text
    assert text.index('"a"') < text.index('"b"')


def test_what_is_proved_is_not_proved_again_unless_asked():
    assert from_receipts(verify()) == 0
    first = checks()
    again = verify()
    assert from_receipts(again) == 3
    assert "86.71 measured" in again.stdout
    for rung in ("round trip", "numbers", "mIoU"):
        assert checks()[rung]["facts"] == first[rung]["facts"]
        assert checks()[rung]["seconds"] == first[rung]["seconds"]
    assert from_receipts(verify("--again")) == 0
    assert from_receipts(verify("--images", "10")) == 2  # another question to the last rung
    assert from_receipts(verify("--images", "10", "--mode", "whole")) == 2
    assert from_receipts(verify("--images", "10", "--mode", "whole", "--precision", "bf16")) == 2


def test_modes_are_measured_one_at_a_time_and_stand_side_by_side():
    verify("--mode", "whole")
    alone = checks()["mIoU"]["facts"]["modes"]["whole"]
    both = verify("--mode", "ss", "--mode", "whole")
    assert from_receipts(both) == 2  # not the mIoU, whose one mode is new
    assert "86.71 measured" in both.stdout
    record = checks()["mIoU"]
    assert record["basis"]["modes"] == ["ss", "whole"]
    assert record["facts"]["modes"]["whole"] == alone
    assert record["facts"]["modes"]["ss"]["measured"]["mIoU"] == 86.71
    again = verify("--mode", "whole", "--require", "mIoU")
    assert again.exit_code == 8  # no figure is reported of this mode
    assert from_receipts(again) == 3
    assert f"whole: {alone['measured']['mIoU']:.2f} measured" in again.stdout
    verify("--mode", "whole", "--again")
    assert checks()["mIoU"]["basis"]["modes"] == ["ss", "whole"]
    verify("--speed")
    assert "speed" in checks()["mIoU"]["facts"]
    assert from_receipts(verify("--speed")) == 3
    record = json.loads(path().read_text())
    del record["checks"][-1]["facts"]["modes"]["whole"]["said"]
    path().write_text(json.dumps(record))
    anew = verify()
    assert from_receipts(anew) == 0  # a receipt that is not whole is not gone on from
    assert f"{path()}: checks.4.facts.modes.whole.said: expected this field, found none; it was edited" in anew.stderr


def test_a_run_that_proves_less_leaves_the_receipt(lab):
    verify("--images", "all", zoo=lab)
    whole = path(label_of(lab)).read_bytes()
    done = verify("--images", "10", zoo=lab)
    assert "the receipt stays as it was, since it has the mIoU of 40 images, not 10" in done.stdout
    assert "receipts:" not in done.stdout
    lower = verify("--images", "10", "--precision", "bf16", zoo=lab)
    assert "the receipt stays as it was" in lower.stdout
    assert path(label_of(lab)).read_bytes() == whole
    assert not path(label_of(lab)).with_suffix(".unfinished").exists()
    verify("--images", "all", "--mode", "whole", zoo=lab)
    figures = checks(label_of(lab))["mIoU"]
    half = verify("--images", "all", "--precision", "bf16", zoo=lab)
    assert "the receipt stays as it was, since it has the mIoU in fp32, not bf16" in half.stdout
    assert verify("--images", "all", "--device", "gpu", zoo=lab).exit_code == 8  # the last --device counts
    assert from_receipts(verify("--images", "all", "--mode", "ss", "--mode", "whole", zoo=lab)) == 3  # as that one left it
    assert checks(label_of(lab))["mIoU"]["facts"] == figures["facts"]
    whole = path(label_of(lab)).read_bytes()
    (lab.parent / "ade_mini").rename(lab.parent / "elsewhere")
    assert verify(zoo=lab).exit_code == 8
    change(lab, "    path: ade_mini\n", "")
    without = verify(zoo=lab)
    assert "mini-linear: mIoU: skipped: " in without.stdout
    assert "since it has the mIoU of 40 images" in without.stdout
    assert path(label_of(lab)).read_bytes() == whole
    moved = verify("--images", "10", "--data", str(lab.parent / "elsewhere"), zoo=lab)
    assert "the receipt stays" in moved.stdout
    change(lab, "miou: 86.71", "miou: 46.71")
    assert verify("--images", "10", "--data", str(lab.parent / "elsewhere"), zoo=lab).exit_code == 0  # its counts are those stored
    image = next((lab.parent / "elsewhere" / "images" / "validation").glob("*.jpg"))
    image.write_bytes(image.read_bytes() + b"\0")
    other = verify("--images", "10", "--data", str(lab.parent / "elsewhere"), zoo=lab)
    assert "receipts:" in other.stdout


def test_a_receipt_of_other_data_is_replaced_but_not_in_silence(lab):
    verify("--images", "all", zoo=lab)
    image = next((lab.parent / "ade_mini" / "images" / "validation").glob("*.jpg"))
    image.write_bytes(image.read_bytes() + b"\0")
    done = verify("--images", "10", zoo=lab)
    assert "the receipt before this had the mIoU of 40 images of another state of the data set" in done.stdout
    assert "the receipt before this" not in verify("--images", "10", "--again", zoo=lab).stdout


@pytest.mark.slow
def test_what_all_images_refute_stays_refuted(lab):
    change(lab, "miou: 86.71", "miou: 60.00")
    refuted = verify("--images", "all", zoo=lab)
    assert (refuted.exit_code, "mIoU: failed: 86.71" in refuted.stdout) == (6, True)
    assert "refuted, more than 0.055 apart" in refuted.stdout
    assert "40 of 40 images on cpu" in refuted.stdout
    before = path(label_of(lab)).read_bytes()
    for less, code in ([], 0), (["--mode", "whole"], 0), (["--precision", "bf16"], 6):  # in float32 its own counts are those stored
        done = verify("--images", "10", *less, zoo=lab)
        assert done.exit_code == code, done.stdout
        assert "the receipt stays as it was, failed, since it has the mIoU of 40 images, not 10" in done.stdout
        assert path(label_of(lab)).read_bytes() == before
    first = verify("--images", "all", "--mode", "ss", "--mode", "whole", zoo=lab)
    assert (first.exit_code, "mIoU: failed: 86.71" in first.stdout) == (6, True)  # and the other mode is not tried
    beside = verify("--images", "all", "--mode", "whole", zoo=lab)
    assert beside.exit_code == 6
    check = checks(label_of(lab))["mIoU"]
    assert (check["status"], check["basis"]["modes"]) == ("failed", ["ss", "whole"])
    change(lab, "miou: 60.00", "miou: 86.71")
    assert verify("--images", "10", zoo=lab).exit_code == 0
    assert checks(label_of(lab))["mIoU"]["status"] == "passed"  # another manifest, another question


def test_a_mode_without_a_reported_figure_takes_nothing_from_one_with_it():
    verify()
    alone = verify("--mode", "whole", "--require", "mIoU")
    assert (alone.exit_code, "mini-linear: mIoU is required, but was measured" in alone.stdout) == (8, True)
    assert checks()["mIoU"]["status"] == "passed"  # by both of its modes
    both = verify("--mode", "ss", "--mode", "whole", "--require", "mIoU")
    assert (both.exit_code, "mini-linear: mIoU: 86.71 measured, 86.71 reported: confirmed" in both.stdout) == (0, True)


@pytest.mark.slow
def test_runs_at_the_same_time_leave_the_modes_of_all():
    command = [sys.executable, "-m", "segzoo", "--zoo", "mini", "verify", ENTRY, "--device", "cpu", "--images", "10"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    runs = [subprocess.Popen([*command, "--mode", mode], env=environment, **pipes) for mode in ("ss", "whole")]
    for run in runs:
        said = run.communicate(timeout=300)
        assert run.returncode == 0, said
    assert checks()["mIoU"]["basis"]["modes"] == ["ss", "whole"]


def test_a_folder_of_data_that_is_not_there_is_named_before_anything_else(tmp_path):
    done = verify("--data", str(tmp_path / "nowhere"))
    assert done.exit_code == 8
    assert f"{tmp_path}/nowhere: no such folder" in str(done.exception) + done.stderr
    assert "bytes:" not in done.stdout + done.stderr


@pytest.fixture
def lab(tmp_path):
    """A copy of the mini zoo to change."""
    return shutil.copytree(MINI, tmp_path / "lab") / "zoo.yaml"


def change(lab, old, new):
    text = lab.read_text()
    assert old in text
    lab.write_text(text.replace(old, new))


def label_of(lab):
    return next((home() / "receipts").iterdir()).name


@pytest.mark.slow
def test_a_changed_question_is_asked_again(lab):
    verify(zoo=lab)
    assert from_receipts(verify(zoo=lab)) == 3
    change(lab, "miou: 86.71", "miou: 86.70")
    assert from_receipts(verify(zoo=lab)) == 2
    change(lab, "stride: 48", "stride: 47")
    assert "mIoU: failed" in verify(zoo=lab).stdout
    assert "mIoU: failed" in verify(zoo=lab).stdout  # what failed is tried again
    change(lab, "stride: 47", "stride: 48")
    image = next((lab.parent / "ade_mini" / "images" / "validation").glob("*.jpg"))
    image.write_bytes(image.read_bytes() + b"\0")
    assert from_receipts(verify(zoo=lab)) == 2


def test_other_versions_prove_anew(lab):
    verify(zoo=lab)
    receipt = path(label_of(lab))
    record = json.loads(receipt.read_text())
    record["versions"]["torch"] = "1.0"
    receipt.write_text(json.dumps(record))
    assert from_receipts(verify(zoo=lab)) == 0


@pytest.mark.parametrize("damage", ["", "{}", "[1]", '{"schema": "segzoo-receipt/1", "checks": []}'])
def test_a_receipt_that_says_nothing_is_none(damage):
    path().parent.mkdir(parents=True)
    path().write_text(damage)
    done = verify("--images", "2")
    assert from_receipts(done) == 0
    assert checks()["names"]["status"] == "passed"


def test_an_interrupted_run_goes_on_at_its_last_rung(monkeypatch):
    from segzoo.evaluation.evaluator import Evaluator

    def interrupted(self, *arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(Evaluator, "evaluate", interrupted)
        assert CliRunner().invoke(main, ["--zoo", "mini", "verify", ENTRY, "--device", "cpu"]).exit_code == 130
    assert not path().exists()
    assert from_receipts(verify()) == 2
    assert path().exists()
    assert not path().with_suffix(".unfinished").exists()


def test_a_run_that_could_not_finish_leaves_the_receipt_of_one_that_did(lab):
    verify(zoo=lab)
    receipt = path(label_of(lab))
    before = receipt.read_bytes()
    image = next((lab.parent / "ade_mini" / "images" / "validation").glob("*.jpg"))
    image.write_bytes(image.read_bytes()[:300])
    done = verify("--again", zoo=lab)
    assert done.exit_code == 8
    assert f"{image.name}: not a readable image" in done.stdout
    assert receipt.read_bytes() == before
    change(lab, "miou: 86.71", "miou: 80.0")
    image.unlink()
    shutil.copy(MINI / "ade_mini" / "images" / "validation" / image.name, image)
    assert verify(zoo=lab).exit_code == 6  # this says something of the model, and is kept
    assert checks(label_of(lab))["mIoU"]["code"] == 6


def test_a_store_that_may_be_read_only_needs_no_receipt(monkeypatch, tmp_path):
    verify("--images", "2")
    before = path().read_bytes()
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SEGZOO_RECEIPTS", str(tmp_path / "file" / "receipts"))  # nobody can write there
    assert verify("--images", "2").exit_code == 8
    done = verify("--images", "2", "--no-receipt")
    assert (done.exit_code, done.stderr.count("receipt"), "receipts:" in done.stdout) == (0, 0, False)
    monkeypatch.delenv("SEGZOO_RECEIPTS")
    assert from_receipts(verify("--images", "3", "--no-receipt")) == 2  # an earlier one is read
    assert path().read_bytes() == before


def test_smoke_compares_with_the_receipts_own_counts():
    nothing = verify("--smoke", "3")
    assert nothing.exit_code == 7
    assert "no receipt has the counts of each image in mode ss; segzoo verify NAME without --smoke writes one" in nothing.stdout
    verify("--images", "20")
    before = path().read_bytes()
    done = verify("--smoke", "30")
    assert done.exit_code == 0
    assert "the pixel counts of every image equal those of the receipt" in done.stdout
    assert re.search(r"; (\d+) of 40 images", done.stdout)[1] in map(str, range(8, 21))  # those of the thirty that the receipt has
    assert path().read_bytes() == before


def test_smoke_sees_one_pixel_and_another_model():
    verify("--images", "all")
    made_up(1)
    done = verify("--smoke", "3")
    assert done.exit_code == 6 or "close calls" in done.stdout  # a pixel that is a close call may go either way
    made_up(20)
    assert recheck().exit_code == 0
    done = verify("--smoke", "3")
    assert done.exit_code == 6
    assert "the pixel counts of 3 of 3 images differ from those stored" in done.stdout
    other = verify("--smoke", "3", "--precision", "bf16").stdout
    assert "of another precision: fp32, now bf16" in other
    assert "--precision fp32 compares with it" in other
    edited(lambda record, rungs: single(rungs)["per_image"].update({"ADE_val_00000001.jpg": [[99, 1, 1, 1]]}))
    damaged = verify("--smoke", "3")
    assert damaged.exit_code == 7
    assert "per_image.ADE_val_00000001.jpg: expected rows of classes below 8" in damaged.stderr


def made_up(pixels):
    """Change the receipt as a whole: in each image so many pixels of its first class are said to be its second, and all that follows fits."""

    def change(record, rungs):
        check, one = rungs["mIoU"], single(rungs)
        for rows in one["per_image"].values():
            first, second = rows[0][0], rows[1][0]
            rows[0][2] -= pixels
            rows[0][1] -= pixels
            rows[1][2] += pixels
            one["confusion"][first][first] -= pixels
            one["confusion"][first][second] += pixels
        whole = summed(one["per_image"], 8)
        one["measured"] = metrics(whole)
        names = load_manifest(MINI / "zoo.yaml").datasets["ade-mini"].classes
        one["per_class"] = {name: {"IoU": percent(a), "Acc": percent(b)} for name, a, b in zip(names, iou(whole), accuracy(whole), strict=True)}
        one["verdict"], why = judge([whole], one["reported"], 2, 1)
        one["said"] = sentence(one, why, 2)
        told = outcome(check["facts"], check["basis"])
        check.update(status=told.status, short=told.short, detail=told.detail, code=told.code)
        record["passed"] = told.status != "failed"

    edited(change)


def test_speed_memory_and_agreement_stand_in_the_receipt():
    done = verify("--images", "10", "--speed", "--precision", "fp16")
    facts = checks()["mIoU"]["facts"]
    assert facts["speed"]["images"] == 10
    assert facts["speed"]["threads"] == torch.get_num_threads()
    assert f"{facts['speed']['images_per_second']:.2f} images/s" in done.stdout
    assert 99.9 < facts["agreement_with_fp32"]["pixels_percent"] <= 100
    assert "as in fp32" in done.stdout
    assert "10 of 40 images on cpu, fp16" in done.stdout


def recheck(*arguments):
    return CliRunner().invoke(main, ["--zoo", "mini", "receipt", "check", *map(str, arguments)])


def test_a_receipt_is_checked_again_offline():
    assert recheck().exit_code == 7  # none yet
    verify("--images", "20", "--mode", "ss", "--mode", "whole")
    done = recheck("--data", MINI / "ade_mini")
    assert done.exit_code == 0, done.output
    held = re.findall(r": (receipt|bytes|names|mIoU, ss|mIoU, whole|data): holds: ", done.stdout)
    assert held == ["receipt", "bytes", "names", "mIoU, ss", "mIoU, whole", "data"]
    assert json.loads(recheck("--json").stdout)["result"][0]["status"] == "holds"
    (home() / "blobs" / checks()["bytes"]["facts"]["sha256"]).unlink()
    done = recheck()
    assert done.exit_code == 0
    assert "bytes: not here" in done.stdout


def test_the_data_set_of_a_receipt_is_looked_for_where_verify_looks(tmp_path):
    verify("--images", "5")
    assert "data: holds" in recheck(ENTRY, "--data", MINI).stdout  # the folder that it is in
    done = recheck(ENTRY, "--data", tmp_path / "nowhere")
    assert (done.exit_code, done.stdout) == (8, "")
    assert done.stderr.startswith(f"error: {tmp_path}/nowhere: no such folder\n")
    done = recheck(ENTRY, "--data", tmp_path)
    assert done.exit_code == 8
    assert f"{ENTRY}: data: not here: {tmp_path}/images/validation: no such folder" in done.stdout
    assert f"there is no {tmp_path}/ade_mini either" in done.stdout
    assert "mIoU, ss: holds" in done.stdout
    edited(lambda record, rungs: rungs["mIoU"]["basis"].update(data_digest="0" * 64))
    assert recheck(ENTRY, "--data", MINI).exit_code == 4


def test_receipts_are_checked_by_name_and_one_that_is_damaged_keeps_none_from_it(monkeypatch):
    verify("--images", "5")
    CliRunner().invoke(main, ["--zoo", "mini", "verify", "mini-vit"])
    assert recheck(ENTRY).stdout == recheck(path()).stdout
    assert recheck("mini-lineat").exit_code == recheck("none.json").exit_code == 7
    path("mini").with_name("mini-vit.json").write_text("{")
    done = recheck()
    assert done.exit_code == 4
    assert "mini-vit: receipt: broken: " in done.stdout
    assert "; it was edited or cut short; segzoo verify NAME makes a new one" in done.stdout
    assert f"{ENTRY}: receipt: holds" in done.stdout
    show = CliRunner().invoke(main, ["--zoo", "mini", "receipt", "show", "mini-vit"])
    assert (show.exit_code, "mini-vit.json: expected JSON, found at line 1" in show.stderr) == (4, True)
    other = CliRunner().invoke(main, ["receipt", "check"])
    assert (other.exit_code, "there are some of --zoo mini" in other.stderr) == (7, True)


@pytest.mark.slow
def test_a_receipt_of_another_geometry_speaks_for_nothing(lab, tmp_path):
    """Heads show in no tensor: with others the same bytes are another model."""
    verify("--images", "10", zoo=lab)
    change(lab, "heads: 2, mlp: 512, patch: 8, image: 64, eps: 1.0e-6", "heads: 4, mlp: 512, patch: 8, image: 64, eps: 1.0e-6")
    segzoo.export(ENTRY, tmp_path / "out", form="safetensors", zoo=lab)
    card = (tmp_path / "out" / "README.md").read_text()
    assert "There is a receipt, but it is of an earlier state of the manifest (geometry). Not verified yet" in card
    change(lab, "    path: ade_mini\n", "")
    without = verify(zoo=lab)
    assert "stays as it was" not in without.stdout
    assert checks(label_of(lab))["names"]["facts"]["geometry"]["heads"] == 4


def test_a_figure_with_nothing_to_hold_it_against_is_called_measured(lab):
    plain = yaml.safe_load(lab.read_text())
    for field in ("counts", "reported"):
        del plain["models"][ENTRY][field]
    lab.write_text(yaml.safe_dump(plain))
    done = verify("--images", "10", zoo=lab)
    assert "1 verified: 4 passed, 1 measured; " in done.stdout
    assert f"{ENTRY}: names: passed: " in done.stdout
    assert re.match(rf"{ENTRY}: mIoU: 8[0-9.]+ measured, none reported", done.stdout)
    report = CliRunner().invoke(main, ["--zoo", str(lab), "report", "--no-images", "-o", str(lab.parent / "page")])
    figure = re.search(r"mIoU: (\S+) measured", done.stdout)[1]
    assert f"{ENTRY}: measured {figure}\n" in report.stdout
    for page in ("index.html", "report.md"):
        text = (lab.parent / "page" / page).read_text()
        assert f"measured {figure}" in text
        assert "skipped" not in text
        assert "miou.svg" not in text
        assert "A dot is" not in text  # there is one figure, and nothing to draw beside it


def test_zoos_in_folders_of_one_name_have_receipts_of_their_own(tmp_path):
    """Two projects with a folder `zoo` each, and an entry of one name."""
    labs = [shutil.copytree(MINI, tmp_path / one / "zoo") / "zoo.yaml" for one in "ab"]
    change(labs[1], "mean: 127.5", "mean: 90.0")
    for lab in labs:
        verify("--images", "5", zoo=lab)
    figures = [json.loads(one.read_text())["checks"][4]["facts"]["modes"]["ss"]["measured"] for one in (home() / "receipts").rglob("*.json")]
    assert len(figures) == 2
    assert figures[0] != figures[1]


def test_a_receipt_of_a_refuted_figure_has_its_counts_too(lab):
    """They say where it went wrong, and a figure can only be argued with by them."""
    change(lab, "miou: 86.71", "miou: 80.0")
    done = verify("--images", "all", zoo=lab)
    assert done.exit_code == 6
    check = checks(label_of(lab))["mIoU"]
    single = check["facts"]["modes"]["ss"]
    assert (check["status"], check["code"], single["verdict"]) == ("failed", 6, "refuted")
    assert len(single["per_image"]) == 40
    assert check["basis"]["reported"]["miou"] == 80.0
    again = CliRunner().invoke(main, ["--zoo", str(lab), "receipt", "check"])
    assert again.exit_code == 0, again.output
    assert "40 of 40 images, mIoU 86.71, refuted" in again.stdout
    assert from_receipts(verify("--images", "all", zoo=lab)) == 2  # what failed is tried again
    assert "equal those of the receipt" in verify("--smoke", "2", zoo=lab).stdout


def test_a_receipt_of_too_few_images_can_be_checked_and_gone_on_from(lab):
    plain = yaml.safe_load(lab.read_text())
    del plain["models"][ENTRY]["counts"]
    lab.write_text(yaml.safe_dump(plain))
    assert verify("--images", "3", zoo=lab).exit_code == 0
    assert checks(label_of(lab))["mIoU"]["status"] == "skipped"
    again = CliRunner().invoke(main, ["--zoo", str(lab), "receipt", "check"])
    assert again.exit_code == 0, again.output
    assert "3 of 40 images" in again.stdout
    assert "equal those of the receipt" in verify("--smoke", "3", zoo=lab).stdout


def edited(change):
    record = json.loads(path().read_text())
    change(record, {check["rung"]: check for check in record["checks"]})
    path().write_text(json.dumps(record))


def single(rungs):
    return rungs["mIoU"]["facts"]["modes"]["ss"]


EDITS = {
    "a better figure": (
        lambda record, rungs: single(rungs)["measured"].update(mIoU=99.0),
        "mIoU, ss: broken: the counts give {'aAcc': 9",
    ),
    "a fact that is missing": (
        lambda record, rungs: single(rungs).pop("confusion"),
        "checks.4.facts.modes.ss.confusion: expected this field, found none",
    ),
    "a better image": (
        lambda record, rungs: next(iter(single(rungs)["per_image"].values()))[0].__setitem__(1, 0),
        "the confusion matrix is not that of",
    ),
    "a better verdict": (lambda record, rungs: single(rungs).update(verdict="confirmed"), "the counts say consistent, the receipt confirmed"),
    "a failure denied": (lambda record, rungs: rungs["mIoU"].update(status="failed"), "receipt: broken: 5 rungs, mIoU failed"),
    "another layout": (lambda record, rungs: rungs["names"]["facts"].update(layout="timm"), "names: broken: mmseg"),
    "another width": (lambda record, rungs: rungs["names"]["facts"]["geometry"].update(width=64), "names: broken"),
    "other data": (lambda record, rungs: rungs["mIoU"]["basis"].update(data_digest="0" * 64), "data: broken: digest"),
    "damaged counts": (
        lambda record, rungs: single(rungs)["per_image"].update(x=[[99, 1, 1, 1]]),
        "per_image.x: expected rows of classes below 8 in rising order",
    ),
    "a field too many": (lambda record, rungs: record.update(more=1), "more: a field that no receipt has"),
    "a rung of another name": (lambda record, rungs: rungs["mIoU"].update(rung="miou"), "checks.4.rung: expected one of bytes, names"),
    "another schema": (lambda record, rungs: record.update(schema="segzoo-receipt/1"), "expected schema segzoo-receipt/3"),
    "no rungs": (lambda record, rungs: record.update(checks=[]), "its rungs are none, expected bytes, names"),
    "a rung that is missing": (
        lambda record, rungs: record["checks"].pop(2),
        "its rungs are bytes, names, numbers, mIoU, expected bytes, names, round trip, numbers, mIoU",
    ),
    "a rung twice": (lambda record, rungs: record["checks"].append(rungs["mIoU"]), "numbers, mIoU, mIoU, expected"),
    "a better word": (
        lambda record, rungs: rungs["mIoU"].update(short="\u2713 99.99"),
        "receipt: broken: 5 rungs, none failed; mIoU says '\u2713 99.99', by its facts it is '8",
    ),
    "a better sentence": (
        lambda record, rungs: rungs["mIoU"].update(detail="99.99 measured: confirmed"),
        "mIoU says '99.99 measured: confirmed', by its",
    ),
    "more tensors": (lambda record, rungs: rungs["round trip"].update(short="99 tensors"), "says '99 tensors', by its facts it is '44 tensors'"),
    "closer numbers": (lambda record, rungs: rungs["numbers"].update(short="0e+00"), "numbers, passed, says '0e+00'"),
    "a better hash": (lambda record, rungs: rungs["bytes"]["facts"].update(evidence="no hash known, pinned on first use"), "it is 'no hash, pinned'"),
    "a figure that is gone": (lambda record, rungs: rungs["mIoU"].update(facts={}), "checks.4: facts: expected those of a rung that passed"),
    "a rung that was left out": (
        lambda record, rungs: rungs["numbers"].update(status="skipped", short="-"),
        "numbers was not tried, and none before",
    ),
    "a rung that never applies": (lambda record, rungs: rungs["names"].update(status="n/a", short="n/a"), "it is what no run writes"),
    "no mIoU of a model": (
        lambda record, rungs: rungs["mIoU"].update(status="n/a", short="n/a", facts={}, basis={}),
        "mIoU is n/a, of a model with a decoder",
    ),
    "a code left over": (lambda record, rungs: rungs["mIoU"].update(code=6), "mIoU is passed with exit code 6"),
}


@pytest.mark.parametrize("edit", slow_after(5, EDITS))
def test_an_edited_receipt_is_caught(edit):
    change, said = EDITS[edit]
    verify("--images", "20")
    edited(change)
    done = recheck("--data", MINI / "ade_mini")
    assert done.exit_code == 4, done.output
    assert said in done.output


@pytest.mark.slow
def test_receipts_of_every_outcome_hold(lab):
    """What a rung may come to, as runs write it: failed at the bottom and above, of a backbone, without data, of several modes."""

    def holds(*words, code=0):
        done = CliRunner().invoke(main, ["--zoo", str(lab), "verify", *words, "--device", "cpu"])
        assert done.exit_code == code, done.output
        again = CliRunner().invoke(main, ["--zoo", str(lab), "receipt", "check"])
        assert again.exit_code == 0, again.output

    holds("mini-vit")
    holds(ENTRY, "--images", "5", "--mode", "whole", "--mode", "ss")
    change(lab, "stride: 48", "stride: 32")
    holds(ENTRY, "--images", "5", code=6)
    change(lab, "    path: ade_mini\n", "")
    holds("mini-mask")
    change(lab, "depth: 3, heads: 2, mlp: 512", "depth: 4, heads: 2, mlp: 512")
    holds(ENTRY, code=5)
    checkpoint = next(lab.parent.glob("segmenter_mini_mask-*.pth"))
    checkpoint.write_bytes(checkpoint.read_bytes()[:-1] + b"x")
    (home() / "blobs" / hashlib.sha256(next(MINI.glob("segmenter_mini_mask-*.pth")).read_bytes()).hexdigest()).unlink()
    holds("mini-mask", code=4)
    assert [check["short"] for check in json.loads(path(label_of(lab)).with_name("mini-mask.json").read_text())["checks"]] == ["failed", *"----"]


@pytest.mark.parametrize(
    ("library", "word"), [("transformers", "no transformers"), ("jax", "no jax"), ("torch", "no torch"), ("lacking", "a library lacks")]
)
def test_a_receipt_of_a_run_without_a_library_holds(library, word, tmp_path, monkeypatch):
    """Without it, or with one that does not load."""
    if library == "lacking":
        (tmp_path / "transformers.py").write_text("raise ImportError('libstdc++.so.6: version not found', name='transformers')")
        monkeypatch.syspath_prepend(tmp_path)
        for loaded in ("transformers", "segzoo.models.swin.reference"):
            monkeypatch.delitem(sys.modules, loaded, raising=False)
    else:
        monkeypatch.setitem(sys.modules, library, None)
    entry, zoo = ("setr-naive" if library == "jax" else "upernet-swin"), str(GOLDEN / "transformers" / "zoo.yaml")
    done = CliRunner().invoke(main, ["--zoo", zoo, "verify", entry, "--device", "cpu", "--json"])
    assert done.exit_code == 0, done.output
    assert {check["rung"]: check["short"] for check in json.loads(done.stdout)["result"][0]["checks"]}["numbers"] == word
    again = CliRunner().invoke(main, ["--zoo", zoo, "receipt", "check", entry])
    assert again.exit_code == 0, again.output


def test_changed_weights_are_caught():
    verify("--images", "20")
    blob = home() / "blobs" / checks()["bytes"]["facts"]["sha256"]
    blob.chmod(0o644)
    blob.write_bytes(blob.read_bytes()[:-1] + b"x")
    done = recheck()
    assert done.exit_code == 4
    assert "bytes: broken" in done.stdout


def test_the_schema_of_receipts_is_published_and_kept():
    import jsonschema

    from segzoo.evidence.record import schema
    from segzoo.manifest.document import packaged

    published = json.loads(packaged("receipt.schema.json").read_text())
    assert published == schema()
    verify("--images", "20", "--speed", "--precision", "bf16")
    jsonschema.validate(json.loads(path().read_text()), published)


def test_a_receipt_is_the_same_but_for_time_and_device_whether_the_file_was_here_or_not():
    verify("--images", "5")
    first = json.loads(path().read_text())
    verify("--images", "5", "--again")
    second = json.loads(path().read_text())
    for record in (first, second):
        record.pop("time")
        for check in record["checks"]:
            check.pop("seconds")
            check["facts"].pop("peak_memory", None)
    assert first == second
    assert first["checks"][0]["facts"]["urls"] == ["segmenter_mini_linear-bce9da2d.pth"]


def test_a_receipt_as_an_in_toto_statement():
    def show(*arguments):
        return CliRunner().invoke(main, ["--zoo", "mini", "receipt", "show", ENTRY, *arguments])

    assert show().exit_code == 7
    verify("--images", "5")
    assert show().stdout == path().read_text()
    statement = json.loads(show("--in-toto").stdout)
    assert sorted(statement) == ["_type", "predicate", "predicateType", "subject"]
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["predicateType"] == "urn:segzoo:receipt:3"
    file = MINI / "segmenter_mini_linear-bce9da2d.pth"
    assert statement["subject"] == [{"name": file.name, "digest": {"sha256": hashlib.sha256(file.read_bytes()).hexdigest()}}]
    assert statement["predicate"] == json.loads(path().read_text())
    edited(lambda record, rungs: rungs["mIoU"].update(detail="better than ever"))
    done = show("--in-toto")
    assert (done.exit_code, "mIoU says 'better than ever', by its facts it is" in done.stderr) == (4, True)  # nobody signs what contradicts itself

    def of_no_bytes(record, rungs):
        for check in rungs.values():
            check.update(status="skipped", short="-", facts={}, basis={})
        rungs["bytes"].update(status="failed", short="failed", code=4)
        record["passed"] = False

    edited(of_no_bytes)
    done = show("--in-toto")
    assert (done.exit_code, "its first rung failed" in done.stderr) == (4, True)


def test_a_receipt_from_before_a_field_of_the_geometry_is_of_the_same_geometry():
    entry = load_manifest(MINI / "zoo.yaml").models["mini-mask"]
    geometry = json.loads(json.dumps(asdict(geometry_of(entry))))
    later = {"channels": 3, "rows": None, "absent": []}
    assert later.items() <= geometry.items()
    older = {name: value for name, value in geometry.items() if name not in later}
    for then, said in ((geometry, []), (older, []), ({**older, "depth": 4}, ["geometry"]), ({**older, "channels": 4}, ["geometry"])):
        checks = [{"rung": "names", "status": "passed", "facts": {"geometry": then}, "basis": {}}]
        assert changed({"checks": checks}, entry) == said
