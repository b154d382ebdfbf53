"""What another library must know about a model besides its tensors: the config of transformers, of timm, of a plain loader.

The functions are pure: facts in, plain dicts out. A fact that nobody knows is left out, never guessed.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from segzoo.errors import ConversionError
from segzoo.layouts.vit.geometry import Geometry

PerChannel = tuple[float, ...]
Pixels = tuple[PerChannel, PerChannel]
"""Mean and deviation of pixels from 0 to 255."""
_HIDDEN_ACTS = {"gelu": "gelu", "gelu_tanh": "gelu_pytorch_tanh", "quick_gelu": "quick_gelu"}
"""transformers' words for `layouts.vit.geometry.ACTIVATIONS`."""
_TIMM_EPS = 1e-6
_TIMM_TWISTS: Mapping[str, tuple[str, Any]] = {
    "layer scale": ("init_values", 1.0),
    "norms of queries and keys": ("qk_norm", True),
    "norm before the blocks": ("pre_norm", True),
    "stem without class position": ("no_embed_class", True),
}
"""The arguments of timm's VisionTransformer for sections of a file."""


@dataclass(frozen=True)
class ModelFacts:
    """The facts of a model that a config needs. `sections` are the exported sections. `mean` and `std` are for pixels from 0 to 255;
    None means unknown. `hidden` is the width of a pre-logits layer.
    """

    geometry: Geometry
    eps: float
    sections: Collection[str]
    dtype: str = "float32"
    mean: PerChannel | None = None
    std: PerChannel | None = None
    hidden: int | None = None
    qkv_bias: bool = True

    @property
    def classes(self) -> int | None:
        """The number of the classifier's classes; None where no classifier is exported."""
        return self.geometry.classes if "classifier" in self.sections else None

    @property
    def image(self) -> tuple[int, int]:
        """Height and width, in pixels, of the image that the position embeddings are for. Raises ConversionError if it is not known."""
        if self.geometry.grid is None:
            raise ConversionError(f"{self.geometry.positions} positions are no square grid, and how many rows there are is not known")
        return self.geometry.grid[0] * self.geometry.patch, self.geometry.grid[1] * self.geometry.patch

    @property
    def sides(self) -> int | list[int]:
        """`image` as a config has it: one number for a square."""
        return self.image[0] if self.image[0] == self.image[1] else list(self.image)

    @property
    def heads(self) -> int:
        if self.geometry.heads is None:
            raise ConversionError("the number of attention heads is not known: no tensor shows it, and the result depends on it")
        return self.geometry.heads


def of_transformers(facts: ModelFacts) -> dict[str, Any]:
    """The config.json of a ViTForImageClassification, or of a ViTModel where there is no classifier.

    The default eps of transformers is 1e-12, so eps is always written. Its `gelu` is the exact, erf form. Raises ConversionError for a model
    that is no plain ViT.
    """
    geometry = facts.geometry
    if more := [
        *geometry.twists,
        *(["registers"] if geometry.registers else []),
        *(["a distillation token"] if "distilled stem" in facts.sections else []),
    ]:
        raise ConversionError(
            f"segzoo writes configs of transformers' plain ViT, and this one has {more[0]}", hint="segzoo convert --to hf writes the tensors alone"
        )
    return {
        "architectures": ["ViTForImageClassification" if facts.classes else "ViTModel"],
        "model_type": "vit",
        "hidden_size": facts.geometry.width,
        "num_hidden_layers": facts.geometry.depth,
        "num_attention_heads": facts.heads,
        "intermediate_size": facts.geometry.mlp,
        "hidden_act": _HIDDEN_ACTS[geometry.activation or "gelu"],
        "layer_norm_eps": facts.eps,
        "image_size": facts.sides,
        "patch_size": facts.geometry.patch,
        "num_channels": facts.geometry.channels,
        "qkv_bias": facts.qkv_bias,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "torch_dtype": facts.dtype,
        **({"num_labels": facts.classes} if facts.classes else {}),
        **({"pooler_output_size": facts.hidden, "pooler_act": "tanh"} if facts.hidden else {}),
    }


UPERNET_EPS = {"swin": 1e-5, "convnext": 1e-6}
"""By family of backbone: the eps of all layer norms of transformers' UPerNet, or of those that its config does not change."""


def of_upernet(family: str, geometry: Any, eps: float, bins: Collection[int], labels: Collection[str], dtype: str) -> dict[str, Any]:
    """The config.json of a UperNetForSemanticSegmentation on a backbone of a family in `UPERNET_EPS`. `labels` names its outputs.

    Raises ConversionError for another eps than transformers gives the backbone's norms.
    """
    if eps != UPERNET_EPS[family]:
        raise ConversionError(
            f"its layer norms have eps {eps:g}, those of transformers' UPerNet {UPERNET_EPS[family]:g}, and no config changes all of them"
        )
    backbone: dict[str, Any] = {
        "model_type": family,
        "depths": list(geometry.depths),
        "patch_size": geometry.patch,
        "num_channels": geometry.channels,
    }
    if family == "swin":
        backbone |= {"embed_dim": geometry.width, "num_heads": list(geometry.heads), "window_size": geometry.window, "mlp_ratio": geometry.mlp_ratio}
        backbone |= {"layer_norm_eps": eps}
    else:
        backbone |= {"hidden_sizes": list(geometry.widths)}
    return {
        "architectures": ["UperNetForSemanticSegmentation"],
        "model_type": "upernet",
        "backbone_config": backbone | {"hidden_act": "gelu", "out_features": [f"stage{stage + 1}" for stage in range(len(geometry.depths))]},
        "hidden_size": geometry.decoder.channels,
        "pool_scales": list(bins),
        "use_auxiliary_head": False,
        "id2label": {str(index): label for index, label in enumerate(labels)},
        "label2id": {label: index for index, label in enumerate(labels)},
        "torch_dtype": dtype,
    }


def of_own_size(pixels: Pixels) -> dict[str, Any]:
    """The preprocessor_config.json of a model that takes images of any size: they are normalised and not resized."""
    mean, std = pixels
    return {
        "image_processor_type": "SegformerImageProcessor",
        "do_resize": False,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": _of_one(mean),
        "image_std": _of_one(std),
    }


def of_images(facts: ModelFacts) -> dict[str, Any] | None:
    """The preprocessor_config.json of transformers; None where the normalisation of images is not known."""
    if facts.mean is None or facts.std is None:
        return None
    return {
        "image_processor_type": "ViTImageProcessor",
        "do_resize": True,
        "size": {"height": facts.image[0], "width": facts.image[1]},
        "resample": 2,  # bilinear, as Pillow counts
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": _of_one(facts.mean),
        "image_std": _of_one(facts.std),
    }


def of_timm(facts: ModelFacts) -> dict[str, Any]:
    """The config.json that `timm.create_model("local-dir:...")` reads: an architecture of timm, with the model's sizes in `model_args`.

    Raises ConversionError for a model that timm's plain VisionTransformer cannot hold, or no config of it can say: a hybrid, a distilled one, one
    with a gated MLP, or one with another eps.
    """
    if other := [section for section in facts.sections if "residual" in section or section in ("distilled stem", "gated MLP")]:
        raise ConversionError(
            f"timm has another class for a model with a {other[0]}, and segzoo writes no config for that class",
            hint="segzoo convert --to timm writes the tensors alone",
        )
    if facts.eps != _TIMM_EPS:
        raise ConversionError(f"its layer norms have eps {facts.eps:g}, timm's VisionTransformer has {_TIMM_EPS:g}, and no config can change that")
    width, mlp, classes = facts.geometry.width, facts.geometry.mlp, facts.classes or 0
    ratio = mlp / width if int(width * (mlp / width)) == mlp else (mlp + 0.5) / width  # timm rounds width * ratio down
    token, normed = "no class token" not in facts.geometry.twists, "pooled norm" in facts.sections
    pool = "map" if "pooling head" in facts.sections else "token" if token and not normed else "avg"
    arguments: dict[str, Any] = {"img_size": facts.sides, "patch_size": facts.geometry.patch, "embed_dim": width, "depth": facts.geometry.depth}
    arguments |= {"num_heads": facts.heads, "mlp_ratio": ratio, "class_token": token, "global_pool": pool, "fc_norm": normed}
    arguments |= {} if facts.qkv_bias else {"qkv_bias": False}
    arguments |= {"in_chans": facts.geometry.channels} if facts.geometry.channels != 3 else {}
    arguments |= {argument: value for section, (argument, value) in _TIMM_TWISTS.items() if section in facts.sections}
    arguments |= {"reg_tokens": facts.geometry.registers} if facts.geometry.registers else {}
    arguments |= {"act_layer": facts.geometry.activation} if facts.geometry.activation else {}
    if "no final norm" in facts.sections and not normed:
        arguments["final_norm"] = False
    pretrained: dict[str, Any] = {
        "num_classes": classes,
        "input_size": [facts.geometry.channels, *facts.image],
        "fixed_input_size": True,
        "pool_size": None,
    }
    pretrained |= {"crop_pct": 1.0, "interpolation": "bicubic", "first_conv": "patch_embed.proj", "classifier": "head"}
    if facts.mean is not None and facts.std is not None:
        pretrained |= {"mean": _of_one(facts.mean), "std": _of_one(facts.std)}
    return {
        "architecture": "vit_base_patch16_224",
        "num_classes": classes,
        "num_features": width,
        "global_pool": pool,
        "model_args": arguments,
        "pretrained_cfg": pretrained,
    }


def of_loader(family: str, network: Mapping[str, Any], pixels: Pixels | None, more: Mapping[str, Any]) -> dict[str, Any]:
    """The config.json of the file that `segzoo.publishing.export.loader` writes, for other loaders too. `network` names the classes of the
    networks and their arguments, `more` is the protocol and the classes.
    """
    mean, std = pixels or (None, None)
    return {"model_type": f"{family} segmentation model" if more else f"{family} backbone", "network": network, "mean": mean, "std": std, **more}


def _of_one(values: PerChannel) -> list[float]:
    """Means or deviations for pixels from 0 to 255, turned into those for pixels from 0 to 1."""
    return [value / 255 for value in values]
