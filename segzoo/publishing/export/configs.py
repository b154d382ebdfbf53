"""What another library must be told of a model beside its tensors: the config of transformers, of timm, of a plain loader.

Pure: facts in, plain dicts out. What no tensor shows and nobody knows is left out, never guessed.
"""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from segzoo.errors import ConversionError
from segzoo.layouts.vit.geometry import Geometry

Channels = tuple[float, float, float]
_TIMM_EPS = 1e-6


@dataclass(frozen=True)
class Told:
    """A model as a config describes it. `sections` are those of the layout that came along; `mean` and `std` are of pixels
    from 0 to 255, None where not known; `hidden` is the width of a pre-logits layer.
    """

    geometry: Geometry
    eps: float
    sections: Collection[str]
    dtype: str = "float32"
    mean: Channels | None = None
    std: Channels | None = None
    resample: str = "bicubic"
    decoder_eps: float | None = None
    hidden: int | None = None

    @property
    def classes(self) -> int | None:
        """Of the classifier, where one came along."""
        return self.geometry.classes if "classifier" in self.sections else None

    @property
    def side(self) -> int:
        """In pixels, of the image that the position embeddings are for. Raises ConversionError where they are no square grid."""
        if self.geometry.grid is None:
            raise ConversionError(f"{self.geometry.positions} positions are no square grid, which a config could describe")
        return self.geometry.grid * self.geometry.patch

    @property
    def heads(self) -> int:
        if self.geometry.heads is None:
            raise ConversionError("the number of attention heads is not known; it decides the result and shows in no tensor")
        return self.geometry.heads


def of_transformers(told: Told) -> dict[str, Any]:
    """config.json of a ViTForImageClassification, or of a ViTModel where there is no classifier.

    transformers' own default eps is 1e-12; its `gelu` is the exact, erf form.
    """
    return {
        "architectures": ["ViTForImageClassification" if told.classes else "ViTModel"],
        "model_type": "vit",
        "hidden_size": told.geometry.width,
        "num_hidden_layers": told.geometry.depth,
        "num_attention_heads": told.heads,
        "intermediate_size": told.geometry.mlp,
        "hidden_act": "gelu",
        "layer_norm_eps": told.eps,
        "image_size": told.side,
        "patch_size": told.geometry.patch,
        "num_channels": 3,
        "qkv_bias": True,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "torch_dtype": told.dtype,
        **({"num_labels": told.classes} if told.classes else {}),
        **({"pooler_output_size": told.hidden, "pooler_act": "tanh"} if told.hidden else {}),
    }


def of_images(told: Told) -> dict[str, Any] | None:
    """preprocessor_config.json of transformers; None where it is not known how images were normalised."""
    if told.mean is None or told.std is None:
        return None
    return {
        "image_processor_type": "ViTImageProcessor",
        "do_resize": True,
        "size": {"height": told.side, "width": told.side},
        "resample": 2,  # bilinear, as Pillow counts
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": _of_one(told.mean),
        "image_std": _of_one(told.std),
    }


def of_timm(told: Told) -> dict[str, Any]:
    """config.json that `timm.create_model("local-dir:...")` reads: an architecture that it knows, with these sizes in `model_args`.

    Raises ConversionError for what timm's plain VisionTransformer is not: a hybrid, distilled, of another eps.
    """
    if other := [section for section in told.sections if "residual" in section or "distilled" in section]:
        raise ConversionError(
            f"a model with a {other[0]} is another class in timm, whose config segzoo does not write",
            hint="segzoo convert --to timm writes the tensors alone",
        )
    if told.eps != _TIMM_EPS:
        raise ConversionError(f"its layer norms have eps {told.eps:g}, timm's VisionTransformer has {_TIMM_EPS:g}, and a config cannot say otherwise")
    width, mlp, classes = told.geometry.width, told.geometry.mlp, told.classes or 0
    ratio = mlp / width if int(width * (mlp / width)) == mlp else (mlp + 0.5) / width  # timm cuts off what is left of the product
    token = bool({"stem", "class token"} & set(told.sections))
    pool = "map" if "pooling head" in told.sections else "token" if token else "avg"
    arguments: dict[str, Any] = {"img_size": told.side, "patch_size": told.geometry.patch, "embed_dim": width, "depth": told.geometry.depth}
    arguments |= {"num_heads": told.heads, "mlp_ratio": ratio, "class_token": token, "global_pool": pool, "fc_norm": False}
    if "stem" not in told.sections:
        arguments["no_embed_class"] = True
    known: dict[str, Any] = {"num_classes": classes, "input_size": [3, told.side, told.side], "fixed_input_size": True, "pool_size": None}
    known |= {"crop_pct": 1.0, "interpolation": "bicubic", "first_conv": "patch_embed.proj", "classifier": "head"}
    if told.mean is not None and told.std is not None:
        known |= {"mean": _of_one(told.mean), "std": _of_one(told.std)}
    return {
        "architecture": "vit_base_patch16_224",
        "num_classes": classes,
        "num_features": width,
        "global_pool": pool,
        "model_args": arguments,
        "pretrained_cfg": known,
    }


def of_loader(told: Told, more: Mapping[str, Any]) -> dict[str, Any]:
    """config.json of `segzoo.publishing.export.standalone`, and for whoever writes another loader; `more` is the protocol and the classes."""
    geometry, decoder = told.geometry, told.geometry.decoder
    sizes = {name: getattr(geometry, name) for name in ("width", "depth", "mlp", "patch")}
    return {
        "model_type": "segmenter" if decoder else "vit backbone",
        **sizes,
        "heads": told.heads,
        "grid": told.side // geometry.patch,
        "eps": told.eps,
        "gelu": "erf",
        "distilled": "distilled stem" in told.sections,
        "resample": told.resample,
        "head": {**{name: value for name, value in asdict(decoder).items() if value}, "eps": told.decoder_eps} if decoder else None,
        "mean": told.mean,
        "std": told.std,
        **more,
    }


def _of_one(values: Channels) -> list[float]:
    """Means or deviations of pixels from 0 to 255 as those of pixels from 0 to 1."""
    return [value / 255 for value in values]
