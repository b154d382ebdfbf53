"""What `inspect` and `diff` say of files in every layout and format."""

import hashlib
import json
import shutil

import numpy as np
import pytest
import torch
import yaml
from click.testing import CliRunner
from PIL import Image
from support import GOLDEN, MINI, TAME

from segzoo import backbone, load
from segzoo.cli import main
from segzoo.conversion.compare import compare
from segzoo.conversion.convert import convert
from segzoo.conversion.inspect import inspect
from segzoo.errors import ConversionError, IntegrityError
from segzoo.formats import open_weights
from segzoo.layouts import LAYOUTS
from segzoo.manifest.artifact import Artifact
from segzoo.zoo.zoo import open_zoo


def segzoo(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments], catch_exceptions=False)


FILES = {
    TAME: ("npz", "augreg", 56, "heads 4"),
    MINI / "segmenter_mini_mask-6a6bc5f4.pth": ("pth", "mmseg", 63, "heads unknown"),
    GOLDEN / "segmenter" / "mask.pth": ("pth", "segmenter", 65, "5 classes, mask decoder of depth 2, 6 classes"),
    GOLDEN / "augreg" / "mini.hf_state_dict.npz": ("npz", "hf", 56, "grid 4"),
}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_what_is_in_a_file(path):
    form, layout, tensors, geometry = FILES[path]
    found = inspect(path)
    assert (found.format, found.layout, len(found.specs), found.dtypes) == (form, layout, tensors, {"float32": tensors})
    assert found.parameters == sum(array.size for array in open_weights(path).values())
    assert geometry in str(found.geometry)
    printed = segzoo("inspect", path).stdout
    assert str(found.geometry) in printed
    assert f"{found.parameters:,} parameters" in printed
    facts = json.loads(segzoo("inspect", path, "--json", "--keys").stdout)["result"]
    assert (facts["layout"], len(facts["tensors"])) == (layout, tensors)


def test_a_name_in_the_zoo_stands_for_its_file(tmp_path):
    done = segzoo("--zoo", "mini", "inspect", "mini-mask")
    assert done.stdout.splitlines()[0].startswith("file ")
    assert done.stdout.splitlines()[1:] == [line for line in segzoo("inspect", MINI / "segmenter_mini_mask-6a6bc5f4.pth").stdout.splitlines() if line]
    convert(TAME, tmp_path / "vit.pth")
    assert segzoo("--zoo", "mini", "diff", "mini-vit", tmp_path / "vit.pth").stdout.splitlines()[1].startswith("same weights: 54 tensors")
    wrong = segzoo("--zoo", "mini", "diff", TAME, "mini-mas")
    assert (wrong.exit_code, "did you mean mini-mask?" in wrong.stderr) == (7, True)
    elsewhere = segzoo("--zoo", "mini", "inspect", tmp_path / "segmenter_mini_mask-6a6bc5f4.pth")
    assert elsewhere.exit_code == 7
    assert "no such file\nhint: a name of the zoo stands for its file: segzoo list shows them" in elsewhere.stderr


def test_a_file_in_no_layout_is_shown_all_the_same(tmp_path):
    np.savez(tmp_path / "a.npz", weight=np.zeros((2, 3), np.float16), step=np.int64(7))
    done = segzoo("inspect", tmp_path / "a.npz", "--keys")
    assert done.exit_code == 0
    for said in ("none that segzoo knows", "1 float16, 1 int64", "in no layout that segzoo knows", "weight  float16[2, 3]", "step    int64[]"):
        assert said in done.stdout
    assert done.stdout.splitlines()[-1].startswith("hint: segzoo converts ")
    facts = json.loads(segzoo("inspect", tmp_path / "a.npz", "--json").stdout)["result"]
    assert (facts["layout"], facts["geometry"], "in no layout" in facts["trouble"]) == (None, None, True)
    assert facts["hint"].startswith("segzoo converts ")


def test_meta_and_notes_are_shown_and_cannot_drive_the_terminal(tmp_path):
    torch.save({"meta": {"exp": "a\x1b[2Jb"}, "state_dict": {"w\x1b[31m": torch.zeros(2)}}, tmp_path / "a.pth")
    done = segzoo("inspect", tmp_path / "a.pth", "--keys")
    assert "tensors found under 'state_dict'" in done.stdout
    assert "meta exp" in done.stdout
    assert "\x1b" not in done.stdout
    assert "w\\x1b[31m  float32[2]" in done.stdout


@pytest.mark.parametrize("suffix", [".npz", ".pth", ".safetensors"])
@pytest.mark.parametrize("layout", [name for name, layout in LAYOUTS["vit"].items() if not layout.needs])
def test_the_same_weights_in_any_layout_and_format(layout, suffix, tmp_path):
    target = tmp_path / f"b{suffix}"
    source = GOLDEN / "bigvision" / "map_scan_img.npz" if layout == "bigvision" else TAME
    dropped = [key for drop in convert(source, target, to=layout).dropped for key in drop.keys]
    for left, right in ((source, target), (target, source)):
        found = compare(open_weights(left), open_weights(right))
        assert found.same
        assert found.beyond == tuple(sorted(dropped))
        assert segzoo("diff", left, right).exit_code == 0
    assert f"same weights: {found.equal} tensors equal bit for bit, 0 differ" in segzoo("diff", target, source).stdout


@pytest.mark.parametrize(("source", "suffix"), [(GOLDEN / "bigvision" / "tok.npz", ".pth"), (GOLDEN / "augreg" / "mini_r4.tame.npz", ".safetensors")])
def test_the_same_weights_where_timm_alone_has_a_place_for_them(source, suffix, tmp_path):
    target = tmp_path / f"b{suffix}"
    convert(source, target, to="timm")
    for left, right in ((source, target), (target, source)):
        found = compare(open_weights(left), open_weights(right))
        assert found.same
        assert (found.beyond, found.only_left, found.only_right) == ((), (), ())


def test_two_models_of_another_width():
    with pytest.raises(ConversionError, match=r"^A has width 32, B has width 64: two models"):
        compare(open_weights(GOLDEN / "bigvision" / "map.npz"), open_weights(TAME))


def test_position_tables_that_hold_other_things_differ(tmp_path):
    """timm and mmseg call the table alike; one without a class position is another table, from either side."""
    convert(TAME, tmp_path / "a.npz", to="mmseg")
    convert(TAME, tmp_path / "b.npz", to="timm")
    tensors = dict(np.load(tmp_path / "b.npz"))
    tensors["pos_embed"] = np.full((1, 16, 64), 7, np.float32)
    np.savez(tmp_path / "b.npz", **tensors)
    for left, right in (("a", "b"), ("b", "a")):
        found = compare(open_weights(tmp_path / f"{left}.npz"), open_weights(tmp_path / f"{right}.npz"))
        assert not found.same
        assert any("pos_embed" in one.key for one in found.unequal)


def test_two_layouts_that_share_some_names(tmp_path):
    """timm and mmseg both say cls_token and pos_embed."""
    for layout in ("timm", "mmseg"):
        convert(TAME, tmp_path / f"{layout}.pth", to=layout)
    done = segzoo("diff", tmp_path / "timm.pth", tmp_path / "mmseg.pth")
    assert done.exit_code == 0
    assert "same weights: 42 tensors" in done.stdout
    assert "not compared, in a section that the other layout has not: head.bias, head.weight" in done.stdout


def test_where_weights_differ_is_named(tmp_path):
    tensors = dict(np.load(TAME))
    key = "Transformer/encoderblock_2/MultiHeadDotProductAttention_1/value/kernel"
    tensors[key][5, 2, 3] += 0.25
    np.savez(tmp_path / "a.npz", **tensors)
    convert(TAME, tmp_path / "b.safetensors")
    done = segzoo("diff", tmp_path / "a.npz", tmp_path / "b.safetensors")
    assert done.exit_code == 5
    assert f"differs: {key}: values, at most 0.25 apart, at [5, 2, 3]" in done.stdout
    assert "different weights: 53 tensors equal bit for bit, 1 differ" in done.stdout
    facts = json.loads(segzoo("diff", tmp_path / "a.npz", tmp_path / "b.safetensors", "--json").stdout)["result"]
    assert (facts["same"], facts["equal"], facts["unequal"][0]["place"]) == (False, 53, [5, 2, 3])


def test_missing_tensors_dtypes_shapes_and_nan(tmp_path):
    np.savez(tmp_path / "a.npz", one=np.ones(3, np.float32), two=np.ones(3), three=np.array([1, np.nan]), four=np.ones(2), left=np.ones(1))
    np.savez(tmp_path / "b.npz", one=np.ones(3), two=np.ones(4), three=np.array([1, np.nan]), four=np.array([1, np.nan]), right=np.ones(1))
    found = compare(open_weights(tmp_path / "a.npz"), open_weights(tmp_path / "b.npz"))
    assert (found.equal, found.only_left, found.only_right, found.same) == (1, ("left",), ("right",), False)
    assert [(one.key, one.why) for one in found.unequal] == [("one", "dtype float32 and float64"), ("two", "shape [3] and [4]"), ("four", "values")]
    done = segzoo("diff", tmp_path / "a.npz", tmp_path / "b.npz")
    assert "only in A: left" in done.stdout
    assert "only in B: right" in done.stdout
    json.loads(segzoo("diff", tmp_path / "a.npz", tmp_path / "b.npz", "--json").stdout)["result"]


def test_two_files_with_nothing_in_common(tmp_path):
    np.savez(tmp_path / "a.npz", one=np.ones(3))
    for side, pair in (("A", (tmp_path / "a.npz", TAME)), ("B", (TAME, tmp_path / "a.npz"))):
        with pytest.raises(ConversionError, match=f"^{side}: 1 tensor in no layout that segzoo knows"):
            compare(*map(open_weights, pair))


def test_what_is_wrong_with_a_name_of_the_zoo_is_said_of_that_name(tmp_path):
    """Not of the file in the store, which nobody has typed."""
    for arguments, said in (
        (("diff", "mini-vit", "mini-mask"), "A has width"),
        (("convert", "mini-vit", tmp_path / "out.pth", "--drop", "head"), "mini-vit: 'head' cannot be dropped"),
        (("convert", "mini-vit", tmp_path / "out.pth", "--heads", "3"), "mini-vit: Transformer/"),
    ):
        done = segzoo("--zoo", "mini", *arguments)
        assert done.exit_code == 5
        assert f"error: {said}" in done.stderr
        assert "blobs" not in done.stderr


@pytest.fixture
def two(tmp_path, monkeypatch):
    """A file that holds several models, and a zoo that names it."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "two.pth"
    torch.save({"a": {"x": torch.zeros(2)}, "b": {"x": torch.zeros(2)}}, path)
    plain = yaml.safe_load((MINI / "zoo.yaml").read_text())
    source = {"name": path.name, "urls": [path.name], "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    backbones = {"two": plain["backbones"]["mini-vit"] | {"source": source}}
    (tmp_path / "zoo.yaml").write_text(yaml.safe_dump({"version": 1, "backbones": backbones}))
    return path


SEVERAL = "1 tensor under 'a', 1 under 'b'; which is meant cannot be known"


@pytest.mark.parametrize("command", ["inspect NAME", "diff NAME NAME", "convert NAME out.npz", "export NAME -o out --as timm"])
def test_a_file_that_holds_several_models_is_called_what_the_user_called_it(command, two):
    for name in ("two", "two.pth"):
        done = segzoo("--zoo", "zoo.yaml", *command.replace("NAME", name).split())
        assert (done.exit_code, done.stdout) == (5, "")
        assert f"error: {name}: {SEVERAL}\nhint: segzoo convert " in done.stderr


def test_a_file_that_holds_several_models_is_not_what_a_manifest_says(two):
    zoo = open_zoo("zoo.yaml")
    for artifact in (zoo.manifest.backbones["two"].source, Artifact(name="two.pth", urls=("two.pth",))):
        with pytest.raises(IntegrityError) as caught:
            zoo.look(artifact, two)
        assert caught.value.message == f"{two}: {SEVERAL}"


@pytest.mark.parametrize("command", ["predict a.npz b.jpg", "export a.npz -o out --as timm", "convert a.npz b.npz", "manifest add a.npz"])
def test_a_file_in_no_layout_is_named(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (8, 8)).save("b.jpg")
    np.savez("a.npz", weight=np.zeros((2, 3)))
    done = segzoo("--zoo", "mini", *command.split())
    assert done.exit_code == 5
    assert "error: a.npz: 1 tensor in no layout that segzoo knows" in done.stderr


def test_a_name_of_the_zoo_that_is_not_what_its_manifest_says_is_named(tmp_path):
    lab = shutil.copytree(MINI, tmp_path / "lab")
    (lab / "zoo.yaml").write_text((lab / "zoo.yaml").read_text().replace("depth: 3", "depth: 4"))
    for read in (load, backbone):
        with pytest.raises(ConversionError, match=r"^mini-mask: geometry differs from the manifest: depth 3, expected 4"):
            read("mini-mask", zoo=lab / "zoo.yaml")
