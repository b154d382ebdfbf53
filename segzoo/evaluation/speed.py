"""Speed, memory and hardware of a run: what a receipt says beside the figures."""

from collections.abc import Sequence
from time import perf_counter
from typing import Any

import torch

from segzoo.datasets.image import read_image
from segzoo.datasets.sample import Sample
from segzoo.evaluation.evaluator import Evaluator
from segzoo.evaluation.memory import resident_peak
from segzoo.evaluation.precision import arithmetic


def speed(evaluator: Evaluator, chosen: Sequence[Sample], images: int = 200, warmup: int = 5) -> dict[str, Any]:
    """Images a second, measured as MMSegmentation's `benchmark.py` (1.2.2) does.

    One image at a time, single scale, from the prepared image to the label map, without reading and resizing. The mean
    is over `images` without the first `warmup`.
    """
    seconds = []
    with torch.inference_mode(), arithmetic("fp32"):
        for index in range(images if evaluator.device.type == "cuda" else min(images, len(chosen) + warmup)):
            views = evaluator.views(read_image(chosen[index % len(chosen)].image, evaluator.channels), "ss")
            _finish(evaluator.device)
            started = perf_counter()
            evaluator.labels(evaluator.scored([views])[0])
            _finish(evaluator.device)
            seconds.append(perf_counter() - started)
    timed = seconds[warmup:] or seconds
    return {"images_per_second": round(len(timed) / sum(timed), 2), "images": len(timed), "threads": torch.get_num_threads()}


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def forget_peak(device: torch.device) -> None:
    """Let `peak_memory` start anew on a GPU. The peak of the process itself cannot be reset."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory(device: torch.device) -> dict[str, Any]:
    """Peak memory in bytes: of tensors on a GPU since `forget_peak`, else of the resident process since its start."""
    if device.type == "cuda":
        return {"bytes": torch.cuda.max_memory_allocated(device), "of": "tensors on the GPU"}
    return {"bytes": resident_peak(), "of": "the process"}


def hardware(device: torch.device) -> str:
    """A GPU's name and the CUDA that torch was built for, or a CPU's best vector instructions and the number of threads."""
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)}, CUDA {torch.version.cuda}"
    if device.type == "mps":
        return "Apple's GPU"
    return f"CPU with {torch.backends.cpu.get_cpu_capability()}, threads: {torch.get_num_threads()}"
