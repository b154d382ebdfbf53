"""Each class of transformers that is a plain ViT or has one for a tower: read from its file and its config.json alone, or refused by name."""

import gzip
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.numpy import save_file
from support import GOLDEN, arrays, remapped, same, specs_of
from torch import nn

import segzoo
from segzoo.cli import main
from segzoo.conversion.axes import measure
from segzoo.conversion.config_json import of_json
from segzoo.conversion.convert import convert
from segzoo.conversion.detect import detect
from segzoo.conversion.inspect import inspect
from segzoo.conversion.plan import plan
from segzoo.errors import ConversionError, UsageError
from segzoo.formats.several import models_in
from segzoo.spec import Spec

ROOT = Path(__file__).parents[2]
CLASSES = json.loads(gzip.decompress((GOLDEN / "vit_twists" / "transformers_classes.json.gz").read_bytes()))
"""Each class of transformers 5.24: shapes on disk and in memory, and its config.json."""

TOKENS = arrays(GOLDEN / "vit_twists" / "transformers_classes.npz")
PLAIN = [name for name in CLASSES if f"{name}/tokens" in TOKENS]
"""The classes whose towers are plain ViTs: there are their tensors, end to end, and their tokens after the last norm of one image."""


def tensors_of(name):
    """The tensors of a class's file."""
    found, start = {}, 0
    for key, shape in sorted(CLASSES[name]["disk"].items()):
        end = start + int(np.prod(shape))
        found[key], start = TOKENS[name][start:end].reshape(shape), end
    return found


def folder_of(name, path, config=None):
    """The folder that `save_pretrained` leaves: the file of weights, with config.json beside it."""
    save_file(tensors_of(name), path / "model.safetensors")
    (path / "config.json").write_text(json.dumps(CLASSES[name]["config"] if config is None else config))
    return path / "model.safetensors"


@pytest.mark.parametrize("name", PLAIN)
def test_tokens_are_those_of_transformers(name, tmp_path):
    """In float64, of the network that is built from the file and from config.json beside it, and nothing else."""
    model = segzoo.load(folder_of(name, tmp_path)).double()
    seen = {}
    with torch.inference_mode():
        model(torch.from_numpy(TOKENS["image"]).double(), seen)
    tokens = seen.get("final_norm", seen["block1"])
    assert np.abs(tokens.numpy() - TOKENS[f"{name}/tokens"]).max() <= 1e-6 * np.abs(TOKENS[f"{name}/tokens"]).max()


REFUSED = {
    "DINOv3ViT": "rotary positions",
    "MLCD": "rotary positions",
    "Data2VecVisionForSemanticSegmentation": "a UPerNet head under the names that transformers 5 has in memory",
    "DPTFor": "the neck and head of a DPT",
    "DepthAnything": "the neck and head of a DPT",
    "VideoMAE": "a model of videos",
    "Vivit": "a model of videos",
    "Timesformer": "a model of videos",
    "XCLIP": "a model of videos",
    "Yolos": "detection tokens",
    "VitPose": "adds the position of the class token to all patches",
    "VitDet": "attend within windows",
    "AST": "overlap",
    "Siglip2": "NaFlex",
    "CLIPSegForImageSegmentation": "the decoder of a CLIPSeg",
    "OwlViTFor": "--drop 'box_head.*' --drop 'class_head.*'",
    "Owlv2For": "--drop 'box_head.*' --drop 'class_head.*'",
    "Aimv2": "norms without a bias (RMSNorm)",
}
"""The classes that no layout has a place for, by what their names begin with, and what is said of them."""


def refused(name):
    return next((why for start, why in REFUSED.items() if name.startswith(start)), None)


@pytest.mark.parametrize("names", ["disk", "memory"])
@pytest.mark.parametrize("name", CLASSES)
def test_each_class_is_read_or_refused_by_a_named_twist(name, names, tmp_path):
    """By way of the command, under both kinds of names."""
    told = CLASSES[name]
    if names == "memory" and told["memory"].keys() == told["disk"].keys():
        return
    rng = np.random.default_rng(5)
    save_file({key: rng.normal(size=shape).astype(np.float32) for key, shape in told[names].items()}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(told["config"]))
    done = CliRunner().invoke(main, ["convert", str(tmp_path / "model.safetensors"), str(tmp_path / "out.pth"), "--to", "hf"])
    why = refused(name)
    assert done.exit_code == (5 if why else 0), done.output
    assert (tmp_path / "out.pth").exists() == (why is None)
    assert why is None or why in done.stderr
    assert why is None or why.startswith("--drop") or "drop" not in done.stderr
    assert why is not None or "which segzoo does not know" not in done.output


def read():
    """The sections and the geometry of each class that is read."""
    for name, told in CLASSES.items():
        if not refused(name):
            found = detect(specs := {key: Spec(tuple(shape), "float32") for key, shape in told["disk"].items()})
            yield name, found, measure(found, specs)[0]


COUNTED = {
    "plain": lambda found, geometry: found.layout.family.name == "vit" and not geometry.twists and "distilled stem" not in found.sections,
    "LayerScale": lambda found, geometry: "layer scale" in found.sections,
    "registers": lambda found, geometry: getattr(geometry, "registers", 0),
    "distillation token": lambda found, geometry: "distilled stem" in found.sections,
    "no class token": lambda found, geometry: "no class token" in getattr(geometry, "twists", ()),
    "norm before the blocks": lambda found, geometry: "norm before the blocks" in found.sections,
    "pooling head": lambda found, geometry: "pooling head" in found.sections,
    "text tower beside": lambda found, geometry: "text tower" in {one.section for one in found.beside.values()},
    "a BEiT": lambda found, geometry: found.layout.family.name == "beit",
}
WHY = {
    "rotary positions": "rotary positions",
    "videos": "a model of videos",
    "neck and head of a DPT": "the neck and head of a DPT",
    "NaFlex": "NaFlex",
    "windows of ViTDet": "attend within windows",
    "detection tokens": "detection tokens",
    "positions of ViTPose": "adds the position of the class token to all patches",
    "patches that overlap": "overlap",
    "RMSNorm": "norms without a bias (RMSNorm)",
    "heads or a decoder": ("a UPerNet head under the names that transformers 5 has in memory", "the decoder of a CLIPSeg", REFUSED["OwlViTFor"]),
}


def test_the_table_in_the_docs_counts_them():
    found = [one[1:] for one in read()]
    counts = {"read": len(found), **{what: sum(bool(holds(*one)) for one in found) for what, holds in COUNTED.items()}}
    counts["refused"] = len(CLASSES) - len(found)
    counts |= {what: sum(refused(name) in (why if isinstance(why, tuple) else (why,)) for name in CLASSES) for what, why in WHY.items()}
    assert sum(counts[what] for what in WHY) == counts["refused"]
    page = (ROOT / "docs" / "concepts" / "layouts.md").read_text().split("## The classes of transformers")[1].split("\n## ")[0]
    assert {what: int(number) for what, number in re.findall(r"^\| ([^|]+?) \| (\d+) \|", page, re.MULTILINE)} == counts


def test_a_tower_without_a_config_asks_for_its_activation(tmp_path):
    for name, said in (("CLIPModel", "QuickGELU"), ("SiglipVisionModel", "tanh form"), ("IJepaModel", "tanh form")):
        path = folder_of(name, tmp_path, {"num_attention_heads": 2})
        assert any(said in note for note in inspect(path).notes)
        with pytest.raises(UsageError, match="no tensor shows its activation"):
            segzoo.load(path)


@pytest.mark.parametrize(
    ("name", "said", "activation"),
    [
        ("ViTModel", {"hidden_act": "gelu_new"}, "gelu_tanh"),
        ("ViTModel", {"hidden_act": "quick_gelu"}, "quick_gelu"),
        ("SiglipModel", {"vision_config": {**CLASSES["SiglipModel"]["config"]["vision_config"], "hidden_act": "gelu"}}, "gelu"),
    ],
)
def test_the_activation_is_what_the_config_says(name, said, activation, tmp_path):
    path = folder_of(name, tmp_path, CLASSES[name]["config"] | said)
    assert segzoo.load(path).layers[1].activation == activation
    notes = convert(path, tmp_path / "out.safetensors", to="timm").notes
    assert any(f"build the model with {activation}" in note for note in notes) == (activation != "gelu")
    assert inspect(tmp_path / "out.safetensors").geometry.activation == activation  # it is kept in the file


@pytest.mark.parametrize(("name", "kind"), [("SiglipModel", "siglip"), ("CLIPModel", "clip")])
def test_what_transformers_leaves_out_of_a_towers_config_is_its_own_default(name, kind):
    """As of google/siglip-base-patch16-224, whose `vision_config` has the type alone."""
    said = of_json({"model_type": kind, "vision_config": {"model_type": f"{kind}_vision_model"}, "text_config": {}}, "config.json")
    theirs = CLASSES[name]["config"]["vision_config"]
    assert said.get("backbone.eps") == theirs["layer_norm_eps"]
    assert said.get("backbone.activation") == {"gelu_pytorch_tanh": "gelu_tanh"}.get(theirs["hidden_act"], theirs["hidden_act"])
    assert (said.get("backbone.heads"), said.get("backbone.width")) == (12, 768)
    assert of_json({"model_type": kind, "vision_config": {}}, "config.json").get("backbone.eps") == theirs["layer_norm_eps"]


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({"hidden_act": "relu"}, "its MLP has relu"),
        ({"model_type": "audio-spectrogram-transformer", "frequency_stride": 2}, "are 2 apart and overlap"),
    ],
)
def test_what_the_network_does_otherwise_than_the_config_is_refused(config, why, tmp_path):
    path = folder_of("ViTModel", tmp_path, CLASSES["ViTModel"]["config"] | config)
    for refuse in (segzoo.load, lambda path: convert(path, tmp_path / "out.pth", to="timm")):
        with pytest.raises(ConversionError, match=why):
            refuse(path)
    assert not (tmp_path / "out.pth").exists()
    assert any(why in note for note in inspect(path).said.unlike)


def test_a_type_that_segzoo_does_not_know_is_said(tmp_path):
    """Its network may do otherwise than a ViT's, which no name of a tensor shows."""
    folder_of("ViTModel", tmp_path, CLASSES["ViTModel"]["config"] | {"model_type": "vit_of_ours"})
    done = CliRunner().invoke(main, ["convert", str(tmp_path), str(tmp_path / "out.pth"), "--to", "timm"])
    assert done.exit_code == 0
    assert "model_type is 'vit_of_ours', which segzoo does not know" in " ".join(done.output.split())


def test_a_gate_that_is_no_silu_is_refused(tmp_path):
    """GeGLU and SwiGLU have the same names and shapes."""
    with np.load(GOLDEN / "vit_twists" / "timm.npz") as kept:
        case = "registers without positions/tensors/"
        tensors = {key.removeprefix(case): kept[key] for key in kept.files if key.startswith(case)}
    save_file(tensors, tmp_path / "model.safetensors")
    assert any("taken for SwiGLU" in note for note in inspect(tmp_path / "model.safetensors").notes)
    for act, read in (("gelu", False), ("silu", True), (None, True)):
        model = {"num_heads": 2} | ({"act_layer": act} if act else {})
        (tmp_path / "config.json").write_text(json.dumps({"architecture": "vit_base_patch16_224", "model_args": model}))
        if read:
            assert segzoo.load(tmp_path / "model.safetensors").layers[0].gated
        else:
            with pytest.raises(ConversionError, match="the gate of its MLP has gelu"):
                segzoo.load(tmp_path / "model.safetensors")
    config = CLASSES["Dinov2Model"]["config"] | {"use_swiglu_ffn": True}
    assert "backbone.activation" not in of_json(config, "config.json")  # transformers' gate has SiLU whatever hidden_act says


def test_the_pooling_head_of_a_siglip_is_timms(tmp_path):
    """Converted to timm's names it computes what transformers does, and comes back bit for bit. The classifier beside it takes an average."""
    tensors = tensors_of("SiglipModel")
    theirs = remapped(tensors, "timm")
    tokens = torch.from_numpy(TOKENS["SiglipModel/tokens"]).double()
    part = {name.removeprefix("attn_pool."): torch.from_numpy(one).double() for name, one in theirs.items() if name.startswith("attn_pool.")}
    attention = nn.MultiheadAttention(8, 2, batch_first=True).double()
    attention.in_proj_weight.data = torch.cat([part["q.weight"], part["kv.weight"]])
    attention.in_proj_bias.data = torch.cat([part["q.bias"], part["kv.bias"]])
    attention.out_proj.load_state_dict({"weight": part["proj.weight"], "bias": part["proj.bias"]})
    with torch.inference_mode():
        x = attention(part["latent"], tokens, tokens)[0]
        y = nn.functional.layer_norm(x, (8,), part["norm.weight"], part["norm.bias"], 1e-6)
        y = nn.functional.gelu(nn.functional.linear(y, part["mlp.fc1.weight"], part["mlp.fc1.bias"]), approximate="tanh")
        pooled = (x + nn.functional.linear(y, part["mlp.fc2.weight"], part["mlp.fc2.bias"]))[:, 0]
    assert np.abs(pooled.numpy() - TOKENS["SiglipModel/pooled"]).max() < 1e-6 * np.abs(TOKENS["SiglipModel/pooled"]).max()
    assert same(remapped(theirs, "hf"), {name: one for name, one in tensors.items() if name.startswith("vision_model.")})
    dropped = plan(specs_of(tensors_of("SiglipForImageClassification")), "timm").dropped
    assert [one.section for one in dropped] == ["pooling head"]


def test_the_index_of_positions_in_older_files_is_compared(tmp_path):
    for name, tokens in (("CLIPModel", 17), ("SiglipModel", 16)):
        index = {"vision_model.embeddings.position_ids": np.arange(tokens)[None], "text_model.embeddings.position_ids": np.arange(4)[None]}
        assert same(remapped(tensors_of(name) | index, "hf"), remapped(tensors_of(name), "hf"))
        save_file(
            tensors_of(name) | index | {"vision_model.embeddings.position_ids": np.arange(tokens)[None, ::-1].copy()}, tmp_path / "odd.safetensors"
        )
        with pytest.raises(ConversionError, match="position_ids"):
            convert(tmp_path / "odd.safetensors", tmp_path / "out.pth", to="hf")


def deep(names):
    """Names with twelve layers for each first layer, as both towers of most pairs have."""
    return {name.replace(".0.", f".{layer}.") for name in names for layer in range(12) if ".1." not in name}


def test_a_tower_beside_a_tower_is_no_copy_of_it():
    pairs = [CLASSES[name]["disk"] for name in ("CLIPModel", "SiglipModel", "ChineseCLIPModel", "OwlViTModel")]
    with np.load(GOLDEN / "vit_twists" / "open_clip.npz") as kept:
        pairs.append([key.removeprefix("clip/tensors/") for key in kept.files if key.startswith("clip/tensors/")])
    for names in map(deep, pairs):
        assert not models_in(names)
        assert set(models_in({f"{model}.{name}" for name in names for model in ("student", "teacher")})) == {"student", "teacher"}
