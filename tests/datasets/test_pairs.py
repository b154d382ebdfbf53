"""Which files belong to a data set, and what their labels mean: tiny trees in the publishers' own folder layouts."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from support import GOLDEN, MINI

from segzoo.datasets.decode import read_label, read_pair
from segzoo.datasets.pairs import digest, samples
from segzoo.errors import EnvironmentFault
from segzoo.evidence.climb import verify
from segzoo.evidence.ladder import Setting
from segzoo.manifest.document import load_manifest, packaged
from segzoo.store.store import Store, home


def image(path, values=None, size=(4, 2)):
    path.parent.mkdir(parents=True, exist_ok=True)
    (Image.new("RGB", size) if values is None else Image.fromarray(np.array(values, np.uint8))).save(path)


@pytest.fixture
def voc(tmp_path):
    folder = tmp_path / "VOCdevkit" / "VOC2010"
    for name in ("2008_000002", "2008_000003", "2010_000001"):
        image(folder / "JPEGImages" / f"{name}.jpg")
        image(folder / "SegmentationClassContext" / f"{name}.png", [[0, 1, 59, 255], [0, 0, 0, 2]])
    lists = folder / "ImageSets" / "SegmentationContext"
    lists.mkdir(parents=True)
    (lists / "val.txt").write_text("2010_000001\n2008_000002\n\n")
    return folder


def test_pascal_context_with_and_without_the_background(voc):
    found = samples("pascal-context", voc, "val", 2)
    assert [sample.name for sample in found] == ["2008_000002.jpg", "2010_000001.jpg"]
    assert read_label(found[0], 60).tolist() == [[0, 1, 59, 255], [0, 0, 0, 2]]
    found = samples("pascal-context-59", voc, "val", 2)
    assert read_label(found[0], 59).tolist() == [[255, 0, 58, 255], [255, 255, 255, 1]]


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda voc: (voc / "JPEGImages" / "2010_000001.jpg").unlink(), r"1 images of val\.txt are not there, the first .*2010_000001\.jpg"),
        (
            lambda voc: (voc / "SegmentationClassContext" / "2010_000001.png").unlink(),
            r"labels are missing for 1 of [0-9]+ images, the first .*2010_000001\.png",
        ),
        (lambda voc: shutil.rmtree(voc / "SegmentationClassContext"), "SegmentationClassContext: no such folder"),
        (lambda voc: shutil.rmtree(voc / "ImageSets"), r"val\.txt: the list of the split cannot be read"),
        (lambda voc: (voc / "ImageSets" / "SegmentationContext" / "val.txt").write_text("../x\n"), "expected names of images, found '../x'"),
        (lambda voc: (voc / "ImageSets" / "SegmentationContext" / "val.txt").write_text("2008_000002\n"), "expected 2 images in 'val', found 1"),
    ],
)
def test_half_of_pascal_context(harm, said, voc):
    harm(voc)
    with pytest.raises(EnvironmentFault, match=said):
        samples("pascal-context", voc, "val", 2)


IDS = [[0, 7, 8, 33], [6, 11, 1, 26]]
TRAIN_IDS = [[255, 0, 1, 18], [255, 2, 255, 13]]


@pytest.fixture
def city(tmp_path):
    for town, stem in (("lindau", "lindau_000000_000019"), ("munster", "munster_000001_000019")):
        image(tmp_path / "leftImg8bit" / "val" / town / f"{stem}_leftImg8bit.png")
        image(tmp_path / "gtFine" / "val" / town / f"{stem}_gtFine_labelIds.png", IDS)
        image(tmp_path / "gtFine" / "val" / town / f"{stem}_gtFine_color.png")
    image(tmp_path / "gtFine" / "val" / "lindau" / "lindau_000000_000019_gtFine_labelTrainIds.png", TRAIN_IDS)
    return tmp_path


def test_cityscapes_by_train_ids_and_by_the_ids_that_are_published(city):
    first, second = samples("cityscapes", city, "val", 2)
    assert [first.label.name[-16:], second.label.name[-12:]] == ["_labelTrainIds.png"[-16:], "labelIds.png"]
    assert read_label(first, 19).tolist() == read_label(second, 19).tolist() == TRAIN_IDS
    assert read_pair(first, 19)[0].shape == (2, 4, 3)
    every = np.arange(256, dtype=np.uint8)[None]
    Image.fromarray(every).save(second.label)
    assert sorted(set(read_label(second, 19).ravel().tolist())) == [*range(19), 255]


def test_hidden_files_are_not_images(city, tmp_path):
    for path in list(city.rglob("*.png")):
        path.with_name(f"._{path.name}").write_bytes(b"what macOS notes of a file that it copied")
    assert len(samples("cityscapes", city, "val", 2)) == 2
    ade = shutil.copytree(MINI / "ade_mini", tmp_path / "ade")
    for path in [*ade.rglob("*.jpg"), *ade.rglob("*.png")]:
        path.with_name(f"._{path.name}").write_bytes(b"the same")
    assert len(samples("ade20k", ade, "validation", 40)) == 40


def test_a_list_of_a_split_that_is_not_there_says_who_writes_it(voc):
    """Its path once, no number of an error, and what to do."""
    split = voc / "ImageSets" / "SegmentationContext" / "val.txt"
    split.unlink()
    with pytest.raises(EnvironmentFault) as raised:
        samples("pascal-context", voc, "val", 2)
    assert raised.value.message == f"{split}: the list of the split cannot be read: it is not there"
    assert "pascal_context.py writes it" in raised.value.hint
    split.write_bytes(b"2008_000002\0\n2010_000001\n")
    with pytest.raises(EnvironmentFault, match=r"expected names of images, found '2008_000002.x00'"):
        samples("pascal-context", voc, "val", 2)
    split.write_text("2008_000002\n2008_000002\n")
    with pytest.raises(EnvironmentFault, match=r"two images in 'val' are called 2008_000002\.jpg"):
        samples("pascal-context", voc, "val", 2)


def test_names_need_not_be_utf_8(voc):
    for folder, suffix in (("JPEGImages", ".jpg"), ("SegmentationClassContext", ".png")):
        (voc / folder / f"2010_000001{suffix}").rename(voc / folder / os.fsdecode(b"l\xe4tin" + suffix.encode()))
    (voc / "ImageSets" / "SegmentationContext" / "val.txt").write_bytes(b"l\xe4tin\n2008_000002\n")
    found = samples("pascal-context", voc, "val", 2)
    assert [sample.name for sample in found] == ["2008_000002.jpg", r"l\xe4tin.jpg"]
    assert read_pair(found[1], 60)[0].shape == (2, 4, 3)
    lines = [
        os.fsencode(path.name) + b" " + hashlib.sha256(path.read_bytes()).hexdigest().encode() + b"\n"
        for sample in found
        for path in (sample.image, sample.label)
    ]
    assert digest(found) == hashlib.sha256(b"".join(lines)).hexdigest()


@pytest.fixture
def ade(tmp_path):
    return shutil.copytree(MINI / "ade_mini", tmp_path / "ade")


def spelt(folder, suffix):
    for path in list(folder.iterdir()):
        path.rename(path.with_suffix(suffix))


@pytest.mark.parametrize("suffix", [".JPG", ".jpeg", ".png"])
def test_images_of_another_suffix_are_not_said_to_be_missing(suffix, ade):
    images = ade / "images" / "validation"
    hint = f"{images} has 40 *{suffix}, but this layout has *.jpg: rename them"
    spelt(images, suffix)
    with pytest.raises(EnvironmentFault, match=r"expected images \*\.jpg, found none") as raised:
        samples("ade20k", ade, "validation", 40)
    assert raised.value.hint == hint
    first = images / f"ADE_val_00000001{suffix}"
    first.rename(first.with_suffix(".jpg"))
    with pytest.raises(EnvironmentFault, match="images are missing for 39 labels") as raised:
        samples("ade20k", ade, "validation", 40)
    assert raised.value.hint == hint.replace("40", "39")


def test_labels_of_another_suffix_are_not_said_to_be_missing(ade):
    spelt(ade / "annotations" / "validation", ".PNG")
    with pytest.raises(EnvironmentFault, match="labels are missing for 40 of 40 images") as raised:
        samples("ade20k", ade, "validation", 40)
    assert raised.value.hint == f"{ade / 'annotations' / 'validation'} has 40 *.PNG, but this layout has *.png: rename them"


def test_another_suffix_in_the_other_layouts(voc, city):
    spelt(voc / "JPEGImages", ".JPG")
    with pytest.raises(EnvironmentFault, match=r"2 images of val\.txt are not there") as raised:
        samples("pascal-context", voc, "val", 2)
    assert "has 3 *.JPG, but this layout has *.jpg" in raised.value.hint
    spelt(city / "leftImg8bit" / "val" / "munster", ".PNG")
    with pytest.raises(EnvironmentFault, match="expected 2 images in 'val', found 1"):
        samples("cityscapes", city, "val", 2)
    spelt(city / "leftImg8bit" / "val" / "lindau", ".PNG")
    with pytest.raises(EnvironmentFault, match=r"val: expected images \*_leftImg8bit\.png, found none") as raised:
        samples("cityscapes", city, "val", 2)
    assert "has 1 *.PNG, but this layout has *.png" in raised.value.hint


def loop(path):
    path.unlink()
    path.symlink_to(path.name)


def folder(path):
    path.unlink()
    path.mkdir()


def pipe(path):
    path.unlink()
    os.mkfifo(path)


def dangling(path):
    path.unlink()
    path.symlink_to("nowhere")


NO_FILES = {
    loop: "cannot be read: Too many levels of symbolic links",
    folder: "expected a file, found a folder",
    pipe: "expected a file, found a pipe",
    dangling: "a link to nowhere, which is not there",
}


@pytest.mark.parametrize("which", ["images/validation/ADE_val_00000007.jpg", "annotations/validation/ADE_val_00000007.png"])
@pytest.mark.parametrize("harm", NO_FILES)
def test_what_is_no_file_is_named_before_it_is_opened(harm, which, ade):
    """A pipe would be waited for."""
    harm(ade / which)
    with pytest.raises(EnvironmentFault) as raised:
        samples("ade20k", ade, "validation", 40)
    assert raised.value.message == f"{ade / which}: {NO_FILES[harm]}"


SETPRIV = shutil.which("setpriv")
DENIED = {
    "an image": "images/validation/ADE_val_00000007.jpg",
    "a label": "annotations/validation/ADE_val_00000007.png",
    "the images": "images/validation",
    "the labels": "annotations/validation",
}


@pytest.mark.skipif(os.name != "posix" or (os.geteuid() == 0 and not SETPRIV), reason="root may read all, but for what setpriv takes from it")
@pytest.mark.parametrize("denied", DENIED)
def test_what_may_not_be_read_is_not_said_to_be_missing(denied, ade):
    path = ade / DENIED[denied]
    code = (
        "from pathlib import Path; from segzoo.datasets.pairs import digest, samples; from segzoo.errors import EnvironmentFault\n"
        f"try: digest(samples('ade20k', Path({str(ade)!r}), 'validation', 40))\n"
        "except EnvironmentFault as fault: print(fault.message, fault.hint, sep='; ')"
    )
    rights = "-dac_override,-dac_read_search"
    less = [SETPRIV, f"--bounding-set={rights}", f"--inh-caps={rights}"] if os.geteuid() == 0 else []
    path.chmod(0)
    done = subprocess.run([*less, sys.executable, "-c", code], capture_output=True, text=True)
    path.chmod(0o755)
    assert done.stdout.startswith(f"{path}: cannot be read: Permission denied; the user that segzoo runs as needs the right"), done


def test_half_of_cityscapes(city):
    (city / "gtFine" / "val" / "munster" / "munster_000001_000019_gtFine_labelIds.png").unlink()
    with pytest.raises(EnvironmentFault, match=r"labels are missing for 1 of [0-9]+ images, the first .*munster_000001_000019_gtFine_labelIds\.png"):
        samples("cityscapes", city, "val", 2)
    with pytest.raises(EnvironmentFault, match="no such folder") as raised:
        samples("cityscapes", city, "train", 2)
    assert raised.value.hint == "Cityscapes has leftImg8bit/ and gtFine/"


class Plain(yaml.SafeDumper):
    """No aliases, which a manifest must not have."""

    def ignore_aliases(self, data):
        return True


def write(path, plain):
    path.write_text(yaml.dump(plain, Dumper=Plain, sort_keys=False))


PROTOCOLS = GOLDEN / "segmenter" / "protocol"


@pytest.fixture
def official(tmp_path):
    """A zoo of the authors' checkpoints in miniature, on the mini zoo's data laid out as three data sets."""
    ade = MINI / "ade_mini"
    stems = sorted(path.stem for path in (ade / "images" / "validation").glob("*.jpg"))[:12]
    for stem in stems:
        with (
            Image.open(ade / "images" / "validation" / f"{stem}.jpg") as whole,
            Image.open(ade / "annotations" / "validation" / f"{stem}.png") as raw,
        ):
            label = np.array(raw)
            town = tmp_path / "city" / "leftImg8bit" / "val" / "town"
            image(town / f"{stem}_leftImg8bit.png")
            whole.save(town / f"{stem}_leftImg8bit.png")
            image(tmp_path / "city" / "gtFine" / "val" / "town" / f"{stem}_gtFine_labelTrainIds.png", np.where(label == 0, 255, label - 1))
        for source, target in (("images/validation", "JPEGImages"), ("annotations/validation", "SegmentationClassContext")):
            (tmp_path / "voc" / target).mkdir(parents=True, exist_ok=True)
            path = next((ade / source).glob(f"{stem}.*"))
            shutil.copy(path, tmp_path / "voc" / target / path.name)
    lists = tmp_path / "voc" / "ImageSets" / "SegmentationContext"
    lists.mkdir(parents=True)
    (lists / "val.txt").write_text("\n".join(stems))
    plain = yaml.safe_load((MINI / "zoo.yaml").read_text())
    classes = plain["datasets"]["ade-mini"]["classes"]
    common = {"title": "t", "split": "val", "images": 12, "label_rule": "r", "classes": classes, "root": "x"}
    datasets = {"voc": {**common, "loader": "pascal-context-59", "path": "voc"}, "city": {**common, "loader": "cityscapes", "path": "city"}}
    models = {}
    for name, checkpoint in (("mask", "mask"), ("linear", "linear"), ("distilled", "distilled")):
        shutil.copy(PROTOCOLS / f"{checkpoint}.pth", tmp_path)
        deit = name == "distilled"
        mean, std = ([123.68, 116.28, 103.53], [58.4, 57.12, 57.38]) if deit else (127.5, 127.5)
        head = (
            {"kind": "linear", "classes": 8} if name == "linear" else {"kind": "mask", "depth": 1, "heads": 2, "mlp": 256, "classes": 8, "eps": 1e-5}
        )
        protocol = {"dataset": "voc", "by": "rstrudel", "scale": [256, 64], "crop": 64, "stride": 32, "mean": mean, "std": std}
        models[name] = {
            "title": name,
            "checkpoint": {"name": f"{checkpoint}.pth", "layout": "segmenter", "urls": [f"{checkpoint}.pth"]},
            "backbone": {"width": 64, "depth": 2, "heads": 2, "mlp": 256, "patch": 8, "image": 64, "eps": 1e-5, "classes": 16},
            "head": head,
            "protocol": protocol,
            "reported": {"miou": 50.0, "decimals": 1, "source": "https://example.org/"},
        }
    path = tmp_path / "zoo.yaml"
    write(path, {"version": 1, "datasets": datasets, "models": models})
    return path


def counts(zoo, name, folder):
    setting = Setting(zoo, folder, Store(home(), folder / "segzoo.lock"), images=None)
    return {check.rung: check for check in verify(zoo.models[name], setting)}


@pytest.mark.parametrize("name", ["mask", "linear", "distilled"])
def test_the_authors_checkpoints_climb_the_ladder_on_every_data_set(name, official):
    """Random weights: what is judged is the road to the counts, which are those of the authors' own program."""
    stored = json.loads((PROTOCOLS / f"{name}.json").read_text())["ss"]
    expected = [
        sum(np.array(one[kind]) for stem, one in stored.items() if stem.startswith("ADE") and int(stem[-8:]) <= 12)
        for kind in ("intersect", "pred", "label")
    ]
    miou = round(float(np.mean(100 * expected[0] / (expected[1] + expected[2] - expected[0]))), 1)
    for dataset in ("voc", "city"):
        plain = yaml.safe_load(official.read_text())
        plain["models"][name]["protocol"]["dataset"] = dataset
        plain["models"][name]["reported"]["miou"] = miou
        write(official, plain)
        checks = counts(load_manifest(official), name, official.parent)
        assert [check.status for check in checks.values()] == ["passed"] * 5
        assert "confirmed within 0.1" in checks["mIoU"].detail
        if dataset == "voc":
            single = checks["mIoU"].facts["modes"]["ss"]
            found = {Path(one).stem: rows for one, rows in single["per_image"].items()}
            for stem, rows in found.items():
                assert [row[1:] for row in rows] == [[stored[stem][kind][row[0]] for kind in ("intersect", "pred", "label")] for row in rows]
            assert sum(map(sum, single["confusion"])) == expected[1].sum()
            assert set(single["per_class"]) == set(plain["datasets"]["voc"]["classes"])


def test_a_data_set_without_an_archive_says_where_to_get_it():
    zoo = load_manifest(packaged("zoo.yaml"))
    assert all(dataset.archive or dataset.home for dataset in zoo.datasets.values())
