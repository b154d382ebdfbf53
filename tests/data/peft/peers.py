"""Writes the adapters in this folder, and what peft itself makes of their bases: `python peers.py FOLDER`.

torch 2.13.0 CPU, peft 0.21.2, transformers 5.24.0, timm 1.0.31, accelerate.
"""

import sys
from pathlib import Path

import torch

library = torch.library.Library("torchvision", "DEF")  # torchvision from PyPI beside a CPU torch
for operator in ("nms", "qnms"):
    library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

import timm  # noqa: E402
from peft import LoraConfig, get_peft_model  # noqa: E402
from safetensors.torch import save_file  # noqa: E402
from transformers import ViTConfig, ViTForImageClassification  # noqa: E402

FOLDER = Path(sys.argv[1])
SIZES = {
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 12,
    "image_size": 16,
    "patch_size": 8,
    "num_labels": 3,
}


def filled(model, seed, only=""):
    """Random numbers in every parameter, or in those whose names have a word."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, one in model.named_parameters():
            if only in name:
                one.copy_(torch.randn(one.shape, generator=generator) * 0.3)
    return model.eval()


def transformers_vit():
    base = filled(ViTForImageClassification(ViTConfig(**SIZES)), 0)
    base.save_pretrained(FOLDER / "hf_base")
    adapted = get_peft_model(base, LoraConfig(r=3, lora_alpha=5, target_modules=["q_proj", "v_proj", "fc1"], modules_to_save=["classifier"]))
    filled(adapted, 1, "lora_")
    filled(adapted, 2, "modules_to_save")
    adapted.save_pretrained(FOLDER / "hf_adapter")
    torch.save(adapted.state_dict(), FOLDER / "hf_unmerged.pth")
    adapted.merge_and_unload().save_pretrained(FOLDER / "hf_merged")


def timm_vit(name, target_modules=("qkv", "fc2", "patch_embed.proj"), **options):
    base = filled(
        timm.create_model("vit_tiny_patch16_224", img_size=16, patch_size=8, embed_dim=8, depth=2, num_heads=2, mlp_ratio=1.5, num_classes=3), 3
    )
    save_file(base.state_dict(), FOLDER / "timm_base.safetensors")
    adapted = filled(get_peft_model(base, LoraConfig(target_modules=list(target_modules), **options)), 4, "lora_")
    if "bias" in options:
        filled(adapted, 5, "base_layer.bias")
    adapted.save_pretrained(FOLDER / name)
    state = {key: one.contiguous() for key, one in adapted.merge_and_unload().state_dict().items()}
    save_file(state, FOLDER / f"{name}_merged.safetensors")


transformers_vit()
timm_vit("timm_adapter", r=2, lora_alpha=6, use_rslora=True, rank_pattern={"blocks.1.attn.qkv": 1}, alpha_pattern={"fc2": 9}, bias="lora_only")
timm_vit("dora", r=2, lora_alpha=6, use_dora=True)
timm_vit("pissa", ["qkv"], r=2, lora_alpha=6, init_lora_weights="pissa")
for name in ("dora", "pissa"):
    (FOLDER / f"{name}_merged.safetensors").unlink()
for readme in FOLDER.rglob("README.md"):
    readme.unlink()
