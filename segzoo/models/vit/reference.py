"""The ViT in JAX on AugReg tensors, written from google-research/vision_transformer `vit_jax/models_vit.py`.

It is a second opinion on the torch network: it reads the published names and orientation itself, and shares no code with `network`.
"""

import os
import re
from collections.abc import Mapping
from functools import partial
from typing import Literal, get_args

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # else a jax for GPUs takes most of the memory that torch needs

import jax
import jax.numpy as jnp
import numpy as np

Gelu = Literal["erf", "tanh"]
Params = Mapping[str, jax.Array]


def forward(
    tensors: Mapping[str, np.ndarray],
    image: np.ndarray,
    *,
    eps: float = 1e-6,
    gelu: Gelu = "tanh",
    dtype: type = np.float32,
    class_token: bool | None = None,
) -> dict[str, np.ndarray]:
    """Named intermediates for images (b, H, W, 3), normalised: patch_embed, after_pos, blockN, final_norm, logits.

    `tensors` has AugReg's names. Without a classifier there are no `logits`, without a final norm no `final_norm`. flax's GELU is `tanh`; torch's
    use `erf`. If `class_token` is False that token gets its position and is cut off before the first block, as in SETR-MLA.
    `dtype` float64 gives the figures to compare with, float32 the figures that flax gives. It runs on the CPU.
    """
    cpu = jax.devices("cpu")[0]
    with jax.enable_x64(dtype is np.float64), jax.default_device(cpu), jax.default_matmul_precision("highest"):
        params = {name: jax.device_put(np.asarray(array, dtype)) for name, array in tensors.items()}
        first = 1 if class_token is False else 0
        return {name: np.asarray(value) for name, value in _forward(params, jax.device_put(np.asarray(image, dtype)), eps, gelu, first).items()}


def intermediates(
    tensors: Mapping[str, np.ndarray], image: np.ndarray, *, eps: float, dtype: type, class_token: bool | None = None
) -> dict[str, np.ndarray]:
    """The named intermediates with the GELU that torch models use."""
    return forward(tensors, image, eps=eps, gelu="erf", dtype=dtype, class_token=class_token)


def remarks(tensors: Mapping[str, np.ndarray], image: np.ndarray, eps: float, class_token: bool | None = None) -> tuple[dict[str, float], str]:
    """How far flax's tanh GELU moves the tokens from the exact one, relative to the largest value: as a fact, and in words."""
    exact, tanh = (_tokens(forward(tensors, image, eps=eps, gelu=gelu, dtype=np.float32, class_token=class_token)) for gelu in get_args(Gelu))
    drift = float(np.abs(tanh - exact).max() / max(1.0, float(np.abs(exact).max())))
    return {"gelu_tanh_drift": drift}, f" (GELU erf on both sides; flax's tanh form would move the tokens by {drift:.1e})"


def _tokens(seen: Mapping[str, np.ndarray]) -> np.ndarray:
    """The tokens after the last step but the classifier."""
    return list({name: value for name, value in seen.items() if name != "logits"}.values())[-1]


def _forward(params: Params, image: jax.Array, eps: float, gelu: Gelu, first: int) -> dict[str, jax.Array]:
    """The intermediates; the tokens before `first` do not go through the blocks."""
    seen = {}
    seen["patch_embed"], x = _embedded(
        image, params["embedding/kernel"], params["embedding/bias"], params["cls"], params["Transformer/posembed_input/pos_embedding"]
    )
    x = seen["after_pos"] = x[:, first:]
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
def _embedded(image: jax.Array, kernel: jax.Array, bias: jax.Array, cls: jax.Array, positions: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The patch embeddings, and the tokens: these with class token and positions. A convolution whose stride is its size is a matrix product."""
    b, height, width, _ = image.shape
    p = kernel.shape[0]
    cut = image.reshape(b, height // p, p, width // p, p, -1).transpose(0, 1, 3, 2, 4, 5)
    pixels = kernel.shape[0] * kernel.shape[1] * kernel.shape[2]
    patches = cut.reshape(b, -1, pixels) @ kernel.reshape(pixels, -1) + bias
    return patches, jnp.concatenate([jnp.broadcast_to(cls, (b, 1, cls.shape[-1])), patches], axis=1) + positions


@partial(jax.jit, static_argnames=("eps", "gelu"))
def _block(own: Params, x: jax.Array, eps: float, gelu: Gelu) -> jax.Array:
    """Encoder1DBlock: LayerNorm_0, attention, LayerNorm_2, MLP."""
    y = _norm(x, own["LayerNorm_0/scale"], own["LayerNorm_0/bias"], eps)
    attention = "MultiHeadDotProductAttention_1"
    q, k, v = (
        jnp.einsum("bnd,dhk->bhnk", y, own[f"{attention}/{part}/kernel"]) + own[f"{attention}/{part}/bias"][:, None, :]
        for part in ("query", "key", "value")
    )
    weights = jax.nn.softmax(jnp.einsum("bhnk,bhmk->bhnm", q / jnp.sqrt(q.shape[-1]).astype(q.dtype), k), axis=-1)
    attended = jnp.einsum("bhnm,bhmk->bnhk", weights, v)
    x = x + jnp.einsum("bnhk,hkd->bnd", attended, own[f"{attention}/out/kernel"]) + own[f"{attention}/out/bias"]
    y = _norm(x, own["LayerNorm_2/scale"], own["LayerNorm_2/bias"], eps)
    y = y @ own["MlpBlock_3/Dense_0/kernel"] + own["MlpBlock_3/Dense_0/bias"]
    y = jax.nn.gelu(y, approximate=gelu == "tanh")
    return x + y @ own["MlpBlock_3/Dense_1/kernel"] + own["MlpBlock_3/Dense_1/bias"]


@partial(jax.jit, static_argnames="eps")
def _norm(x: jax.Array, scale: jax.Array, bias: jax.Array, eps: float) -> jax.Array:
    mean = x.mean(-1, keepdims=True)
    variance = jnp.square(x - mean).mean(-1, keepdims=True)
    return (x - mean) / jnp.sqrt(variance + eps) * scale + bias
