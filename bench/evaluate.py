"""Evaluation by segzoo against the real mmseg 1.2.2: the same checkpoint, the same images, from files to pixel counts.

    python bench/evaluate.py --peer PYTHON [--models T swin-t-upernet] [--modes ss ms+flip-1.x] [--threads 1 2] [--images 4]
                             [--sizes 512x683 | ade20k] [--device cpu] [--precision fp32] [--batches 1 4 16] [--record]

Models are those of the zoo that MMSegmentation measured on ADE20K; T, S, B and L are vit-t-mask to vit-l-mask. `setr-naive:T` is a model whose
plain ViT, or BEiT, has the geometry of ViT-T: 12 blocks, 3 heads, a width of 192; the rest is as published. PYTHON is that
of an environment with torch, mmengine 0.10.7, mmcv-lite 2.1.0, mmsegmentation 1.2.2, ftfy, regex and
opencv-python-headless, for ConvNeXt mmpretrain 1.2.0 too, for Mask2Former mmdet 3.3.0; without --peer segzoo alone is measured.
Weights are random, of the published geometry; images are made, one size or ADE20K's own distribution of sizes. Each side runs
in a process of its own: images a second after a warm-up, the most memory, and what a cold process takes in all; then how many
pixels' counts differ, and where the time of each goes, beside the arithmetic floor: the network's matrix products and
convolutions at the speed that one large matrix product reaches on the same device. `--batches` also shows how images a second
change with how many go at once.
"""

import argparse
import json
import os
import runpy
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import record

if TYPE_CHECKING:
    from segzoo.manifest.entries import Model

SHORT = {letter: f"vit-{letter.lower()}-mask" for letter in "TSBL"}
SIZES = Path(__file__).with_name("ade20k_val_sizes.json")
TINY = {"width": 192, "depth": 12, "heads": 3}
TINY_TAKEN = (2, 5, 8, 11)
PEERS = ("mmsegmentation", "mmpretrain", "mmdet")
CLAIM = (
    "From files to counts, beside mmseg's own test loop: images a second and peak memory, each also as a multiple of mmseg's; pixels of another "
    "class; the share of the time that each side spends outside the network; and the network's speed in percent of that of one large matrix product. "
    "A name with :T has a backbone of ViT-T's geometry. Random weights, made images."
)


def made(folder: Path, images: int, sizes: str, classes: int) -> None:
    """A data set in ADE20K's layout, of smooth noise and labels in blobs."""
    from PIL import Image

    random = np.random.default_rng(0)
    if sizes == "ade20k":
        table = np.array(json.loads(SIZES.read_text())["sizes"])
        chosen = [tuple(map(int, row)) for row in np.repeat(table[:, :2], table[:, 2], axis=0)]
        chosen = [chosen[index] for index in random.permutation(len(chosen))[:images]]
    else:
        chosen = [tuple(map(int, sizes.split("x")))] * images
    for part in ("images", "annotations"):
        (folder / part / "validation").mkdir(parents=True)
    for index, (height, width) in enumerate(chosen, 1):
        coarse = random.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), np.uint8)
        noise = random.integers(-12, 13, (height, width, 3))
        pixels = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)) + noise
        blobs = Image.fromarray(random.integers(0, classes + 1, (height // 64 + 1, width // 64 + 1), np.uint8))
        stem = f"ADE_val_{index:08}"
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / "images" / "validation" / f"{stem}.jpg", quality=90)
        blobs.resize((width, height), Image.Resampling.NEAREST).save(folder / "annotations" / "validation" / f"{stem}.png")


def entry_of(model: str, zoo: str | None) -> "Model":
    """The model of this name or short name in a manifest, by default the shipped one. Raises KeyError for another."""
    import true_size  # here, as mmseg's side runs where segzoo is not

    name, _, size = model.partition(":")
    entry = cast("Model", true_size.entry_of(SHORT.get(name, name), zoo))
    if not size:
        return entry
    taken = {"out_indices": TINY_TAKEN} if entry.backbone.out_indices else {}
    parts = {"backbone": entry.backbone.model_copy(update=TINY | {"mlp": 4 * TINY["width"]} | taken)}
    parts |= {"neck": entry.neck.model_copy(update={"width": TINY["width"]})} if entry.neck else {}
    return entry.model_copy(update=parts)


def narrow(part: object, width: int) -> None:
    """Give every part of mmseg's config that has the published width the width of ViT-T, and the backbone its depth and heads."""
    for value in part.values() if isinstance(part, dict) else part if isinstance(part, list | tuple) else ():
        narrow(value, width)
    if isinstance(part, dict):
        for key in {"embed_dims", "embed_dim", "in_channels", "out_channels"} & part.keys():
            of = part[key]
            part[key] = (
                [TINY["width"] if one == width else one for one in of] if isinstance(of, list | tuple) else TINY["width"] if of == width else of
            )
        if "num_layers" in part and "num_heads" in part:
            part |= {"num_layers": TINY["depth"], "num_heads": TINY["heads"]}
            if isinstance(part.get("out_indices"), list | tuple):
                part["out_indices"] = TINY_TAKEN


def checkpoint(folder: Path, model: str, zoo: str | None) -> None:
    """Random weights of the published geometry, under mmseg's names."""
    import torch

    from segzoo.layouts import FAMILIES
    from segzoo.manifest.entries import geometry_of
    from segzoo.models.segmentor import empty

    entry = entry_of(model, zoo)
    module = empty(FAMILIES[entry.backbone.named], geometry_of(entry), (), head_eps=entry.head_eps, eps=entry.eps, resample=entry.resample)
    torch.manual_seed(0)
    state = {name: tensor for name, tensor in module.to_empty(device="cpu").state_dict().items() if not name.endswith("_index")}
    for name, tensor in state.items():
        if not tensor.is_floating_point():
            tensor.zero_()
        elif name.endswith("running_var"):
            tensor.fill_(1)
        elif tensor.ndim > 1:
            tensor.normal_(0, tensor[0].numel() ** -0.5)
        else:
            tensor.normal_(1.0 if name.endswith("weight") else 0.0, 0.02)
    torch.save({"state_dict": state}, folder / f"{model}.pth")


def mmseg_side(folder: Path, options: argparse.Namespace) -> dict[str, object]:
    """mmseg's own test loop (Runner.test), its own config, its own metric."""
    import mmcv_stand_in
    import torch

    mmcv_stand_in.install()
    import mmseg
    from mmengine.config import Config
    from mmengine.runner import Runner
    from mmseg.evaluation import IoUMetric
    from mmseg.utils import register_all_modules

    torch.set_num_threads(options.threads)
    register_all_modules(init_default_scope=True)
    kept: list[list[np.ndarray]] = []
    compute = IoUMetric.compute_metrics
    IoUMetric.compute_metrics = lambda self, results: (
        kept.extend([np.asarray(one[index], np.int64) for index in (0, 2, 3)] for one in results),
        compute(self, results),
    )[1]
    configs = Path(mmseg.__file__).parent / ".mim" / "configs"
    config = Config.fromfile(next(configs.rglob(options.config)))
    if config.model.backbone.type == "VisionTransformer":
        config.model.backbone.patch_bias = True
    if ":" in options.model:
        narrow(config.model, config.model.backbone.get("embed_dims"))
    config.model.pretrained = config.model.backbone.init_cfg = None
    config.load_from = str(folder / f"{options.model}.pth")
    config.work_dir = str(folder / "work")
    loader = config.test_dataloader
    loader.num_workers, loader.persistent_workers = options.workers, options.workers > 0
    loader.dataset.data_root = str(folder / "data")
    loader.dataset.data_prefix = {"img_path": "images/validation", "seg_map_path": "annotations/validation"}
    config.visualizer = None
    config.default_hooks.visualization = {"type": "SegVisualizationHook", "draw": False}
    if options.mode == "ms+flip-1.x":
        loader.dataset.pipeline = config.tta_pipeline
        config.tta_model.module = config.model
        config.model = config.tta_model
    elif options.mode == "whole":
        config.model.test_cfg = {"mode": "whole"}
    config.log_level = "ERROR"
    runner = Runner.from_cfg(config)
    parts = dict.fromkeys(("read, resize and cut", "network", "count"), 0.0)
    segmentor = runner.model.module if options.mode == "ms+flip-1.x" else runner.model
    watch(type(runner.test_dataloader.dataset), "__getitem__", parts, "read, resize and cut")
    watch(type(segmentor), "extract_feat", parts, "network")
    watch(type(segmentor.decode_head), "forward", parts, "network")
    watch(IoUMetric, "process", parts, "count")
    with torch.autocast(
        options.device,
        getattr(torch, {"bf16": "bfloat16", "fp16": "float16"}.get(options.precision, "float32")),
        options.precision in ("bf16", "fp16"),
    ):
        seconds = []
        for _ in range(2 if options.warm else 1):
            kept.clear()
            parts.update(dict.fromkeys(parts, 0.0))
            started = time.perf_counter()
            runner.test()
            seconds.append(time.perf_counter() - started)
    parts["upsample, arg-max and all else"] = seconds[-1] - sum(parts.values())
    each = {part: took / options.images for part, took in parts.items()}
    return {"seconds": seconds[-1], "counts": np.array(kept).tolist(), "memory": most_memory(options.device), "parts": each}


def most_memory(device: str) -> float:
    """MB, so far: of tensors on a GPU, or resident."""
    if device != "cpu":
        import torch

        return torch.cuda.max_memory_allocated() / 1e6
    memory = Path(__file__).parent.parent / "segzoo" / "evaluation" / "memory.py"  # read by itself: mmseg's side runs where segzoo is not
    return float(runpy.run_path(str(memory))["resident_peak"]()) / 1e6


def watch(kind: type, method: str, parts: dict[str, float], part: str) -> None:
    """Add the seconds that a method takes to a part."""
    import torch

    inner = getattr(kind, method)

    def timed(*arguments: object, **named: object) -> object:
        started = time.perf_counter()
        try:
            return inner(*arguments, **named)
        finally:
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            parts[part] += time.perf_counter() - started

    setattr(kind, method, timed)


def segzoo_side(folder: Path, options: argparse.Namespace) -> dict[str, object]:
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    from segzoo.datasets.decode import read_pair
    from segzoo.datasets.pairs import samples
    from segzoo.evaluation.confusion import confusion
    from segzoo.evaluation.counts import counts_of
    from segzoo.evaluation.evaluator import Evaluator
    from segzoo.evaluation.precision import arithmetic
    from segzoo.zoo.loading import module
    from segzoo.zoo.opened import open_entry

    torch.set_num_threads(options.threads)
    entry = entry_of(options.model, options.zoo)
    model = module(open_entry(entry, folder / f"{options.model}.pth"), entry)
    device = torch.device(options.device)
    evaluator = Evaluator(model, entry.protocol, entry.head.classes, device, options.precision)
    if options.batch:
        evaluator.together = options.batch
        side = min(entry.protocol.windows[0] or entry.protocol.scale)
        evaluator.tokens = 2 * options.batch * (side // evaluator.patch) ** 2  # most images have two windows
    chosen = samples("ade20k", folder / "data", "validation", options.images)
    seconds = []
    for _ in range(2 if options.warm else 1):
        started = time.perf_counter()
        counts = [counts_of(one).arrays for _, one in evaluator.evaluate(chosen, options.mode)]
        seconds.append(time.perf_counter() - started)
    found: dict[str, object] = {"seconds": seconds[-1], "counts": np.array(counts).tolist(), "memory": most_memory(options.device)}
    if not options.warm:
        return found

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize()

    parts = dict.fromkeys(("read", "resize and cut", "network", "upsample and arg-max", "count"), 0.0)
    with torch.inference_mode(), arithmetic(options.precision):
        for start in range(0, min(len(chosen), 64), evaluator.together):
            group = chosen[start : start + evaluator.together]
            clock = [time.perf_counter()]
            pairs = [read_pair(sample, entry.head.classes) for sample in group]
            clock.append(time.perf_counter())
            views = [evaluator.views(image, options.mode) for image, _ in pairs]
            wait()
            clock.append(time.perf_counter())
            scored = evaluator.scored(views)
            wait()
            clock.append(time.perf_counter())
            labels = [evaluator.labels(one) for one in scored]
            wait()
            clock.append(time.perf_counter())
            for one, (_, label) in zip(labels, pairs, strict=True):
                confusion(one, label, entry.head.classes)
            wait()
            clock.append(time.perf_counter())
            for part, took in zip(parts, np.diff(clock), strict=True):
                parts[part] += took
        side = 8192 if device.type == "cuda" else 1536
        left, right = (torch.randn(side, side, device=device, dtype=evaluator.dtype) for _ in range(2))
        products = []
        for _ in range(6):
            wait()
            started = time.perf_counter()
            left @ right
            wait()
            products.append(time.perf_counter() - started)
        with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
            evaluator.scored([evaluator.views(read_pair(sample, entry.head.classes)[0], options.mode) for sample in chosen[:4]])
    timed = min(len(chosen), 64)
    found["parts"] = {part: took / timed for part, took in parts.items()}
    found["ceiling"] = 2 * side**3 / min(products)
    found["operations"] = counter.get_total_flops() / len(chosen[:4])
    return found


def run(
    python: str, side: str, folder: Path, model: str, mode: str, threads: int, options: argparse.Namespace, warm: bool = True, batch: int = 0
) -> dict[str, object]:
    """One side in a process of its own; its wall seconds are added."""
    command = [python, __file__, "--side", side, "--folder", folder, "--model", model, "--mode", mode, "--threads", threads, "--batch", batch]
    command += [
        "--images",
        options.images,
        "--config",
        Path(str(entry_of(model, options.zoo).config)).name,
        "--device",
        options.device,
        "--precision",
        options.precision,
        "--workers",
        options.workers,
        *(["--zoo", options.zoo] if options.zoo else []),
    ]
    hidden = {"CUDA_VISIBLE_DEVICES": ""} if options.device == "cpu" else {}
    environment = {**os.environ, **hidden, "OMP_NUM_THREADS": str(threads)}
    started = time.perf_counter()
    done = subprocess.run([str(part) for part in command] + (["--warm"] if warm else []), env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{side} failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return {**json.loads(done.stdout.splitlines()[-1]), "wall": time.perf_counter() - started}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", metavar="PYTHON")
    parser.add_argument("--zoo", help="the manifest that has the models; by default the shipped one")
    parser.add_argument("--models", nargs="+", default=["T"])
    parser.add_argument("--modes", nargs="+", default=["ss", "ms+flip-1.x"])
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--sizes", default="512x683")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--workers", type=int, default=0, help="of mmseg's data loader")
    parser.add_argument("--batches", nargs="*", type=int, default=[], help="how many images of segzoo's go at once, besides its own choice")
    record.add_option(parser)
    options = parser.parse_args()
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    print(f"{options.images} images of {options.sizes} on {options.device}, {options.precision}")
    print(
        f"{'':30}{'threads':>8}{'mmseg/s':>9}{'segzoo/s':>10}{'ratio':>7}{'mmseg MB':>10}{'segzoo':>8}{'ratio':>7}{'cold s':>14}{'pixels differ':>15}"
    )
    figures: dict[str, dict[str, float | str]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made(folder / "data", options.images, options.sizes, min(entry_of(model, options.zoo).head.classes for model in options.models))
        for model in options.models:
            checkpoint(folder, model, options.zoo)
            for mode in options.modes:
                for threads in options.threads:
                    figures[f"{model} {mode}, threads: {threads}"] = report(folder, model, mode, threads, options)
    if options.record:
        record.keep(CLAIM, figures, record.versions(options.peer, *PEERS), gpu_name(options.device))


def gpu_name(device: str) -> str | None:
    if device == "cpu":
        return None
    import torch

    return torch.cuda.get_device_name(device)


def report(folder: Path, model: str, mode: str, threads: int, options: argparse.Namespace) -> dict[str, float | str]:
    """Both sides of one model, shown, and what is to be recorded of them."""
    ours = run(sys.executable, "segzoo", folder, model, mode, threads, options)
    cold = run(sys.executable, "segzoo", folder, model, mode, threads, options, warm=False)["wall"]
    speed, memory = options.images / ours["seconds"], ours["memory"]
    found: dict[str, float | str] = {"images/s": speed, "MB": memory}
    if options.peer:
        theirs = run(options.peer, "mmseg", folder, model, mode, threads, options)
        cold_peer = run(options.peer, "mmseg", folder, model, mode, threads, options, warm=False)["wall"] if mode == "ss" else float("nan")
        counts = [np.array(side["counts"]) for side in (theirs, ours)]
        whole = int(counts[0][:, 1].sum())
        differ = f"{int(np.abs(counts[0][:, 1] - counts[1][:, 1]).sum() // 2)} of {whole / 1e6:.2f} M"
        peer_speed, peer_memory = options.images / theirs["seconds"], theirs["memory"]
        row = f"{peer_speed:9.3f}{speed:10.3f}{speed / peer_speed:7.2f}{peer_memory:10.0f}{memory:8.0f}{memory / peer_memory:7.2f}"
        found |= {"images/s, times mmseg's": speed / peer_speed, "MB, times mmseg's": memory / peer_memory, "pixels differ": differ}
        print(f"{model + ' ' + mode:30}{threads:8}{row}{cold_peer:7.1f}{cold:7.1f}{differ:>15}")
    else:
        print(f"{model + ' ' + mode:30}{threads:8}{'':9}{speed:10.3f}{'':17}{memory:8.0f}{'':14}{cold:7.1f}")
    if options.peer:
        print(f"    an image in mmseg:  {shares(theirs['parts'])}")
        found["mmseg outside, %"] = outside(theirs["parts"])
    floor = ours["operations"] / ours["ceiling"]
    share = 100 * floor / ours["parts"]["network"]
    print(f"    an image in segzoo: {shares(ours['parts'])}; floor {floor:.4f} s at {ours['ceiling'] / 1e9:.0f} GFLOP/s, {share:.0f} % of it reached")
    found |= {"segzoo outside, %": outside(ours["parts"]), "network, % of a product": share}
    for batch in options.batches:
        batched = run(sys.executable, "segzoo", folder, model, mode, threads, options, batch=batch)
        print(f"    {batch:4} images at once: {options.images / batched['seconds']:8.3f} images/s, {batched['memory']:6.0f} MB")
    return found


def shares(parts: dict[str, float]) -> str:
    whole = sum(parts.values())
    return ", ".join(f"{part} {took:.4f} s ({100 * took / whole:.0f} %)" for part, took in parts.items())


def outside(parts: dict[str, float]) -> float:
    """Percent of the time that is not the network's."""
    return 100 * (1 - parts["network"] / sum(parts.values()))


def side() -> None:
    parser = argparse.ArgumentParser()
    for flag in ("--side", "--model", "--config", "--mode", "--device", "--precision", "--zoo"):
        parser.add_argument(flag)
    for flag in ("--threads", "--images", "--workers", "--batch"):
        parser.add_argument(flag, type=int)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--warm", action="store_true")
    options = parser.parse_args()
    found = {"mmseg": mmseg_side, "segzoo": segzoo_side}[options.side](options.folder, options)
    print(json.dumps(found))


if __name__ == "__main__":
    side() if "--side" in sys.argv else main()
