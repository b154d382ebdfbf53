"""Writes the small ConvNeXts beside this file: each library's own model with random weights, its own file, and what it computes.

    python peers.py FOLDER_WITH_THE_AUTHORS_convnext.py

Needs timm 1.0.31, transformers 5.24, torchvision 0.28 and torch. The authors' file is models/convnext.py of facebookresearch/ConvNeXt.
"""

import sys
from functools import partial
from pathlib import Path

import numpy as np
import timm
import torch
import torchvision
import transformers
from torchvision.models.convnext import CNBlockConfig

HERE = Path(__file__).parent
WIDTHS, DEPTHS = (4, 8, 12, 20), (2, 1, 3, 2)
IMAGE = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (1, 3, 72, 101)).astype(np.float32))


def shaken(model, seed):
    """The model with random numbers everywhere, all different."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point():
                near = 1 if tensor.dim() == 1 and name.endswith(("weight", "gamma", "running_var", "layer_scale_parameter")) else 0
                tensor.copy_(near + 0.3 * torch.rand(tensor.shape, generator=generator) - 0.1)
    return model.eval()


def keep(name, **arrays):
    np.savez_compressed(HERE / f"{name}.npz", **{key: tensor.detach().numpy() for key, tensor in arrays.items()})


def official(folder):
    sys.path.insert(0, folder)
    from convnext import ConvNeXt

    model = shaken(ConvNeXt(num_classes=5, depths=DEPTHS, dims=WIDTHS), 1)
    torch.save({"model": model.state_dict()}, HERE / "official.pth")
    keep("official", logits=model(IMAGE))


def of_timm():
    for name, convolutions in (("timm", False), ("timm_conv", True)):
        model = shaken(timm.models.convnext.ConvNeXt(num_classes=5, depths=DEPTHS, dims=WIDTHS, conv_mlp=convolutions), 2)
        torch.save(model.state_dict(), HERE / f"{name}.pth")
        keep(name, logits=model(IMAGE))


def of_torchvision():
    setting = [CNBlockConfig(*one) for one in zip(WIDTHS, (*WIDTHS[1:], None), DEPTHS, strict=True)]
    model = shaken(torchvision.models.convnext.ConvNeXt(setting, num_classes=5), 3)
    torch.save(model.state_dict(), HERE / "torchvision.pth")
    keep("torchvision", logits=model(IMAGE))


def of_transformers():
    sizes = {"hidden_sizes": list(WIDTHS), "depths": list(DEPTHS)}
    config = partial(transformers.ConvNextConfig, **sizes)
    model = shaken(transformers.ConvNextForImageClassification(config(num_labels=5)), 4)
    model.save_pretrained(HERE / "hf")
    keep("hf", logits=model(IMAGE).logits)
    shaken(transformers.ConvNextModel(config()), 4).save_pretrained(HERE / "hf_model")
    whole = {"hidden_size": 8, "num_labels": 5, "auxiliary_in_channels": 12, "auxiliary_channels": 4}
    stages = config(out_features=["stage1", "stage2", "stage3", "stage4"])
    model = shaken(transformers.UperNetForSemanticSegmentation(transformers.UperNetConfig(backbone_config=stages, **whole)), 5)
    model.save_pretrained(HERE / "hf_upernet")
    keep("hf_upernet", logits=model(IMAGE).logits)
    model.backbone.save_pretrained(HERE / "hf_backbone")


if __name__ == "__main__":
    official(sys.argv[1])
    of_timm()
    of_torchvision()
    of_transformers()
