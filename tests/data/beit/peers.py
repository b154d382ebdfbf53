"""Writes the small BEiTs and the MAE beside this file: each library's own model with random weights, its own file, and what it computes.

    python peers.py FOLDER_OF_UNILMS_beit FOLDER_OF_MAE FOLDER_WITH_beit2mmseg.py

Needs timm 1.0.31, transformers 5.24, mmseg 1.2.2 and torch. The first two folders are `beit` of microsoft/unilm and facebookresearch/mae,
beit2mmseg.py is in mmseg 1.2.2's `.mim/tools/model_converters`.
"""

import importlib.util
import subprocess
import sys
import types
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[2] / "bench"))
import mmcv_stand_in  # noqa: E402

mmcv_stand_in.install()
LIBRARY = torch.library.Library("torchvision", "DEF")  # timm imports torchvision, whose operators a processor's torch may lack
for schema in ("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor", "qnms(Tensor dets, Tensor scores, float t) -> Tensor"):
    LIBRARY.define(schema)

import timm  # noqa: E402
import transformers  # noqa: E402

NORM = partial(nn.LayerNorm, eps=1e-6)
SIZES = {"embed_dim": 12, "num_heads": 3, "mlp_ratio": 2.0}
LARGE = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (1, 3, 48, 48)).astype(np.float32))  # patches of 16
IMAGE = LARGE[:, :, :12, :12]  # patches of 4


def shaken(model, seed):
    """The model with random numbers everywhere, all different."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point():
                near = 1 if tensor.dim() == 1 and name.endswith(("weight", "running_var", "gamma_1", "gamma_2", "lambda_1", "lambda_2")) else 0
                tensor.copy_(near + 0.6 * torch.rand(tensor.shape, generator=generator) - 0.3)
    return model.eval()


def keep(name, **arrays):
    np.savez_compressed(HERE / f"{name}.npz", **{key: tensor.detach().numpy() for key, tensor in arrays.items()})


def convert(converters, name):
    subprocess.run([sys.executable, str(converters / "beit2mmseg.py"), f"{name}.pth", f"beit2mmseg_{name}.pth"], cwd=HERE, check=True)


class Block(timm.models.vision_transformer.Block):
    """The block of timm 0.3.2, which knows one more argument."""

    def __init__(self, dim, heads, ratio, qkv_bias, qk_scale=None, norm_layer=nn.LayerNorm):
        super().__init__(dim, heads, ratio, qkv_bias=qkv_bias, norm_layer=norm_layer)


def authors(path):
    """A module of an authors' repository, with stand-ins for what it imports of mmseg 0.x and timm 0.3.2."""
    registry = types.SimpleNamespace(register_module=lambda: lambda one: one)
    layers = {name: getattr(timm.layers, name) for name in ("drop_path", "to_2tuple", "trunc_normal_")}
    stand_ins = {
        "mmseg": {},
        "mmseg.models": {},
        "mmseg.models.builder": {"BACKBONES": registry},
        "mmseg.utils": {"get_root_logger": None},
        "mmcv_custom": {"load_checkpoint": None},
        "timm.models.layers": layers,
        "timm.models.registry": {"register_model": lambda one: one},
        "timm.models.vision_transformer": {"PatchEmbed": timm.layers.PatchEmbed, "Block": Block},
    }
    before = {name: sys.modules.get(name) for name in stand_ins}
    for name, held in stand_ins.items():
        sys.modules[name] = types.ModuleType(name)
        vars(sys.modules[name]).update(held)
    spec = importlib.util.spec_from_file_location(f"authors_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name, one in before.items():
        if one is None:
            sys.modules.pop(name)
        else:
            sys.modules[name] = one
    return module


def official(repository, converters):
    program = authors(repository / "modeling_finetune.py")
    one = {"img_size": 12, "patch_size": 4, "num_classes": 5, "depth": 3, "qkv_bias": True, "norm_layer": NORM, "init_values": 0.1}
    model = shaken(program.VisionTransformer(use_abs_pos_emb=False, use_rel_pos_bias=True, **one, **SIZES), 1)
    torch.save({"model": model.state_dict()}, HERE / "official.pth")
    keep("official", logits=model(IMAGE))
    convert(converters, "official")
    program = authors(repository / "semantic_segmentation" / "backbone" / "beit.py")
    one = {"img_size": 48, "patch_size": 16, "depth": 4, "qkv_bias": True, "init_values": 0.1, "out_indices": [0, 1, 2, 3]}
    backbone = shaken(program.BEiT(use_abs_pos_emb=False, use_rel_pos_bias=True, **one, **SIZES), 2)
    from mmseg.models.decode_heads import UPerHead

    sizes = {"in_channels": [12] * 4, "in_index": [0, 1, 2, 3], "pool_scales": (1, 2, 3, 6), "channels": 8, "num_classes": 5, "align_corners": False}
    head = shaken(UPerHead(norm_cfg={"type": "BN"}, **sizes), 3)
    whole = {f"{start}.{key}": tensor for start, part in (("backbone", backbone), ("decode_head", head)) for key, tensor in part.state_dict().items()}
    torch.save({"state_dict": whole}, HERE / "official_segmentation.pth")
    keep("official_segmentation", logits=head(backbone(LARGE)))


def of_timm():
    one = {"img_size": 12, "patch_size": 4, "num_classes": 5, "depth": 3, "qkv_bias": True, "norm_layer": NORM, "init_values": 0.1}
    model = shaken(timm.models.beit.Beit(use_abs_pos_emb=False, use_rel_pos_bias=True, **one, **SIZES), 4)
    torch.save(model.state_dict(), HERE / "timm.pth")
    keep("timm", logits=model(IMAGE))


def of_transformers():
    sizes = {"hidden_size": 12, "num_attention_heads": 3, "intermediate_size": 24, "num_labels": 5, "layer_norm_eps": 1e-6}
    sizes |= {"use_relative_position_bias": True}
    config = transformers.BeitConfig(image_size=12, patch_size=4, num_hidden_layers=3, use_mean_pooling=True, **sizes)
    model = shaken(transformers.BeitForImageClassification(config), 5)
    model.save_pretrained(HERE / "hf")
    keep("hf", logits=model(IMAGE).logits)
    more = {"out_indices": [2, 3, 4, 5], "pool_scales": [1, 2, 3, 6], "auxiliary_channels": 4}
    config = transformers.BeitConfig(image_size=48, patch_size=16, num_hidden_layers=5, use_mean_pooling=True, **more, **sizes)
    model = shaken(transformers.BeitForSemanticSegmentation(config), 6)
    model.save_pretrained(HERE / "hf_segmentation")
    keep("hf_segmentation", logits=model(LARGE).logits)


def mae(repository, converters):
    sys.path.insert(0, str(repository))
    np.float = float  # its program is older than NumPy 1.24
    program = authors(repository / "models_mae.py")
    decoder = {"decoder_embed_dim": 8, "decoder_depth": 1, "decoder_num_heads": 2}
    model = shaken(program.MaskedAutoencoderViT(img_size=12, patch_size=4, depth=3, norm_layer=NORM, **decoder, **SIZES), 7)
    torch.save({"model": model.state_dict()}, HERE / "mae.pth")
    latent, _, order = model.forward_encoder(IMAGE, 0.0)  # nothing is masked, but the tokens are shuffled
    tokens = torch.gather(latent[:, 1:], 1, order[:, :, None].expand(-1, -1, latent.shape[2]))
    keep("mae", features=tokens.transpose(1, 2).unflatten(2, (3, 3)))
    convert(converters, "mae")


if __name__ == "__main__":
    unilm, mae_repository, scripts = map(Path, sys.argv[1:])
    official(unilm, scripts)
    of_timm()
    of_transformers()
    mae(mae_repository, scripts)
