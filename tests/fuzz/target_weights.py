"""Files of weights, what is inside them, and what lies beside them.

Changed bytes of a zip mostly end at its checksums. So what is in its members is changed alone, and zipped anew with checksums that fit.
"""

import contextlib
import io
import json
import pickle
import tempfile
import zipfile
from pathlib import Path

import numpy as np
from harness import Target
from support import GOLDEN, TAME

from segzoo.conversion.checkpoint import identified
from segzoo.conversion.convert import convert
from segzoo.conversion.inspect import inspect
from segzoo.conversion.metadata import said_by, said_of
from segzoo.conversion.plan import plan
from segzoo.errors import ConversionError, SegzooError
from segzoo.formats import Weights, open_weights, writer
from segzoo.formats.arrays import finite
from segzoo.json_in import read_json
from segzoo.layouts import LAYOUTS
from segzoo.spec import Spec

PTH, FLAX = GOLDEN / "pth", GOLDEN / "flax"
ARRAYS = {"a.b": np.arange(6, dtype="f4").reshape(2, 3), "c": np.arange(3, dtype="i8"), "d": np.asfortranarray(np.ones((2, 2), "f2"))}
CONFIG = """
_base_ = ['../base.py']
mean = [127.5, 127.5, 127.5]
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(mean=mean, std=mean, bgr_to_rgb=True),
    backbone=dict(type='VisionTransformer', img_size=(32, 32), patch_size=4, embed_dims=16, num_layers=2, num_heads=4, norm_cfg=dict(eps=1e-6)),
    decode_head=dict(type='SegmenterMaskTransformerHead', num_classes=5, num_heads=4),
    test_cfg=dict(mode='slide', crop_size=(32, 32), stride=(24, 24)))
test_pipeline = [dict(type='Resize', scale=(64, 32), keep_ratio=True), dict(type='MultiScaleFlipAug', transforms=[dict(type='Normalize', **{})])]
mean.append(1)
"""
CONFIG_JSON = {"num_attention_heads": 4, "hidden_size": 16, "num_hidden_layers": 2, "patch_size": 4, "image_size": [32, 32], "layer_norm_eps": 1e-6}
TIMM_JSON = {"architecture": "vit_tiny_patch16_224", "num_features": 192, "pretrained_cfg": {"mean": [0.5] * 3, "std": [0.5] * 3}}
META = {"CLASSES": ["wall", "sky"], "PALETTE": [[1, 2, 3], [4, 5, 6]], "dataset_meta": {"reduce_zero_label": True}, "config": CONFIG, "epoch": 3}


def read_all(path: Path) -> None:
    """Open a file as every command does, look at it, and read each of its tensors."""
    inspect(path)
    opened = open_weights(path)
    for name in opened:
        finite(opened[name])


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(members: dict[str, bytes], path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def of_suffix(suffix: str, metadata: dict[str, str]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"a{suffix}"
        with path.open("wb") as file:
            writer(path)(file, {name: Spec(array.shape, array.dtype.name) for name, array in ARRAYS.items()}, ARRAYS.items(), metadata)
        return path.read_bytes()


def npys() -> list[bytes]:
    files = []
    for array in ARRAYS.values():
        file = io.BytesIO()
        np.save(file, array)
        files.append(file.getvalue())
    return files


def read_npy(path: Path) -> None:
    zipped({"a.npy": path.read_bytes()}, path.with_suffix(".npz"))
    read_all(path.with_suffix(".npz"))


ZIPPED = members(PTH / "v1_train_history_buffer.pth")


def read_pickle(path: Path) -> None:
    """The pickle of a checkpoint, in a zip whose checksums are right."""
    zipped({**ZIPPED, next(name for name in ZIPPED if name.endswith("data.pkl")): path.read_bytes()}, path.with_suffix(".pth"))
    read_all(path.with_suffix(".pth"))


def read_meta(path: Path) -> None:
    """The pickle of a checkpoint's `meta`, behind that of its tensors."""
    target = path.with_suffix(".pth")
    target.write_bytes(of_suffix(".pth", {}))
    plain = members(target)
    pickled = plain["archive/data.pkl"].removesuffix(b".") + b"X\x04\x00\x00\x00meta" + path.read_bytes()
    zipped({**plain, "archive/data.pkl": pickled}, target)
    inspect(target)
    for said in said_of(open_weights(target)):
        for fact in said.facts.values():
            json.dumps(fact.value, allow_nan=False)


def read_config(path: Path) -> None:
    """A config, as a file of its own and beside weights whose geometry it may contradict."""
    (path.parent / "a.npz").write_bytes(TAME.read_bytes())
    inspect(path.parent / "a.npz")
    said = said_by(path)
    identified(open_weights(path.parent / "a.npz"))
    for fact in said.facts.values():
        json.dumps(fact.value, allow_nan=False)


def names_of(path: Path) -> bytes:
    return json.dumps({name: list(spec.shape) for name, spec in open_weights(path).specs.items()}).encode()


def read_names(path: Path) -> None:
    """Names and shapes of a stranger: detected, measured, and planned to every layout."""
    shapes = read_json(path)
    if not isinstance(shapes, dict) or not all(isinstance(one, list) and all(type(n) is int and n >= 0 for n in one) for one in shapes.values()):
        raise ConversionError("no shapes")
    specs = {name: Spec(tuple(shape), "float32") for name, shape in shapes.items()}
    read = identified(Weights(path, "npz", specs, lambda name: np.zeros(specs[name].shape, "f4")))
    planned = 0
    for layout in LAYOUTS["vit"]:
        with contextlib.suppress(SegzooError):
            planned += bool(plan(specs, layout, found=read.found, heads=4).steps)
    if not planned:
        raise ConversionError("no layout can hold it")


def convert_to(path: Path) -> None:
    convert(path, path.with_name("out.safetensors"), to="timm", heads=4, force=True)


TARGETS = [
    Target("npz", lambda: [of_suffix(".npz", {}), TAME.read_bytes()], read_all, name="a.npz"),
    Target("npy", npys, read_npy, name="a.npy"),
    Target("pth", lambda: [of_suffix(".pth", {}), (PTH / "views_zip.pth").read_bytes()], read_all, name="a.pth"),
    Target("pickle", lambda: [content for name, content in ZIPPED.items() if name.endswith("data.pkl")], read_pickle, name="data.pkl"),
    Target("meta", lambda: [pickle.dumps(META, protocol)[:-1] + b"s." for protocol in (0, 2, 4)], read_meta, name="meta.pkl", share=0.5),
    Target("legacy", lambda: [(PTH / f"{form}.pth").read_bytes() for form in ("half_legacy", "views_legacy")], read_all, name="a.pth"),
    Target("safetensors", lambda: [of_suffix(".safetensors", {"segzoo": '{"heads": 3}'})], read_all, name="a.safetensors"),
    Target("msgpack", lambda: [(FLAX / f"{form}.msgpack").read_bytes() for form in ("bfloat16", "optimizer", "chunked")], read_all, name="a.msgpack"),
    Target("config.py", lambda: [CONFIG.encode()], read_config, name="config.py", share=0.25),
    Target("config.json", lambda: [json.dumps(one).encode() for one in (CONFIG_JSON, TIMM_JSON)], read_config, name="config.json", share=0.25),
    Target("names", lambda: [names_of(TAME)], read_names, name="names.json", share=0.5),
    Target("conversion", lambda: [TAME.read_bytes()], convert_to, name="a.npz", share=0.5),
]
