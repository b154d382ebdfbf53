"""Sizes of files that nobody has fetched: the table and a geometry against names, shapes and bytes of MMSegmentation's own classes."""

import gzip
import json
import math

import pytest
from support import GOLDEN

from segzoo.conversion.axes import measure
from segzoo.conversion.detect import detect
from segzoo.layouts import LAYOUTS
from segzoo.layouts.dimensions import shape_of
from segzoo.layouts.extent import nbytes, parameters, shown
from segzoo.layouts.rule import indices
from segzoo.manifest.document import load_manifest, packaged
from segzoo.manifest.entries import family_of, geometry_of
from segzoo.spec import Spec

FOLDER = GOLDEN / "transformers"
FACTS = {row["checkpoint"]["name"]: row["checkpoint"] for row in json.loads(gzip.decompress((FOLDER / "facts.json.gz").read_bytes()))}
KEYS = json.loads(gzip.decompress((FOLDER / "keys.json.gz").read_bytes()))
NVLABS = {f"{name}.bin": keys for name, keys in json.loads(gzip.decompress((GOLDEN / "mit" / "keys.json.gz").read_bytes())).items()}
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
MODELS = load_manifest(packaged("zoo.yaml")).models
ROWS = {name: model for name, model in MODELS.items() if model.checkpoint.name in KEYS}


def layout_of(entry):
    return LAYOUTS[family_of(entry).name][entry.artifact.layout]


def held(keys):
    """Names and shapes of the tensors that are no auxiliary head's."""
    return {name: Spec(tuple(shape), dtype) for name, (shape, dtype) in keys.items() if not name.startswith("auxiliary_head.")}


def test_all_published_files_have_a_row():
    assert {model.checkpoint.name for model in ROWS.values()} == FACTS.keys()


@pytest.mark.parametrize("name", ROWS)
def test_it_is_the_bytes_of_mmsegmentations_model_without_auxiliary_heads(name):
    row = ROWS[name]
    keys = KEYS[row.checkpoint.name]
    auxiliary = sum(Spec(tuple(shape), dtype).nbytes for key, (shape, dtype) in keys.items() if key.startswith("auxiliary_head."))
    estimate, half = (nbytes(layout_of(row), geometry_of(row), dtype) for dtype in ("float32", "float16"))
    assert estimate == FACTS[row.checkpoint.name]["tensor_bytes"] - auxiliary
    assert auxiliary < 0.03 * estimate
    assert 2 * (estimate - half) == sum(spec.nbytes for spec in held(keys).values() if spec.dtype == "float32")


@pytest.mark.parametrize("name", ROWS)
def test_parameters_are_those_of_mmsegmentations_model(name):
    row = ROWS[name]
    layout, there = layout_of(row), held(KEYS[row.checkpoint.name])
    beyond = layout.buffers_at(layout.decoder_prefix, shown(layout, geometry_of(row)).depths)
    trained = [spec for key, spec in there.items() if key not in beyond and key.rpartition(".")[2] not in STATISTICS]
    assert parameters(layout, geometry_of(row)) == sum(math.prod(spec.shape) for spec in trained)


@pytest.mark.parametrize("name", ROWS)
def test_the_table_has_the_names_and_shapes_of_mmsegmentations_model(name):
    row = ROWS[name]
    layout, there = layout_of(row), held(KEYS[row.checkpoint.name])
    found = shown(layout, geometry_of(row))
    rules = layout.expand(layout.decoder_prefix, found.depths, found.sections)
    buffers = layout.buffers_at(layout.decoder_prefix, found.depths)
    assert {key: shape_of(rule.native, found.axes, len(rule.holds)) for key, rule in rules.items()} == {
        key: spec.shape for key, spec in there.items() if key not in buffers
    }
    assert {key: buffer.length(found.axes) for key, (buffer, _) in buffers.items() if buffer.written} == {
        key: math.prod(spec.shape) for key, spec in there.items() if key in buffers
    }


@pytest.mark.parametrize("row", [model for model in MODELS.values() if model.checkpoint.name in NVLABS], ids=lambda row: row.checkpoint.name)
def test_it_is_the_bytes_of_transformers_segformer(row):
    assert nbytes(layout_of(row), geometry_of(row), "float32") == sum(spec.nbytes for spec in held(NVLABS[row.checkpoint.name]).values())


@pytest.mark.parametrize("name", [name for name, model in ROWS.items() if model.checkpoint.layout == "mmseg"])
def test_it_is_the_inverse_of_measuring(name):
    row = ROWS[name]
    specs = held(KEYS[row.checkpoint.name])
    found = detect(specs)
    geometry, axes = measure(found, specs, geometry_of(row).heads)
    again = shown(found.layout, geometry)
    assert set(again.sections) == set(found.sections)
    counted = {letter for section in found.sections for rule in found.layout.sections[section] for letter in indices(rule.template)}
    assert {letter: again.depths[letter] for letter in counted} == {letter: found.depths[letter] for letter in counted}
    assert {axis: again.axes[axis] for axis in axes} == axes


def test_a_layout_without_a_place_for_the_model_has_no_size():
    model = MODELS["swin-t-upernet"]
    assert nbytes(LAYOUTS["swin"]["torchvision"], geometry_of(model), "float32") is None
