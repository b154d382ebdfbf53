"""The benches make files of true size that segzoo takes. What they measure is no test: it needs a quiet machine, and peers."""

import sys
from pathlib import Path

import pytest

from segzoo.conversion.inspect import inspect
from segzoo.manifest.entries import geometry_of

BENCH = Path(__file__).parent.parent / "bench"


@pytest.fixture(autouse=True)
def _beside_the_benches(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCH))
    yield
    for name in ("true_size", "record", "convert", "recipe", "export"):
        sys.modules.pop(name, None)


def test_of_vitjax2mmseg(tmp_path):
    import convert
    from true_size import entry_of

    assert inspect(convert.augreg(tmp_path, "Ti")).geometry == geometry_of(entry_of("vit-t"))


def test_of_the_recipes_for_mmseg(tmp_path):
    import recipe

    recipe.made(tmp_path)
    assert inspect(tmp_path / "Ti_16.npz").layout == "augreg"
    assert inspect(tmp_path / "checkpoint.pth").layout == "segmenter"
    assert inspect(tmp_path / "whole.pth").geometry.decoder.classes == 150


@pytest.mark.slow
def test_of_exports(tmp_path):
    import export

    export.true_size(tmp_path)
    assert inspect(tmp_path / "vit.npz").layout == "augreg"
    assert inspect(tmp_path / "mask.pth").geometry.decoder.classes == 150
