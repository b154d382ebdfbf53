"""Files of SETR and DPT: which heads they have, what is refused, and what their configs say."""

import json
import re
from argparse import Namespace

import numpy as np
import pytest
import torch
from support import GOLDEN, same, specs_of, without

from segzoo.conversion.checkpoint import identify
from segzoo.conversion.config_openmmlab import of_openmmlab
from segzoo.conversion.convert import convert
from segzoo.conversion.detect import detect
from segzoo.conversion.plan import plan
from segzoo.conversion.run import run
from segzoo.errors import ConversionError
from segzoo.formats import open_weights

FOLDER = GOLDEN / "transformers"
KINDS = {
    "setr_naive": "SETR head of 1 convolution of 20 channels, 8 classes",
    "setr_pup": "SETR head of 4 convolutions of 20 channels, 8 classes",
    "setr_mla": "MLA neck of width 32, SETR-MLA head of 4 branches of 16 channels, 8 classes",
    "dpt": "DPT head of 20 channels on levels of 12, 16, 20, 28, 8 classes",
}
AUXILIARY = {"setr_naive": 3, "setr_pup": 3, "setr_mla": 4, "dpt": 0}


def tensors_of(name):
    return dict(open_weights(FOLDER / f"{name}.pth"))


@pytest.mark.parametrize("name", KINDS)
def test_a_file_is_told_by_its_names_and_the_auxiliary_heads_are_beside_it(name):
    file = identify(FOLDER / f"{name}.pth")
    assert (file.found.layout.name, str(file.geometry).endswith(KINDS[name])) == ("mmseg", True)
    heads = {key.split(".")[1] for key in file.found.beside}
    assert (len(heads), {one.section for one in file.found.beside.values()}) == (AUXILIARY[name], {"auxiliary head"} if heads else set())


@pytest.mark.parametrize("name", KINDS)
def test_a_backbone_goes_to_timm_and_comes_back_and_the_rest_is_left_out_by_name(name, tmp_path):
    tensors = tensors_of(name)
    done = convert(FOLDER / f"{name}.pth", tmp_path / "timm.safetensors", to="timm")
    convert(tmp_path / "timm.safetensors", tmp_path / "back.pth")
    backbone = {key.removeprefix("backbone."): one for key, one in tensors.items() if key.startswith("backbone.")}
    assert same(dict(open_weights(tmp_path / "back.pth")), backbone)
    dropped = {key for drop in done.dropped for key in drop.keys}
    assert dropped == {key for key in tensors if not key.startswith("backbone.")}


def test_timms_class_token_is_said_not_to_be_setr_mlas(tmp_path):
    done = convert(FOLDER / "setr_mla.pth", tmp_path / "timm.safetensors", to="timm")
    (reason,) = {drop.reason for drop in done.dropped if drop.section == "MLA neck"}
    assert "cuts the class token off before the first block" in reason


@pytest.mark.parametrize("to", ["hf", "torchvision", "augreg", "segmenter"])
def test_a_layout_that_always_has_a_final_norm_is_refused(to):
    with pytest.raises(ConversionError, match=f"mmseg cannot become {to}: this file has no norm after its last block"):
        plan(specs_of(tensors_of("setr_pup")), to, heads=3)


# bad input


def with_shape(pattern, *shape):
    return lambda one: {name: np.ones(shape, np.float32) if re.search(pattern, name) else value for name, value in one.items()}


ODD = {
    "a block missing": ("setr_naive", lambda one: without(one, r"backbone\.layers\.2\."), r"missing 12: backbone\.layers\.2\.attn"),
    "a convolution missing": (
        "setr_pup",
        lambda one: without(one, r"decode_head\.up_convs\.1\."),
        r"missing 6: decode_head\.up_convs\.1\.0\.bn\.bias",
    ),
    "no norm in SETR's head": ("setr_naive", lambda one: without(one, r"decode_head\.norm"), r"missing 2: decode_head\.norm\.bias"),
    "half of a branch missing": (
        "setr_mla",
        lambda one: without(one, r"decode_head\.up_convs\.2\.1\."),
        r"missing 6: decode_head\.up_convs\.2\.1\.bn",
    ),
    "a norm of the neck missing": ("setr_mla", lambda one: without(one, r"neck\.norm\.3"), r"missing 2: neck\.norm\.3\.bias"),
    "DPT with the readout ignored": ("dpt", lambda one: without(one, "readout_projects"), r"missing 8: decode_head\.reassemble_blocks\.readout"),
    "DPT with a unit too many": (
        "dpt",
        lambda one: one | {name.replace("blocks.1.res_conv_unit1", "blocks.0.res_conv_unit1"): value for name, value in one.items()},
        r"unexpected 12: decode_head\.fusion_blocks\.0\.res_conv_unit1",
    ),
    "DPT without batch norms": (
        "dpt",
        lambda one: without(one, r"res_conv_unit\d\.conv\d\.bn"),
        "nearest to layout 'mmseg', but (missing|unexpected)",
    ),
    "a kernel of five": (
        "setr_pup",
        with_shape(r"decode_head\.up_convs\.\d\.0\.conv", 20, 20, 5, 5),
        r"expected convolutions of side 1 or 3, found 5x5|channels into convolution 0",
    ),
    "kernels of two sizes": ("setr_pup", with_shape(r"decode_head\.up_convs\.3\.0\.conv", 20, 20, 1, 1), r"axis 'upy' is 1 here, but 3 in"),
    "a head on another backbone": ("setr_naive", with_shape(r"decode_head\.norm", 40), r"axis 'd' is"),
    "channels that do not add up": (
        "setr_mla",
        with_shape(r"decode_head\.conv_seg\.weight", 8, 60, 1, 1),
        "expected 64 channels, of 4 branches, found 60",
    ),
    "a branch of other kernels": (
        "setr_mla",
        with_shape(r"decode_head\.up_convs\.\d\.1\.conv", 16, 16, 1, 1),
        "expected 3 rows and columns of a convolution, found 1",
    ),
    "a neck of other kernels": (
        "setr_mla",
        with_shape(r"neck\.mla\.feat_extract\.\d\.conv", 32, 32, 1, 1),
        "MLANeck: expected 3 in its second convolutions, found 1",
    ),
    "a readout of the patch alone": (
        "dpt",
        with_shape(r"readout_projects\.\d\.0\.weight", 36, 36),
        "expected 72 channels into the readout, of a patch and the class token, found 36",
    ),
    "a level enlarged otherwise": (
        "dpt",
        with_shape(r"resize_layers\.0\.weight", 12, 12, 2, 2),
        "expected 4 rows and columns by which level 0 is resized, found 2",
    ),
    "another level resized": (
        "dpt",
        lambda one: one | {"decode_head.reassemble_blocks.resize_layers.2.weight": np.ones((20, 20, 2, 2), np.float32)},
        "unexpected 1: decode_head.reassemble_blocks.resize_layers.2.weight",
    ),
    "NVIDIA's head": (
        "setr_naive",
        lambda one: {name.replace("decode_head.up_convs.0.0", "decode_head.linear_fuse"): value for name, value in one.items()},
        "missing|unexpected",
    ),
}


@pytest.mark.parametrize("what", ODD)
def test_what_is_another_network_is_refused_and_nothing_is_written(what, tmp_path):
    name, change, said = ODD[what]
    np.savez(tmp_path / "odd.npz", **change(tensors_of(name)))
    with pytest.raises(ConversionError) as caught:
        convert(tmp_path / "odd.npz", tmp_path / "out.pth", heads=3)
    assert re.search(said, f"{caught.value.message}; {caught.value.hint}"), f"{caught.value.message}; {caught.value.hint}"
    assert [path.name for path in tmp_path.iterdir()] == ["odd.npz"]


def test_transformers_dpt_is_in_no_layout():
    """It has a place for the same tensors, under other names, and is another network; its backbone alone is no ViT of transformers'."""
    names = [
        "dpt.embeddings.cls_token",
        "dpt.encoder.layer.0.layernorm_before.weight",
        "neck.fusion_stage.layers.0.projection.weight",
        "head.head.4.weight",
    ]
    with pytest.raises(ConversionError):
        detect(specs_of(dict.fromkeys(names, np.ones(4, np.float32))))


FORMS = {
    "prefixed": lambda model: {"state_dict": {f"module.{name}": one for name, one in model.items()}},
    "under 'model', with a Namespace beside": lambda model: {"model": model, "args": Namespace(lr=1.0), "epoch": 299},
    "in half precision": lambda model: {"state_dict": {name: one.half() if one.is_floating_point() else one for name, one in model.items()}},
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["setr_mla", "dpt"])
def test_the_same_weights_in_another_form_are_read(form, name, tmp_path):
    held = torch.load(FOLDER / f"{name}.pth", weights_only=True)["state_dict"]
    torch.save(FORMS[form](held), tmp_path / "any name.pth")
    mine, theirs = identify(tmp_path / "any name.pth"), identify(FOLDER / f"{name}.pth")
    assert (mine.geometry, mine.found.sections) == (theirs.geometry, theirs.found.sections)
    made = dict(run(plan(mine.weights.specs, "timm", found=mine.found, heads=3), mine.weights))
    expected = dict(run(plan(theirs.weights.specs, "timm", found=theirs.found, heads=3), theirs.weights))
    assert same(made, {key: one.astype(made[key].dtype) for key, one in expected.items()})


def test_weights_that_are_no_numbers_are_said(tmp_path):
    held = torch.load(FOLDER / "dpt.pth", weights_only=True)["state_dict"]
    held["decode_head.project.conv.weight"][0, 0, 0, 0] = float("nan")
    torch.save(held, tmp_path / "nan.pth")
    assert convert(tmp_path / "nan.pth", tmp_path / "out.pth").not_finite == ("decode_head.project.conv.weight",)


# what configs say


def config_of(name, **changes):
    """The golden's own config of mmseg, with places changed: `decode_head__up_scale=3`; None takes a place away."""
    model = json.loads((FOLDER / name / "config.json").read_text())
    for place, value in changes.items():
        *outer, last = place.split("__")
        nest = model
        for step in outer:
            nest = nest.setdefault(step, {})
        nest.pop(last, None) if value is None else nest.__setitem__(last, value)
    return of_openmmlab({"model": model}, "cfg")


def facts(said, *names):
    return tuple(said.get(name) for name in names)


def test_a_config_of_each_kind_is_read():
    naive, pup, mla, dpt = (config_of(name) for name in KINDS)
    assert facts(naive, "head.scale", "head.eps", "backbone.resample", "backbone.class_token") == (4, 1e-6, "bilinear", True)
    assert facts(pup, "head.scale", "head.eps") == (2, 1e-6)
    assert facts(mla, "backbone.class_token", "backbone.out_indices", "neck.eps", "head.scale") == (False, (0, 1, 2, 3), 1e-6, 4)
    assert facts(dpt, "backbone.eps", "backbone.out_indices") == (1e-5, (0, 1, 2, 3))
    assert [one.unlike for one in (naive, pup, mla, dpt)] == [()] * 4


@pytest.mark.parametrize(
    ("taken", "blocks"),
    [(3, None), (-1, None), (0, (0,)), (1, (1,)), ([2], (2,)), ([1, 3], (1, 3))],
)
def test_in_index_chooses_among_the_outputs_of_the_backbone(taken, blocks):
    said = config_of("setr_naive", decode_head__in_index=taken)
    assert ("backbone.out_indices" in said, said.get("backbone.out_indices")) == (True, blocks)


def test_an_output_that_the_backbone_does_not_give_is_said():
    (note,) = config_of("setr_naive", decode_head__in_index=4).notes
    assert "model.decode_head.in_index names outputs that the backbone does not give" in note


@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        ("setr_mla", {"decode_head__in_index": [3, 2, 1, 0]}, "in_index is not all that the neck gives, in its order"),
        ("setr_mla", {"neck__act_cfg": None}, "model.neck.act_cfg is not there: the model's program has another activation than ReLU"),
        ("setr_pup", {"decode_head__act_cfg": {"type": "GELU"}}, "model.decode_head.act_cfg is GELU"),
        ("setr_pup", {"decode_head__norm_cfg": {"type": "SyncBN", "eps": 0.001}}, "model.decode_head.norm_cfg.eps is 0.001"),
        ("setr_pup", {"decode_head__align_corners": True}, "align_corners is True"),
        ("setr_naive", {"backbone__output_cls_token": True}, "gives the class token to the head"),
    ],
)
def test_what_the_models_program_does_otherwise_is_named(name, changes, said):
    assert any(said in one for one in config_of(name, **changes).unlike), config_of(name, **changes).unlike


@pytest.mark.parametrize(
    ("name", "changes", "fact", "value"),
    [
        ("setr_naive", {"decode_head__norm_layer": {"type": "LN"}}, "head.eps", 1e-5),
        ("setr_naive", {"decode_head__norm_layer": {"type": "LN", "eps": 1e-4}}, "head.eps", 1e-4),
        ("setr_naive", {"decode_head__up_scale": None}, "head.scale", 4),
        ("setr_mla", {"neck__norm_layer": {"type": "LN"}}, "neck.eps", 1e-5),
        ("setr_mla", {"backbone__with_cls_token": None}, "backbone.class_token", True),
        ("dpt", {"backbone__norm_cfg": {"type": "LN", "eps": 1e-6}}, "backbone.eps", 1e-6),
    ],
)
def test_mmsegs_defaults_count_where_a_config_says_nothing(name, changes, fact, value):
    assert config_of(name, **changes).get(fact) == value
