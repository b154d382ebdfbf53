"""Small random ViTs of timm, transformers, open_clip and MMPretrain, their tokens, and the names and shapes of timm's plain ViTs.

    python make.py

In a virtual environment with timm 1.0.31, transformers 5.24, open_clip_torch 3.3.0, mmpretrain 1.2.0, mmcv 2.1.0 and torch. Each model's file is in
`<peer>.npz` under `<model>/tensors/`, its image under `<model>/image`, its tokens after the last norm, computed in float64, under `<model>/tokens`.
"""

import gzip
import json
import tempfile
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import nn

warnings.simplefilter("ignore")
HERE = Path(__file__).parent
SIZES = dict(embed_dim=8, depth=2, num_heads=2, mlp_ratio=2)


def shaken(model):
    """The model with random numbers in place of ones, zeros and 1e-5, so that each tensor shows in the outcome; as float64, of float32's values."""
    generator = torch.Generator().manual_seed(7)
    for name, parameter in model.named_parameters():
        about = 1.0 if parameter.ndim == 1 and name.endswith(("weight", "gamma", "lambda1")) else 0.0
        parameter.data = (about + torch.randn(parameter.shape, generator=generator) * 0.3).double()
    model.float().double().eval()
    return model


def image(height, width, channels=3):
    return torch.randn(1, channels, height, width, generator=torch.Generator().manual_seed(8)).double()


def kept(path, cases):
    """Write the cases: tensors by name, image, tokens, all as float32."""
    arrays = {}
    for case, (state, picture, tokens) in cases.items():
        arrays |= {f"{case}/tensors/{name}": tensor.float().numpy() for name, tensor in state.items()}
        arrays |= {f"{case}/image": picture.float().numpy(), f"{case}/tokens": tokens.float().detach().numpy()}
    np.savez_compressed(path, **arrays)
    print(path.name, path.stat().st_size)


def of_timm():
    from timm.layers import GluMlp, LayerNorm, SwiGLU
    from timm.models.deit import VisionTransformerDistilled
    from timm.models.vision_transformer import VisionTransformer

    def packed(**arguments):
        return GluMlp(**{**arguments, "act_layer": nn.SiLU, "gate_last": False})

    plain = dict(img_size=16, patch_size=4, num_classes=0)
    models = {
        "deit3": (VisionTransformer, dict(no_embed_class=True, init_values=1e-5, num_classes=5)),
        "gap with registers": (
            VisionTransformer,
            dict(class_token=False, reg_tokens=4, no_embed_class=True, global_pool="avg", fc_norm=True, init_values=1e-5),
        ),
        "registers with positions": (VisionTransformer, dict(reg_tokens=3, init_values=1e-5)),
        "registers with positions and no class token": (VisionTransformer, dict(reg_tokens=4, class_token=False, global_pool="avg", fc_norm=False)),
        "registers without positions": (VisionTransformer, dict(reg_tokens=2, no_embed_class=True, mlp_layer=packed, mlp_ratio=4, init_values=1e-5)),
        "clip": (VisionTransformer, dict(pre_norm=True, norm_layer=lambda width, **_: LayerNorm(width, eps=1e-5))),
        "quick clip": (VisionTransformer, dict(pre_norm=True, act_layer="quick_gelu", norm_layer=lambda width, **_: LayerNorm(width, eps=1e-5))),
        "norms of queries and keys": (VisionTransformer, dict(qk_norm=True, qkv_bias=False, in_chans=1, patch_size=8, img_size=24)),
        "gate apart": (VisionTransformer, dict(mlp_layer=SwiGLU, act_layer=nn.SiLU, img_size=(8, 12), in_chans=4)),
        "no norm": (VisionTransformer, dict(final_norm=False, class_token=False, no_embed_class=True, global_pool="avg")),
        "distilled": (VisionTransformerDistilled, dict(num_classes=5)),
        "all at once": (
            VisionTransformer,
            dict(pre_norm=True, qk_norm=True, reg_tokens=2, mlp_layer=packed, mlp_ratio=4, init_values=1.0, qkv_bias=False, no_embed_class=True),
        ),
    }
    cases = {}
    for case, (kind, arguments) in models.items():
        model = shaken(kind(**{**plain, **SIZES, **arguments}))
        size = model.patch_embed.img_size
        picture = image(*size, model.patch_embed.proj.in_channels)
        cases[case] = (model.state_dict(), picture, model.forward_features(picture))
    kept(HERE / "timm.npz", cases)


def of_dinov2():
    """Files with the names of Meta's DINOv2 (facebookresearch/dinov2 `dinov2/models/vision_transformer.py`), and what timm makes of them."""
    from timm.layers import GluMlp
    from timm.models.vision_transformer import VisionTransformer, checkpoint_filter_fn

    def packed(**arguments):
        return GluMlp(**{**arguments, "act_layer": nn.SiLU, "gate_last": False})

    cases = {}
    for case, registers, gated in (("plain", 0, False), ("registers", 4, False), ("gated", 4, True)):
        more = dict(mlp_layer=packed, mlp_ratio=4) if gated else {}
        named = dict(reg_tokens=registers, no_embed_class=True) if registers else {}
        model = shaken(VisionTransformer(**{**dict(img_size=16, patch_size=4, num_classes=0, init_values=1e-5), **SIZES, **named, **more}))
        state = {name.replace("reg_token", "register_tokens"): tensor for name, tensor in model.state_dict().items()}
        if gated:
            state = {name.replace("mlp.fc1", "mlp.w12").replace("mlp.fc2", "mlp.w3"): tensor for name, tensor in state.items()}
        state["mask_token"] = torch.ones(1, 8).double()
        if registers:  # Meta's table has an entry for the class token; timm adds it to that token
            state["pos_embed"] = torch.cat([torch.randn(1, 1, 8, generator=torch.Generator().manual_seed(9)).double(), state["pos_embed"]], 1)
        state = {name: tensor.float().double() for name, tensor in state.items()}
        model.load_state_dict(checkpoint_filter_fn(dict(state), model), strict=True)
        picture = image(16, 16)
        cases[case] = (state, picture, model.double().forward_features(picture))
    kept(HERE / "dinov2.npz", cases)


def of_transformers():
    import transformers
    from safetensors.torch import load_file

    sizes = dict(hidden_size=8, num_hidden_layers=2, num_attention_heads=2, image_size=16, patch_size=4, layer_norm_eps=1e-6)
    plain, wide = sizes | dict(intermediate_size=16), sizes | dict(mlp_ratio=2)
    models = {
        "vit": transformers.ViTForImageClassification(transformers.ViTConfig(**plain, num_labels=5)),
        "pooled vit": transformers.ViTModel(transformers.ViTConfig(**plain)),
        "vit without bias": transformers.ViTModel(transformers.ViTConfig(**plain, qkv_bias=False), add_pooling_layer=False),
        "masked vit": transformers.ViTForMaskedImageModeling(transformers.ViTConfig(**plain, encoder_stride=4)),
        "mae": transformers.ViTMAEForPreTraining(
            transformers.ViTMAEConfig(
                **plain,
                mask_ratio=0.0,
                decoder_num_hidden_layers=1,
                decoder_hidden_size=8,
                decoder_num_attention_heads=2,
                decoder_intermediate_size=8,
            )
        ),
        "deit": transformers.DeiTForImageClassification(transformers.DeiTConfig(**plain, num_labels=5)),
        "deit with teacher": transformers.DeiTForImageClassificationWithTeacher(transformers.DeiTConfig(**plain, num_labels=5)),
        "dinov2": transformers.Dinov2ForImageClassification(transformers.Dinov2Config(**wide, num_labels=5)),
        "gated dinov2": transformers.Dinov2Model(transformers.Dinov2Config(**wide, use_swiglu_ffn=True)),
        "dinov2 with registers": transformers.Dinov2WithRegistersForImageClassification(
            transformers.Dinov2WithRegistersConfig(**wide, num_register_tokens=4, num_labels=5)
        ),
    }
    cases = {}
    for case, model in models.items():
        model = shaken(model)
        with tempfile.TemporaryDirectory() as folder:
            model.float().save_pretrained(folder)
            disk = load_file(f"{folder}/model.safetensors")
        model = model.double()
        picture = image(16, 16)
        base = model.base_model
        if case == "mae":
            noise = torch.arange(16).double()[None]  # nothing is masked, and no patch moves
            tokens = base(picture, noise=noise).last_hidden_state
        else:
            tokens = base(picture).last_hidden_state
        cases[case] = (disk, picture, tokens)
        if case in ("vit", "gated dinov2", "dinov2 with registers", "deit with teacher"):
            cases[f"{case} in memory"] = (model.state_dict(), picture, tokens)
    kept(HERE / "transformers.npz", cases)


def of_open_clip():
    from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg

    seen = {}
    cases = {}
    for case, quick, more in (("clip", False, {}), ("quick clip", True, {}), ("scaled clip", False, {"ls_init_value": 1.0})):
        sizes = CLIPVisionCfg(layers=2, width=8, head_width=4, patch_size=4, image_size=16, mlp_ratio=2, **more)
        text = CLIPTextCfg(context_length=4, vocab_size=5, width=4, heads=2, layers=1)
        model = shaken(CLIP(embed_dim=6, vision_cfg=sizes, text_cfg=text, quick_gelu=quick))
        model.visual.ln_post.register_forward_hook(lambda module, inputs, outputs: seen.update(tokens=outputs))
        picture = image(16, 16)
        model.encode_image(picture)
        cases[case] = (model.state_dict(), picture, seen["tokens"])
    kept(HERE / "open_clip.npz", cases)


def of_mmpretrain():
    from mmpretrain.models.backbones.vision_transformer import VisionTransformer
    from mmpretrain.models.heads.vision_transformer_head import VisionTransformerClsHead

    arch = dict(embed_dims=8, num_layers=2, num_heads=2, feedforward_channels=16)
    plain = dict(arch=arch, img_size=16, patch_size=4, out_type="raw")
    models = {
        "plain": {},
        "scaled": dict(layer_scale_init_value=1.0),
        "gated": dict(layer_scale_init_value=1.0, layer_cfgs=dict(ffn_type="swiglu_fused")),
        "clip": dict(pre_norm=True),
        "no norm": dict(final_norm=False, qkv_bias=False),
    }
    cases = {}
    for case, more in models.items():
        model = shaken(VisionTransformer(**{**plain, **more}))
        state = {f"backbone.{name}": tensor for name, tensor in model.state_dict().items()}
        if case == "plain":
            state |= {f"head.{name}": tensor for name, tensor in VisionTransformerClsHead(num_classes=5, in_channels=8).state_dict().items()}
        picture = image(16, 16)
        tokens = model(picture)[-1]
        cases[case] = (state, picture, tokens)
    kept(HERE / "mmpretrain.npz", cases)


def of_names():
    """Names and shapes of each plain ViT of timm, with its classes, heads, eps and activation. What all blocks have alike is said once."""
    import timm

    named = {}
    for name in timm.list_models(["vit_*", "deit*"]):
        with torch.device("meta"):
            model = timm.create_model(name)
        shapes = {key: list(tensor.shape) for key, tensor in model.state_dict().items()}
        depth = len(model.blocks)
        alike = {
            key[9:]
            for key, shape in shapes.items()
            if key.startswith("blocks.0.") and all(shapes.get(f"blocks.{i}.{key[9:]}") == shape for i in range(depth))
        }
        once = {key: shape for key, shape in shapes.items() if not (key.startswith("blocks.") and key.split(".", 2)[2] in alike)}
        once |= {f"blocks.#.{key}": shapes[f"blocks.0.{key}"] for key in alike}
        block = model.blocks[0]
        attention, mlp = getattr(block, "attn", block), getattr(block, "mlp", None)
        named[name] = {
            "shapes": dict(sorted(once.items())),
            "depth": depth,
            "classes": [type(model).__name__, type(block).__name__, type(mlp).__name__],
            "heads": getattr(attention, "num_heads", None),
            "eps": getattr(getattr(block, "norm1", None), "eps", None),
            "activation": type(getattr(mlp, "act", None)).__name__,
        }
    path = HERE / "names.json.gz"
    path.write_bytes(gzip.compress(json.dumps(named, separators=(",", ":")).encode(), 9, mtime=0))
    print(path.name, path.stat().st_size, len(named))


if __name__ == "__main__":
    for make in (of_timm, of_dinov2, of_transformers, of_open_clip, of_mmpretrain, of_names):
        make()
