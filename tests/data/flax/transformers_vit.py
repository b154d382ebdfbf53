"""Writes small models as transformers' flax classes save them, and what its own loader makes of them in torch: `python transformers_vit.py FOLDER`.

transformers 4.57.1, of the last line that has flax (`pip install --target FOLDER --no-deps transformers==4.57.1 'huggingface_hub<1.0'
tokenizers==0.22.1`), flax 0.12.8, jax 0.10.2 CPU, torch 2.13.0 CPU.
"""

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, sys.argv[1])

import jax
import numpy as np
import transformers
from transformers import BeitConfig, CLIPConfig, Dinov2Config, ViTConfig
from transformers.modeling_flax_pytorch_utils import load_flax_checkpoint_in_pytorch_model

HERE = Path(__file__).parent
SIZES = {
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 12,
    "image_size": 8,
    "patch_size": 4,
    "num_labels": 3,
}
rng = np.random.default_rng(1)
WIDE = {name: value for name, value in SIZES.items() if name != "intermediate_size"}
TEXT = dict(hidden_size=4, num_hidden_layers=1, num_attention_heads=1, intermediate_size=4, vocab_size=6, max_position_embeddings=4)
VISION = {name: value for name, value in SIZES.items() if name != "num_labels"}
CLASSES = {
    "hf_classifier": ("ViTForImageClassification", ViTConfig(**SIZES)),
    "hf_pooler": ("ViTModel", ViTConfig(**SIZES)),
    "hf_dinov2": ("Dinov2ForImageClassification", Dinov2Config(**WIDE, mlp_ratio=2)),
    "hf_clip": ("CLIPModel", CLIPConfig(vision_config=VISION, text_config=TEXT, projection_dim=6)),
    "hf_beit": ("BeitForImageClassification", BeitConfig(**SIZES, use_relative_position_bias=True)),
}
rng = np.random.default_rng(1)
for name, (kind, config) in CLASSES.items():
    model = getattr(transformers, f"Flax{kind}")(config)
    model.params = jax.tree.map(lambda one: rng.standard_normal(one.shape, dtype="f4"), model.params)
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        (HERE / f"{name}.msgpack").write_bytes((Path(folder) / "flax_model.msgpack").read_bytes())
        loaded = load_flax_checkpoint_in_pytorch_model(getattr(transformers, kind)(config), f"{folder}/flax_model.msgpack")
    np.savez(HERE / f"{name}.npz", **{key: tensor.numpy() for key, tensor in loaded.state_dict().items()})
