"""Which files belong to a data set, and what their labels mean: tiny trees in the publishers' own folder layouts."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import GOLDEN, MINI
from PIL import Image

from segzoo.datasets.decoding import read_label, read_pair
from segzoo.datasets.samples import samples
from segzoo.errors import EnvironmentFault
from segzoo.ladder import Setting
from segzoo.store import Store, home
from segzoo.verify import verify
from segzoo.zoo import load, packaged


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
        checks = counts(load(official), name, official.parent)
        assert [check.status for check in checks.values()] == ["passed", "passed", "passed", "n/a" if name == "distilled" else "passed", "passed"]
        assert "confirmed within 0.1" in checks["mIoU"].detail
        if dataset == "voc":
            single = checks["mIoU"].facts["modes"]["ss"]
            found = {Path(one).stem: rows for one, rows in single["per_image"].items()}
            for stem, rows in found.items():
                assert [row[1:] for row in rows] == [[stored[stem][kind][row[0]] for kind in ("intersect", "pred", "label")] for row in rows]
            assert sum(map(sum, single["confusion"])) == expected[1].sum()
            assert set(single["per_class"]) == set(plain["datasets"]["voc"]["classes"])


def test_a_data_set_without_an_archive_says_where_to_get_it():
    zoo = load(packaged("zoo.yaml"))
    assert all(dataset.archive or dataset.home for dataset in zoo.datasets.values())
