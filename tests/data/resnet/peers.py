"""Writes the small ResNets beside this file, and the Mask2Former on one in `transformers/`: each library's own model with random weights, its own
file, and what it computes.

    python peers.py FOLDER_WITH_mmcv_stand_in.py

Needs torch 2.13, torchvision 0.29, timm 1.0.31, transformers 5.24, mmsegmentation 1.2.2, mmdet 3.3.0 and mmcv-lite 2.1.0. `bench/mmcv_stand_in.py`
stands in for the compiled operations that it lacks: a Mask2Former uses none on a processor.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

HERE = Path(__file__).parent
MODEL = HERE.parent / "transformers" / "mask2former_resnet"
DEPTHS = (2, 1, 3, 2)
IMAGE = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (1, 3, 61, 97)).astype(np.float32))
SIZES = {"40x57": (44, 52), "65x97": (62, 92), "72x72": (72, 72)}  # of an image as the model sees it, and the original one
PIXELS = {"mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375]}


def shaken(model, seed):
    """The model with random numbers everywhere, all different. Statistics of batches are those of other numbers than 0 and 1."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if name.endswith("num_batches_tracked"):
                tensor.fill_(7)
            elif name.endswith("running_var"):
                tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator))
            elif tensor.dim() == 1:
                tensor.copy_(float(name.endswith("weight")) + 0.6 * torch.rand(tensor.shape, generator=generator) - 0.3)
            else:
                tensor.copy_(torch.randn(tensor.shape, generator=generator) * (2 / tensor[0].numel()) ** 0.5)
    return model.eval()


def keep(name, model, logits):
    torch.save(model.state_dict(), HERE / f"{name}.pth")
    np.savez_compressed(HERE / f"{name}.npz", logits=logits.detach().numpy())


def classifiers():
    import timm
    from torchvision.models.resnet import Bottleneck, ResNet
    from transformers import ResNetConfig, ResNetForImageClassification

    theirs = shaken(narrowed(ResNet(Bottleneck, DEPTHS, num_classes=5)), 0)
    keep("torchvision", theirs, theirs(IMAGE))
    theirs = shaken(narrowed(timm.models.resnet.ResNet(timm.models.resnet.Bottleneck, DEPTHS, num_classes=5)), 1)
    keep("timm", theirs, theirs(IMAGE))
    sizes = [16 << stage for stage in range(4)]
    theirs = shaken(ResNetForImageClassification(ResNetConfig(embedding_size=4, hidden_sizes=sizes, depths=list(DEPTHS), num_labels=5)), 2)
    keep("hf", theirs, theirs(IMAGE).logits)


def narrowed(model):
    """A model of torchvision or timm, which are 64 wide, as one of 4."""
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.Conv2d):
            into = module.in_channels if module.in_channels == 3 else module.in_channels // 16
            kind = nn.Conv2d(into, module.out_channels // 16, module.kernel_size, module.stride, module.padding, bias=False)
        elif isinstance(module, nn.BatchNorm2d):
            kind = nn.BatchNorm2d(module.num_features // 16, module.eps)
        elif isinstance(module, nn.Linear):
            kind = nn.Linear(module.in_features // 16, module.out_features)
        else:
            continue
        outer, _, inner = name.rpartition(".")
        setattr(model.get_submodule(outer), inner, kind)
    return model


def mask2former():
    import mmdet.models  # noqa: F401 - registers the pixel decoder
    from mmengine.config import ConfigDict
    from mmengine.registry import init_default_scope
    from mmengine.structures import PixelData
    from mmseg.models.backbones.resnet import Bottleneck, ResNet
    from mmseg.registry import MODELS
    from mmseg.structures import SegDataSample

    init_default_scope("mmseg")
    ResNet.arch_settings = {**ResNet.arch_settings, 50: (Bottleneck, DEPTHS)}
    attention = {"embed_dims": 16, "num_heads": 2, "dropout": 0.0, "batch_first": True}
    relu = {"type": "ReLU", "inplace": True}
    ffn = {"embed_dims": 16, "num_fcs": 2, "ffn_drop": 0.0, "act_cfg": relu}
    positions = {"num_feats": 8, "normalize": True}
    pixels = {
        "type": "mmdet.MSDeformAttnPixelDecoder",
        "num_outs": 3,
        "norm_cfg": {"type": "GN", "num_groups": 4},
        "act_cfg": {"type": "ReLU"},
        "positional_encoding": positions,
        "encoder": {
            "num_layers": 1,
            "layer_cfg": {"self_attn_cfg": attention | {"num_levels": 3, "num_points": 3}, "ffn_cfg": ffn | {"feedforward_channels": 24}},
        },
    }
    queries = {
        "return_intermediate": True,
        "num_layers": 4,
        "layer_cfg": {
            "self_attn_cfg": {"embed_dims": 16, "num_heads": 2, "batch_first": True},
            "cross_attn_cfg": {"embed_dims": 16, "num_heads": 2, "batch_first": True},
            "ffn_cfg": ffn | {"feedforward_channels": 40, "add_identity": True},
        },
    }
    config = ConfigDict(
        type="EncoderDecoder",
        data_preprocessor={
            "type": "SegDataPreProcessor",
            **PIXELS,
            "bgr_to_rgb": True,
            "pad_val": 0,
            "seg_pad_val": 255,
            "size": (64, 64),
            "test_cfg": {"size_divisor": 32},
        },
        backbone={
            "type": "ResNet",
            "depth": 50,
            "stem_channels": 4,
            "base_channels": 4,
            "out_indices": (0, 1, 2, 3),
            "style": "pytorch",
            "norm_cfg": {"type": "BN"},
            "norm_eval": True,
        },
        decode_head={
            "type": "Mask2FormerHead",
            "in_channels": [16, 32, 64, 128],
            "strides": [4, 8, 16, 32],
            "feat_channels": 16,
            "out_channels": 16,
            "num_classes": 6,
            "num_queries": 9,
            "num_transformer_feat_level": 3,
            "align_corners": False,
            "pixel_decoder": pixels,
            "enforce_decoder_input_project": False,
            "positional_encoding": positions,
            "transformer_decoder": queries,
            "loss_cls": {"type": "mmdet.CrossEntropyLoss", "class_weight": [1.0] * 6 + [0.1]},
        },
        train_cfg={},
        test_cfg={"mode": "whole"},
    )
    model = shaken(MODELS.build(config), 63)
    head = model.decode_head
    with torch.no_grad():  # so that queries differ, and pixels have several classes
        for one, factor in ((head.query_feat, 6), (head.query_embed, 4), (head.cls_embed, 8), (head.mask_embed[4], 0.7)):
            one.weight.mul_(factor)
    torch.save({"meta": {"seed": 63}, "state_dict": model.state_dict()}, MODEL.with_suffix(".pth"))
    generator = np.random.default_rng(4)
    MODEL.mkdir(exist_ok=True)
    (MODEL / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    for size, original in SIZES.items():
        h, w = map(int, size.split("x"))
        coarse = torch.from_numpy(generator.uniform(0, 255, (1, 3, h // 9, w // 9)).astype(np.float32))
        image = nn.functional.interpolate(coarse, (h, w), mode="bicubic").clamp(0, 255).byte()[0]
        sample = SegDataSample(gt_sem_seg=PixelData(data=torch.zeros(1, h, w)))
        sample.set_metainfo({"ori_shape": original, "img_shape": (h, w)})
        seen = {}
        hooks = [getattr(model.backbone, f"layer{stage + 1}").register_forward_hook(told(seen, f"out{stage}")) for stage in range(4)]
        with torch.no_grad():
            (found,) = model.test_step({"inputs": [image], "data_samples": [sample]})
            for hook in hooks:
                hook.remove()
            kept = {
                "image": image.permute(1, 2, 0).numpy(),
                "ori_shape": np.array(original),
                "windows": np.array([[0, 0, h, w]]),
                "final_logits@s3": found.seg_logits.data[:, ::3, ::3].numpy(),
                "pred": found.pred_sem_seg.data[0].numpy().astype(np.uint8),
            }
            if size == "40x57":
                kept |= {name: one[0].numpy() for name, one in seen.items()}
                done = model.data_preprocessor({"inputs": [image], "data_samples": [sample]}, training=False)
                metas = [one.metainfo for one in done["data_samples"]]
                kept["logits64@s3"] = model.double().encode_decode(done["inputs"].double(), metas)[0, :, ::3, ::3].numpy()
                model.float()
        np.savez_compressed(MODEL / f"{size}.npz", **kept)


def told(seen, name):
    def hook(module, given, found):
        seen[name] = found

    return hook


if __name__ == "__main__":
    sys.path.insert(0, sys.argv[1])
    import mmcv_stand_in

    mmcv_stand_in.install()
    mask2former()
    classifiers()
