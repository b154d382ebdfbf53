"""A student's first five minutes with segzoo, held to the real mmseg 1.2.2: own checkpoints, own pictures, own labels.

    python bench/own_work.py --peer PYTHON [--keep FOLDER] [--record]

PYTHON is that of an environment with mmseg 1.2.2 (bench/evaluate.py says which packages). In it mmseg builds four models of small size with
random weights, and saves them as its runner does: a Segmenter of 19 classes by the stock config of 1.2 (no patch bias), one of 2 classes
under a wrapper's `module.`, a binary one with a single output, and one whose 144 positions are 8 x 18. Then it labels twenty pictures of
all kinds and sizes, and scores two sets of labels: values from 0 with 255 to ignore, and colours. segzoo is given the same files on its
command line, without a manifest. Printed are the commands as they are typed, the pixels that differ from mmseg's, and both sides' figures.
"""

import argparse
import json
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import record

CLAIM = (
    "Checkpoints of one's own, as mmseg saves them, on pictures of one's own, with nothing typed but the file's name: pixels of another label than "
    "mmseg's, and the mIoU of both on two kinds of labels."
)
MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
CLASSES = {
    "street": [f"kind {number}" for number in range(19)],
    "ponds": ["land", "water"],
    "cells": ["background", "cell"],
    "wide": ["left", "middle", "right"],
}
COLOURS = [[200, 140, 60], [30, 90, 220]]
SETS = ("values", "colours")


def pictures(folder: Path) -> None:
    """Twenty pictures of many sizes: JPEG and PNG, grey, with a palette, with alpha, turned by EXIF; and labels of two kinds for each."""
    from PIL import Image

    random = np.random.default_rng(11)
    for name in ("pictures", *(f"{kind}/{part}" for kind in SETS for part in ("photos", "labels"))):
        (folder / name).mkdir(parents=True)
    for index in range(20):
        height, width = (int(side) for side in random.integers(40, 200, 2))
        coarse = random.integers(0, 256, (height // 10 + 2, width // 10 + 2, 3), np.uint8)
        image = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
        kind = ("JPEG", "RGB", "L", "P", "EXIF")[index % 5]
        path = folder / "pictures" / f"photo_{index:02}.{'jpg' if kind in ('JPEG', 'EXIF') else 'png'}"
        if kind == "EXIF":
            exif = Image.Exif()
            exif[0x0112] = 6
            image.save(path, quality=92, exif=exif)
            height, width = width, height
        elif kind == "JPEG":
            image.save(path, quality=92)
        else:
            (image if kind == "RGB" else image.convert(kind)).save(path)
        blobs = Image.fromarray(random.integers(0, 2, (height // 25 + 2, width // 25 + 2), np.uint8))
        labels = np.array(blobs.resize((width, height), Image.Resampling.NEAREST))
        coloured = np.array(COLOURS, np.uint8)[labels]
        labels[: height // 12] = 255
        for kind, picture in (("values", labels), ("colours", coloured)):
            Image.fromarray(picture).save(folder / kind / "labels" / f"{path.stem}.png")
            shutil.copy(path, folder / kind / "photos")


def peer(folder: Path) -> None:
    """The part of mmseg: four checkpoints, the labels of every picture, and the figures of its own metric."""
    import mmcv_stand_in

    mmcv_stand_in.install()
    import torch
    from mmengine.config import Config
    from mmengine.dataset import Compose, pseudo_collate
    from mmseg.evaluation import IoUMetric
    from mmseg.models import build_segmentor
    from mmseg.utils import register_all_modules
    from PIL import Image

    register_all_modules()
    torch.set_num_threads(1)
    figures = {}
    for number, (name, classes) in enumerate(CLASSES.items()):
        config = Config(_config(name, len(classes)))
        torch.manual_seed(number)
        model = build_segmentor(config.model).eval()
        for key, parameter in model.named_parameters():
            norm = parameter.dim() == 1 and key.endswith("weight")
            torch.nn.init.normal_(parameter, 1.0 if norm else 0.0, 0.3)
        if name == "cells":  # foreground and background in about equal parts
            with torch.inference_mode():
                scores = model.encode_decode(torch.zeros(1, 3, 64, 64), [{"img_shape": (64, 64), "ori_shape": (64, 64)}])
            model.decode_head.conv_seg.bias.data -= scores.median() + 0.85  # of a grey picture, half is above the threshold
        state = {f"module.{key}" if name == "ponds" else key: value for key, value in model.state_dict().items()}
        meta = {"epoch": 1, "iter": 4000, "mmseg_version": "1.2.2", "cfg": config.pretty_text}
        palette = COLOURS if len(classes) == 2 else [[10 * index, 255 - 10 * index, 40] for index in range(len(classes))]
        meta["dataset_meta"] = {"classes": classes, "palette": palette}
        torch.save({"meta": meta, "state_dict": state, "optimizer": {"state": {}, "param_groups": []}}, folder / f"{name}.pth")
        pipeline = Compose(config.test_pipeline)
        out = folder / "mmseg" / name
        out.mkdir(parents=True)
        kept = []
        for path in sorted((folder / "pictures").iterdir()):
            data = pipeline({"img_path": str(path), "reduce_zero_label": False, "seg_fields": []})
            with torch.inference_mode():
                (sample,) = model.test_step(pseudo_collate([data]))
            labels = sample.pred_sem_seg.data[0].to(torch.uint8).numpy()
            Image.fromarray(labels).save(out / f"{path.stem}.png")
            kept.append((path.stem, labels))
        if len(classes) == 2:
            figures[name] = {kind: _score(IoUMetric, folder / kind / "labels", kept, classes) for kind in SETS}
    (folder / "mmseg.json").write_text(json.dumps(figures))


def _score(metric_class, folder: Path, kept, classes) -> dict[str, float]:
    import torch
    from PIL import Image

    metric = metric_class(iou_metrics=["mIoU"])
    metric.dataset_meta = {"classes": classes}
    colours = np.array(COLOURS)
    for stem, labels in kept:
        truth = np.array(Image.open(folder / f"{stem}.png"))
        truth = truth if truth.ndim == 2 else (truth[..., None, :] == colours).all(-1).argmax(-1)
        sample = {"pred_sem_seg": {"data": torch.from_numpy(labels)[None].long()}, "gt_sem_seg": {"data": torch.from_numpy(truth)[None].long()}}
        metric.process({}, [sample])
    return {key: float(value) for key, value in metric.compute_metrics(metric.results).items()}


def _config(name: str, classes: int) -> dict:
    """The stock Segmenter of mmseg 1.2 in small: no word of `patch_bias`, ImageNet's mean and deviation, heads that are not width / 64."""
    norm = {"type": "LN", "eps": 1e-6, "requires_grad": True}
    head = {"type": "SegmenterMaskTransformerHead", "in_channels": 128, "channels": 128, "num_classes": classes, "num_layers": 2, "num_heads": 4}
    head |= {"embed_dims": 128, "dropout_ratio": 0.0, "loss_decode": {"type": "CrossEntropyLoss", "use_sigmoid": False, "loss_weight": 1.0}}
    if name == "cells":
        head = {"type": "FCNHead", "in_channels": 128, "channels": 128, "num_convs": 0, "dropout_ratio": 0.0, "concat_input": False}
        head |= {"num_classes": 2, "out_channels": 1, "loss_decode": {"type": "CrossEntropyLoss", "use_sigmoid": True, "loss_weight": 1.0}}
    backbone = {"type": "VisionTransformer", "img_size": (64, 64), "patch_size": 8, "in_channels": 3, "embed_dims": 128, "num_layers": 3}
    backbone |= {"num_heads": 8, "drop_path_rate": 0.1, "final_norm": True, "norm_cfg": norm, "with_cls_token": True, "interpolate_mode": "bicubic"}
    preprocessor = {"type": "SegDataPreProcessor", "mean": MEAN, "std": STD, "bgr_to_rgb": True, "pad_val": 0, "seg_pad_val": 255}
    model = {"type": "EncoderDecoder", "data_preprocessor": preprocessor, "pretrained": None, "backbone": backbone, "decode_head": head}
    model["test_cfg"] = {"mode": "slide", "crop_size": (64, 64), "stride": (40, 40)}
    if name == "wide":  # 8 x 18 positions, as many as 12 x 12; windows of another size, so that the table is resized
        backbone["img_size"] = (64, 144)
        model["test_cfg"] = {"mode": "slide", "crop_size": (64, 128), "stride": (40, 80)}
    pipeline = [{"type": "LoadImageFromFile"}, {"type": "Resize", "scale": (256, 64), "keep_ratio": True}, {"type": "PackSegInputs"}]
    return {"model": model, "test_pipeline": pipeline}


def typed(folder: Path, command: str, code: int = 0) -> str:
    """A command as the student types it, and what it prints."""
    done = subprocess.run([sys.executable, "-m", *shlex.split(command)], cwd=folder, capture_output=True, text=True)
    print(f"$ {command}")
    if done.returncode != code:
        raise SystemExit(f"exit {done.returncode}, expected {code}\n{done.stdout}{done.stderr}")
    return done.stdout


def differing(folder: Path, name: str, out: Path) -> tuple[int, int, int]:
    """How many pixels have another label than mmseg's, of how many, and how many classes mmseg sees."""
    from PIL import Image

    wrong = pixels = 0
    seen: set[int] = set()
    for path in sorted((folder / "mmseg" / name).iterdir()):
        theirs, ours = (np.array(Image.open(one)) for one in (path, out / f"{path.stem}.labels.png"))
        wrong, pixels = wrong + int((theirs != ours).sum()), pixels + theirs.size
        seen |= set(np.unique(theirs).tolist())
    return wrong, pixels, len(seen)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", required=True, help="python of an environment with mmseg 1.2.2")
    parser.add_argument("--keep", type=Path, help="folder to work in, which stays")
    record.add_option(parser)
    options = parser.parse_args()
    figures: dict[str, dict[str, float | str]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        pictures(folder)
        subprocess.run([options.peer, __file__, "--part", str(folder)], check=True, env={"PYTHONWARNINGS": "ignore"})
        theirs = json.loads((folder / "mmseg.json").read_text())
        for name in CLASSES:
            typed(folder, f"segzoo inspect {name}.pth")
            typed(folder, f"segzoo predict {name}.pth pictures -o {name}")
            wrong, pixels, seen = differing(folder, name, folder / name)
            figures[name] = {"pixels differ": f"{wrong} of {pixels:,}"}
            print(f"  {wrong} of {pixels:,} pixels differ from mmseg's, which sees {seen} of {len(CLASSES[name])} classes")
        for kind in SETS:
            typed(folder, f"segzoo data check {kind}")
        for name, kinds in theirs.items():
            for kind, theirs_of_it in kinds.items():
                answer = json.loads(typed(folder, f"segzoo verify {name}.pth --data {kind} --images all --json"))
                (check,) = (one for one in answer["result"][0]["checks"] if one["rung"] == "mIoU")
                measured = check["facts"]["modes"]["ss"]["measured"]
                figures[f"{name}, labels as {kind}"] = {"mIoU": f"{measured['mIoU']:.2f}", "mmseg's": f"{theirs_of_it['mIoU']:.2f}"}
                print(f"  mmseg  {theirs_of_it}\n  segzoo {measured}")
        typed(folder, "segzoo report ponds.pth cells.pth --data values -o report")
    if options.record:
        record.keep(CLAIM, figures, record.versions(options.peer, "mmsegmentation"))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--part"]:
        peer(Path(sys.argv[2]))
    else:
        main()
