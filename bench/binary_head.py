"""What the real mmseg 1.2.2 makes of a Segmenter with one output channel: the golden figures in tests/data/binary_head.json.

The model is the mini zoo's linear Segmenter with one score in place of eight: sky against the mean of the others. It goes through
mmseg's own modules, test step, IoUMetric and SegTTAModel, on the 40 images, with labels of three rules:

    masks     0 background, 1 sky, as they are: two classes
    from one  0 ignored, 1 background, 2 sky, with reduce_zero_label: two classes
    one class 0 ignored, 1 sky, with reduce_zero_label: the one class 'sky'

Beside it stands what mmseg makes of the mini zoo's linear Segmenter by another config: 4 heads, ImageNet's mean and deviation, windows of
64 x 48; with that config as mmengine writes it into a checkpoint.

In a throw-away environment with mmseg 1.2.2 (bench/evaluate.py says which packages): python bench/binary_head.py tests/data/binary_head.json
"""
# ruff: noqa: E402 - the stand-in comes before mmseg

import json
import sys
import tempfile
import warnings
from pathlib import Path

import mmcv_stand_in

mmcv_stand_in.install()

import numpy as np
import torch
from mmengine.config import Config, ConfigDict
from mmengine.dataset import pseudo_collate
from mmseg.datasets import BaseSegDataset
from mmseg.evaluation import IoUMetric
from mmseg.models import build_segmentor
from mmseg.models.segmentors.seg_tta import SegTTAModel
from mmseg.utils import register_all_modules
from PIL import Image

MINI = Path(__file__).parent.parent / "segzoo" / "mini"
NORM = {"type": "LN", "eps": 1e-6, "requires_grad": True}
MODEL = {
    "type": "EncoderDecoder",
    "data_preprocessor": {"type": "SegDataPreProcessor", "mean": [127.5] * 3, "std": [127.5] * 3, "bgr_to_rgb": True, "seg_pad_val": 255},
    "backbone": {
        "type": "VisionTransformer", "img_size": (64, 64), "patch_size": 8, "patch_bias": True, "in_channels": 3, "embed_dims": 128,
        "num_layers": 3, "num_heads": 2, "final_norm": True, "norm_cfg": NORM, "with_cls_token": True, "interpolate_mode": "bicubic",
    },
    "decode_head": {
        "type": "FCNHead", "in_channels": 128, "channels": 128, "num_convs": 0, "dropout_ratio": 0.0, "concat_input": False,
        "num_classes": 2, "out_channels": 1, "loss_decode": {"type": "CrossEntropyLoss", "use_sigmoid": True, "loss_weight": 1.0},
    },
    "test_cfg": {"mode": "slide", "crop_size": (64, 64), "stride": (48, 48)},
}  # fmt: skip
RATIOS = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
RULES = {
    "masks": (lambda raw: (raw == 1).astype(np.uint8), False, ("background", "sky")),
    "from one": (lambda raw: ((raw > 0) * 1 + (raw == 1)).astype(np.uint8), True, ("background", "sky")),
    "one class": (lambda raw: (raw == 1).astype(np.uint8), True, ("sky",)),
}


def binary_state():
    """The linear Segmenter's tensors, with one score: that of sky less the mean of the others."""
    state = torch.load(next(MINI.glob("segmenter_mini_linear-*.pth")), map_location="cpu", weights_only=True)["state_dict"]
    weight, bias = state["decode_head.conv_seg.weight"], state["decode_head.conv_seg.bias"]
    state["decode_head.conv_seg.weight"] = weight[:1] - weight[1:].mean(0, keepdim=True)
    state["decode_head.conv_seg.bias"] = bias[:1] - bias[1:].mean(0, keepdim=True)
    return state


def model(threshold=None):
    config = ConfigDict(MODEL)
    config.decode_head.threshold = threshold
    made = build_segmentor(config)
    made.load_state_dict(binary_state(), strict=True)
    return made.eval()


def dataset(root, rule, pipeline):
    labels, reduce_zero_label, classes = RULES[rule]
    folder = root / rule.replace(" ", "_")
    folder.mkdir(exist_ok=True)
    for path in sorted((MINI / "ade_mini/annotations/validation").glob("*.png")):
        Image.fromarray(labels(np.array(Image.open(path)))).save(folder / path.name)
    return BaseSegDataset(
        data_prefix={"img_path": str(MINI / "ade_mini/images/validation"), "seg_map_path": str(folder)},
        img_suffix=".jpg", seg_map_suffix=".png", reduce_zero_label=reduce_zero_label, pipeline=pipeline,
        metainfo={"classes": classes, "palette": [[i, i, i] for i in range(len(classes))]},
    )  # fmt: skip


SS = [
    {"type": "LoadImageFromFile"},
    {"type": "Resize", "scale": (256, 64), "keep_ratio": True},
    {"type": "LoadAnnotations"},
    {"type": "PackSegInputs"},
]
TTA = [
    {"type": "LoadImageFromFile"},
    {"type": "TestTimeAug", "transforms": [
        [{"type": "Resize", "scale_factor": ratio, "keep_ratio": True} for ratio in RATIOS],
        [{"type": "RandomFlip", "prob": 0.0, "direction": "horizontal"}, {"type": "RandomFlip", "prob": 1.0, "direction": "horizontal"}],
        [{"type": "LoadAnnotations"}], [{"type": "PackSegInputs"}],
    ]},
]  # fmt: skip


def measured(network, data, images=None):
    """The figures of mmseg's metric, the pixels that it counts, and the share of sky in each image."""
    metric = IoUMetric(iou_metrics=["mIoU"], prefix=None)
    metric.dataset_meta = data.metainfo
    shares = {}
    for index in range(images or len(data)):
        item = data[index]
        with torch.no_grad():
            found = network.test_step(pseudo_collate([item]))
        samples = [one.to_dict() for one in found]
        metric.process({}, samples)
        shares[Path(samples[0]["img_path"]).name] = round(float(samples[0]["pred_sem_seg"]["data"].double().mean()), 8)
    totals = [sum(one[index] for one in metric.results).tolist() for index in (0, 2, 3)]
    names = ("intersect", "pred", "label")
    return {"metrics": metric.compute_metrics(metric.results), "totals": dict(zip(names, totals, strict=True)), "sky": shares}


def configured():
    """The config's text, and the pixels of each class in three images."""
    config = Config({"model": json.loads(json.dumps(MODEL)), "test_pipeline": SS})
    config.model.backbone.num_heads = 4
    config.model.data_preprocessor.mean, config.model.data_preprocessor.std = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
    config.model.decode_head.num_classes = 8
    config.model.decode_head.pop("out_channels")
    config.model.test_cfg = {"mode": "slide", "crop_size": (64, 48), "stride": (48, 32)}
    network = build_segmentor(config.model)
    state = torch.load(next(MINI.glob("segmenter_mini_linear-*.pth")), map_location="cpu", weights_only=True)["state_dict"]
    network.load_state_dict(state, strict=True)
    data = BaseSegDataset(data_prefix={"img_path": str(MINI / "ade_mini/images/validation")}, img_suffix=".jpg", test_mode=True,
                          pipeline=[SS[0], SS[1], SS[3]], metainfo={"classes": tuple("abcdefgh")})  # fmt: skip
    pixels = {}
    for index in range(3):
        with torch.no_grad():
            (found,) = network.eval().test_step(pseudo_collate([data[index]]))
        pixels[Path(found.img_path).name] = np.bincount(found.pred_sem_seg.data.flatten().numpy(), minlength=8).tolist()
    return {"text": config.pretty_text, "pixels": pixels}


def main():
    register_all_modules()
    warnings.simplefilter("ignore")
    out = {"config": configured()}
    with tempfile.TemporaryDirectory() as folder:
        for rule in RULES:
            out[rule] = measured(model(), dataset(Path(folder), rule, SS))
        out["masks, threshold 0.6"] = measured(model(0.6), dataset(Path(folder), "masks", SS))
        out["masks, tta, first 8"] = measured(SegTTAModel(model()), dataset(Path(folder), "masks", TTA), 8)
    Path(sys.argv[1]).write_text(json.dumps(out, default=float) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
