"""The ViT in JAX on AugReg tensors, written from google-research/vision_transformer `vit_jax/models_vit.py`; and on timm's.

timm's tensors are for the models that AugReg's names have no place for. What these have beyond is written from the papers: LayerScale
(arXiv 2103.17239), registers (2309.16588), SwiGLU (2002.05202), norms of queries and keys (2302.05442), CLIP's norm before the blocks
(2103.00020). It is a second opinion on the torch network: it reads the published names and orientation itself, and shares no code with `network`.
"""

import os
import re
from collections.abc import Mapping
from functools import partial
from typing import Any, Literal

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # else a jax for GPUs takes most of the memory that torch needs

import jax
import jax.numpy as jnp
import numpy as np

Gelu = Literal["erf", "tanh", "quick"]
_GELUS: Mapping[str, Gelu] = {"gelu": "erf", "gelu_tanh": "tanh", "quick_gelu": "quick"}
Params = Mapping[str, jax.Array]


def forward(
    tensors: Mapping[str, np.ndarray],
    image: np.ndarray,
    *,
    eps: float = 1e-6,
    gelu: Gelu = "tanh",
    dtype: type = np.float32,
    class_token: bool | None = None,
    heads: int | None = None,
) -> dict[str, np.ndarray]:
    """Named intermediates for images (b, H, W, 3), normalised: patch_embed, after_pos, blockN, final_norm, logits.

    `tensors` has AugReg's names, or timm's, which do not show the number of `heads`. Without a classifier there are no `logits`, without a final
    norm no `final_norm`. flax's GELU is `tanh`; torch's use `erf`. If `class_token` is False that token gets its position and is cut off before
    the first block, as in SETR-MLA.
    `dtype` float64 gives the figures to compare with, float32 the figures that flax gives. It runs on the CPU.
    """
    cpu = jax.devices("cpu")[0]
    with jax.enable_x64(dtype is np.float64), jax.default_device(cpu), jax.default_matmul_precision("highest"):
        params = {name: jax.device_put(np.asarray(array, dtype)) for name, array in _named(tensors, heads).items()}
        first = 1 if class_token is False else 0
        return {name: np.asarray(value) for name, value in _forward(params, jax.device_put(np.asarray(image, dtype)), eps, gelu, first).items()}


def intermediates(
    tensors: Mapping[str, np.ndarray], image: np.ndarray, *, eps: float, dtype: type, activation: str | None = None, **told: Any
) -> dict[str, np.ndarray]:
    """The named intermediates with the GELU that torch models use, or another activation of `layouts.vit.geometry`. `told` goes to `forward`."""
    return forward(tensors, image, eps=eps, gelu=_GELUS[activation or "gelu"], dtype=dtype, **told)


def remarks(
    tensors: Mapping[str, np.ndarray], image: np.ndarray, eps: float, activation: str | None = None, **told: Any
) -> tuple[dict[str, float], str]:
    """How far flax's tanh GELU moves the tokens from the exact one, relative to the largest value: as a fact, and in words. Nothing if the
    model has neither.
    """
    if activation not in (None, "gelu") or any(name.endswith("/Gate/kernel") for name in _named(tensors, told.get("heads"))):
        return {}, ""
    exact, tanh = (_tokens(forward(tensors, image, eps=eps, gelu=gelu, dtype=np.float32, **told)) for gelu in ("erf", "tanh"))
    drift = float(np.abs(tanh - exact).max() / max(1.0, float(np.abs(exact).max())))
    return {"gelu_tanh_drift": drift}, f" (GELU erf on both sides; flax's tanh form would move the tokens by {drift:.1e})"


_TIMM = {
    "cls_token": "cls",
    "dist_token": "dist",
    "reg_token": "registers",
    "registers": "registers",
    "pos_embed": "Transformer/posembed_input/pos_embedding",
    "patch_embed.proj.bias": "embedding/bias",
    "norm_pre.weight": "Transformer/norm_pre/scale",
    "norm_pre.bias": "Transformer/norm_pre/bias",
    "norm.weight": "Transformer/encoder_norm/scale",
    "norm.bias": "Transformer/encoder_norm/bias",
    "norm1.weight": "LayerNorm_0/scale",
    "norm1.bias": "LayerNorm_0/bias",
    "norm2.weight": "LayerNorm_2/scale",
    "norm2.bias": "LayerNorm_2/bias",
    "attn.q_norm.weight": "query_norm/scale",
    "attn.q_norm.bias": "query_norm/bias",
    "attn.k_norm.weight": "key_norm/scale",
    "attn.k_norm.bias": "key_norm/bias",
    "attn.proj.bias": "MultiHeadDotProductAttention_1/out/bias",
    "ls1.gamma": "LayerScale_0/gamma",
    "ls2.gamma": "LayerScale_1/gamma",
    "mlp.fc2.bias": "MlpBlock_3/Dense_1/bias",
}
"""timm's names of vectors and tables, those of a block without its start, and flax's; the matrices are turned in `_of_timm`."""


def _named(tensors: Mapping[str, np.ndarray], heads: int | None) -> Mapping[str, np.ndarray]:
    """The tensors under flax's names."""
    return tensors if "embedding/kernel" in tensors else _of_timm(tensors, heads or 1)


def _of_timm(tensors: Mapping[str, np.ndarray], heads: int) -> dict[str, np.ndarray]:
    """timm's tensors as flax has them: matrices (in, out), heads on an axis of their own, query, key and value apart. The classifier is left out."""
    kernel = np.asarray(tensors["patch_embed.proj.weight"])
    made = {"embedding/kernel": kernel.transpose(2, 3, 1, 0), "embedding/bias": np.zeros(len(kernel), kernel.dtype)}
    attention = "MultiHeadDotProductAttention_1"
    for name, value in tensors.items():
        array, start = np.asarray(value), ""
        if block := re.match(r"blocks\.(\d+)\.", name):
            start, name = f"Transformer/encoderblock_{block[1]}/", name[block.end() :]
        d = array.shape[-1]
        if name in _TIMM:
            made[start + _TIMM[name]] = array
        elif name == "attn.qkv.weight":
            for part, own in zip(("query", "key", "value"), np.split(array, 3), strict=True):
                made[f"{start}{attention}/{part}/kernel"] = own.T.reshape(d, heads, -1)
                made.setdefault(f"{start}{attention}/{part}/bias", np.zeros((heads, len(own) // heads), array.dtype))
        elif name == "attn.qkv.bias":
            made |= {
                f"{start}{attention}/{part}/bias": own.reshape(heads, -1)
                for part, own in zip(("query", "key", "value"), np.split(array, 3), strict=True)
            }
        elif name == "attn.proj.weight":
            made[f"{start}{attention}/out/kernel"] = array.T.reshape(heads, -1, len(array))
        elif name == "mlp.fc2.weight":
            made[f"{start}MlpBlock_3/Dense_1/kernel"] = array.T
        elif name.startswith("mlp.fc1."):
            matrix, last = name.endswith("weight"), "kernel" if name.endswith("weight") else "bias"
            inner = tensors[f"blocks.{block[1]}.mlp.fc2.weight"].shape[1] if block else 0
            *gate, value_half = np.split(array, len(array) // inner)
            made[f"{start}MlpBlock_3/Dense_0/{last}"] = value_half.T if matrix else value_half
            made |= {f"{start}MlpBlock_3/Gate/{last}": one.T if matrix else one for one in gate}
    return made


def _tokens(seen: Mapping[str, np.ndarray]) -> np.ndarray:
    """The tokens after the last step but the classifier."""
    return list({name: value for name, value in seen.items() if name != "logits"}.values())[-1]


def _forward(params: Params, image: jax.Array, eps: float, gelu: Gelu, first: int) -> dict[str, jax.Array]:
    """The intermediates; the tokens before `first` do not go through the blocks."""
    seen = {}
    tokens = tuple(params[name] for name in ("cls", "dist", "registers") if name in params)
    seen["patch_embed"], x = _embedded(
        image, params["embedding/kernel"], params["embedding/bias"], tokens, params["Transformer/posembed_input/pos_embedding"]
    )
    x = seen["after_pos"] = x[:, first:]
    if "Transformer/norm_pre/scale" in params:
        x = seen["norm_pre"] = _norm(x, params["Transformer/norm_pre/scale"], params["Transformer/norm_pre/bias"], eps)
    blocks = {int(match[1]) for name in params if (match := re.match(r"Transformer/encoderblock_(\d+)/", name))}
    for index in sorted(blocks):
        prefix = f"Transformer/encoderblock_{index}/"
        own = {name.removeprefix(prefix): value for name, value in params.items() if name.startswith(prefix)}
        x = seen[f"block{index}"] = _block(own, x, eps, gelu)
    if "Transformer/encoder_norm/scale" in params:
        x = seen["final_norm"] = _norm(x, params["Transformer/encoder_norm/scale"], params["Transformer/encoder_norm/bias"], eps)
    if "head/kernel" in params:
        cls = x[:, 0]
        if "pre_logits/kernel" in params:
            cls = jnp.tanh(cls @ params["pre_logits/kernel"] + params["pre_logits/bias"])
        seen["logits"] = cls @ params["head/kernel"] + params["head/bias"]
    return seen


@jax.jit
def _embedded(
    image: jax.Array, kernel: jax.Array, bias: jax.Array, tokens: tuple[jax.Array, ...], positions: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The patch embeddings, and the tokens: other tokens before these, and positions. A convolution whose stride is its size is a matrix product.

    The last entries of the table are those of the patches, what is before those of the first tokens; tokens beyond have a position of zeros.
    """
    b, height, width, _ = image.shape
    p = kernel.shape[0]
    cut = image.reshape(b, height // p, p, width // p, p, -1).transpose(0, 1, 3, 2, 4, 5)
    pixels = kernel.shape[0] * kernel.shape[1] * kernel.shape[2]
    patches = cut.reshape(b, -1, pixels) @ kernel.reshape(pixels, -1) + bias
    n, d = patches.shape[1:]
    number = sum(token.shape[1] for token in tokens)
    of_tokens, of_patches = positions[:, :-n], positions[:, -n:]
    lacking = jnp.zeros((1, number - of_tokens.shape[1], d), positions.dtype)
    return patches, jnp.concatenate([jnp.broadcast_to(token, (b, *token.shape[1:])) for token in tokens] + [patches], axis=1) + jnp.concatenate(
        [of_tokens, lacking, of_patches], axis=1
    )


@partial(jax.jit, static_argnames=("eps", "gelu"))
def _block(own: Params, x: jax.Array, eps: float, gelu: Gelu) -> jax.Array:
    """Encoder1DBlock: LayerNorm_0, attention, LayerNorm_2, MLP."""
    y = _norm(x, own["LayerNorm_0/scale"], own["LayerNorm_0/bias"], eps)
    attention = "MultiHeadDotProductAttention_1"
    q, k, v = (
        jnp.einsum("bnd,dhk->bhnk", y, own[f"{attention}/{part}/kernel"]) + own[f"{attention}/{part}/bias"][:, None, :]
        for part in ("query", "key", "value")
    )
    if "query_norm/scale" in own:
        q, k = (_norm(one, own[f"{part}_norm/scale"], own[f"{part}_norm/bias"], eps) for one, part in ((q, "query"), (k, "key")))
    weights = jax.nn.softmax(jnp.einsum("bhnk,bhmk->bhnm", q / jnp.sqrt(q.shape[-1]).astype(q.dtype), k), axis=-1)
    attended = jnp.einsum("bhnm,bhmk->bnhk", weights, v)
    y = jnp.einsum("bnhk,hkd->bnd", attended, own[f"{attention}/out/kernel"]) + own[f"{attention}/out/bias"]
    x = x + y * own.get("LayerScale_0/gamma", 1)
    y = _norm(x, own["LayerNorm_2/scale"], own["LayerNorm_2/bias"], eps)
    inner = y @ own["MlpBlock_3/Dense_0/kernel"] + own["MlpBlock_3/Dense_0/bias"]
    if "MlpBlock_3/Gate/kernel" in own:
        inner = inner * jax.nn.silu(y @ own["MlpBlock_3/Gate/kernel"] + own["MlpBlock_3/Gate/bias"])
    elif gelu == "quick":
        inner = inner * jax.nn.sigmoid(1.702 * inner)
    else:
        inner = jax.nn.gelu(inner, approximate=gelu == "tanh")
    y = inner @ own["MlpBlock_3/Dense_1/kernel"] + own["MlpBlock_3/Dense_1/bias"]
    return x + y * own.get("LayerScale_1/gamma", 1)


@partial(jax.jit, static_argnames="eps")
def _norm(x: jax.Array, scale: jax.Array, bias: jax.Array, eps: float) -> jax.Array:
    mean = x.mean(-1, keepdims=True)
    variance = jnp.square(x - mean).mean(-1, keepdims=True)
    return (x - mean) / jnp.sqrt(variance + eps) * scale + bias
