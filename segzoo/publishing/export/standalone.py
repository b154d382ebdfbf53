"""The model of this folder in plain torch: built from config.json, its weights loaded strictly. Needs torch and safetensors.

    model = load()  # or load("path/to/folder")
    out = model(image)  # (b, channels, H, W) float32, normalised as config.json says

A Segmenter gives class scores (b, classes, H, W), a backbone features (b, width, H/patch, W/patch). From segzoo, Apache-2.0.
"""

import json
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn


class Attention(nn.Module):
    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.empty(3 * width))
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        qkv = F.linear(x, self.in_proj_weight, self.in_proj_bias).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return self.out_proj(F.scaled_dot_product_attention(*qkv).transpose(1, 2).flatten(2))


class Block(nn.Module):
    def __init__(self, width: int, heads: int, mlp: int, eps: float):
        super().__init__()
        self.ln1, self.ln2 = nn.LayerNorm(width, eps), nn.LayerNorm(width, eps)
        self.attn = nn.ModuleDict({"attn": Attention(width, heads)})
        self.ffn = nn.ModuleDict({"layers": nn.Sequential(nn.Sequential(nn.Linear(width, mlp), nn.GELU()), nn.Linear(mlp, width))})

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn["attn"](self.ln1(x))
        return x + self.ffn["layers"](self.ln2(x))


class Backbone(nn.Module):
    def __init__(self, c: dict[str, Any]):
        super().__init__()
        self.patch, self.resample, self.first = c["patch"], c["resample"], 1 + c["distilled"]
        self.grid = [c["grid"]] * 2 if isinstance(c["grid"], int) else c["grid"]  # rows and columns
        self.patch_embed = nn.ModuleDict({"projection": nn.Conv2d(c["channels"], c["width"], self.patch, self.patch)})
        self.cls_token = nn.Parameter(torch.empty(1, 1, c["width"]))
        if c["distilled"]:
            self.dist_token = nn.Parameter(torch.empty(1, 1, c["width"]))
        self.pos_embed = nn.Parameter(torch.empty(1, self.grid[0] * self.grid[1] + self.first, c["width"]))
        self.layers = nn.Sequential(*(Block(c["width"], c["heads"], c["mlp"], c["eps"]) for _ in range(c["depth"])))
        self.ln1 = nn.LayerNorm(c["width"], c["eps"])

    def forward(self, image: Tensor) -> Tensor:
        down, right = -image.shape[-2] % self.patch, -image.shape[-1] % self.patch  # padded with zeros to whole patches
        patches = self.patch_embed["projection"](F.pad(image, (0, right, 0, down)))
        first = [self.cls_token, self.dist_token] if self.first == 2 else [self.cls_token]
        x = torch.cat([*(token.expand(len(image), -1, -1) for token in first), patches.flatten(2).transpose(1, 2)], 1)
        x = self.ln1(self.layers(x + self.positions(*patches.shape[-2:])))
        return x[:, self.first :].transpose(1, 2).unflatten(2, patches.shape[-2:])

    def positions(self, h: int, w: int) -> Tensor:
        """As stored where there are as many, whatever the grid's shape (MMSegmentation's rule); else resized."""
        first, table = self.pos_embed[:, : self.first], self.pos_embed[:, self.first :]
        if table.shape[1] == h * w:
            return self.pos_embed
        grid = F.interpolate(table.transpose(1, 2).unflatten(2, self.grid), size=(h, w), mode=self.resample, align_corners=False)
        return torch.cat([first, grid.flatten(2).transpose(1, 2)], 1)


class MaskHead(nn.Module):
    def __init__(self, features: int, c: dict[str, Any]):
        super().__init__()
        self.dec_proj = nn.Linear(features, c["width"])
        self.cls_emb = nn.Parameter(torch.empty(1, c["classes"], c["width"]))
        self.layers = nn.Sequential(*(Block(c["width"], c["heads"], c["mlp"], c["eps"]) for _ in range(c["depth"])))
        self.decoder_norm, self.mask_norm = nn.LayerNorm(c["width"], c["eps"]), nn.LayerNorm(c["classes"], c["eps"])
        self.patch_proj, self.classes_proj = (nn.Linear(c["width"], c["width"], bias=False) for _ in range(2))

    def forward(self, features: Tensor) -> Tensor:
        n = features.shape[-2] * features.shape[-1]
        x = self.dec_proj(features.flatten(2).transpose(1, 2))
        x = self.decoder_norm(self.layers(torch.cat([x, self.cls_emb.expand(len(x), -1, -1)], 1)))
        patches, classes = F.normalize(self.patch_proj(x[:, :n]), dim=2), F.normalize(self.classes_proj(x[:, n:]), dim=2)
        return self.mask_norm(patches @ classes.transpose(1, 2)).transpose(1, 2).unflatten(2, features.shape[-2:])


class Segmenter(nn.Module):
    def __init__(self, c: dict[str, Any]):
        super().__init__()
        self.backbone, head = Backbone(c), c["head"]
        linear: OrderedDict[str, nn.Module] = OrderedDict(conv_seg=nn.Conv2d(c["width"], head["classes"], 1))
        self.decode_head = nn.Sequential(linear) if head["kind"] == "linear" else MaskHead(c["width"], head)

    def forward(self, image: Tensor) -> Tensor:
        scores = self.decode_head(self.backbone(image))
        return F.interpolate(scores, size=image.shape[-2:], mode="bilinear", align_corners=False)


def load(folder: str | Path | None = None) -> nn.Module:
    """The model in a folder, this file's own if none is named: float32, on the CPU, ready to run."""
    folder = Path(folder or Path(__file__).parent)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    model = Segmenter(config) if config["head"] else Backbone(config)
    model.load_state_dict({name: tensor.float() for name, tensor in load_file(folder / "model.safetensors").items()}, strict=True)
    return model.eval().requires_grad_(False)
