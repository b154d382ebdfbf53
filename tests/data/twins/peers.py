"""Writes the small Twins beside this file: each library's own model with random weights, its own file, and what it computes.

    python peers.py FOLDER_OF_THE_AUTHORS_REPOSITORY FOLDER_WITH_twins2mmseg.py

Needs timm 1.0.31, mmpretrain 1.2.0 and torch. The authors' repository is Meituan-AutoML/Twins, twins2mmseg.py is in mmseg 1.2.2's
`.mim/tools/model_converters`. All norms have the eps of mmseg, 1e-5: the authors and timm have 1e-6 in some.
"""

import importlib.util
import subprocess
import sys
import types
from functools import partial
from pathlib import Path

import numpy as np
import timm
import torch
from torch import nn

HERE = Path(__file__).parent
WIDTHS, DEPTHS, HEADS, RATIOS, REDUCTIONS = (4, 8, 12, 16), (2, 1, 3, 2), (1, 2, 3, 4), (3, 2, 2, 2), (8, 4, 2, 1)
SIZES = {"embed_dims": WIDTHS, "depths": DEPTHS, "num_heads": HEADS, "mlp_ratios": RATIOS, "sr_ratios": REDUCTIONS}
NORM = partial(nn.LayerNorm, eps=1e-5)
GENERATOR = np.random.default_rng(0)
IMAGE = torch.from_numpy(GENERATOR.uniform(-1, 1, (1, 3, 64, 128)).astype(np.float32))
RAGGED = torch.from_numpy(GENERATOR.uniform(-1, 1, (1, 3, 160, 96)).astype(np.float32))


def shaken(model, seed):
    """The model with random numbers everywhere, all different."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            near = 1 if tensor.dim() == 1 and name.endswith("weight") else 0
            tensor.copy_(near + 0.6 * torch.rand(tensor.shape, generator=generator) - 0.3)
    return model.eval()


def keep(name, **arrays):
    np.savez_compressed(HERE / f"{name}.npz", **{key: tensor.detach().numpy() for key, tensor in arrays.items()})


class Block(nn.Module):
    """The block of timm 0.3.2, which the authors' program extends: they add its attention, or make another."""

    def __init__(self, dim, num_heads, mlp_ratio, qkv_bias, qk_scale, drop, attn_drop, drop_path, act_layer, norm_layer):
        super().__init__()
        self.norm1, self.norm2, self.attn, self.drop_path = norm_layer(dim), norm_layer(dim), nn.Identity(), nn.Identity()
        self.mlp = timm.layers.Mlp(dim, int(dim * mlp_ratio), act_layer=act_layer)


def authors(path):
    """A module of the authors' repository, with stand-ins for what it imports of mmseg 0.x, mmcv 1.x and timm 0.3.2 and does not compute with."""
    registry = types.SimpleNamespace(register_module=lambda: lambda one: one)
    stand_ins = {
        "mmseg.models.builder": {"BACKBONES": registry},
        "mmseg.utils": {"get_root_logger": None},
        "mmcv.runner": {"load_checkpoint": None},
        "timm.models.layers": {"DropPath": timm.layers.DropPath, "to_2tuple": timm.layers.to_2tuple, "trunc_normal_": timm.layers.trunc_normal_},
        "timm.models.registry": {"register_model": lambda one: one},
        "timm.models.vision_transformer": {"_cfg": dict, "Block": Block, "Attention": nn.Identity},
    }
    before = {name: sys.modules.get(name) for name in ("mmseg", "mmseg.models", "mmcv", *stand_ins)}
    for name, held in stand_ins.items():
        sys.modules[name] = types.ModuleType(name)
        vars(sys.modules[name]).update(held)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name, one in before.items():
        if one is None:
            sys.modules.pop(name, None)
        else:
            sys.modules[name] = one
    return module


def official(repository, converters):
    gvt = authors(repository / "gvt.py")
    common = {"patch_size": 4, "num_classes": 5, "qkv_bias": True, "norm_layer": NORM, **SIZES}
    for seed, (name, model) in enumerate({"pcpvt": gvt.CPVTV2(**common), "svt": gvt.ALTGVT(**common, wss=(2, 2, 2, 2))}.items()):
        shaken(model, seed)
        torch.save(model.state_dict(), HERE / f"official_{name}.pth")
        keep(f"official_{name}", logits=model(IMAGE))
        converted = [sys.executable, str(converters / "twins2mmseg.py"), f"official_{name}.pth", f"twins2mmseg_{name}.pth", name]
        subprocess.run(converted, cwd=HERE, check=True)
    gvt = authors(repository / "segmentation" / "gvt.py")
    model = shaken(gvt.ALTGVT(**common, wss=(7, 7, 7, 7), extra_norm=True), 2)
    torch.save({"state_dict": {f"backbone.{name}": one for name, one in model.state_dict().items()}}, HERE / "official_segmentation_svt.pth")
    keep("official_segmentation_svt", **{f"out{stage}": one for stage, one in enumerate(model(RAGGED))})


def of_timm():
    """One side of its last map is no multiple of the window: where both are none, mmseg masks and timm does not."""
    for seed, (name, windows) in enumerate({"pcpvt": None, "svt": (2, 2, 2, 2)}.items()):
        model = timm.models.twins.Twins(num_classes=5, norm_layer=NORM, wss=windows, **SIZES)
        shaken(model, 3 + seed)
        torch.save(model.state_dict(), HERE / f"timm_{name}.pth")
        keep(f"timm_{name}", logits=model(IMAGE[..., :96]))


def of_mmpretrain():
    from mmpretrain.models.backbones.twins import PCPVT, SVT

    names = {"embed_dims": WIDTHS, "depths": DEPTHS, "num_heads": HEADS, "mlp_ratios": RATIOS, "sr_ratios": REDUCTIONS}
    arch = {name: list(values) for name, values in names.items()} | {"patch_sizes": [4, 2, 2, 2], "strides": [4, 2, 2, 2]}
    of = {
        "pcpvt": PCPVT(arch, qkv_bias=True, norm_cfg={"type": "LN"}, norm_after_stage=[False, False, False, True]),
        "svt": SVT(arch | {"window_sizes": [2, 2, 2, 2]}, qkv_bias=True, norm_cfg={"type": "LN"}, norm_after_stage=[False, False, False, True]),
    }
    for seed, (name, model) in enumerate(of.items()):
        shaken(model, 5 + seed)
        head = shaken(nn.Linear(WIDTHS[-1], 5), 7)
        whole = {f"{start}.{key}": one for start, part in (("backbone", model), ("head.fc", head)) for key, one in part.state_dict().items()}
        torch.save({"state_dict": whole}, HERE / f"mmpretrain_{name}.pth")
        keep(f"mmpretrain_{name}", logits=head(model(IMAGE)[-1].mean((2, 3))))


if __name__ == "__main__":
    official(*map(Path, sys.argv[1:3]))
    of_timm()
    of_mmpretrain()
