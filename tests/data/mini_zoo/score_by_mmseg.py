"""The figures of the real mmseg 1.2.2's IoUMetric on saved label maps: python score_by_mmseg.py PREDICTIONS ANNOTATIONS [NAME...]

Wants mmsegmentation 1.2.2, mmengine 0.10.7, mmcv-lite 2.1.0 and Pillow. PREDICTIONS has NAME.labels.png as `segzoo predict` writes it,
ANNOTATIONS the labels of the mini zoo, which are read as mmseg's LoadAnnotations does with `reduce_zero_label`.
"""

import json
import sys
import types
from pathlib import Path

import numpy as np
import torch
from PIL import Image

CLASSES, KINDS = 8, ["mIoU", "mDice", "mFscore"]


class Absent(types.ModuleType):
    """In place of mmcv's compiled operators, which mmcv-lite lacks and IoUMetric does not use."""

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *given, **named: None


def figures(predictions: Path, annotations: Path, names: list[str]) -> dict[str, object]:
    from mmseg.evaluation.metrics import IoUMetric

    metric = IoUMetric(iou_metrics=KINDS)
    metric.dataset_meta = {"classes": [str(index) for index in range(CLASSES)]}
    for name in names:
        label = np.array(Image.open(annotations / f"{name}.png"))
        label[label == 0] = 255
        label = label - 1
        label[label == 254] = 255
        found = np.array(Image.open(predictions / f"{name}.labels.png"))
        wrapped = [{"data": torch.from_numpy(one.astype(np.int64))[None]} for one in (found, label)]
        metric.process({}, [{"pred_sem_seg": wrapped[0], "gt_sem_seg": wrapped[1]}])
    areas = [sum(one) for one in zip(*metric.results, strict=True)]
    each = metric.total_area_to_metrics(*areas, KINDS, None, 1)
    per_class = {kind: [None if np.isnan(one) else round(100 * float(one), 2) for one in values] for kind, values in each.items() if kind != "aAcc"}
    return {"metrics": {kind: round(float(one), 2) for kind, one in metric.compute_metrics(metric.results).items()}, "per_class": per_class}


if __name__ == "__main__":
    sys.modules["mmcv._ext"] = Absent("mmcv._ext")
    of, labels = Path(sys.argv[1]), Path(sys.argv[2])
    print(json.dumps(figures(of, labels, sys.argv[3:] or sorted(path.stem for path in labels.glob("*.png")))))
