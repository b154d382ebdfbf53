"""Manifests: YAML that a stranger wrote, alone and beside another; the rule for labels; names that may be receipts."""

from pathlib import Path

from harness import Target
from support import MINI

from segzoo.manifest.document import load_manifest
from segzoo.manifest.merge import merged, parts_of

LABELS = b"""version: 1
datasets:
  scenes:
    title: Scenes
    loader: folders
    root: scenes
    folders: {images: 'images/{split}', labels: labels, image_suffix: .tif, label_suffix: _mask.png}
    split: val
    images: 2
    other_splits: {train: 5}
    labels: {values: {0: sky, 7: sea}, ignore: [255]}
    classes: {sky: [1, 2, 3], sea: [4, 5, 6]}
  coloured:
    title: Coloured
    loader: folders
    root: coloured
    folders: {images: images, labels: labels}
    split: all
    images: 2
    labels: {colours: true, ignore: [[9, 9, 9]]}
    classes: {sky: [1, 2, 3], sea: [4, 5, 6]}
"""


def _beside(path: Path) -> None:
    whole = merged(parts_of([path, "mini"]))
    assert all(dataset.labels is None or dataset.labels.meaning(dataset.classes) for dataset in whole.manifest.datasets.values())


def _seeds() -> list[bytes]:
    return [b"version: 1\n", (MINI / "zoo.yaml").read_bytes(), LABELS]


TARGETS = [
    Target("manifest", _seeds, load_manifest, name="zoo.yaml"),
    Target("manifest beside another", _seeds, _beside, name="zoo.yaml", share=0.5),
    Target("labels", lambda: [LABELS], _beside, name="zoo.yaml", share=0.5),
]
