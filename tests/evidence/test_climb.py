"""The ladder on the mini zoo, and mutants of files and of rules: each is caught at the rung whose business it is."""

import hashlib
import json
import os
import shutil
from dataclasses import dataclass, fields, replace

import numpy as np
import pytest
import torch
import yaml
from click.testing import CliRunner
from PIL import Image
from support import GOLDEN, MINI, TAME, odd_zoo, same, slow_after, specs_of

from segzoo.cli import main
from segzoo.conversion.checkpoint import identify
from segzoo.conversion.convert import convert
from segzoo.conversion.plan import plan
from segzoo.conversion.run import run
from segzoo.datasets.pairs import samples
from segzoo.datasets.subset import subset
from segzoo.errors import IntegrityError
from segzoo.evidence.climb import verify
from segzoo.evidence.ladder import Setting
from segzoo.evidence.rungs import round_trip
from segzoo.formats import open_weights
from segzoo.layouts import LAYOUTS
from segzoo.layouts.layout import Layout
from segzoo.layouts.rule import Rule
from segzoo.manifest.document import load_manifest
from segzoo.store.store import Store, home
from segzoo.vocabulary import RUNGS


def climb(folder, name, **setting):
    """All checks of one entry of the manifest in a folder, by rung."""
    zoo = load_manifest(folder / "zoo.yaml")
    store = Store(home(), folder / "segzoo.lock")
    return {check.rung: check for check in verify(zoo.entries[name], Setting(zoo, folder, store, **setting))}


def broken_at(checks):
    """The one rung that failed, after which none was climbed."""
    statuses = [checks[rung].status for rung in RUNGS]
    failed = statuses.index("failed")
    assert set(statuses[:failed]) <= {"passed"}
    assert set(statuses[failed + 1 :]) <= {"skipped"}
    assert all("not tried" in checks[rung].detail for rung in RUNGS[failed + 1 :])
    return RUNGS[failed]


@pytest.mark.parametrize(
    ("name", "miou", "carried"),
    [
        ("mini-vit", None, {"timm": 56, "mmseg": 54, "segmenter": 56, "hf": 56, "torchvision": 56, "dinov2": 56, "mmpretrain": 56, "jeonsworld": 56}),
        (
            "mini-mask",
            85.64,
            {"augreg": 42, "timm": 42, "segmenter": 63, "hf": 42, "torchvision": 42, "dinov2": 42, "mmpretrain": 42, "jeonsworld": 42},
        ),
        (
            "mini-linear",
            86.71,
            {"augreg": 42, "timm": 42, "segmenter": 44, "hf": 42, "torchvision": 42, "dinov2": 42, "mmpretrain": 42, "jeonsworld": 42},
        ),
    ],
)
def test_every_rung_of_the_mini_zoo(name, miou, carried):
    checks = climb(MINI, name)
    assert [checks[rung].status for rung in RUNGS] == [*["passed"] * 4, "passed" if miou else "n/a"]
    assert checks["round trip"].facts["by_way_of"] == carried
    assert len(checks["numbers"].facts["intermediates"]) == 12
    assert "6 intermediates of the backbone: " in checks["numbers"].detail or name == "mini-vit"
    assert max(one["relative"] for one in checks["numbers"].facts["intermediates"] if one["dtype"] == "float64") < 1e-13
    if miou:
        facts = checks["mIoU"].facts
        single = facts["modes"]["ss"]
        assert single["measured"]["mIoU"] == single["reported"] == miou
        assert single["verdict"] == "confirmed"
        assert single["stored_counts"] == {"equal": True, "close_calls": single["stored_counts"]["close_calls"]}
        assert len(single["per_image"]) == facts["images"] == facts["of"] == 40


def test_a_subset_cannot_confirm():
    check = climb(MINI, "mini-linear", images=10)["mIoU"]
    assert check.status == "passed"
    assert check.facts["modes"]["ss"]["verdict"] == "consistent"
    assert "10 of 40 images" in check.detail
    assert "95 % interval" in check.detail


def test_too_few_images_decide_nothing_but_their_own_counts(lab):
    assert climb(lab.folder, "mini-linear", images=3)["mIoU"].status == "passed"
    lab.manifest(lambda plain: plain["models"]["mini-linear"].pop("counts"))
    check = climb(lab.folder, "mini-linear", images=3)["mIoU"]
    assert check.status == "skipped"
    assert "undecided, too few images" in check.detail
    lab.manifest(lambda plain: plain["models"]["mini-linear"]["reported"].update(miou=60.0))
    check = climb(lab.folder, "mini-linear", images=20)["mIoU"]
    assert (check.status, check.code) == ("failed", 6)
    assert "inconsistent, 95 % interval" in check.detail


def test_a_figure_with_nothing_to_hold_it_against_proves_nothing():
    check = climb(MINI, "mini-linear", images=10, modes=("whole",))["mIoU"]
    assert check.status == "skipped"
    assert check.short == f"{check.facts['modes']['whole']['measured']['mIoU']:.2f} whole"
    assert "measured, none reported" in check.detail
    both = climb(MINI, "mini-linear", images=10, modes=("ss", "whole"))["mIoU"]
    single = both.facts["modes"]["ss"]["measured"]["mIoU"]
    assert (both.status, both.short) == ("passed", f"{single:.2f}")  # the other proves nothing, and refutes nothing


@pytest.fixture
def lab(tmp_path):
    """A copy of the mini zoo to break, with functions to change its manifest and its checkpoints."""
    return Lab(shutil.copytree(MINI, tmp_path / "lab"))


@dataclass
class Lab:
    folder: object

    def manifest(self, change):
        path = self.folder / "zoo.yaml"
        plain = yaml.safe_load(path.read_text())
        change(plain)
        path.write_text(yaml.safe_dump(plain))

    def mutate(self, head, change, registered):
        """Write a checkpoint's changed tensors in its place; under its own hash and size if `registered`."""
        name = next(self.folder.glob(f"segmenter_mini_{head}-*.pth"))
        tensors = {key: np.array(array) for key, array in open_weights(name).items()}
        change(tensors)
        torch.save({"state_dict": {key: torch.from_numpy(array) for key, array in tensors.items()}}, name)
        if registered:
            new = {"size": name.stat().st_size, "sha256": hashlib.sha256(name.read_bytes()).hexdigest()}
            self.manifest(lambda plain: plain["models"][f"mini-{head}"]["checkpoint"].update(new))
        return climb(self.folder, f"mini-{head}")


def swap_q_and_k(tensors):
    for kind in ("weight", "bias"):
        fused = tensors[f"backbone.layers.1.attn.attn.in_proj_{kind}"]
        q, k, v = np.split(fused, 3)
        fused[:] = np.concatenate([k, q, v])


def scale_a_norm(tensors):
    tensors["backbone.layers.2.ln2.weight"] *= 1.05


def zero_the_patch_bias(tensors):
    tensors["backbone.patch_embed.projection.bias"][:] = 0


@pytest.mark.parametrize("head", ["mask", "linear"])
@pytest.mark.parametrize("mutation", slow_after(1, [swap_q_and_k, scale_a_norm, zero_the_patch_bias]))
def test_a_mutated_file(mutation, head, lab):
    """By its hash where it is not registered; by the stored counts of each image where it is."""
    checks = lab.mutate(head, mutation, registered=False)
    assert broken_at(checks) == "bytes"
    assert checks["bytes"].code == 4
    checks = lab.mutate(head, lambda tensors: None, registered=True)
    assert broken_at(checks) == "mIoU"
    assert checks["mIoU"].code == 6
    assert "pixel counts" in checks["mIoU"].detail


def test_an_unchanged_file_saved_anew_and_registered_passes(lab):
    checks = lab.mutate("linear", lambda tensors: None, registered=True)
    assert {check.status for check in checks.values()} == {"passed"}


def test_a_file_whose_names_stand_under_a_prefix_passes(lab):
    """Its tensors are held to JAX under the names that the layout writes, not under the file's."""

    def under(tensors):
        for key in list(tensors):
            tensors[f"student.{key}"] = tensors.pop(key)

    checks = lab.mutate("linear", under, registered=True)
    assert {check.status for check in checks.values()} == {"passed"}


def test_other_channels_grids_and_absent_biases_are_verified(tmp_path):
    checks = climb(odd_zoo(tmp_path).parent, "odd")
    assert [checks[rung].status for rung in RUNGS] == ["passed", "passed", "passed", "passed", "n/a"]
    assert "grid 2x8, 4 channels, no patch bias" in checks["names"].detail
    assert "17 of 17 tensors, the same bit for bit" in checks["round trip"].detail


@pytest.mark.parametrize("head", ["mask", "linear"])
def test_a_missing_patch_bias(head, lab):
    checks = lab.mutate(head, lambda tensors: tensors.pop("backbone.patch_embed.projection.bias"), registered=True)
    assert broken_at(checks) == "names"
    assert checks["names"].code == 5
    assert "geometry differs from the manifest: absent ('patch bias',), expected ()" in checks["names"].detail


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda model: model["checkpoint"].update(layout="timm"), "layout 'mmseg', the manifest says 'timm'"),
        (lambda model: model["checkpoint"].update(dtype="float16"), "dtype float32, the manifest says float16"),
        (lambda model: model["backbone"].update(depth=4), "depth 3, expected 4"),
        (lambda model: model["backbone"].update(image=128), "positions 64, expected 256"),
        (lambda model: model["backbone"].update(width=64, mlp=256), "width 128, expected 64; mlp 512, expected 256"),
    ],
)
def test_a_manifest_that_says_otherwise(change, said, lab):
    lab.manifest(lambda plain: change(plain["models"]["mini-linear"]))
    checks = climb(lab.folder, "mini-linear")
    assert broken_at(checks) == "names"
    assert said in checks["names"].detail


def test_a_wrong_head_count_is_seen_by_the_counts(lab):
    """No tensor shows the heads, and both models believe the manifest: only the pixels tell."""
    lab.manifest(lambda plain: plain["models"]["mini-linear"]["backbone"].update(heads=4))
    assert broken_at(climb(lab.folder, "mini-linear")) == "mIoU"


def test_a_wrong_reported_figure_is_refuted(lab):
    def overstate(plain):
        model = plain["models"]["mini-linear"]
        model["reported"]["miou"] = 87.00
        del model["counts"]

    lab.manifest(overstate)
    check = climb(lab.folder, "mini-linear")["mIoU"]
    assert (check.status, check.code) == ("failed", 6)
    assert "86.71 measured, 87.00 reported: refuted" in check.detail


def test_without_its_data_set_the_rung_is_skipped_and_says_why(lab):
    lab.manifest(lambda plain: plain["datasets"]["ade-mini"].pop("path"))
    check = climb(lab.folder, "mini-linear")["mIoU"]
    assert check.status == "skipped"
    assert "--data DIR" in check.detail
    for data in (lab.folder, lab.folder / "ade_mini"):
        assert climb(lab.folder, "mini-linear", data=data)["mIoU"].status == "passed"


def test_another_data_set_than_the_manifest_names(lab):
    lab.manifest(lambda plain: plain["datasets"]["ade-mini"].update(digest="0" * 64))
    check = climb(lab.folder, "mini-linear")["mIoU"]
    assert (check.status, check.code) == ("failed", 4)
    assert "not the one that the manifest names" in check.detail


def test_images_without_a_labelled_pixel_measure_nothing(lab):
    for path in (lab.folder / "ade_mini" / "annotations" / "validation").glob("*.png"):
        with Image.open(path) as label:
            empty = Image.new("L", label.size)
        empty.save(path)
    lab.manifest(lambda plain: [plain["datasets"]["ade-mini"].pop("digest", None), plain["models"]["mini-linear"].pop("counts")])
    check = climb(lab.folder, "mini-linear", images=2)["mIoU"]
    assert (check.status, check.code) == ("failed", 8)
    assert "no pixel of the 40 images is labelled" in check.detail  # the others were looked at too
    assert "every label in them is one to be ignored" in check.detail
    assert "--images" not in check.detail


def test_a_subset_without_a_labelled_pixel_wants_more_images(lab):
    folder = lab.folder / "ade_mini" / "annotations" / "validation"
    for path in list(folder.glob("*.png"))[1:]:
        with Image.open(path) as label:
            empty = Image.new("L", label.size)
        empty.save(path)
    lab.manifest(lambda plain: [plain["datasets"]["ade-mini"].pop("digest", None), plain["models"]["mini-linear"].pop("counts")])
    found = samples("ade20k", lab.folder / "ade_mini", "validation", 40)
    chosen = next(images for images in range(1, 40) if not any(np.array(Image.open(one.label)).any() for one in subset(found, images)))
    check = climb(lab.folder, "mini-linear", images=chosen)["mIoU"]
    assert (check.status, check.code) == ("failed", 8)
    assert f"no pixel of the {chosen} images is labelled: there is nothing to measure; --images with a larger number" in check.detail


def test_an_image_that_is_none_fails_one_rung_and_the_next_entry_is_climbed(lab):
    image = lab.folder / "ade_mini" / "images" / "validation" / "ADE_val_00000007.jpg"
    image.unlink()
    image.symlink_to(image.name)
    done = CliRunner().invoke(main, ["--zoo", "mini", "verify", "mini-linear", "mini-vit", "--data", str(lab.folder), "--device", "cpu"])
    assert done.exit_code == 8
    assert f"mini-linear: mIoU: failed: {image}: cannot be read: Too many levels of symbolic links" in done.stdout
    assert "mini-vit: numbers: passed" in done.stdout
    assert "2 verified: 8 passed, 1 failed, 1 n/a" in done.stdout


def test_a_folder_without_the_data_set_says_where_else_it_was_looked_for(tmp_path):
    check = climb(MINI, "mini-linear", data=tmp_path)["mIoU"]
    assert (check.status, check.code) == ("failed", 8)
    said = "ADE20K's layout has images/ and annotations/"
    assert check.detail == f"{tmp_path / 'images' / 'validation'}: no such folder; {said}; there is no {tmp_path / 'ade_mini'} either"


@pytest.mark.slow
def test_names_that_are_not_utf_8_from_the_zoo_to_the_page(lab, tmp_path, monkeypatch):
    """File systems have bytes for names: what is written shows those that are no UTF-8, and is read back as it was written."""
    lab.manifest(lambda plain: plain["models"]["mini-linear"].pop("counts"))
    folder = lab.folder.rename(tmp_path / os.fsdecode(b"l\xe4b"))
    for part, suffix in (("images", ".jpg"), ("annotations", ".png")):
        path = folder / "ade_mini" / part / "validation" / f"ADE_val_00000007{suffix}"
        path.rename(path.with_name(os.fsdecode(b"l\xe4tin" + suffix.encode())))

    def segzoo(*arguments, code=0):
        done = CliRunner().invoke(main, ["--zoo", str(folder / "zoo.yaml"), *arguments])
        assert done.exit_code == code, done.output
        return done.stdout

    monkeypatch.setenv("SEGZOO_HOME", str(tmp_path / os.fsdecode(b"h\xf6me")))
    assert "confirmed within" in segzoo("verify", "mini-linear", "--images", "all", "--device", "cpu")
    receipt = next((tmp_path / os.fsdecode(b"h\xf6me") / "receipts").glob("*/mini-linear.json"))
    counted = json.loads(receipt.read_text(encoding="utf-8"))["checks"][-1]["facts"]["modes"]["ss"]["per_image"]
    assert r"l\xe4tin.jpg" in counted
    assert "every image equal those of the receipt" in segzoo("verify", "mini-linear", "--smoke", "40", "--device", "cpu")
    assert "data: holds" in segzoo("receipt", "check", "--data", str(folder / "ade_mini"))
    segzoo("report", "-o", str(tmp_path / "page"), "--device", "cpu")
    assert r"l\xe4b/zoo.yaml" in (tmp_path / "page" / "index.html").read_text(encoding="utf-8")
    next((folder / "ade_mini" / "images" / "validation").glob("l*")).write_bytes(b"no image")
    said = segzoo("verify", "mini-linear", "--images", "all", "--device", "cpu", code=8)
    assert r"l\xe4tin.jpg: not a readable image" in said
    unfinished = json.loads(receipt.with_suffix(".unfinished").read_text(encoding="utf-8"))
    assert r"l\xe4b/ade_mini/images/validation/l\xe4tin.jpg" in unfinished["checks"][-1]["detail"]


@pytest.mark.parametrize("lie", slow_after(1, [False, True]), ids=["as reported", "another figure reported"])
def test_multi_scale_and_flip_is_judged_by_its_own_figure(lie, lab):
    if lie:
        lab.manifest(
            lambda plain: [plain["models"]["mini-linear"]["reported"].update(miou_ms_flip=86.71), plain["models"]["mini-linear"].pop("counts")]
        )
    zoo = load_manifest(lab.folder / "zoo.yaml")
    setting = Setting(zoo, lab.folder, Store(home(), lab.folder / "segzoo.lock"), images=None, modes=("ms+flip",))
    check = list(verify(zoo.models["mini-linear"], setting))[-1]
    assert check.status == ("failed" if lie else "passed")
    assert ("ms+flip: 90.79 measured, 86.71 reported: refuted" if lie else "90.79 reported: confirmed") in check.detail


# rules


def mutated(name, change):
    """A layout with its rules changed, each by `change(rule) -> rule`."""
    layout = LAYOUTS["vit"][name]
    return replace(layout, sections={section: tuple(map(change, rules)) for section, rules in layout.sections.items()})


def q_and_k_swapped(rule):
    return replace(rule, holds=(rule.holds[1], rule.holds[0], rule.holds[2])) if "in_proj_" in rule.key and "{i}" in rule.key else rule


class ShiftedBlocks(Layout):
    """Blocks off by one: each layer's first norm is taken from the block before."""

    def expand(self, prefix, depths, sections):
        rules = super().expand(prefix, depths, sections)
        norms = [key for key in rules if ".ln1." in key and "layers." in key and "decode" not in key]
        for kind in ("weight", "bias"):
            keys = [key for key in norms if key.endswith(kind)]
            held = [rules[key].holds for key in keys]
            for key, holds in zip(keys, held[-1:] + held[:-1], strict=True):
                rules[key] = Rule(key, holds, rules[key].axes)
        return rules


def heads_interleaved(rule):
    return replace(rule, axes=rule.axes.replace("(h k)", "(k h)"))


RULES = {
    "untransposed matrix": lambda: mutated("mmseg", lambda r: replace(r, axes="e d -> d e") if r.holds == ("blocks.{i}.proj.weight",) else r),
    "q and k swapped": lambda: mutated("mmseg", q_and_k_swapped),
    "heads interleaved": lambda: mutated("augreg", heads_interleaved),
    "blocks off by one": lambda: ShiftedBlocks(**{one.name: getattr(LAYOUTS["vit"]["mmseg"], one.name) for one in fields(ShiftedBlocks)}),
}


@pytest.mark.parametrize("name", slow_after(1, ["mini-vit", "mini-mask", "mini-linear"]))
@pytest.mark.parametrize("rule", RULES)
def test_a_mutated_rule(rule, name, monkeypatch):
    """The round trip cannot see it, being wrong both ways; the numbers do, and say where it begins."""
    table = RULES[rule]()
    monkeypatch.setitem(LAYOUTS["vit"], table.name, table)
    checks = climb(MINI, name)
    assert broken_at(checks) == "numbers"
    assert checks["numbers"].code == 5
    assert "torch and JAX part at block0" in checks["numbers"].detail


def test_files_of_one_kind_are_planned_for_once_and_each_is_read(tmp_path, monkeypatch):
    planned, tensors = [], dict(np.load(TAME))
    monkeypatch.setattr(round_trip, "plan", lambda *some, **named: planned.append(some[1]) or plan(*some, **named))
    monkeypatch.setattr(round_trip, "_WAYS", {})
    for name in ("first.npz", "other.npz"):
        np.savez(tmp_path / name, **tensors)
    damaged = bytearray((tmp_path / "other.npz").read_bytes())
    damaged[len(damaged) // 2] ^= 1
    (tmp_path / "other.npz").write_bytes(damaged)
    first, other = (identify(tmp_path / name) for name in ("first.npz", "other.npz"))
    assert len(round_trip._back_from("mmseg", first)) == 54
    with pytest.raises(IntegrityError, match="checksum"):
        round_trip._back_from("mmseg", other)
    assert planned == ["mmseg"]


class ReversedKeyBias(Layout):
    """A rule that no forward pass can see: softmax does not change with the key bias."""

    def expand(self, prefix, depths, sections):
        return {
            key: replace(rule, axes="h k -> (k h)") if rule.holds[0].endswith(".k.bias") else rule
            for key, rule in super().expand(prefix, depths, sections).items()
        }


def test_a_key_bias_is_seen_only_by_the_exact_comparison(monkeypatch, lab, tmp_path):
    """Wrong both ways and without effect: every rung passes; the peer's own tensors tell, here and in `published`."""
    tensors = dict(np.load(TAME))
    oracle = dict(np.load(GOLDEN / "augreg" / "mini.tame.mmseg_backbone_state_dict.npz"))
    np.savez(lab.folder / "theirs.npz", **oracle)
    sha256 = hashlib.sha256((lab.folder / "theirs.npz").read_bytes()).hexdigest()
    published = {"name": "theirs.npz", "layout": "mmseg", "sha256": sha256, "urls": ["theirs.npz"]}
    assert same(dict(run(plan(specs_of(tensors), "mmseg"), tensors)), oracle)

    monkeypatch.setitem(LAYOUTS["vit"], "augreg", ReversedKeyBias(**vars(LAYOUTS["vit"]["augreg"])))
    assert {check.status for check in climb(MINI, "mini-vit").values()} == {"passed", "n/a"}
    wrong = dict(run(plan(specs_of(tensors), "mmseg"), tensors))
    differing = [key for key in oracle if not np.array_equal(oracle[key], wrong[key])]
    assert differing == [f"layers.{block}.attn.attn.in_proj_bias" for block in range(3)]

    lab.manifest(lambda plain: plain["backbones"]["mini-vit"].update(published=published))
    blob = Store(home(), lab.folder / "segzoo.lock").blob(sha256)
    shutil.copy(lab.folder / "theirs.npz", blob)
    checks = climb(lab.folder, "mini-vit")
    assert broken_at(checks) == "round trip"
    assert "3 tensors differ from our conversion, the first layers.0.attn.attn.in_proj_bias" in checks["round trip"].detail


def test_mmsegs_own_file_is_compared_where_it_is_in_the_store(lab):
    theirs = lab.folder / "theirs.pth"
    convert(TAME, theirs)
    sha256 = hashlib.sha256(theirs.read_bytes()).hexdigest()
    published = {"name": "theirs.pth", "layout": "mmseg", "sha256_prefix": sha256[:8], "urls": ["theirs.pth"]}
    lab.manifest(lambda plain: plain["backbones"]["mini-vit"].update(published=published))
    assert "theirs.pth" not in climb(lab.folder, "mini-vit")["round trip"].detail
    store = Store(home(), lab.folder / "segzoo.lock")
    entry = load_manifest(lab.folder / "zoo.yaml").backbones["mini-vit"]
    shutil.copy(theirs, store.blob(sha256))
    store.pin(entry.published, sha256, theirs.stat().st_size, "theirs.pth")
    assert "equal to theirs.pth, all 42 tensors" in climb(lab.folder, "mini-vit")["round trip"].detail


def test_checks_are_json():
    assert json.loads(json.dumps([check.record() for check in climb(MINI, "mini-linear").values()], allow_nan=False))
