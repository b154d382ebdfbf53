"""Which images a user means by a file, a folder or a pattern; and that every other file there is accounted for."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pace import within

from segzoo.datasets.inputs import inputs, targets_of
from segzoo.datasets.picture_file import lacking_plugin
from segzoo.errors import NotFoundError, UsageError

SETPRIV = shutil.which("setpriv")


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """Files in folders; nobody opens them."""
    monkeypatch.chdir(tmp_path)
    for name in ("a.jpg", "b.JPEG", "c.heic", "notes.pdf", "Makefile", ".hidden.jpg", "in/a.png", "in/deep/e.tif", ".git/f.png", "out/a.overlay.png"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "photos" / "lost.jpg").symlink_to("nowhere")
    (tmp_path / "photos" / "in" / "round").symlink_to(".", target_is_directory=True)
    (tmp_path / "photos" / "itself.jpg").symlink_to("itself.jpg")
    os.mkfifo(tmp_path / "photos" / "pipe.png")
    return tmp_path / "photos"


def test_a_folder_stands_for_all_that_is_below_it(photos, tmp_path):
    found = inputs([str(photos)], tmp_path / "photos" / "out")
    heic = lacking_plugin(".heic") is not None
    assert [str(place) for place in found.places.values()] == ["a.jpg", "b.JPEG", *([] if heic else ["c.heic"]), "in/a.png", "in/deep/e.tif"]
    assert found.skipped == {
        "folder": 3,
        "PDF": 1,
        "without a suffix": 1,
        "hidden file": 1,
        "broken link": 2,
        "no file": 1,
        **({"HEIC": 1} if heic else {}),
    }
    if heic:
        assert found.hint == "pip install pillow-heif, and they are read too"
        begin = "skipped 10: 3 folders, 2 broken links, 1 HEIC, 1 PDF, 1 hidden file"
        assert found.skipped_in_words().startswith(begin)


def test_what_was_made_in_the_same_folder_is_not_segmented_again(photos):
    with pytest.raises(NotFoundError, match="no images there; skipped 1: 1 earlier result"):
        inputs([str(photos / "out")], photos / "out")
    (photos / "out" / "a.jpg").touch()
    assert list(inputs([str(photos / "out")], photos / "out").places) == [photos / "out" / "a.jpg"]
    assert len(inputs([str(photos / "out")], photos / "elsewhere").places) == 2


def test_folders_are_mirrored(photos, tmp_path):
    found = inputs([str(photos / "in")], tmp_path / "out")
    targets = targets_of(found.places, tmp_path / "out")
    assert {str(path.relative_to(photos)): str(target.relative_to(tmp_path / "out")) for path, target in targets.items()} == {
        "in/a.png": "a",
        "in/deep/e.tif": "deep/e",
    }


def test_a_pattern_mirrors_what_it_leaves_open(photos, tmp_path):
    found = inputs(["photos/**/*.[jp]*g", "photos/*.pdf"], tmp_path / "out")
    assert {str(place) for place in found.places.values()} >= {"a.jpg", "in/a.png", "notes.pdf"}
    assert inputs(["photos/*"], tmp_path / "out").skipped["folder"] == 3


def test_all_that_is_missing_is_said_at_once(photos, tmp_path):
    with pytest.raises(NotFoundError, match=r"x\.jpg: no such image, nor y\.jpg and 1 more$"):
        inputs(["x.jpg", str(photos), "y.jpg", "z.jpg"], tmp_path / "out")


def test_an_image_named_twice_is_one(photos, tmp_path):
    found = inputs([str(photos / "in"), str(photos / "in" / "a.png"), str(photos / "in" / "*.png")], tmp_path / "out")
    assert len(found.places) == 2


def test_two_images_for_one_name_are_refused(photos, tmp_path):
    (photos / "deep").mkdir()
    (photos / "deep" / "a.png").touch()
    with pytest.raises(UsageError, match=r"a\.png and .*a\.png: the pictures of both would be"):
        targets_of(inputs([str(photos / "in"), str(photos / "deep")], tmp_path / "out").places, tmp_path / "out")


def test_twenty_thousand_images_are_found_at_once(tmp_path):
    """In four seconds a user has the first result, and most of that goes into the model."""
    (tmp_path / "photos").mkdir()
    for index in range(20_000):
        (tmp_path / "photos" / f"{index:05}.jpg").touch()
        if index < 2000:
            (tmp_path / "photos" / f"{index:05}.overlay.png").touch()
    with within(1.5):
        found = inputs([str(tmp_path / "photos")], tmp_path / "photos")
        targets = targets_of(found.places, tmp_path / "photos")
    assert (len(targets), found.skipped) == (20_000, {"earlier result": 2000})


def test_a_folder_may_be_as_deep_as_the_system_lets_it_be(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for _ in range(1500):
        Path("d").mkdir()
        os.chdir("d")
    Path("a.jpg").touch()
    os.chdir(tmp_path)
    found = inputs(["d"], tmp_path / "out")
    assert [place.name for place in found.places.values()] == ["a.jpg"]
    for _ in range(1500):
        os.chdir("d")
    Path("a.jpg").unlink()
    for _ in range(1500):
        os.chdir("..")
        Path("d").rmdir()


@pytest.mark.skipif(os.name != "posix" or (os.geteuid() == 0 and not SETPRIV), reason="root may read all, but for what setpriv takes from it")
def test_a_folder_that_may_not_be_read_is_passed_over(photos):
    """As lost+found on every disk is. One that was named itself is an error."""
    rights = "-dac_override,-dac_read_search"
    less = [SETPRIV, f"--bounding-set={rights}", f"--inh-caps={rights}"] if os.geteuid() == 0 else []
    code = (
        "from pathlib import Path; from segzoo.datasets.inputs import inputs; from segzoo.errors import SegzooError\n"
        "print(inputs(['in'], Path('out')).skipped_in_words())\n"
        "try: inputs(['in/deep'], Path('out'))\n"
        "except SegzooError as error: print(error.message)"
    )
    (photos / "in" / "deep").chmod(0)
    done = subprocess.run([*less, sys.executable, "-c", code], capture_output=True, text=True, cwd=photos)
    (photos / "in" / "deep").chmod(0o755)
    assert done.stdout == "skipped 2: 1 folder, 1 unreadable folder\nin/deep: cannot be read: Permission denied\n", done.stderr


def test_a_pattern_that_is_none_is_said(tmp_path):
    with pytest.raises(NotFoundError, match=r"\*\*\.jpg: no pattern of file names|no images there"):  # by the version of Python
        inputs([str(tmp_path / "**.jpg")], tmp_path / "out")
    with pytest.raises(NotFoundError, match="no such image"):
        inputs(["x" * 300], tmp_path / "out")
