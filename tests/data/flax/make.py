"""Writes a small ViT with random weights as flax saves it, alone and from training runs, and what else a tree may hold: `python make.py`.

flax 0.12.8, jax 0.10.2 CPU, optax 0.2.8, numpy 2.4.6. The modules have the names of vit_jax's and big_vision's `models/vit.py`; linen numbers them.
"""

from pathlib import Path

import flax.serialization
import flax.traverse_util
import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import optax
from flax import linen as nn
from flax.serialization import msgpack_restore, msgpack_serialize, to_bytes
from flax.training.train_state import TrainState

HERE = Path(__file__).parent
WIDTH, HEADS, MLP, PATCH, SIZE, CLASSES = 8, 2, 12, 4, 8, 3


class MlpBlock(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.gelu(nn.Dense(MLP)(x))
        return nn.Dense(WIDTH)(x)


class Encoder1DBlock(nn.Module):
    @nn.compact
    def __call__(self, x):
        y = nn.LayerNorm()(x)
        x = x + nn.MultiHeadDotProductAttention(num_heads=HEADS)(y, y)
        return x + MlpBlock()(nn.LayerNorm()(x))


class AddPositionEmbs(nn.Module):
    @nn.compact
    def __call__(self, x):
        return x + self.param("pos_embedding", nn.initializers.normal(), (1, x.shape[1], WIDTH))


class Encoder(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = AddPositionEmbs(name="posembed_input")(x)
        for block in range(2):
            x = Encoder1DBlock(name=f"encoderblock_{block}")(x)
        return nn.LayerNorm(name="encoder_norm")(x)


class ViT(nn.Module):
    @nn.compact
    def __call__(self, image):
        x = nn.Conv(WIDTH, (PATCH, PATCH), (PATCH, PATCH), padding="VALID", name="embedding")(image).reshape(1, -1, WIDTH)
        cls = self.param("cls", nn.initializers.normal(), (1, 1, WIDTH))
        x = Encoder(name="Transformer")(jnp.concatenate([cls, x], axis=1))
        return nn.Dense(CLASSES, name="head")(x[:, 0])


def flat(tree):
    return {name: np.asarray(array) for name, array in flax.traverse_util.flatten_dict(tree, sep="/").items()}


def write(name, content):
    msgpack_restore(content)
    (HERE / f"{name}.msgpack").write_bytes(content)


rng = np.random.default_rng(0)
model = ViT()
variables = model.init(jax.random.key(0), jnp.zeros((1, SIZE, SIZE, 3)))
params = jax.tree.map(lambda one: jnp.asarray(rng.standard_normal(one.shape), one.dtype), variables["params"])
np.savez(HERE / "params.npz", **flat({"params": params}))

write("variables", to_bytes({"params": params}))
write("bfloat16", to_bytes(jax.tree.map(lambda one: one.astype(jnp.bfloat16), params)))
state = TrainState.create(apply_fn=model.apply, params=params, tx=optax.adam(0.1))
trained = state.apply_gradients(grads=params)
write("train_state", to_bytes(trained.replace(params=params)))
write("run", to_bytes((params, trained.opt_state, 7)))  # vit_jax/train.py
moments = {"step": np.int32(7), "param_states": jax.tree.map(lambda one: {"momentum": one + 1}, params)}
write(
    "optimizer",
    msgpack_serialize({"optimizer": {"target": jax.tree.map(np.asarray, params), "state": jax.tree.map(np.asarray, moments)}, "epoch": 3}),
)
average = jax.tree.map(lambda one: one / 2, params)
write("averaged", to_bytes({"params": params, "ema_params": average, "opt_state": trained.opt_state, "step": np.int64(7)}))
np.savez(HERE / "averaged.npz", **flat(average))

DTYPES = (
    "bool",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "float16",
    "float32",
    "float64",
    "complex64",
    "complex128",
)
NARROW = ("bfloat16", "float8_e4m3fn", "float8_e5m2", "int4")
arrays = {
    **{name: np.arange(6).astype(name).reshape(2, 3) for name in DTYPES},
    **{name: np.arange(6).astype(getattr(ml_dtypes, name)).reshape(1, 6) for name in NARROW},
    "transposed": np.arange(12, dtype="f4").reshape(3, 4).T,
    "nothing": np.zeros((0, 4), "f4"),
    "step": np.array(5, "i4"),
    "long": np.arange(5000, dtype="f8"),
    "many": np.arange(70_000, dtype="u1"),
    "ä/b": np.arange(2, dtype="f4"),
}
flax.serialization.MAX_CHUNK_SIZE = 300  # bytes; it is 2**30
chunked = {"chunked": np.arange(1000, dtype="f4").reshape(10, 100), "halves": np.arange(400).astype(ml_dtypes.bfloat16).reshape(20, 20)}
pieces = flax.serialization._chunk_array_leaves_in_place(dict(chunked))
flax.serialization.MAX_CHUNK_SIZE = 2**30
plain = {
    "none": None,
    "text": "x" * 300,
    "bytes": b"x" * 40,
    "float": 1.5,
    "complex": 1 + 2j,
    "int": -70_000,
    "large": 2**63,
    "yes": True,
    "empty": {},
}
scalars = {"scalar": np.float32(2.5), "half": np.asarray(3, ml_dtypes.bfloat16)[()]}
listed = [np.arange(3, dtype="f4"), {"deep": np.arange(2, dtype="f4")}]
keyed = {0: np.arange(4, dtype="f4"), 1: {"w": np.arange(5, dtype="f4")}}
content, in_chunks = msgpack_serialize({"a": arrays, "p": plain, "s": scalars, "l": listed, "k": keyed}), msgpack_serialize({"c": pieces})
write("values", content)
write("chunked", in_chunks)

restored = msgpack_restore(content) | msgpack_restore(in_chunks)
restored["l"] = {"0": restored["l"][0], "1": restored["l"][1]}
restored["k"] = {str(key): value for key, value in restored["k"].items()}
tensors = {name: np.asarray(one) for name, one in flat(restored).items() if isinstance(one, np.ndarray | np.generic)}
tensors = {name: one for name, one in tensors.items() if not name.startswith("p/")}
np.savez_compressed(HERE / "values.npz", **{name: np.ascontiguousarray(one).reshape(-1).view("u1") for name, one in tensors.items()})
(HERE / "values.txt").write_text("".join(f"{name} {one.dtype.name} {list(one.shape)}\n" for name, one in tensors.items()))
