"""Every class of transformers that is a plain ViT, has one for a tower, or may be taken for one: names on disk and in memory, configs, tokens.

    python classes_of_transformers.py

In a virtual environment with transformers 5.24 and torch. `transformers_classes.json.gz` has for each class the shapes of its tensors
as `save_pretrained` writes them and as `state_dict()` names them, and the config.json beside them. `transformers_classes.npz` has the image that all
of them see, and for the classes whose towers are plain ViTs the tensors on disk, by name and end to end, and the tokens after the last norm,
computed in float64.
"""

import gzip
import json
import tempfile
import warnings
from pathlib import Path

import numpy as np
import torch
import transformers
from make import image, shaken
from safetensors.torch import load_file

warnings.simplefilter("ignore")
HERE = Path(__file__).parent
SIZES = dict(hidden_size=8, num_hidden_layers=2, num_attention_heads=2, image_size=16, patch_size=4)
PLAIN = SIZES | dict(intermediate_size=16)
TEXT = dict(hidden_size=4, num_hidden_layers=1, num_attention_heads=1, intermediate_size=4, vocab_size=6, max_position_embeddings=4)
MAE = PLAIN | dict(decoder_num_hidden_layers=1, decoder_hidden_size=8, decoder_num_attention_heads=2, decoder_intermediate_size=8)
PAIR = dict(vision_config=PLAIN, text_config=TEXT, projection_dim=6)
VIDEO = PLAIN | dict(num_frames=4, tubelet_size=2)
NECK = dict(neck_hidden_sizes=[8, 8, 8, 8], fusion_hidden_size=8, reassemble_factors=[4, 2, 1, 0.5])
DEPTH = dict(
    backbone_config=dict(
        model_type="dinov2", out_indices=[1, 2, 3, 4], reshape_hidden_states=False, **SIZES | dict(num_hidden_layers=4), mlp_ratio=2
    ),
    head_hidden_size=4,
)
OF_MODEL = {
    "ViTForMaskedImageModeling": PLAIN | dict(encoder_stride=4),
    "ViTMAE": MAE | dict(mask_ratio=0.0),
    "DeiTForMaskedImageModeling": PLAIN | dict(encoder_stride=4),
    "Dinov2WithRegisters": SIZES | dict(mlp_ratio=2, num_register_tokens=4),
    "Dinov2": SIZES | dict(mlp_ratio=2),
    "CLIP": PAIR,
    "Siglip": dict(vision_config=PLAIN, text_config=TEXT | dict(projection_size=8)),
    "Siglip2": dict(
        vision_config=dict(hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16, patch_size=4, num_patches=16),
        text_config=TEXT | dict(projection_size=8),
    ),
    "VideoMAE": VIDEO | {name: value for name, value in MAE.items() if name.startswith("decoder")},
    **dict.fromkeys(("ChineseCLIP", "MetaClip2", "CLIPSeg", "XCLIP", "OwlViT", "Owlv2"), PAIR),
    "AltCLIP": PAIR | dict(text_config=TEXT | dict(project_dim=6)),
    "Blip": dict(vision_config=PLAIN, text_config=TEXT | dict(encoder_hidden_size=8), image_text_hidden_size=6),
    "Data2VecVision": PLAIN | dict(use_relative_position_bias=True, use_mean_pooling=True),
    "Aimv2": dict(vision_config=PLAIN, text_config=TEXT),
    "AST": PLAIN | dict(num_mel_bins=16, max_length=16, frequency_stride=2, time_stride=2),
    "Vivit": PLAIN | dict(num_frames=4, tubelet_size=[2, 4, 4]),
    "DPT": PLAIN | NECK | dict(backbone_out_indices=[0, 0, 1, 1], backbone_config=None, is_hybrid=False),
    "DepthAnything": DEPTH | NECK,
    "Yolos": PLAIN | dict(image_size=[16, 16], num_detection_tokens=3),
}
"""Arguments of configs, by what a class's name begins with; of several the longest."""
TOWERS = ("clip", "siglip", "siglip2", "chinese_clip", "altclip", "metaclip_2", "clipseg", "x_clip", "owlvit", "owlv2", "blip", "mlcd", "aimv2")
MODELS = (
    *("vit", "vit_mae", "vit_msn", "deit", "dinov2", "dinov2_with_registers", "dinov3_vit", "ijepa", "data2vec", "dpt", "depth_anything"),
    *("videomae", "vivit", "timesformer", "yolos", "vitpose_backbone", "vitdet", "audio_spectrogram_transformer", *TOWERS),
)


def classes():
    """The classes that see images, by name."""
    found = {}
    for model in MODELS:
        module = getattr(transformers.models, model)
        names = [
            name
            for name in dir(module)
            if isinstance(getattr(module, name), type) and issubclass(getattr(module, name), transformers.PreTrainedModel)
        ]
        other = ("PreTrainedModel", "TextModel", "TextModelWithProjection")
        found |= {name: getattr(module, name) for name in names if not name.endswith(other) and "Text" not in name}
    return found


def config_of(name, kind):
    begins = max((start for start in OF_MODEL if name.startswith(start)), key=len, default=None)
    arguments = OF_MODEL.get(begins, PLAIN)
    config = kind.config_class
    if "Vision" in config.__name__ and "vision_config" in arguments:
        arguments = arguments["vision_config"]
    return config(**arguments)


def tokens_of(model, picture):
    """The tokens after the last norm."""
    tower = getattr(model, "vision_model", model.base_model)
    if "noise" in tower.forward.__code__.co_varnames or type(model).__name__.startswith("ViTMAE"):
        return tower(picture, noise=torch.arange(16).double()[None]).last_hidden_state
    tokens = tower(picture).last_hidden_state
    named = type(tower).__name__
    return tower.post_layernorm(tokens) if "CLIP" in named or "Clip" in named or "Owl" in named else tokens


def plain(name):
    """Whether a class is a plain ViT, or a pair of towers of which one is."""
    starts = ("ViT", "DeiT", "Dinov2", "IJepa", "DPTModel", "CLIPModel", "CLIPVision", "CLIPForImage", "Siglip", "Data2VecVisionModel")
    towers = ("AltCLIPVisionModel", "ChineseCLIPVisionModel", "MetaClip2VisionModel", "CLIPSegVisionModel", "OwlViTVisionModel", "BlipVisionModel")
    return name.startswith((*starts, *towers)) and not name.startswith("Siglip2") and not name.endswith("Backbone")


def main():
    picture = image(16, 16)
    told, found = {}, {"image": picture.float().numpy()}
    for name, kind in classes().items():
        try:
            model = shaken(kind(config_of(name, kind))).float()
        except Exception as fault:
            print(f"{name}: not made: {type(fault).__name__}: {str(fault)[:150]}")
            continue
        if not any(parameter.is_floating_point() for parameter in model.parameters()):
            print(f"{name}: nothing in it")
            continue
        with tempfile.TemporaryDirectory() as folder:
            model.save_pretrained(folder)
            disk, config = load_file(f"{folder}/model.safetensors"), json.loads(Path(f"{folder}/config.json").read_text())
        shapes = [{key: list(tensor.shape) for key, tensor in sorted(state.items())} for state in (disk, model.state_dict())]
        told[name] = {"disk": shapes[0], "memory": shapes[1], "config": config}
        if plain(name):
            found[name] = np.concatenate([disk[key].float().numpy().ravel() for key in sorted(disk)])
            found[f"{name}/tokens"] = tokens_of(model.double(), picture).float().detach().numpy()
            if name == "SiglipModel":
                found["SiglipModel/pooled"] = model.vision_model(picture).pooler_output.float().detach().numpy()
    path = HERE / "transformers_classes.json.gz"
    path.write_bytes(gzip.compress(json.dumps(told, separators=(",", ":")).encode(), 9, mtime=0))
    print(path.name, path.stat().st_size, len(told))
    path = HERE / "transformers_classes.npz"
    np.savez_compressed(path, **found)
    print(path.name, path.stat().st_size)


if __name__ == "__main__":
    main()
