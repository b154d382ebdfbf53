"""ONNX graphs against the real mmseg, flax and rstrudel/segmenter, and against torch at sizes that they were not exported with."""

import re
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from support import CROPS, GOLDEN, MINI, TAME, golden_model, slow_after

from segzoo.cli import main
from segzoo.conversion.plan import plan
from segzoo.conversion.run import run
from segzoo.errors import ConversionError
from segzoo.formats import open_weights
from segzoo.layouts import OWN
from segzoo.layouts.vit import VIT
from segzoo.models.segmentor import build
from segzoo.publishing.export.onnx import AnySize, compare_with_torch, write_graph

TOLERANCE = 1e-5  # absolute; the largest values are about 30


def session(path):
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def outputs(graph, image):
    (found,) = graph.run(None, {"image": np.ascontiguousarray(image)})
    return found


def traced(weights, heads, decoder_heads=None, **options):
    """A model for tracing and the same model, from a file in any layout."""
    steps = plan(weights.specs, OWN["vit"], heads=heads)
    geometry = steps.geometry
    if geometry.decoder:
        geometry = replace(geometry, decoder=replace(geometry.decoder, heads=decoder_heads))
    tensors = dict(run(steps, weights))
    return build(VIT, geometry, tensors, network=AnySize, **options), build(VIT, geometry, tensors, **options)


@pytest.fixture(scope="module", params=slow_after(0, ["linear", "mask"]))
def segmenter(request, tmp_path_factory):
    head = request.param
    model, _ = traced(open_weights(GOLDEN / "mmseg" / "checkpoints" / f"mini_{head}.pth"), 2, 2)
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    assert write_graph(model, path, 16, "scores") == [path]
    return head, path


def test_its_scores_are_mmsegs(segmenter):
    head, path = segmenter
    golden = np.load(GOLDEN / "mmseg" / "expected" / "mini_intermediates.npz")
    graph = session(path)
    for crop in CROPS:
        found = outputs(graph, golden[f"{head}/{crop}/normalised"])
        assert np.abs(found - golden[f"{head}/{crop}/crop_logits"]).max() <= 2 * TOLERANCE, crop


def test_it_takes_any_size_as_torch_does(segmenter):
    """The stored grid of 4 x 4; as many patches in another shape, which keep the table; more, fewer, one; sides that need padding."""
    head, path = segmenter
    graph, model = session(path), golden_model(head)
    random = torch.Generator().manual_seed(0)
    for size in [(1, 64, 64), (1, 32, 128), (2, 128, 128), (3, 97, 131), (1, 33, 200), (2, 1, 1), (1, 17, 16), (1, 16, 256)]:
        image = torch.randn(size[0], 3, *size[1:], generator=random)
        with torch.inference_mode():
            expected = model(image)
        assert np.abs(outputs(graph, image.numpy()) - expected.numpy()).max() <= 2 * TOLERANCE, size


def test_it_is_sound_and_holds_nothing_of_the_machine_that_made_it(segmenter):
    _, path = segmenter
    onnx.checker.check_model(path, full_check=True)
    assert [dim.dim_param or dim.dim_value for dim in onnx.load(path).graph.input[0].type.tensor_type.shape.dim] == ["batch", 3, "height", "width"]
    assert b".py" not in path.read_bytes()


def test_a_graph_of_other_weights_is_found_out(segmenter):
    head, path = segmenter
    model = golden_model(head)
    assert "output was within" in compare_with_torch(path, model, 16, (3, 64, 64))
    model.backbone.layers[1].attn["attn"].out_proj.weight.data *= 1.01
    with pytest.raises(ConversionError, match=r"model\.onnx: differs from torch by"):
        compare_with_torch(path, model, 16, (3, 64, 64))


@pytest.mark.slow
def test_a_backbones_features_are_flaxs_also_where_one_file_may_not_hold_it(tmp_path):
    model, same = traced(open_weights(TAME), None)
    files = write_graph(model, tmp_path / "model.onnx", 16, "features", most=1 << 20)
    assert [file.name for file in files] == ["model.onnx", "model.onnx.data"]
    assert all(file.is_file() for file in files)
    assert files[0].stat().st_size < files[1].stat().st_size
    moved = (tmp_path.rename(tmp_path.with_name("moved"))) / "model.onnx"  # found by its name beside the graph, wherever that is
    assert "within" in compare_with_torch(moved, same, 16, (3, 64, 64))
    image = np.load(GOLDEN / "augreg" / "mini.input.npy").transpose(0, 3, 1, 2).astype(np.float32)
    tokens = np.load(GOLDEN / "augreg" / "mini.tame.flax_f64erf.npz")["tokens"][:, 1:]
    assert np.abs(outputs(session(moved), image) - tokens.swapaxes(1, 2).reshape(2, 64, 4, 4)).max() <= TOLERANCE


@pytest.mark.parametrize("form", slow_after(1, ["safetensors", "onnx"]))
def test_the_example_in_a_card_segments_an_image(form, tmp_path):
    """By the annotations, since another size of image is seen than in the data set's protocol."""
    done = CliRunner().invoke(main, ["--zoo", "mini", "export", "mini-mask", "-o", str(tmp_path / "out"), "--as", form])
    assert done.stderr.startswith("torch traces the graph, which takes half a minute\n") is (form == "onnx")
    image = next((MINI / "ade_mini" / "images" / "validation").glob("*.jpg"))
    shutil.copy(image, tmp_path / "out" / "image.jpg")
    card = (tmp_path / "out" / "README.md").read_text()
    if form == "onnx":
        assert f"In ONNX Runtime {onnxruntime.__version__} its output was within" in card
        assert "`mmseg` to the names of segzoo's own torch model: " in card
    example = re.search("```python\n(.*?)```", card, re.DOTALL)[1]
    script = f"{example}import numpy\nnumpy.save('labels.npy', numpy.asarray(labels))"
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path / "out", check=True)
    (found,) = np.load(tmp_path / "out" / "labels.npy")
    label = np.asarray(Image.open(MINI / "ade_mini" / "annotations" / "validation" / f"{image.stem}.png")).astype(int)
    assert found.shape == label.shape
    assert (found == label - 1)[label > 0].mean() > 0.9


@pytest.mark.slow
def test_the_authors_model_resizes_its_positions_their_way(tmp_path):
    """Theirs are bilinear; the golden logits are of the stored grid, torch stands for the others."""
    model, same = traced(open_weights(GOLDEN / "segmenter" / "mask.pth"), 3, 3, eps=1e-5, resample="bilinear")
    write_graph(model, tmp_path / "model.onnx", 8, "scores")
    graph = session(tmp_path / "model.onnx")
    image, logits = (np.load(GOLDEN / "segmenter" / name) for name in ("input.npy", "mask.logits.npy"))
    assert np.abs(outputs(graph, image) - logits).max() <= TOLERANCE
    wide = np.random.default_rng(0).standard_normal((1, 3, 50, 21), np.float32)
    with torch.inference_mode():
        assert np.abs(outputs(graph, wide) - same(torch.from_numpy(wide)).numpy()).max() <= TOLERANCE
