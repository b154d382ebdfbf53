"""Writes the small Swins beside this file: each library's own model with random weights, its own file, and what it computes.

    python peers.py FOLDER_WITH_MICROSOFTS_swin_transformer.py

Needs timm 1.0.31, transformers 5.24, torchvision 0.28 and torch. Microsoft's file is models/swin_transformer.py of microsoft/Swin-Transformer.
"""

import sys
from pathlib import Path

import numpy as np
import timm
import torch
import torchvision
import transformers

HERE = Path(__file__).parent
SIZES = {"window_size": 3, "num_classes": 5}
IMAGE = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (1, 3, 192, 192)).astype(np.float32))  # maps of 48, 24, 12, 6
RAGGED = IMAGE[:, :, :72, :101]


def shaken(model, seed):
    """The model with random numbers everywhere, all different."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point() and not name.endswith("attn_mask"):
                near = 1 if name.endswith(("norm.weight", "running_var")) or (".norm" in name and name.endswith("weight")) else 0
                tensor.copy_(near + 0.3 * torch.rand(tensor.shape, generator=generator) - 0.1)
    return model.eval()


def keep(name, **arrays):
    np.savez_compressed(HERE / f"{name}.npz", **{key: tensor.detach().numpy() for key, tensor in arrays.items()})


def official(folder):
    sys.path.insert(0, folder)
    from swin_transformer import SwinTransformer

    model = shaken(SwinTransformer(img_size=192, embed_dim=4, depths=(2, 1, 3, 2), num_heads=(1, 2, 2, 4), mlp_ratio=2.0, **SIZES), 1)
    torch.save({"model": model.state_dict(), "epoch": 300}, HERE / "official.pth")
    keep("official", logits=model(IMAGE))


def of_timm():
    sizes = {"img_size": 192, "embed_dim": 4, "depths": (2, 1, 3, 2), "num_heads": (1, 2, 2, 4), "mlp_ratio": 2.0}
    model = shaken(timm.models.swin_transformer.SwinTransformer(**sizes, **SIZES), 2)
    torch.save(model.state_dict(), HERE / "timm.pth")
    keep("timm", logits=model(IMAGE), features=model.forward_features(IMAGE).permute(0, 3, 1, 2))


def of_torchvision():
    made = torchvision.models.swin_transformer.SwinTransformer([4, 4], 4, [2, 1, 3, 2], [1, 2, 2, 4], [3, 3], mlp_ratio=2.0, num_classes=5)
    model = shaken(made, 3)
    torch.save(model.state_dict(), HERE / "torchvision.pth")
    keep("torchvision", logits=model(IMAGE), features=model.norm(model.features(IMAGE)).permute(0, 3, 1, 2))


def of_transformers():
    sizes = {"embed_dim": 4, "depths": [2, 1, 3, 2], "num_heads": [1, 2, 2, 4], "window_size": 3, "mlp_ratio": 2.0}
    model = shaken(transformers.SwinForImageClassification(transformers.SwinConfig(image_size=192, num_labels=5, **sizes)), 4)
    model.save_pretrained(HERE / "hf")
    keep("hf", logits=model(IMAGE).logits)
    stages = transformers.SwinConfig(out_features=["stage1", "stage2", "stage3", "stage4"], **sizes)
    whole = {"hidden_size": 8, "num_labels": 5, "auxiliary_in_channels": 16, "auxiliary_channels": 4}
    model = shaken(transformers.UperNetForSemanticSegmentation(transformers.UperNetConfig(backbone_config=stages, **whole)), 5)
    model.save_pretrained(HERE / "hf_upernet")
    keep("hf_upernet", logits=model(RAGGED).logits)
    model.backbone.save_pretrained(HERE / "hf_backbone")


if __name__ == "__main__":
    official(sys.argv[1])
    of_timm()
    of_torchvision()
    of_transformers()
