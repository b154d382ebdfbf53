"""Writes segformer_32.npz: the tiny SegFormer on three images whose sides are brought up to multiples of 32, by mmseg 1.2.2's own pipeline and model.

    python segformer_32.py

Needs mmseg 1.2.2 (mmcv-lite, mmengine). `ss`: its scores at the image's own size, every third of rows and columns, and labels. `ms`: the mean of the
softmax of six sizes, plain and flipped, as 0.x's `MultiScaleFlipAug` has them; written out here, since 1.x has another one.
"""

import json
from pathlib import Path

import numpy as np
import torch
from mmcv.transforms import Compose, LoadImageFromFile, Resize
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import load_checkpoint
from mmseg.datasets.transforms import PackSegInputs, ResizeToMultiple
from mmseg.registry import MODELS

HERE = Path(__file__).parent
IMAGES = ("mini_01_50x90", "mini_03_33x200", "mini_05_20x31")
SCALE, RATIOS = (256, 64), (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)


def scores(model, path, ratio=1.0, flip=False):
    """The logits (c, h, w) at the image's own size, by the model's own test step."""
    scale = tuple(int(side * ratio) for side in SCALE)
    steps = [LoadImageFromFile(), Resize(scale=scale, keep_ratio=True), ResizeToMultiple(size_divisor=32)]
    results = Compose(steps)({"img_path": str(path)})
    if flip:
        results["img"] = np.ascontiguousarray(results["img"][:, ::-1])
    packed = PackSegInputs(meta_keys=("img_path", "ori_shape", "img_shape"))(results)
    with torch.inference_mode():
        (found,) = model.test_step({"inputs": [packed["inputs"]], "data_samples": [packed["data_samples"]]})
    logits = found.seg_logits.data
    return logits.flip(2) if flip else logits


def main():
    config = Config(json.loads((HERE / "segformer_whole" / "config.json").read_text()))
    init_default_scope("mmseg")
    model = MODELS.build(config).eval()
    load_checkpoint(model, str(HERE / "segformer.pth"), map_location="cpu")
    kept = {}
    for name in IMAGES:
        path = HERE.parent / "mmseg" / "data" / "mini" / "images" / "validation" / f"{name}.png"
        ss = scores(model, path)
        ms = torch.stack([scores(model, path, ratio, flip).softmax(0) for ratio in RATIOS for flip in (False, True)]).mean(0)
        for mode, found in (("ss", ss), ("ms", ms)):
            kept[f"{name}/{mode}@s3"] = found[:, ::3, ::3].numpy()
            kept[f"{name}/{mode}/labels"] = found.argmax(0).numpy().astype(np.uint8)
    np.savez_compressed(HERE / "segformer_32.npz", **kept)


if __name__ == "__main__":
    main()
