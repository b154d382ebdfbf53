"""Writes the small MiTs and SegFormers beside this file: each library's own model with random weights, its own file, and what it computes.

    python peers.py FOLDER_OF_THE_AUTHORS_REPOSITORY

Needs mmseg 1.2.2 (mmcv-lite, mmengine), timm, transformers 5.24.0 and torch. The authors' repository is NVlabs/SegFormer. Their program extends
mmseg 0.13; here its head stands on the base class of 1.2.2, of which it takes the choice of maps only.
"""

import gzip
import importlib.util
import json
import subprocess
import sys
import types
from functools import partial
from pathlib import Path

import mmcv.cnn
import mmseg.models.utils
import numpy as np
import timm
import torch
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from torch import nn
from transformers import SegformerConfig, SegformerForImageClassification, SegformerForSemanticSegmentation, SegformerModel
from transformers.core_model_loading import revert_weight_conversion

HERE = Path(__file__).parent
WIDTHS, DEPTHS, HEADS = (4, 8, 12, 16), (2, 1, 1, 2), (1, 2, 3, 4)
IMAGE = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (1, 3, 61, 93)).astype(np.float32))


def shaken(model, seed):
    """The model with random numbers everywhere, all different, and variances above 0."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point():
                near = 1 if tensor.dim() == 1 and name.endswith(("weight", "running_var")) else 0
                tensor.copy_(near + 0.6 * torch.rand(tensor.shape, generator=generator) - 0.3)
    return model.eval()


def keep(name, **arrays):
    np.savez_compressed(HERE / f"{name}.npz", **{key: tensor.detach().numpy() for key, tensor in arrays.items()})


class AuthorsBase(BaseDecodeHead):
    def __init__(self, decoder_params, **named):
        super().__init__(**named)


def authors(path):
    """A module of the authors' repository, with stand-ins for what it imports of mmseg 0.13 and timm 0.3.2."""
    registry = types.SimpleNamespace(register_module=lambda: lambda one: one)
    stand_ins = {
        "authors": {},
        "authors.heads": {},
        "authors.builder": {"HEADS": registry},
        "authors.heads.decode_head": {"BaseDecodeHead": AuthorsBase},
        "mmseg.models.builder": {"BACKBONES": registry},
        "mmseg.ops": {"resize": mmseg.models.utils.resize},
        "mmseg.utils": {"get_root_logger": None},
        "mmcv.cnn": {"ConvModule": mmcv.cnn.ConvModule, "DepthwiseSeparableConvModule": None},
        "mmcv.runner": {"load_checkpoint": None},
        "timm.models.layers": {"DropPath": timm.layers.DropPath, "to_2tuple": timm.layers.to_2tuple, "trunc_normal_": timm.layers.trunc_normal_},
        "timm.models.registry": {"register_model": lambda one: one},
        "timm.models.vision_transformer": {"_cfg": dict},
        "IPython": {"embed": None},
        "attr": {},
    }
    before = {name: sys.modules.get(name) for name in stand_ins}
    for name, held in stand_ins.items():
        sys.modules[name] = types.ModuleType(name)
        vars(sys.modules[name]).update(held)
    spec = importlib.util.spec_from_file_location(f"authors.heads.{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name, one in before.items():
        sys.modules.pop(name)
        if one is not None:
            sys.modules[name] = one
    return module


def official(repository):
    """Their norms have eps 1e-6, but those after a convolution torch's 1e-5. The class has no classifier; their files have one."""
    models = repository / "mmseg" / "models"
    mix = authors(models / "backbones" / "mix_transformer.py")
    sizes = {"embed_dims": WIDTHS, "depths": DEPTHS, "num_heads": HEADS, "mlp_ratios": (2,) * 4, "sr_ratios": (8, 4, 2, 1), "qkv_bias": True}
    model = shaken(mix.MixVisionTransformer(norm_layer=partial(nn.LayerNorm, eps=1e-6), **sizes), 0)
    head = shaken(nn.Linear(WIDTHS[-1], 5), 1)
    torch.save({**model.state_dict(), **{f"head.{name}": one for name, one in head.state_dict().items()}}, HERE / "official.pth")
    maps = model(IMAGE)
    keep("official", **{f"out{stage}": one for stage, one in enumerate(maps)})
    script = Path(mmseg.models.utils.__file__).parents[2] / ".mim" / "tools" / "model_converters" / "mit2mmseg.py"
    subprocess.run([sys.executable, str(script), "official.pth", "mit2mmseg.pth"], cwd=HERE, check=True)
    mmcv.cnn.bricks.norm.MODELS.register_module("SyncBN", module=nn.BatchNorm2d, force=True)  # equal in eval
    named = {"in_channels": WIDTHS, "in_index": [0, 1, 2, 3], "channels": 6, "num_classes": 5, "norm_cfg": {"type": "BN"}, "align_corners": False}
    whole = authors(models / "decode_heads" / "segformer_head.py").SegFormerHead((4, 8, 16, 32), decoder_params={"embed_dim": 10}, **named)
    whole = shaken(whole, 2)
    tensors = {f"{start}.{name}": one for start, part in (("backbone", model), ("decode_head", whole)) for name, one in part.state_dict().items()}
    torch.save({"meta": {}, "state_dict": tensors}, HERE / "official_segformer.pth")
    keep("official_segformer", logits=whole(maps))


def hf():
    """transformers gives all norms torch's eps, 1e-5, whatever its config says."""
    sizes = {"hidden_sizes": WIDTHS, "depths": DEPTHS, "num_attention_heads": HEADS, "mlp_ratios": (2,) * 4, "decoder_hidden_size": 10}
    config = SegformerConfig(num_labels=5, **{name: list(one) if isinstance(one, tuple) else one for name, one in sizes.items()})
    for seed, (name, kind) in enumerate(
        {"hf": SegformerForImageClassification, "hf_model": SegformerModel, "hf_segformer": SegformerForSemanticSegmentation}.items()
    ):
        model = shaken(kind(config), 3 + seed)
        model.save_pretrained(HERE / name)
        with torch.inference_mode():
            found = model(IMAGE, output_hidden_states=True)
        if name == "hf_model":
            keep(name, **{f"out{stage}": one for stage, one in enumerate(found.hidden_states)})
        else:
            keep(name, logits=found.logits)


def published():
    """Names and shapes of transformers' own class at the sizes of NVlabs' twelve files, by the names of their repositories on the Hub."""
    depths = {"b0": (2, 2, 2, 2), "b1": (2, 2, 2, 2), "b2": (3, 4, 6, 3), "b3": (3, 4, 18, 3), "b4": (3, 8, 27, 3), "b5": (3, 6, 40, 3)}
    found = {}
    for size, blocks in depths.items():
        ade = "640-640" if size == "b5" else "512-512"
        for data, classes in ((f"ade-{ade}", 150), ("cityscapes-1024-1024", 19)):
            config = SegformerConfig(
                depths=list(blocks),
                hidden_sizes=[32, 64, 160, 256] if size == "b0" else [64, 128, 320, 512],
                decoder_hidden_size=256 if size in ("b0", "b1") else 768,
                num_labels=classes,
            )
            with torch.device("meta"):
                model = SegformerForSemanticSegmentation(config)
            # 5.x has other names in memory than on disk
            renamed = revert_weight_conversion(model, model.state_dict())
            found[f"segformer-{size}-finetuned-{data}"] = {
                name: (list(one.shape), str(one.dtype).removeprefix("torch.")) for name, one in renamed.items()
            }
    (HERE / "keys.json.gz").write_bytes(gzip.compress(json.dumps(found).encode(), mtime=0))


if __name__ == "__main__":
    published()
    hf()
    official(Path(sys.argv[1]))
