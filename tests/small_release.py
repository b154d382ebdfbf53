"""Made files under true names: a small release, its index, and a server that has it."""

import csv
import io
import random
from pathlib import Path

import numpy as np
from server import Ranged

from segzoo.scale.index import COLUMNS
from segzoo.scale.release import Family

TINY = Family(width=16, depth=2, heads=2, patch=16, stride=112, base=0, params=0)
TINY_SETS = {"kitti": 4, "oxford_iiit_pet": 37}


def tensors(family, classes, resolution=224, seed=0):
    """The tensors of a file in AugReg's format."""
    random_numbers = np.random.default_rng(seed)
    width, heads, grid = family.width, family.heads, resolution // family.stride
    shapes = {"cls": (1, 1, width), "embedding/kernel": (family.patch, family.patch, 3, width), "embedding/bias": (width,)}
    shapes |= {"head/kernel": (width, classes), "head/bias": (classes,), "Transformer/posembed_input/pos_embedding": (1, grid * grid + 1, width)}
    norms = ["Transformer/encoder_norm"]
    for block in (f"Transformer/encoderblock_{index}" for index in range(family.depth)):
        attention = f"{block}/MultiHeadDotProductAttention_1"
        for part in ("query", "key", "value"):
            shapes |= {f"{attention}/{part}/kernel": (width, heads, width // heads), f"{attention}/{part}/bias": (heads, width // heads)}
        shapes |= {f"{attention}/out/kernel": (heads, width // heads, width), f"{attention}/out/bias": (width,)}
        shapes |= {f"{block}/MlpBlock_3/Dense_0/kernel": (width, 4 * width), f"{block}/MlpBlock_3/Dense_0/bias": (4 * width,)}
        shapes |= {f"{block}/MlpBlock_3/Dense_1/kernel": (4 * width, width), f"{block}/MlpBlock_3/Dense_1/bias": (width,)}
        norms += [f"{block}/LayerNorm_0", f"{block}/LayerNorm_2"]
    shapes |= {f"{norm}/{part}": (width,) for norm in norms for part in ("scale", "bias")}
    return {name: 0.1 * random_numbers.standard_normal(shape, np.float32) for name, shape in shapes.items()}


def npz(arrays) -> bytes:
    made = io.BytesIO()
    np.savez(made, **arrays)
    return made.getvalue()


def sized(family=TINY):
    """A family with the bytes and parameters that its files have without classifier and positions."""
    grid, classes = 224 // family.stride, 4
    made = tensors(family, classes)
    more = (family.width + 1) * classes + family.width * (grid * grid + 1)
    params = sum(array.size for array in made.values()) - more
    return Family(family.width, family.depth, family.heads, family.patch, family.stride, len(npz(made)) - 4 * more, params)


FAMILIES = {"Ti/16": sized()}


def row(number, adapt_ds="kitti", lr="0.03", resolution="224"):
    """A row of the index for a made file."""
    wd, aug = ("0.03", "0.1")[number % 2], ("none", "light0", "light1", "medium1", "medium2", "strong1", "strong2")[number % 7]
    steps, lr = (("500", "0"), ("2500", "2"))[number // 14 % 2], ("0.001", "0.003", "0.01", "0.03")[number // 28 % 4]
    upstream = f"Ti_16-i21k-300ep-lr_0.001-aug_{aug}-wd_{wd}-do_0.0-sd_0.0"
    facts = {"name": "Ti/16", "ds": "i21k", "epochs": "300.0", "lr": "0.001", "aug": aug, "wd": wd, "do": "0.0", "sd": "0.0", "final_val": "0.4"}
    facts |= {"adapt_ds": adapt_ds, "adapt_lr": lr, "adapt_steps": steps[0], "adapt_resolution": resolution, "params": "10000.0"}
    facts |= {"adapt_final_val": f"{random.Random(number).random():.6f}", "adapt_final_test": "0.5", "infer_samples_per_sec": "610.5"}
    return facts | {"filename": upstream, "adapt_filename": f"{upstream}--{adapt_ds}-steps_{steps[1]}k-lr_{lr}-res_{resolution}"}


def write_index(path: Path, rows) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    return path


def release(count, **faults):
    """Rows, and the table of a server that has their files. `faults` replace what is sent for a row's number."""
    rows = [row(number, ("kitti", "oxford_iiit_pet")[number // 112]) for number in range(count)]
    bodies = {ds: tensors(FAMILIES["Ti/16"], classes) for ds, classes in TINY_SETS.items()}
    table = {}
    for number, one in enumerate(rows):
        made = {**bodies[one["adapt_ds"]], "cls": np.full((1, 1, TINY.width), number, np.float32)}
        table[f"/{one['adapt_filename']}.npz"] = Ranged(npz(made))
    return rows, table
