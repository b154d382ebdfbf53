"""The loader `folders`: images and label maps as their owner arranges them."""

import os

import numpy as np
import pytest
from pace import within
from PIL import Image

from segzoo.datasets.arrangement import arranged
from segzoo.datasets.loaders import loader
from segzoo.datasets.pairs import samples
from segzoo.errors import EnvironmentFault


def put(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((2, 3), np.uint8)).save(path)


def found(folder, split="val", count=2, **settings):
    return [
        (sample.name, sample.image.relative_to(folder).as_posix(), sample.label.relative_to(folder).as_posix())
        for sample in samples(loader("folders", settings), folder, split, count)
    ]


ARRANGEMENTS = {
    "two folders": (
        ("img/a.jpg", "img/b.png", "ann/a.png", "ann/b.tif"),
        {"images": "img", "labels": "ann"},
        [("a.jpg", "img/a.jpg", "ann/a.png"), ("b.png", "img/b.png", "ann/b.tif")],
    ),
    "splits below": (
        ("img/val/a.TIF", "img/val/b.TIF", "img/train/c.TIF", "ann/val/a.png", "ann/val/b.png", "ann/train/c.png"),
        {"images": "img/{split}", "labels": "ann/{split}"},
        [("a.TIF", "img/val/a.TIF", "ann/val/a.png"), ("b.TIF", "img/val/b.TIF", "ann/val/b.png")],
    ),
    "splits above": (
        ("val/x/a.bmp", "val/x/b.bmp", "val/y/a.png", "val/y/b.png", "test/x/a.bmp", "test/y/a.png"),
        {"images": "{split}/x", "labels": "{split}/y"},
        [("a.bmp", "val/x/a.bmp", "val/y/a.png"), ("b.bmp", "val/x/b.bmp", "val/y/b.png")],
    ),
    "beside each other": (
        ("a.png", "a_mask.png", "sub/a.png", "sub/a_mask.png"),
        {"images": ".", "image_suffix": ".png", "label_suffix": "_mask.png"},
        [("a.png", "a.png", "a_mask.png"), ("sub/a.png", "sub/a.png", "sub/a_mask.png")],
    ),
    "beside each other, any suffix of images": (
        ("a.jpg", "a_gt.png", "b.tiff", "b_gt.png"),
        {"images": ".", "label_suffix": "_gt.png"},
        [("a.jpg", "a.jpg", "a_gt.png"), ("b.tiff", "b.tiff", "b_gt.png")],
    ),
    "endings in both": (
        ("i/t/a_rgb.png", "i/t/a_depth.png", "i/u/b_rgb.png", "l/t/a_labelIds.png", "l/t/a_color.png", "l/u/b_labelIds.png"),
        {"images": "i", "labels": "l", "image_suffix": "_rgb.png", "label_suffix": "_labelIds.png"},
        [("t/a_rgb.png", "i/t/a_rgb.png", "l/t/a_labelIds.png"), ("u/b_rgb.png", "i/u/b_rgb.png", "l/u/b_labelIds.png")],
    ),
    "labels in a folder of the images": (
        ("a.jpg", "b.jpg", "masks/a.png", "masks/b.png"),
        {"images": ".", "labels": "masks"},
        [("a.jpg", "a.jpg", "masks/a.png"), ("b.jpg", "b.jpg", "masks/b.png")],
    ),
    "images in a folder of the labels": (
        ("a.png", "b.png", "raw/a.jpg", "raw/b.jpg"),
        {"images": "raw", "labels": "."},
        [("a.jpg", "raw/a.jpg", "a.png"), ("b.jpg", "raw/b.jpg", "b.png")],
    ),
}


@pytest.mark.parametrize("arrangement", ARRANGEMENTS)
def test_images_find_their_label_maps(arrangement, tmp_path):
    names, settings, expected = ARRANGEMENTS[arrangement]
    put(tmp_path, *names)
    assert found(tmp_path, **settings) == expected


@pytest.mark.parametrize("lines", ["b.jpg\nt/c.jpg\n", "t/c\n\nb\n", "b\r\nt/c.jpg\r\n", "\ufeffb\nt/c\n"])
def test_a_list_names_the_images_of_a_split(lines, tmp_path):
    put(tmp_path, "i/a.jpg", "i/b.jpg", "i/t/c.jpg", "l/a.png", "l/b.png", "l/t/c.png", "l/other.png")
    (tmp_path / "val.txt").write_text(lines, encoding="utf-8")
    assert [name for name, _, _ in found(tmp_path, images="i", labels="l", list="{split}.txt")] == ["b.jpg", "t/c.jpg"]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("b\nz\ny\n", "2 images of val.txt are not there, the first z"),
        ("../l/b\n", "1 images of val.txt are not there, the first ../l/b"),
        ("/etc/passwd\n", "1 images of val.txt are not there, the first /etc/passwd"),
        ("b\0\na\n", "1 images of val.txt are not there, the first b"),
        ("b\nb.jpg\n", "b is listed twice"),
        ("b\n" * 100_000, "b is listed twice"),
        (f"a\n{'b' * 5000}\n", "val.txt, line 2: 5000 letters, and no path is so long"),
        ("b\n", "expected 2 images in 'val', found 1"),
        (None, "val.txt: the list of the split cannot be read: it is not there"),
    ],
)
def test_a_list_that_does_not_fit(lines, said, tmp_path):
    put(tmp_path, "i/a.jpg", "i/b.jpg", "l/a.png", "l/b.png")
    if lines is not None:
        (tmp_path / "val.txt").write_text(lines)
    with pytest.raises(EnvironmentFault) as raised:
        found(tmp_path, images="i", labels="l", list="val.txt")
    assert said in raised.value.message


@pytest.mark.parametrize(
    ("names", "settings", "said"),
    [
        (("i/a.jpg", "i/b.jpg", "l/a.png"), {}, "labels are missing for 1 of 2 images, the first"),
        (("i/a.jpg", "l/a.png", "l/b.png", "l/c.png"), {}, "images are missing for 2 labels, the first"),
        (("i/a.jpg", "i/a.png", "l/a.png"), {}, "two images are called a: a.jpg and a.png"),
        (("i/a.jpg", "l/a.png", "l/a.tif"), {}, "two label maps are called a: a.png and a.tif"),
        (("i/a.jpg", "l/a.png"), {"image_suffix": ".JPG"}, "i: expected images *.JPG, found none"),
        (("i/a.jpg",), {}, "l: no such folder"),
        (("l/a.png",), {}, "i: no such folder"),
    ],
)
def test_folders_that_do_not_pair_up(names, settings, said, tmp_path):
    put(tmp_path, *names)
    with pytest.raises(EnvironmentFault) as raised:
        found(tmp_path, images="i", labels="l", **settings)
    assert said in raised.value.message


def test_links_are_followed_but_not_in_a_circle(tmp_path):
    put(tmp_path, "there/a.jpg", "there/b.jpg", "l/t/a.png", "l/t/b.png")
    (tmp_path / "i").mkdir()
    (tmp_path / "i" / "t").symlink_to(tmp_path / "there")
    (tmp_path / "there" / "again").symlink_to(tmp_path / "there")
    assert [name for name, _, _ in found(tmp_path, images="i", labels="l")] == ["t/a.jpg", "t/b.jpg"]


def test_hidden_files_are_none_and_names_need_not_be_utf_8(tmp_path):
    put(tmp_path, "i/a.jpg", "i/b.jpg", "l/a.png", "l/b.png")
    (tmp_path / "i" / "._a.jpg").write_bytes(b"what macOS notes")
    (tmp_path / "l" / ".DS_Store").write_bytes(b"the same")
    for folder, suffix in (("i", ".jpg"), ("l", ".png")):
        (tmp_path / folder / f"a{suffix}").rename(tmp_path / folder / os.fsdecode(b"l\xe4" + suffix.encode()))
    assert [name for name, _, _ in found(tmp_path, images="i", labels="l")] == ["b.jpg", r"l\xe4.jpg"]


def test_a_list_of_a_gigabyte_is_not_read(tmp_path):
    """Nor is it looked into when the arrangement of a folder is found out. The file is sparse: it takes no room on the disk."""
    put(tmp_path, "i/a.jpg", "i/b.jpg", "i/c.jpg")
    for name in "ab":
        path = tmp_path / "l" / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.eye(3, dtype=np.uint8)).save(path)
    with (tmp_path / "val.txt").open("wb") as file:
        file.truncate(1 << 30)
    os.mkfifo(tmp_path / "pipe.txt")
    with within(2):
        with pytest.raises(EnvironmentFault, match=r"val\.txt: the list of the split has more than 64 MB"):
            found(tmp_path, images="i", labels="l", list="val.txt")
        with pytest.raises(EnvironmentFault, match=r"pipe\.txt: the list of the split cannot be read: expected a file, found a pipe"):
            found(tmp_path, images="i", labels="l", list="pipe.txt")
        assert "list" not in arranged(tmp_path).settings


def test_a_suffix_does_not_lead_out_of_the_folder(tmp_path):
    put(tmp_path, "data/i/a.jpg", "data/l/b.png", "secret.png")
    with pytest.raises(EnvironmentFault, match="expected how the name of a file ends"):
        found(tmp_path / "data", count=1, images="i", labels="l", label_suffix="/../../../secret.png")
