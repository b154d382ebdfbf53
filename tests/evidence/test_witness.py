"""Published scores of a picture: they are compared where the picture is here or asked for, and one wrong score fails the numbers."""

import json
import shutil
import sys

import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from PIL import Image
from server import body, serve
from support import GOLDEN, arrays

from segzoo.cli import main
from segzoo.errors import UsageError
from segzoo.evidence.keeping import changed
from segzoo.evidence.rungs.witness import seen
from segzoo.manifest.document import load_manifest, packaged
from segzoo.manifest.witness import Published
from segzoo.store.hashing import hashed
from segzoo.store.store import home

TINY = GOLDEN / "transformers"
PICTURE = "picture.png"
FIRST = (5, 31, 52)  # class, row, column
IMAGENET = {"mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375]}


@pytest.fixture(autouse=True)
def _no_transformers(monkeypatch):
    """It takes ten seconds to import, and these tests ask another witness."""
    monkeypatch.setitem(sys.modules, "transformers", None)


def segzoo(*words, code=0):
    done = CliRunner().invoke(main, [*map(str, words)], catch_exceptions=False)
    assert done.exit_code == code, done.output
    return done


def own_zoo(folder, model, url=PICTURE, **otherwise):
    """A zoo of one model of the goldens, with scores that the real mmseg gave a picture."""
    entry = yaml.safe_load((TINY / "zoo.yaml").read_text())["models"][model]
    checkpoint = TINY / entry["checkpoint"]["name"]
    shutil.copy(checkpoint, folder)
    golden = arrays(TINY / checkpoint.stem / "40x57.npz")
    Image.fromarray(golden["image"][..., ::-1]).save(folder / PICTURE)
    label, top, left = FIRST
    scores = golden["logits"][label, top : top + 3, left : left + 4].astype(float).round(5).tolist()
    witness = {"picture": {"name": PICTURE, "urls": [url]}, "size": None, **IMAGENET, "at": list(FIRST), "scores": scores}
    entry["witness"] = witness | {"tolerance": 1e-4, "source": "https://example.org/scores"} | otherwise
    (folder / "zoo.yaml").write_text(yaml.safe_dump({"version": 1, "models": {model: entry}}))
    return ("--zoo", folder / "zoo.yaml")


def climbed(zoo, model, *more, code=0):
    done = segzoo(*zoo, "verify", model, "--device", "cpu", "--json", *more, code=code)
    [receipt] = json.loads(done.stdout)["result"]
    return {check["rung"]: check for check in receipt["checks"]}["numbers"]


@pytest.mark.parametrize(("model", "beside"), [("upernet-swin", "transformers is not installed"), ("upernet-convnext", "no independent reference")])
def test_scores_of_mmseg_itself_are_found_again(model, beside, tmp_path):
    zoo = own_zoo(tmp_path, model)
    check = climbed(zoo, model)
    facts, basis = check["facts"], check["basis"]
    assert (check["status"], check["short"]) == ("passed", f"scores {facts['witness']['apart']:.0e}")
    assert f"12 scores of {PICTURE} as published, " in check["detail"]
    assert beside in check["detail"]
    assert 0 < facts["witness"]["apart"] < 3e-5
    assert (basis["witness"]["sha256"], basis["reference"]) == (hashed(tmp_path / PICTURE)[0], False)
    segzoo(*zoo, "receipt", "check", model)
    assert climbed(zoo, model)["time"]  # taken from the receipt


def test_a_witness_stands_beside_a_reference(tmp_path):
    zoo = own_zoo(tmp_path, "setr-naive")
    check = climbed(zoo, "setr-naive")
    assert check["status"] == "passed"
    assert check["basis"]["reference"] is True
    assert check["detail"].startswith(f"12 scores of {PICTURE} as published, ")
    assert "; torch against JAX, 6 intermediates of the backbone: " in check["detail"]
    assert check["short"] == f"{max(one['relative'] for one in check['facts']['intermediates'] if one['dtype'] == 'float64'):.0e}"
    segzoo(*zoo, "receipt", "check", "setr-naive")


WRONG = {
    "a score": ("scores", lambda rows: [[*row[:-1], row[-1] + (0.001 if index == 1 else 0)] for index, row in enumerate(rows)], "row 32, column 55"),
    "another place": ("at", lambda at: [at[0], at[1] - 1, at[2]], "row 3"),
    "another class": ("at", lambda at: [at[0] - 1, *at[1:]], "class 4"),
    "another size": ("size", lambda size: [64, 64], "row 31"),
    "other means": ("mean", lambda mean: mean[::-1], "row 31"),
}


@pytest.mark.parametrize("change", WRONG)
def test_one_thing_that_is_wrong_fails_the_rung_and_names_the_place(change, tmp_path):
    zoo = own_zoo(tmp_path, "upernet-swin")
    field, to, said = WRONG[change]
    written = yaml.safe_load((tmp_path / "zoo.yaml").read_text())
    written["models"]["upernet-swin"]["witness"][field] = to(written["models"]["upernet-swin"]["witness"][field])
    (tmp_path / "zoo.yaml").write_text(yaml.safe_dump(written))
    check = climbed(zoo, "upernet-swin", code=5)
    assert (check["status"], check["code"], check["facts"]) == ("failed", 5, {})
    assert f"{PICTURE}: class " in check["detail"]
    assert said in check["detail"]
    assert "published is" in check["detail"]
    assert "https://example.org/scores" in check["detail"]
    segzoo(*zoo, "receipt", "check", "upernet-swin")


@pytest.mark.parametrize("model", ["upernet-swin", "upernet-convnext", "setr-naive"])
def test_a_picture_that_is_not_here_is_said_and_proves_nothing(model, tmp_path):
    with serve({}) as server:
        zoo = own_zoo(tmp_path, model, url=f"{server.base}/{PICTURE}")
    check = climbed(zoo, model)
    assert check["short"] == {"upernet-swin": "no transformers", "upernet-convnext": "no picture"}.get(model, check["short"])
    assert check["status"] == ("passed" if model == "setr-naive" else "skipped")
    assert f"no scores of {PICTURE} compared, which is not on this machine: --equivalents fetches it" in check["detail"]
    assert "witness" not in check["facts"] | check["basis"]
    segzoo(*zoo, "receipt", "check", model)
    segzoo(*zoo, "verify", model, "--device", "cpu", "--require", "numbers", code=0 if model == "setr-naive" else 8)


def test_a_picture_elsewhere_is_fetched_only_if_asked_for(tmp_path):
    with serve({}) as server:
        zoo = own_zoo(tmp_path, "upernet-convnext", url=f"{server.base}/{PICTURE}")
        server.table[f"/{PICTURE}"] = body((tmp_path / PICTURE).read_bytes())
        (tmp_path / PICTURE).unlink()
        assert climbed(zoo, "upernet-convnext")["status"] == "skipped"
        assert climbed(zoo, "upernet-convnext", "--equivalents")["status"] == "passed"
    assert "as published" in climbed(zoo, "upernet-convnext", "--again")["detail"]  # it is in the store now


def test_a_picture_that_no_address_has_or_that_is_none_fails(tmp_path):
    with serve({}) as server:
        zoo = own_zoo(tmp_path, "upernet-convnext", url=f"{server.base}/{PICTURE}")
    assert climbed(zoo, "upernet-convnext", "--equivalents", code=3)["status"] == "failed"
    zoo = own_zoo(tmp_path, "upernet-convnext")
    (tmp_path / PICTURE).write_bytes(b"no picture")
    assert climbed(zoo, "upernet-convnext", code=8)["status"] == "failed"


def far_apart(check):
    """Scores that are off, and said to be."""
    mine, published = check["facts"]["witness"], check["basis"]["witness"]["scores"]
    mine["scores"][0][0] += 1.0
    mine["apart"] = abs(mine["scores"][0][0] - published[0][0])


EDITS = {
    "a score": (lambda check: check["facts"]["witness"]["scores"][0].__setitem__(0, 1.0), "apart from those of its witness, it says"),
    "the difference": (lambda check: check["facts"]["witness"].__setitem__("apart", 0.0), "apart from those of its witness, it says"),
    "both": (far_apart, "numbers passed, and its scores are"),
    "a row": (lambda check: check["facts"]["witness"]["scores"].pop(), "other scores than those of its witness"),
    "no witness": (lambda check: check["basis"].pop("witness"), "scores without a witness"),
    "a reference": (lambda check: check["basis"].__setitem__("reference", True), "a reference without intermediates"),
    "no scores": (lambda check: check["facts"].pop("witness"), "expected intermediates"),
}


def test_an_edited_receipt_is_caught(tmp_path):
    zoo = own_zoo(tmp_path, "upernet-convnext")
    climbed(zoo, "upernet-convnext")
    [path] = home().glob("receipts/*/upernet-convnext.json")
    good = path.read_text()
    for change, said in EDITS.values():
        record = json.loads(good)
        change(next(check for check in record["checks"] if check["rung"] == "numbers"))
        path.write_text(json.dumps(record))
        assert said in segzoo(*zoo, "receipt", "check", "upernet-convnext", code=4).output


def test_other_scores_in_the_manifest_are_another_question(tmp_path):
    climbed(own_zoo(tmp_path, "upernet-convnext"), "upernet-convnext")
    [path] = home().glob("receipts/*/upernet-convnext.json")
    record = json.loads(path.read_text())
    assert changed(record, load_manifest(tmp_path / "zoo.yaml").models["upernet-convnext"]) == []
    own_zoo(tmp_path, "upernet-convnext", tolerance=2e-4)
    assert changed(record, load_manifest(tmp_path / "zoo.yaml").models["upernet-convnext"]) == ["witness"]


FAULTS = {
    "rows of several lengths": ({"scores": [[1.0, 2.0], [3.0]]}, "rows of one length"),
    "no rows": ({"scores": []}, "scores"),
    "beyond the picture": ({"size": [40, 57], "at": [0, 38, 0]}, "reach beyond the size"),
    "a class too many": ({"at": [8, 0, 0]}, "class 8, but the model has 8"),
    "another channel": ({"mean": [1.0], "std": [1.0]}, "of 1 channels, but the model takes 3"),
    "mean and std": ({"mean": [1.0, 1.0]}, "of the same channels"),
    "a score that is none": ({"scores": [[float("nan")]]}, "scores"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_witness_that_contradicts_itself_is_refused(fault, tmp_path):
    otherwise, said = FAULTS[fault]
    own_zoo(tmp_path, "upernet-swin", **otherwise)
    with pytest.raises(UsageError, match=said):
        load_manifest(tmp_path / "zoo.yaml")


@pytest.mark.parametrize("size", ["smaller", "larger"])
def test_a_picture_is_seen_as_transformers_shows_it(size):
    golden = arrays(TINY / "segformer_processor.npz")
    expected = golden[size]
    published = Published.model_validate_json(json.dumps({"size": expected.shape[1:], **IMAGENET, "scores": [[0.0]], "tolerance": 1.0}))
    mine = seen(golden["picture"], published)[0].numpy()
    assert mine.shape == expected.shape
    assert np.abs(mine - expected).max() < 5e-7


def test_the_zoos_nine_witnesses_are_those_of_transformers_scripts():
    facts = yaml.safe_load((TINY / "real_weight_logits.yaml").read_text())
    expected = {one["sha256_prefix8"]: one["logits"] for one in facts["models"]}
    models = load_manifest(packaged("zoo.yaml")).models.values()
    found = {model.checkpoint.sha256_prefix: model.witness for model in models if model.witness}
    assert {prefix: [*map(list, witness.scores)] for prefix, witness in found.items()} == expected
    for model in models:
        if witness := model.witness:
            assert (witness.size, witness.at, witness.tolerance) == ((512, 512), (0, 0, 0), facts["atol"])
            assert (witness.mean, witness.std) == (model.protocol.mean, model.protocol.std)
            assert [one.url for one in witness.picture.urls] == [facts["image"]]
            assert f"convert_{model.backbone.named}_upernet" in witness.source
