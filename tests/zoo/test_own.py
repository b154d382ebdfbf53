"""A zoo of one's own: begun, added to, checked, pinned, and used together with others."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys

import jsonschema
import numpy as np
import pytest
import torch
import yaml
from click.testing import CliRunner
from server import Ranged, serve
from support import GOLDEN, MINI, TAME

import segzoo
from segzoo.cli import main
from segzoo.errors import UsageError
from segzoo.manifest.document import load_manifest, packaged
from segzoo.manifest.spelling import inserted, spelt
from segzoo.store.store import home
from segzoo.zoo.own.write import Addition, put
from segzoo.zoo.zoo import open_zoo

MASK, LINEAR = MINI / "segmenter_mini_mask-6a6bc5f4.pth", MINI / "segmenter_mini_linear-bce9da2d.pth"
WRITTEN = yaml.safe_load((MINI / "zoo.yaml").read_text())  # by hand, of models that mmseg trained
SCHEMA = json.loads(packaged("zoo.schema.json").read_text())


def run(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments], catch_exceptions=False)


def right(*arguments):
    done = run(*arguments)
    assert done.exit_code == 0, done.stderr
    return done


def wrong(code, said, *arguments):
    done = run(*arguments)
    assert (done.exit_code, done.stdout) == (code, "")
    assert len([line for line in done.stderr.splitlines() if line.startswith("error: ")]) == 1
    assert said in done.stderr
    return done


@pytest.fixture
def lab(tmp_path, monkeypatch):
    """The folder of a lab, which one works in, with a manifest just begun and the mini zoo's checkpoints."""
    folder = tmp_path / "lab"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for path in (MASK, LINEAR, TAME):
        shutil.copy(path, folder)
    right("manifest", "init")
    return folder


# init


def test_a_manifest_just_begun_is_right_and_completed_by_editors(lab):
    text = (lab / "zoo.yaml").read_text()
    assert text.startswith("# yaml-language-server: $schema=./zoo.schema.json\n")
    assert (lab / "zoo.schema.json").read_bytes() == packaged("zoo.schema.json").read_bytes()
    jsonschema.validate(yaml.safe_load(text), SCHEMA)
    jsonschema.Draft7Validator.check_schema(SCHEMA)  # which editors may know no further than
    assert right("manifest", "check").stdout == "zoo.yaml: 0 errors, 0 warnings\n"
    assert not load_manifest(lab / "zoo.yaml").artifacts


def test_what_the_template_shows_in_comments_is_right(lab):
    lines = (lab / "zoo.yaml").read_text().partition("version: 1\n")[2].splitlines()
    shown = "version: 1\n" + "\n".join(line.removeprefix("# ") for line in lines).replace("64 digits", "a" * 64)
    (lab / "shown.yaml").write_text(shown)
    zoo = load_manifest(lab / "shown.yaml")
    assert (list(zoo.datasets), list(zoo.backbones), list(zoo.models)) == (["our-streets"], ["our-vit"], ["our-segmenter"])
    jsonschema.validate(yaml.safe_load(shown), SCHEMA)


def test_init_never_overwrites(lab):
    before = (lab / "zoo.yaml").read_bytes()
    assert right("manifest", "init").stdout.startswith("zoo.yaml: there already, a manifest without entries; zoo.schema.json beside it was there")
    (lab / "zoo.schema.json").unlink()
    assert json.loads(right("manifest", "init", "--json").stdout)["result"] == {
        "manifest": "zoo.yaml", "schema": "zoo.schema.json", "schema_written": True, "already": True
    }  # fmt: skip
    assert (lab / "zoo.yaml").read_bytes() == before
    (lab / "zoo.yaml").write_bytes(before + b"# mine\n")
    wrong(2, "zoo.yaml: exists already", "manifest", "init")
    wrong(2, "zoo.yaml: exists already", "manifest", "init", lab)
    assert (lab / "zoo.yaml").read_bytes() == before + b"# mine\n"
    (lab / "sub").mkdir()
    (lab / "sub" / "zoo.schema.json").write_text("mine")
    assert "was there, and stays" in right("manifest", "init", "sub").stdout
    assert (lab / "sub" / "zoo.schema.json").read_text() == "mine"
    (lab / "dangling.yaml").symlink_to("nowhere")
    wrong(2, "exists already", "manifest", "init", "dangling.yaml")
    assert "new/deep/own.yaml" in right("manifest", "init", "new/deep/own.yaml").stdout


# add: the proposal


@pytest.mark.parametrize(("name", "path"), [("mini-mask", MASK), ("mini-linear", LINEAR)])
def test_the_entry_of_a_segmenter_is_the_one_written_by_hand(name, path, lab):
    done = right("--zoo", "mini", "manifest", "add", path.name, "--name", name)
    proposed, written = yaml.safe_load(done.stdout)["models"][name], WRITTEN["models"][name]
    for section in ("backbone", "head", "protocol"):
        assert proposed[section] == written[section]
    assert proposed["checkpoint"] == {key: written["checkpoint"][key] for key in ("name", "layout", "size", "sha256", "urls")}
    assert "reported" not in proposed  # its source is a file of the mini zoo
    assert f"heads and eps are assumed: as in {name}" in done.stdout


def test_the_entry_of_a_backbone_is_the_one_written_by_hand(lab):
    proposed = yaml.safe_load(right("manifest", "add", TAME.name).stdout)["backbones"]["mini.tame"]
    written = WRITTEN["backbones"]["mini-vit"]
    assert (proposed["geometry"], proposed["eps"]) == (written["geometry"], 1e-6)
    assert proposed["source"] == {key: written["source"][key] for key in ("name", "layout", "size", "sha256", "urls")}


@pytest.mark.parametrize(
    ("peer", "layout", "classes"),
    [
        ("mini.tame.timm_state_dict.npz", "timm", 11),
        pytest.param("mini.hf_state_dict.npz", "hf", None, marks=pytest.mark.slow),
        pytest.param("mini.torchvision_state_dict.npz", "torchvision", 11, marks=pytest.mark.slow),
        pytest.param("mini.tame.mmseg_backbone_state_dict.npz", "mmseg", None, marks=pytest.mark.slow),
    ],
)
def test_the_same_network_by_other_libraries_has_the_same_geometry(peer, layout, classes, lab):
    """Their files show no heads: asked for, or those of a backbone of the zoo that is as large."""
    path = GOLDEN / "augreg" / peer
    wrong(2, "no tensor shows its attention heads", "manifest", "add", path)
    entry = next(iter(yaml.safe_load(right("manifest", "add", path, "--heads", 4).stdout)["backbones"].values()))
    expected = {key: value for key, value in WRITTEN["backbones"]["mini-vit"]["geometry"].items() if key != "classes"}
    found = {key: value for key, value in entry["geometry"].items() if key != "classes"}
    assert (found, entry["source"]["layout"]) == (expected, layout)
    assert entry["source"]["urls"] == [path.as_uri()]  # not below the manifest's folder
    alike = right("--zoo", "mini", "manifest", "add", path, "--title", "Mine: a ViT")
    assert yaml.safe_load(alike.stdout)["backbones"][next(iter(yaml.safe_load(alike.stdout)["backbones"]))]["geometry"]["heads"] == 4
    assert "heads are assumed: as in mini-vit" in alike.stdout
    assert "title: 'Mine: a ViT'" in alike.stdout
    wrong(5, "3 heads do not divide a width of 64", "manifest", "add", path, "--heads", 3)


def test_a_training_checkpoint_of_the_segmenters_authors(lab):
    """rstrudel/segmenter's own files, with an optimizer beside the model; tests/data/README.md has their sizes. Of no model's geometry."""
    path = GOLDEN / "segmenter" / "protocol" / "mask.pth"
    done = wrong(2, "like no model of this zoo", "--zoo", "mini", "manifest", "add", path)
    assert "--like NAME" in done.stderr
    wrong(2, "and mini-mask is of another width", "--zoo", "mini", "manifest", "add", path, "--like", "mini-mask")
    done = right("--zoo", "mini", "manifest", "add", path, "--like", "mini-mask", "--heads", 2)
    entry = yaml.safe_load(done.stdout)["models"]["mask"]
    assert entry["checkpoint"]["layout"] == "segmenter"
    sizes = {"width": 64, "depth": 2, "heads": 2, "patch": 8, "image": 64, "eps": 1e-6, "classes": 16, "mlp": 256}
    assert (entry["backbone"], entry["head"]["classes"], entry["head"]["heads"]) == (sizes, 8, 2)
    assert "# heads and eps are assumed: heads as those of the backbone, eps as in mini-mask" in done.stdout
    path = GOLDEN / "segmenter" / "mask.pth"
    other = wrong(2, "6 classes, but data set ade-mini has 8", "--zoo", "mini", "manifest", "add", path, "--like", "mini-mask", "--heads", 2,
                  "--dataset", "ade-mini")  # fmt: skip
    assert "describe the data set in the manifest first" in other.stderr
    done = right("--zoo", "mini", "manifest", "add", path, "--like", "mini-mask", "--heads", 2)
    assert list(yaml.safe_load(done.stdout)["models"]["mask"]["classes"]) == [f"class {index}" for index in range(6)]


def test_models_alike_that_differ_in_what_no_tensor_shows(lab):
    """Of MMSegmentation's and the authors' models of one size the layout decides; of two of one layout the user."""
    plain = yaml.safe_load((MINI / "zoo.yaml").read_text())
    plain["datasets"]["ade-mini"].pop("path")
    other = json.loads(json.dumps(plain["models"]["mini-mask"]))
    other["checkpoint"] |= {"sha256": "f" * 64, "urls": ["http://127.0.0.1:9/f.pth"]}
    plain["models"] = {"one": other, "two": json.loads(json.dumps(other))}
    plain["models"]["two"]["backbone"]["eps"] = 1e-5
    (lab / "two.yaml").write_text(json.dumps(plain).replace("1e-06", "1.0e-6").replace("1e-05", "1.0e-5"))
    wrong(2, "like one and like two", "--zoo", "two.yaml", "manifest", "add", MASK.name)
    proposed = yaml.safe_load(right("--zoo", "two.yaml", "manifest", "add", MASK.name, "--like", "two").stdout)
    assert proposed["models"]["segmenter-mini-mask"]["backbone"]["eps"] == 1e-5
    wrong(7, "--like three: no such model; there are one, two", "--zoo", "two.yaml", "manifest", "add", MASK.name, "--like", "three")
    plain["models"]["two"]["checkpoint"]["layout"] = "segmenter"
    (lab / "two.yaml").write_text(json.dumps(plain).replace("1e-06", "1.0e-6").replace("1e-05", "1.0e-5"))
    assert "as in one" in right("--zoo", "two.yaml", "manifest", "add", MASK.name).stdout


def test_bfloat16_is_said_and_a_mixture_refused(lab):
    tensors = torch.load(GOLDEN / "mmseg" / "convert" / "mini12-res_96.mmseg.pth", weights_only=True)
    torch.save({name: tensor.bfloat16() for name, tensor in tensors.items()}, "half.pth")
    entry = yaml.safe_load(right("manifest", "add", "half.pth", "--heads", 1).stdout)["backbones"]["half"]
    assert (entry["source"]["dtype"], entry["geometry"]["depth"]) == ("bfloat16", 12)
    torch.save({name: tensor.bfloat16() if "ln" in name else tensor for name, tensor in tensors.items()}, "mixed.pth")
    wrong(5, "tensors in bfloat16, float32", "manifest", "add", "mixed.pth", "--heads", 1)


@pytest.mark.parametrize(
    ("code", "said", "arguments"),
    [
        (7, "nowhere.pth: no such file", ("nowhere.pth",)),
        (2, "files of weights; which is meant cannot be known", (".",)),
        (7, "ade_mini: a folder, not a file", (MINI / "ade_mini",)),
        (4, "expected npz, pth, safetensors or flax's msgpack", ("zoo.yaml",)),
        (2, "must be a file, or an address by http or https", ("ftp://host/vit.npz",)),
        (2, "go with one file", (TAME.name, MASK.name, "--name", "one")),
        (2, "no manifest can name it", (TAME.name, "--name", "Upper Case")),
        (2, "a backbone has no data set", (TAME.name, "--dataset", "ade20k")),
        (7, "--like vit-x: no such backbone", (TAME.name, "--like", "vit-x")),
        (7, "--dataset tony: no such data set", (MASK.name, "--like", "vit-t-mask", "--heads", "2", "--dataset", "tony")),
        (2, "8 classes, but data set ade20k has 150", (MASK.name, "--like", "vit-t-mask", "--heads", "2", "--dataset", "ade20k")),
        (5, "a manifest has no words for it", (GOLDEN / "augreg" / "mini_r4.tame.npz",)),
        (7, "none/zoo.yaml: no such manifest", (TAME.name, "--to", "none/zoo.yaml")),
        (7, "not fetched: offline", ("http://127.0.0.1:9/vit.npz", "--offline")),
        (2, "no manifest can name it", ("http://127.0.0.1:9/", "--offline")),
    ],
)
def test_what_cannot_be_proposed(code, said, arguments, lab):
    before = (lab / "zoo.yaml").read_bytes()
    wrong(code, said, "manifest", "add", *arguments)
    assert (lab / "zoo.yaml").read_bytes() == before


def test_an_address_is_fetched_hashed_and_written_down(lab):
    data = TAME.read_bytes()
    table = {"/weights/Ti_16.npz?v=2": Ranged(data), "/other/Ti_16.npz": Ranged(MASK.read_bytes()), "/page.npz": Ranged(b"<html>no</html>")}
    with serve(table) as server:
        url = f"{server.base}/weights/Ti_16.npz?v=2"
        shown = yaml.safe_load(right("manifest", "add", url).stdout)["backbones"]["ti-16"]
        done = right("manifest", "add", url, "--to", "zoo.yaml", "--json")  # who has looked at it need not fetch again
        added = json.loads(done.stdout)["result"]["added"][0]
        assert (added["entry"], server.seen) == (shown, [url.removeprefix(server.base)])
        assert "taken from the store, without asking the address again" in done.stderr
        assert (added["name"], added["entry"]["source"]["urls"]) == ("ti-16", [url])
        source = load_manifest(lab / "zoo.yaml").backbones["ti-16"].source
        assert (source.sha256, source.size) == (hashlib.sha256(data).hexdigest(), len(data))
        assert (source.name, source.urls[0].url) == ("Ti_16.npz", url)
        assert not (lab / "segzoo.lock").exists()
        # another file of the same name is not held to the first
        assert "models:" in right("--zoo", "mini", "manifest", "add", f"{server.base}/other/Ti_16.npz").stdout
        wrong(4, "it looks like an HTML page", "manifest", "add", f"{server.base}/page.npz")
        asked = len(server.seen)
        wrong(2, "it has a 'ti-16' already", "manifest", "add", f"{server.base}/other/Ti_16.npz", "--to", "zoo.yaml")
        before = (lab / "zoo.yaml").read_bytes()
        assert "ti-16 is there already, as it would be added" in right("manifest", "add", url, "--to", "zoo.yaml").stdout
        assert (len(server.seen), (lab / "zoo.yaml").read_bytes()) == (asked, before)  # said before anything is fetched
        right("manifest", "add", url)  # it is in the manifest: from now on the address is asked again
        assert len(server.seen) > asked
    assert right("--zoo", "zoo.yaml", "fetch", "ti-16", "--offline").stdout.startswith("ti-16: here already")


def test_the_digits_in_a_published_name_are_compared(lab):
    assert "its sha256 begins as its name says: 6a6bc5f4" in right("--zoo", "mini", "manifest", "add", MASK.name).stderr
    shutil.copy(MASK, "mask-00112233.pth")
    assert "its name says 00112233, but its sha256 begins 6a6bc5f4" in right("--zoo", "mini", "manifest", "add", "mask-00112233.pth").stderr


# add: into the manifest


def test_an_entry_that_is_there_already_stays(lab):
    done = right("--zoo", "mini", "manifest", "add", TAME.name, MASK.name, "--to", "zoo.yaml")
    before = (lab / "zoo.yaml").read_bytes()
    again = right("--zoo", "mini", "manifest", "add", TAME.name, MASK.name, "--to", "zoo.yaml", "--json")
    assert {name: value for name, value in json.loads(again.stdout)["result"].items() if name != "manifest"} == {
        "added": [], "already": ["mini.tame", "segmenter-mini-mask"]
    }  # fmt: skip
    more = right("--zoo", "mini", "manifest", "add", TAME.name, LINEAR.name, "--to", "zoo.yaml")
    assert more.stdout.splitlines()[:2] == [
        "zoo.yaml: mini.tame is there already, as it would be added; it stays as it is",
        "zoo.yaml: models.segmenter-mini-linear",
    ]
    assert (lab / "zoo.yaml").read_bytes().startswith(before.rstrip(b"\n")[:-200])
    assert done.stdout.count("\n") == 3


@pytest.mark.parametrize(
    ("change", "options"),
    [
        (lambda text: text, ("--title", "another")),
        (lambda text: text.replace("eps: 1.0e-6", "eps: 1.0e-5"), ()),
        (lambda text: text.replace("  mini.tame:\n    title: ", "  mini.tame:\n    title: My "), ()),
        (lambda text: text.replace("heads: 4", "heads: 2"), ()),
        (lambda text: text.replace("layout: augreg", "layout: bigvision"), ()),
        (lambda text: text.replace('sha256: "5f', 'sha256: "6f'), ()),
    ],
)
def test_an_entry_that_differs_is_another_one(change, options, lab):
    right("manifest", "add", TAME.name, "--to", "zoo.yaml")
    text = change((lab / "zoo.yaml").read_text())
    assert options or text != (lab / "zoo.yaml").read_text()
    (lab / "zoo.yaml").write_text(text)
    wrong(2, "it has a 'mini.tame' already, which is another one", "manifest", "add", TAME.name, "--to", "zoo.yaml", *options)
    assert (lab / "zoo.yaml").read_text() == text


def test_from_nothing_to_verified(lab):
    """init, add, check, lock, verify: the README's way, on the mini zoo's files."""
    right("manifest", "add", TAME.name, "--to", "zoo.yaml", "--name", "vit")
    done = right("--zoo", "mini", "manifest", "add", MASK.name, LINEAR.name, "--to", "zoo.yaml")
    assert done.stdout.splitlines() == [
        "zoo.yaml: datasets.ade-mini, copied",
        "zoo.yaml: models.segmenter-mini-mask",
        "zoo.yaml: models.segmenter-mini-linear",
    ]
    jsonschema.validate(yaml.safe_load((lab / "zoo.yaml").read_text()), SCHEMA)
    assert warnings("zoo.yaml") == [("datasets.ade-mini", NOWHERE)]
    assert "nothing to pin" in right("manifest", "lock").stdout
    arguments = ("--zoo", "zoo.yaml", "verify", "vit", "segmenter-mini-mask", "--json")
    vit, mask = json.loads(right(*arguments).stdout)["result"]
    assert [rung["status"] for rung in vit["checks"]] == ["passed"] * 4 + ["n/a"]
    assert [rung["status"] for rung in mask["checks"]] == ["passed"] * 4 + ["skipped"]
    data = right("--zoo", "zoo.yaml", "verify", "segmenter-mini-mask", "--data", MINI, "--images", "all", "--json")
    measured = json.loads(data.stdout)["result"][0]["checks"][4]["facts"]["modes"]["ss"]["measured"]["mIoU"]
    assert measured == WRITTEN["models"]["mini-mask"]["reported"]["miou"]
    assert "broken" not in right("--zoo", "zoo.yaml", "receipt", "check").stdout


OWN = """\
# ours
version: 1   # the only one

backbones:
    first:   # four spaces
        title: "First"
        file: first.pth
        source: {name: first.npz, sha256: "%s", urls: [first.npz]}
        geometry: {width: 64, depth: 3, heads: 4, mlp: 256, patch: 16, grid: 4}
        # eps: 1.0e-5 was tried

    # the next are older
# the end
models: {}   # none yet
""" % ("a" * 64)


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_comments_and_layout_stay(ending, lab):
    text = OWN.replace("\n", ending)
    (lab / "own.yaml").write_text(text, newline="")
    (lab / "own.yaml").chmod(0o640)
    (lab / "link.yaml").symlink_to("own.yaml")
    right("--zoo", "mini", "manifest", "add", TAME.name, MASK.name, "--to", "link.yaml")
    after = (lab / "own.yaml").read_bytes().decode()
    assert (lab / "link.yaml").is_symlink()
    assert (lab / "own.yaml").stat().st_mode & 0o777 == 0o640
    assert [line for line in text.split(ending) if line not in after.split(ending)] == ["models: {}   # none yet"]
    assert f"models:   # none yet{ending}  segmenter-mini-mask:{ending}" in after
    assert f"1.0e-5 was tried{ending}{ending}    mini.tame:{ending}      title:" in after
    assert after.count("\r") == (after.count("\n") if ending == "\r\n" else 0)
    assert list(load_manifest(lab / "own.yaml").backbones) == ["first", "mini.tame"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("version: 1\nmodels:\n  one: {}\n", "models.one.title: the field 'title' is missing"),
        ("version: 1\nversion: 1\n", "this key is there twice"),
        ('version: 1\nbackbones: {b: {title: B, file: b.pth, source: {name: b, urls: [b]}, geometry: %s}}\n', "is written in braces"),
        ("{version: 1}\n", "not YAML"),
        ("version: 1\n...\n", "not YAML"),
    ],
)  # fmt: skip
def test_a_manifest_that_nothing_can_be_put_into_is_left_as_it_is(text, said, lab):
    text = text.replace("%s", "{width: 4, depth: 1, heads: 1, mlp: 8, patch: 2, grid: 2}")
    (lab / "own.yaml").write_text(text)
    before = sorted(path.name for path in lab.iterdir())
    done = wrong(2, said, "manifest", "add", TAME.name, "--to", "own.yaml")
    assert "own.yaml" in done.stderr
    assert ".part" not in done.stderr
    assert (lab / "own.yaml").read_text() == text
    assert sorted(path.name for path in lab.iterdir()) == before


class Meanwhile(list):
    """Manifests to be used together; when they are looked at, somebody saves another file in an editor."""

    def __iter__(self):
        (self.folder / "zoo.yaml").write_text("version: 1\n# mine\n")
        return super().__iter__()


def test_a_manifest_that_somebody_else_changes_meanwhile_is_left_as_it_is(lab):
    others = Meanwhile()
    others.folder = lab
    backbone = json.loads(json.dumps(WRITTEN["backbones"]["mini-vit"]))
    with pytest.raises(UsageError, match="somebody else has changed it meanwhile"):
        put(lab / "zoo.yaml", [Addition("backbones", "one", backbone, {})], others)
    assert (lab / "zoo.yaml").read_text() == "version: 1\n# mine\n"


def test_a_manifest_that_is_not_there_is_begun_unless_nothing_comes_of_it(lab):
    (lab / "zoo.schema.json").unlink(missing_ok=True)
    before = sorted(lab.iterdir())
    wrong(7, "none.npz: no such file", "manifest", "add", "none.npz", "--to", "new.yaml")
    assert sorted(lab.iterdir()) == before
    done = right("--zoo", "mini", "manifest", "add", MASK.name, "--to", "new.yaml", "--name", "ours")
    assert done.stdout.splitlines() == ["new.yaml: begun", "new.yaml: datasets.ade-mini, copied", "new.yaml: models.ours"]
    assert {path.name for path in lab.iterdir()} - {path.name for path in before} == {"new.yaml", "zoo.schema.json"}
    (command,) = re.findall("next: segzoo (.*)", done.stderr)
    assert "measured, none reported" in right(*command.split(), "--images", "10").stdout


def test_a_data_set_of_a_zoo_that_is_used_too_is_not_copied(lab):
    done = right("--zoo", "zoo.yaml", "--zoo", "mini", "manifest", "add", MASK.name, "--to", "zoo.yaml")
    assert done.stdout == "zoo.yaml: models.segmenter-mini-mask\n"
    assert "next: segzoo --zoo zoo.yaml --zoo mini verify segmenter-mini-mask" in done.stderr
    assert "datasets" not in yaml.safe_load((lab / "zoo.yaml").read_text())
    wrong(2, "no data set 'ade-mini' in this zoo", "--zoo", "zoo.yaml", "list")
    assert "segmenter-mini-mask" in right("--zoo", "zoo.yaml", "--zoo", "mini", "list").stdout


def test_a_copied_data_set_lies_where_the_zoo_that_it_is_from_has_it(lab):
    right("--zoo", "mini", "manifest", "add", MASK.name, "--to", "zoo.yaml")
    verify = ("verify", "segmenter-mini-mask", "--images", "10")
    assert ": mIoU: skipped: " in right("--zoo", "zoo.yaml", *verify).stdout
    both = right("-v", "--zoo", "zoo.yaml", "--zoo", "mini", *verify)
    assert " measured, none reported" in both.stdout
    assert "ade-mini of mini is hidden" not in both.stderr
    path = lab / "zoo.yaml"
    path.write_text(path.read_text().replace("images: 40", "images: 30"))  # another data set of that name
    assert ": mIoU: skipped: " in right("--zoo", "zoo.yaml", "--zoo", "mini", *verify).stdout


TEXTS = ["yes", "1:30", "a: b", "# no", "a #b", "- x", "", " x ", "é", "00112233", "1e5", "{}", "'", '"', "null", "2021-05-05", "x\u2028y", "a" * 200]


@pytest.mark.parametrize("value", TEXTS)
def test_texts_are_spelt_as_yaml_reads_them(value):
    plain = {"one": value, "list": [value, "b"], "deep": {"x" * 120: value, "y": [1, 2]}}
    assert yaml.safe_load("\n".join(spelt(plain))) == plain


@pytest.mark.parametrize("value", [1e-6, 1e-5, 0.5, 127.5, 1e-12, 2.0, 1.5e20, 123.675])
def test_numbers_are_spelt_as_the_strict_reader_takes_them(value, tmp_path):
    from segzoo.manifest.strict_yaml import read_yaml

    (tmp_path / "a.yaml").write_text("\n".join(spelt({"one": value, "list": [value]})))
    assert read_yaml(tmp_path / "a.yaml")[0] == {"one": value, "list": (value,)}


def test_lines_are_counted_as_yaml_does():
    text = "version: 1 # \u2028models:\n  a: {x: 1}\n\n# end"
    after = inserted(text, "models", "b", {"x": 2})
    assert yaml.safe_load(after) == {"version": 1, "models": {"a": {"x": 1}, "b": {"x": 2}}}
    assert after.endswith("\n\n# end")


# check


def test_check_says_all_that_is_wrong(lab):
    text = (MINI / "zoo.yaml").read_text()
    (lab / "own.yaml").write_text(text.replace("stride: 48", "stride: far").replace("kind: mask", "kind: mosk").replace("images: 40", "images: 0"))
    done = run("manifest", "check", "own.yaml")
    assert done.exit_code == 2
    lines = done.stdout.splitlines()
    assert [line.split(": ")[1] for line in lines[:-1]] == ["error"] * 4
    faults = ("images: 0", "kind: mosk", "stride: far")
    text_lines = (lab / "own.yaml").read_text().splitlines()
    numbers = [number for number, line in enumerate(text_lines, 1) if any(fault in line for fault in faults)]
    assert [int(line.split(":")[1]) for line in lines[:-1]] == numbers
    assert lines[-1] == "own.yaml: 4 errors, 0 warnings"
    facts = json.loads(run("manifest", "check", "own.yaml", "--json").stdout)["result"]
    assert facts["errors"][0] == {
        "path": "own.yaml",
        "line": numbers[0],
        "field": "datasets.ade-mini.images",
        "message": "Input should be greater than 0, found 0",
        "hint": None,
    }
    wrong(2, "images: Input should be greater than 0, found 0", "--zoo", "own.yaml", "list")  # the first only
    (lab / "own.yaml").write_text(text.replace("dataset: ade-mini", "dataset: tony").replace("  mini-vit:", "  ade-mini:"))
    assert run("manifest", "check", "own.yaml").stdout.splitlines()[-1].startswith("own.yaml: 3 errors, ")


def warnings(*paths):
    return [(one["field"], one["message"]) for one in json.loads(right("manifest", "check", *paths, "--json").stdout)["result"]["warnings"]]


NOWHERE = "nothing says where it is: only --data DIR of verify and report can name it"


def test_check_says_what_to_look_at(lab):
    text = (MINI / "zoo.yaml").read_text()
    for file in ("ade_mini", "expected"):
        shutil.copytree(MINI / file, lab / file)
    (lab / "own.yaml").write_text(text)
    assert warnings("own.yaml") == []
    changed = text.replace("size: 3522957", "size: 3522958").replace("size: 823502", "size: 823503")
    changed = changed.replace('sha256: "5f1eafa0c2e70fb710c98d22623ed43d7af27b722356b1690265d70d1e43fcd3"\n', "\n")
    changed = changed.replace("name: segmenter_mini_linear-bce9da2d.pth", "name: segmenter_mini_mask-6a6bc5f4.pth")
    (lab / "own.yaml").write_text(changed)
    shutil.rmtree(lab / "ade_mini")
    (lab / "expected" / "metrics.json").unlink()
    (lab / TAME.name).unlink()
    missing, look = "expected/metrics.json: no such file", "expected/metrics.json: neither an address nor a file, so nobody can look the figure up"
    assert warnings("own.yaml") == [
        ("backbones.mini-vit.source", f"{TAME.name}: no hash is known, so the first file that arrives is accepted"),
        ("backbones.mini-vit.source.urls.0", f"{TAME.name}: no such file"),
        ("models.mini-mask.checkpoint.urls.0", f"{MASK.name}: 3,522,957 bytes, the manifest says 3,522,958"),
        ("models.mini-mask.counts.file.urls.0", missing),
        ("models.mini-linear.counts.file.urls.0", missing),
        ("datasets.ade-mini.path", "ade_mini: no such folder"),
        ("models.mini-mask.reported.source", look),
        ("models.mini-linear.reported.source", look),
        ("models.mini-linear.checkpoint.name", f"{MASK.name}: models.mini-mask has another file of this name, and pins and copies are kept by name"),
    ]
    assert warnings("zoo.yaml", "mini") == []  # those that come with segzoo are not the lab's to mend


def test_check_counts_the_images_of_a_data_set(lab):
    (lab / "own.yaml").write_text((MINI / "zoo.yaml").read_text())
    for file in ("ade_mini", "expected"):
        shutil.copytree(MINI / file, lab / file)
    labels = sorted((lab / "ade_mini" / "annotations" / "validation").iterdir())
    labels[0].unlink()
    assert warnings("own.yaml") == [("datasets.ade-mini.path", f"labels are missing for 1 of 40 images, the first {labels[0]}")]
    (lab / "ade_mini" / "images" / "validation" / f"{labels[0].stem}.jpg").unlink()
    assert warnings("own.yaml") == [("datasets.ade-mini.path", f"{lab / 'ade_mini'}: expected 40 images in 'validation', found 39")]
    assert "hint: the data set is not whole, or `images` in the manifest is wrong" in right("manifest", "check", "own.yaml").stderr
    shutil.rmtree(lab / "ade_mini" / "images")
    assert warnings("own.yaml") == [("datasets.ade-mini.path", f"{lab / 'ade_mini' / 'images' / 'validation'}: no such folder")]


def test_check_looks_for_a_way_to_the_data_set(lab):
    """That of another manifest, which is used too, is one."""
    text = (MINI / "zoo.yaml").read_text().replace("    path: ade_mini\n", "")
    shutil.copytree(MINI / "expected", lab / "expected")
    (lab / "own.yaml").write_text(text)
    assert warnings("own.yaml") == [("datasets.ade-mini", NOWHERE)]
    assert ("datasets.ade-mini", NOWHERE) not in warnings("own.yaml", "mini")
    (lab / "own.yaml").write_text(text.replace("    root:", "    home: https://scenes.example/\n    root:"))
    assert warnings("own.yaml") == []


@pytest.mark.parametrize(
    ("old", "new", "field", "shown"),
    [
        ("miou: 85.64", "miou: 0.8564", "reported.miou", "0.8564: it looks like a fraction"),
        ("miou_ms_flip: 90.10", "miou_ms_flip: 0.9", "reported.miou_ms_flip", "0.9: it looks like a fraction"),
        ("mean: 127.5", "mean: [0.485, 0.456, 0.406]", "protocol.mean", "0.485, 0.456, 0.406: as if for pixels from 0 to 1"),
        ("std: 127.5", "std: 0.5", "protocol.std", "0.5, 0.5, 0.5: as if for pixels from 0 to 1"),
        ("mean: 127.5, std: 127.5", "mean: 0.0, std: 1.0", None, None),
        ("mean: 127.5, std: 127.5", "mean: 0.0, std: 255.0", None, None),
    ],
)
def test_check_knows_figures_of_another_scale(old, new, field, shown, lab):
    for file in ("ade_mini", "expected"):
        shutil.copytree(MINI / file, lab / file)
    (lab / "own.yaml").write_text((MINI / "zoo.yaml").read_text().replace(old, new, 1))
    found = warnings("own.yaml")
    assert [name for name, _ in found] == ([f"models.mini-mask.{field}"] if field else [])
    assert all(said.startswith(shown) for _, said in found)


def test_check_without_a_manifest(lab, tmp_path, monkeypatch):
    wrong(7, "none.yaml: no such manifest", "manifest", "check", "none.yaml")
    wrong(2, "is a folder\nhint: the manifest in it is ", "manifest", "check", lab)
    monkeypatch.chdir(tmp_path)
    wrong(7, "zoo.yaml: no such manifest in this folder", "manifest", "check")
    wrong(7, "zoo.yaml: no such manifest in this folder", "manifest", "lock")
    assert right("--zoo", "mini", "manifest", "check").stdout == "mini: 0 errors, 0 warnings\n"


# lock


def test_lock_pins_what_has_no_full_hash_and_nothing_else(lab):
    text = (MINI / "zoo.yaml").read_text()
    shutil.copytree(MINI / "expected", lab / "expected")
    data = LINEAR.read_bytes()
    with serve({"/linear.pth": Ranged(data)}) as server:
        text = text.replace(f"urls: [{LINEAR.name}]", f"urls: [{server.base}/linear.pth]")
        text = text.replace('sha256: "bce9da2dc325015b48dd2ac46c7c018aee1f1e55a02ffda20b89e2d0531478f1"', 'sha256_prefix: "bce9da2d"')
        text = text.replace('sha256: "5f1eafa0c2e70fb710c98d22623ed43d7af27b722356b1690265d70d1e43fcd3"', "")
        (lab / "zoo.yaml").write_text(text)
        done = run("manifest", "lock", "--offline")
        assert (done.exit_code, f"not fetched  {'-':<16}  {LINEAR.name}" in done.stdout, "offline" in done.stderr) == (7, True, True)
        done = right("manifest", "lock")
        assert f"was pinned   5f1eafa0c2e70fb7  {TAME.name}\n" in done.stdout
        assert f"pinned       bce9da2dc325015b  {LINEAR.name}\n" in done.stdout
        assert server.seen == ["/linear.pth"]
    pins = json.loads((lab / "segzoo.lock").read_text())["pins"]
    hashes = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (LINEAR, TAME)}
    assert {name: pin["sha256"] for name, pin in pins.items()} == hashes
    assert (lab / "zoo.yaml").read_text() == text
    rows = json.loads(right("manifest", "lock", "zoo.yaml", "--json").stdout)["result"]["files"]
    assert {(row["file"], row["status"]) for row in rows} == {(LINEAR.name, "was pinned"), (TAME.name, "was pinned")}
    assert all(len(line) < 80 for line in done.stdout.splitlines()[:-1])


def test_lock_takes_the_mirror_and_refuses_other_bytes(lab):
    full = 'sha256: "5f1eafa0c2e70fb710c98d22623ed43d7af27b722356b1690265d70d1e43fcd3"'
    text = (MINI / "zoo.yaml").read_text().replace(full, 'sha256_prefix: "5f1eafa0"')
    (lab / "zoo.yaml").write_text(text.replace(f"urls: [{TAME.name}]", "urls: [http://127.0.0.1:9/x.npz]"))
    with serve({f"/wrong/{TAME.name}": Ranged(os.urandom(823502)), f"/right/{TAME.name}": Ranged(TAME.read_bytes())}) as server:
        done = run("manifest", "lock", "--mirror", f"{server.base}/wrong")
        assert (done.exit_code, "expected a sha256 that begins 5f1eafa0" in done.stderr) == (4, True)
        assert not (lab / "segzoo.lock").exists()
        assert right("manifest", "lock", "--mirror", f"{server.base}/right").exit_code == 0


# several manifests


@pytest.fixture
def two(lab):
    """A lab's manifest with a model on the mini zoo's data set, and a backbone by a name that the mini zoo has too."""
    right("--zoo", "zoo.yaml", "--zoo", "mini", "manifest", "add", MASK.name, "--to", "zoo.yaml", "--name", "ours")
    right("--zoo", "zoo.yaml", "--zoo", "mini", "manifest", "add", TAME.name, "--to", "zoo.yaml", "--name", "mini-vit", "--title", "Our ViT")
    return lab


def test_the_earlier_manifest_counts(two):
    ours, theirs = open_zoo(["zoo.yaml", "mini"]), open_zoo(["mini", two / "zoo.yaml"])
    assert (ours.manifest.backbones["mini-vit"].title, theirs.manifest.backbones["mini-vit"].title) == (
        "Our ViT",
        WRITTEN["backbones"]["mini-vit"]["title"],
    )
    assert set(ours.manifest.models) == set(theirs.manifest.models) == {"ours", "mini-mask", "mini-linear"}
    assert ours.hidden == ("mini-vit of mini is hidden by that of zoo.yaml",)
    assert re.fullmatch(r"lab-[0-9a-f]{8}\+mini", ours.label)
    assert theirs.label == "+".join(reversed(ours.label.split("+")))
    assert ours.store.lock == theirs.store.lock == two / "segzoo.lock"
    assert {name: part.given for name, part in ours.origins.items()} == {
        "mini-vit": "zoo.yaml", "ours": "zoo.yaml", "ade-mini": "mini", "mini-mask": "mini", "mini-linear": "mini",
    }  # fmt: skip
    said = run("-v", "--zoo", "zoo.yaml", "--zoo", "mini", "convert", "--all", "out").stderr
    assert said.count("mini-vit of mini is hidden by that of zoo.yaml") == 1
    assert "hidden" not in run("--zoo", "zoo.yaml", "--zoo", "mini", "list").stderr


def test_addresses_start_from_the_folder_of_their_own_manifest(two, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = right("--zoo", "lab/zoo.yaml", "--zoo", "mini", "fetch", "ours", "mini-linear", "-o", "copies")
    assert (tmp_path / "copies" / MASK.name).read_bytes() == MASK.read_bytes()
    assert (tmp_path / "copies" / LINEAR.name).read_bytes() == LINEAR.read_bytes()
    assert done.stdout.count("fetched") == 2
    record = json.loads(right("--zoo", "lab/zoo.yaml", "--zoo", "mini", "verify", "mini-linear", "--images", 2, "--json").stdout)["result"][0]
    assert [rung["status"] for rung in record["checks"]] == ["passed"] * 5  # the data set and the counts are the mini zoo's
    assert [path.relative_to(home()).as_posix() for path in (home() / "receipts").rglob("*.json")] == ["receipts/mini/mini-linear.json"]


def test_a_name_of_the_working_folders_zoo_that_is_not_in_use(two):
    hint = "hint: segzoo --zoo zoo.yaml ..., or zoo='zoo.yaml' in Python"
    assert hint in wrong(7, "no 'ours' in this zoo; zoo.yaml in this folder has it", "verify", "ours").stderr
    wrong(7, hint, "--zoo", "mini", "convert", "ours", "out.pth")
    wrong(7, "no 'our' in this zoo; did you mean ours?", "--zoo", two / "zoo.yaml", "--zoo", "mini", "verify", "our")
    wrong(7, "the mini zoo has it", "verify", "mini-mask")


@pytest.mark.parametrize(
    "text", ["version: 2\n", "version: [", 'version: 1\nx: "\\UFFFFFFFF"\n', "\x1b", "- ours", "version: 1\nmodels: {ours: {}}\n"]
)
def test_a_broken_manifest_that_is_not_in_use_is_let_be(text, lab):
    (lab / "zoo.yaml").write_text(text)
    wrong(7, "no 'ours' in this zoo; there are vit-t", "verify", "ours")


def test_what_is_no_file_is_no_manifest_that_could_be_used(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("zoo.yaml")  # reading it would wait for ever
    wrong(7, "no 'ours' in this zoo; there are vit-t", "verify", "ours")


def test_one_manifest_alone_is_as_it_was_written():
    assert open_zoo("mini").manifest == load_manifest(MINI / "zoo.yaml")
    assert open_zoo().manifest == open_zoo("shipped").manifest == open_zoo([]).manifest == load_manifest(packaged("zoo.yaml"))
    assert open_zoo("shipped").label == open_zoo().label == "shipped"


def test_references_that_lead_nowhere_or_to_something_else(two):
    done = wrong(2, "zoo.yaml:", "--zoo", "zoo.yaml", "--zoo", "shipped", "list")
    assert "models.ours.protocol.dataset: no data set 'ade-mini' in this zoo" in done.stderr
    assert "--zoo zoo.yaml --zoo shipped --zoo OTHER" in done.stderr
    with pytest.raises(UsageError, match=r"zoo\.yaml:\d+: models.ours.protocol.dataset"):
        open_zoo("zoo.yaml")
    one_class = "{title: T, loader: ade20k, root: r, split: validation, images: 1, label_rule: x, classes: {a: [1, 2, 3]}}"
    (two / "hiding.yaml").write_text(f"version: 1\ndatasets:\n  ade-mini: {one_class}\n")
    done = wrong(2, "models.mini-mask.head.classes: 8, but data set 'ade-mini' has 1", "--zoo", "hiding.yaml", "--zoo", "mini", "list")
    assert done.stderr.startswith(f"error: {MINI}/zoo.yaml:")  # the file and line that it is about
    (two / "hiding.yaml").write_text("version: 1\nbackbones:\n  ade-mini: " + json.dumps(WRITTEN["backbones"]["mini-vit"]) + "\n")
    wrong(2, "no data set 'ade-mini' in this zoo", "--zoo", "hiding.yaml", "--zoo", "mini", "list")


@pytest.mark.parametrize(
    ("zoos", "code", "said"),
    [
        (("mini", "mini"), 2, "manifest mini is given twice"),
        (("zoo.yaml", "./zoo.yaml"), 2, "manifest ./zoo.yaml is given twice: it is zoo.yaml"),
        (("mini", MINI / "zoo.yaml"), 2, "is given twice: it is mini"),
        (("mini", "none.yaml"), 7, "none.yaml: no such manifest"),
        (("mini", ""), 2, "one of the manifests has an empty name"),
        (("mini", "."), 2, ".: is a folder\nhint: the manifest in it is zoo.yaml"),
        (("zoo.yaml:shipped",), 7, "no such manifest\nhint: give each its own --zoo: --zoo zoo.yaml --zoo shipped; only SEGZOO_ZOO takes a list"),
        (("mini:zoo.yaml:",), 7, "hint: give each its own --zoo: --zoo mini --zoo zoo.yaml; only SEGZOO_ZOO takes a list"),
        (("mini", MASK), 2, "not readable as text"),
    ],
)
def test_manifests_that_cannot_be_used_together(zoos, code, said, lab):
    wrong(code, said, *(word for zoo in zoos for word in ("--zoo", zoo)), "list")


def test_a_manifest_with_a_colon_in_its_name_is_no_list(lab):
    assert "hint" not in wrong(7, "none.yaml:shipped: no such manifest", "--zoo", "none.yaml:shipped", "list").stderr
    shutil.copy("zoo.yaml", "zoo.yaml:shipped")
    right("--zoo", "zoo.yaml:shipped", "list")


def test_the_environment_may_name_them_once(two, monkeypatch):
    monkeypatch.setenv("SEGZOO_ZOO", os.pathsep.join([str(two / "zoo.yaml"), "mini"]))
    rows = {row["name"]: row["manifest"] for row in json.loads(right("list", "--json").stdout)["result"]}
    assert (rows["ours"], rows["mini-mask"], "vit-t" in rows) == (str(two / "zoo.yaml"), "mini", False)
    assert "vit-t" in right("--zoo", "shipped", "list").stdout  # what is said counts more
    assert right("manifest", "check").stdout == f"{two / 'zoo.yaml'}, mini: 0 errors, 0 warnings\n"
    shown = right("list").stdout
    shown = " ".join(shown.split())  # a long path is folded
    assert shown.index("from /") < shown.index("ours") < shown.index("from mini") < shown.index("mini-mask")
    assert shown.count("mini-vit") == 1


@pytest.mark.parametrize(("words", "variable"), [("segzoo --zoo zoo.yaml --zoo mini verify ", ""), ("segzoo verify ", "zoo.yaml:mini")])
def test_the_shell_completes_the_names_of_all(words, variable, two):
    count = str(len(words.split()))
    environment = {"_SEGZOO_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": count, "SEGZOO_ZOO": variable}
    code = "import sys; sys.argv = ['segzoo']; from segzoo.cli import main; main(prog_name='segzoo')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **environment})
    names = {line.split(",", 1)[1] for line in done.stdout.splitlines() if line.startswith("plain,")}
    assert names == {"mini-vit", "ours", "mini-mask", "mini-linear"}
    assert done.stderr == ""


def test_the_library_takes_several(two):
    assert segzoo.fetch("ours", zoo=["zoo.yaml", "mini"]).read_bytes() == MASK.read_bytes()
    tensors = segzoo.backbone("mini-vit", zoo=("mini", two / "zoo.yaml"))
    assert np.array_equal(tensors["cls_token"].numpy(), np.load(TAME)["cls"])
