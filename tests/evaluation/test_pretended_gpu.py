"""The way through a GPU, on a pretended one: every step with its devices, its precisions and its numbers, as far as a processor can go."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from support import GOLDEN, MINI, golden_model, slow_after

from segzoo.datasets.pairs import samples
from segzoo.errors import EnvironmentFault
from segzoo.evaluation.evaluator import Evaluator
from segzoo.evaluation.precision import device_of, dtype_of
from segzoo.evaluation.speed import forget_peak, hardware, peak_memory, speed
from segzoo.manifest.document import load_manifest
from segzoo.vocabulary import MODES, PRECISIONS
from segzoo.zoo.loading import module
from segzoo.zoo.opened import open_entry

ROOT = Path(__file__).parents[2]
STAND_IN = ROOT / "tests" / "pretended_gpu"  # a folder of its own: every process with it on its path has the GPU
sys.path.append(str(STAND_IN))
from pretended_gpu import OnGpu, pretended  # noqa: E402

FOLDER = GOLDEN / "transformers"
TINY = load_manifest(FOLDER / "zoo.yaml").models
CHOSEN = samples("ade20k", MINI / "ade_mini", "validation", 40)[:5]


@pytest.fixture
def gpu():
    with pretended():
        yield device_of("cuda")


def evaluator(entry, device, precision="fp32"):
    return Evaluator(golden_model("mask"), entry.protocol, 8, device, precision)


def test_the_stand_in_refuses_what_a_gpu_refuses(gpu):
    there = torch.ones(3, device=gpu)
    assert (type(there), there.device.type, (there + 1).cpu().tolist()) == (OnGpu, "cuda", [2, 2, 2])
    for wrong in (lambda: there + torch.ones(3), lambda: there.numpy(), lambda: np.asarray(there), lambda: torch.stack([there, torch.ones(3)])):
        with pytest.raises((RuntimeError, TypeError)):
            wrong()


@pytest.mark.parametrize("mode", slow_after(2, MODES))
def test_the_counts_are_those_of_a_processor(gpu, mini_zoo, mode):
    """In float32, whose sums this GPU makes as the processor does, but for groups of images: attention is the plain one for both."""
    entry = mini_zoo.models["mini-mask"]
    found = [one for _, one in evaluator(entry, gpu).evaluate(CHOSEN, mode)]
    expected = [one for _, one in evaluator(entry, torch.device("cpu")).evaluate(CHOSEN, mode)]
    assert all(isinstance(one, np.ndarray) for one in found)
    assert [one.sum() for one in found] == [one.sum() for one in expected]
    assert max(np.abs(one - other).sum() for one, other in zip(found, expected, strict=True)) <= 4


@pytest.mark.parametrize("name", slow_after(8, TINY))
def test_every_network_stays_on_the_gpu(gpu, name):
    """A table, an index or a grid that a network makes on the processor would show here."""
    entry = TINY[name]
    image = np.random.default_rng(0).integers(0, 256, (64, 70, 3), np.uint8)
    scores = []
    for device in (gpu, torch.device("cpu")):
        model = module(open_entry(entry, FOLDER / entry.checkpoint.urls[0].url), entry)
        scores.append(Evaluator(model, entry.protocol, len(entry.classes), device).scores(image))
    assert [one.device.type for one in scores] == ["cuda", "cpu"]
    found, expected = (one.cpu().numpy() for one in scores)
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_precision_runs_and_is_measured(gpu, mini_zoo, precision):
    ready = evaluator(mini_zoo.models["mini-mask"], gpu, precision)
    assert ready.dtype == dtype_of(precision, gpu)
    assert {parameter.device.type for parameter in ready.model.parameters()} == {"cuda"}
    forget_peak(gpu)
    assert speed(ready, CHOSEN, images=7)["images"] == 2
    assert peak_memory(gpu)["of"] == "tensors on the GPU"
    assert "a pretended GPU" in hardware(gpu)


def test_where_memory_runs_out_it_goes_on_with_fewer_windows(gpu, mini_zoo, monkeypatch):
    ready = evaluator(mini_zoo.models["mini-mask"], gpu)
    inner, sizes = ready.model.scores, []

    def scores(pixels):
        sizes.append(len(pixels))
        if len(pixels) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return inner(pixels)

    monkeypatch.setattr(ready.model, "scores", scores)
    assert len(list(ready.evaluate(CHOSEN))) == 5
    assert max(sizes) > 3 >= sizes[-1]
    assert ready.notes[-1].startswith("out of memory: on with ")
    monkeypatch.setattr(ready.model, "scores", lambda pixels: scores(torch.cat([pixels] * 4)))
    with pytest.raises(EnvironmentFault, match="out of memory with a single window on cuda"):
        list(ready.evaluate(CHOSEN))


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["tf32", "bf16"])
def test_the_bench_runs_in_one_go(precision):
    command = [sys.executable, ROOT / "bench" / "evaluate.py", "--zoo", MINI / "zoo.yaml", "--models", "mini-mask", "--device", "cuda"]
    command += ["--precision", precision, "--images", "3", "--sizes", "70x90", "--threads", "1", "--batches", "2", "--modes", "ss", "ms+flip-1.x"]
    environment = {**os.environ, "PYTHONPATH": str(STAND_IN)}
    done = subprocess.run([str(part) for part in command], env=environment, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith(f"3 images of 70x90 on cuda, {precision}\n")
    assert done.stdout.count("2 images at once:") == done.stdout.count("an image in segzoo: read") == 2
    assert done.stdout.count(" 1 MB\n") == 2, "the peak is that of the GPU, not of the process"
