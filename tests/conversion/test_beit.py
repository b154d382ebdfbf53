"""BEiT's and MAE's files in each library's names: one to another and back, against the real beit2mmseg.py, what is refused, and what configs say."""

import json
import re
from argparse import Namespace

import numpy as np
import pytest
import torch
from support import GOLDEN, of_the_model, remapped, same, slow_after, specs_of, tensors_of, without

from segzoo.conversion.checkpoint import identified, identify
from segzoo.conversion.convert import convert
from segzoo.conversion.detect import detect
from segzoo.conversion.plan import plan
from segzoo.errors import ConversionError, UsageError
from segzoo.formats import open_weights
from segzoo.layouts import LAYOUTS
from segzoo.layouts.beit.blocks import index

PEERS = GOLDEN / "beit"
TINY = GOLDEN / "transformers"
CLASSIFIERS = {"official": PEERS / "official.pth", "timm": PEERS / "timm.pth", "hf": PEERS / "hf" / "model.safetensors"}
WHOLE = {"official": PEERS / "official_segmentation.pth", "hf": PEERS / "hf_segmentation" / "model.safetensors", "mmseg": TINY / "upernet_beit.pth"}
SIZES = "width 12, depth 3, heads 3, mlp 24, patch 4, window 3"
INDEX = r"relative_position_index$"


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_librarys_own_file_is_told_by_its_names(name):
    """timm's names are the authors', without the index."""
    file = identify(CLASSIFIERS[name])
    assert (file.found.layout.name, str(file.geometry)) == ("official" if name == "timm" else name, f"BEiT, {SIZES}, 5 classes")
    assert file.geometry.stride == 4


@pytest.mark.parametrize("to", CLASSIFIERS)
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_classifier_has_the_names_and_shapes_of_the_targets_own_file_and_comes_back(name, to):
    tensors = tensors_of(CLASSIFIERS[name])
    made = remapped(tensors, to)
    theirs = tensors_of(CLASSIFIERS[to])
    assert {key: one.shape for key, one in made.items()} == {key: one.shape for key, one in theirs.items()}
    assert same(remapped(made, name), tensors)


@pytest.mark.parametrize(("name", "to"), [("hf", "official"), ("hf", "mmseg"), ("official", "mmseg"), ("mmseg", "official")])
def test_a_whole_model_has_the_names_of_the_targets_own_file_and_comes_back(name, to):
    tensors = of_the_model(WHOLE[name])
    made = remapped(tensors, to)

    def forms(held):
        return {re.sub(r"(layers?|blocks)\.\d+", r"\1.#", key) for key in held}

    assert forms(made) == forms(of_the_model(WHOLE[to]))
    assert detect(specs_of(made)).layout.name == to
    back = remapped(made, name)
    assert same(back, tensors if name != "hf" else without(tensors, r"^(fpn\d|decode_head)\."))


def test_a_head_does_not_go_to_transformers_whose_model_takes_other_blocks():
    steps = plan(specs_of(of_the_model(WHOLE["mmseg"])), "hf")
    reason = "transformers' segmentation model cannot take the last block's output"
    assert {(drop.section, drop.reason) for drop in steps.dropped} == {("feature pyramid neck", reason), ("uper decoder", reason)}


def test_the_backbone_is_what_the_real_beit2mmseg_makes_but_for_what_mmseg_has_no_place_for():
    tensors, theirs = tensors_of(CLASSIFIERS["official"]), tensors_of(PEERS / "beit2mmseg_official.pth")
    assert same(remapped(tensors, "mmseg"), without(theirs, r"^(fc_norm|head|patch_embed\.proj)\."))
    assert same(remapped(theirs, "official"), tensors)


def test_a_mae_is_what_the_real_beit2mmseg_makes_and_what_mmsegs_class_has_beside():
    """The class's own values at the start: tables of zeros, scales of ones. mmseg would load the script's file with a warning."""
    tensors, theirs = tensors_of(PEERS / "mae.pth"), tensors_of(PEERS / "beit2mmseg_mae.pth")
    found = detect(specs_of(tensors), "mae")
    made = remapped(tensors, "mmseg", found=found, heads=3)
    beside = {name: one for name, one in made.items() if re.search(r"gamma_|table$|index$", name)}
    right = {re.sub(r"^norm\.", "ln1.", name): one for name, one in theirs.items()}
    assert same(without(made, r"gamma_|table$|index$"), without(right, r"^(decoder_|mask_token|patch_embed\.proj\.)"))
    for block in range(3):
        assert same(
            {name: one for name, one in beside.items() if name.startswith(f"layers.{block}.")},
            {
                f"layers.{block}.gamma_1": np.ones(12, np.float32),
                f"layers.{block}.gamma_2": np.ones(12, np.float32),
                f"layers.{block}.attn.relative_position_bias_table": np.zeros((28, 3), np.float32),
                f"layers.{block}.attn.relative_position_index": np.array(index({"table": 28}, {})),
            },
        )
    assert len(beside) == 12
    assert same(remapped(theirs, "mmseg", heads=3), made)


def test_a_mae_of_mmseg_keeps_its_tables_in_its_authors_names():
    tensors = without(of_the_model(TINY / "upernet_mae.pth"), r"^(neck|decode_head)\.")
    there = remapped(tensors, "mae")
    assert {"pos_embed", "blocks.0.attn.qkv.bias", "blocks.3.attn.relative_position_bias_table", "blocks.1.gamma_2"} <= there.keys()
    assert same(remapped(there, "mmseg", found=detect(specs_of(there), "mae"), prefix="backbone."), tensors)


def test_a_files_own_index_is_mmsegs_and_the_authors():
    for path in (TINY / "upernet_beit.pth", PEERS / "official.pth", PEERS / "official_segmentation.pth"):
        tensors = tensors_of(path)
        found = {name: one for name, one in tensors.items() if re.search(INDEX, name)}
        assert len(found) >= 3
        for name, one in found.items():
            table = tensors[name.replace("index", "bias_table")]
            assert np.array_equal(one, np.asarray(index({"table": len(table)}, {})))


def test_all_blocks_share_one_index_and_nobody_can_write_into_it():
    first, second = (index({"table": 6244}, {"i": block}) for block in range(2))
    assert first is second
    assert (first.shape, first.readonly, first[0, 0], first[1, 0], first[0, 1]) == ((1601, 1601), True, 6243, 6242, 6241)


def test_plain_vits_are_no_maes():
    """The names of MAE's files are a plain ViT's: it is read as one only where the caller says so."""
    vit = without(tensors_of(PEERS / "mae.pth"), r"^(decoder_|mask_token)")
    deit = {name: one for name, one in vit.items() if name != "pos_embed"} | {"dist_token": vit["cls_token"], "pos_embed": np.ones((1, 11, 12))}
    for tensors in (vit, vit | {"head.weight": np.ones((5, 12)), "head.bias": np.ones(5)}, deit):
        found = detect(specs_of(tensors))
        assert (found.layout.family.name, found.layout.name) == ("vit", "timm")
    found = detect(specs_of(vit), "mae")
    assert (found.layout.family.name, found.layout.name) == ("beit", "mae")
    with pytest.raises(ConversionError, match="unexpected 20: decoder_blocks") as caught:
        detect(specs_of(tensors_of(PEERS / "mae.pth")))
    assert "convert --drop" in caught.value.hint


# bad input


def reshaped(name, shape):
    return lambda one: one | {name: np.ones(shape, np.float32)}


def moved(one):
    name = "blocks.1.attn.relative_position_index"
    changed = one[name].copy()
    changed[4, 7] += 1
    return one | {name: changed}


ODD = {
    "a wrong index": (moved, r"blocks\.1\.attn\.relative_position_index: not what it must be for a model of this size"),
    "an index of another window": (
        lambda one: one | {"blocks.2.attn.relative_position_index": one["blocks.2.attn.relative_position_index"][:5, :5]},
        r"blocks\.2\.attn\.relative_position_index: not what it must be",
    ),
    "an index that is transposed": (
        lambda one: one | {"blocks.0.attn.relative_position_index": one["blocks.0.attn.relative_position_index"].T.copy()},
        r"blocks\.0\.attn\.relative_position_index: not what it must be",
    ),
    "a block missing": (lambda one: without(one, r"blocks\.1\."), r"missing 16: blocks\.1\.attn"),
    "no class token": (lambda one: without(one, "cls_token"), "missing 1: cls_token"),
    "no biases": (lambda one: without(one, r"attn\.[qv]_bias"), "no biases of queries and values"),
    "one bias only": (lambda one: without(one, r"attn\.q_bias"), r"missing 3: blocks\.0\.attn\.q_bias"),
    "half of the scales": (lambda one: without(one, r"gamma_2"), r"missing 3: blocks\.0\.gamma_2"),
    "one table for all": (
        lambda one: without(one, r"relative_position") | {"rel_pos_bias.relative_position_bias_table": np.ones((28, 3), np.float32)},
        "one table of relative positions for all blocks",
    ),
    "absolute positions too": (lambda one: one | {"pos_embed": np.ones((1, 10, 12), np.float32)}, "absolute positions beside the relative ones"),
    "a gated MLP": (lambda one: one | {"blocks.0.mlp.w12.weight": np.ones((4, 4), np.float32)}, "a gated MLP"),
    "tables of no square window": (
        lambda one: without(one, INDEX) | {name: np.ones((27, 3), np.float32) for name in one if name.endswith("table")},
        "27 relative positions are those of no square window and its class token",
    ),
    "tables of an even side": (
        lambda one: without(one, INDEX) | {name: np.ones((19, 3), np.float32) for name in one if name.endswith("table")},
        "19 relative positions are those of no square window and its class token",
    ),
    "tables of a window beyond any memory": (
        lambda one: without(one, INDEX) | {name: np.ones((129 * 129 + 3, 3), np.float32) for name in one if name.endswith("table")},
        "a window of 65 x 65 tokens; segzoo takes 64 x 64 at most",
    ),
    "tables of two windows": (reshaped("blocks.2.attn.relative_position_bias_table", (12, 3)), r"axis 'table' is 12 here, but 28 in"),
    "heads that do not divide the width": (
        lambda one: one | {name: np.ones((28, 5), np.float32) for name in one if name.endswith("table")},
        "5 heads do not divide a width of 12",
    ),
    "patches that are not square": (reshaped("patch_embed.proj.weight", (12, 3, 4, 2)), "patches must be square: 4 is not 2"),
    "another architecture": (lambda one: {"features.0.weight": np.ones((4, 3, 3, 3), np.float32)}, "in no layout that segzoo knows"),
}


@pytest.mark.parametrize("what", ODD)
def test_what_is_no_plain_beit_is_refused_and_nothing_is_written(what, tmp_path):
    change, said = ODD[what]
    np.savez(tmp_path / "odd.npz", **change(tensors_of(CLASSIFIERS["official"])))
    with pytest.raises(ConversionError) as caught:
        convert(tmp_path / "odd.npz", tmp_path / "out.pth")
    assert re.search(said, f"{caught.value.message}; {caught.value.hint}"), f"{caught.value.message}; {caught.value.hint}"
    assert [path.name for path in tmp_path.iterdir()] == ["odd.npz"]


MAES = {
    "another number of absolute positions": (
        reshaped("backbone.pos_embed", (1, 26, 36)),
        r"backbone\.pos_embed: the absolute positions must be as many as the tokens of the window that the relative ones are for: 25 is not 16",
    ),
    "no absolute positions": (lambda one: without(one, "pos_embed"), r"missing 1: backbone\.pos_embed"),
    "biases of two kinds": (
        lambda one: one | {"backbone.layers.0.attn.q_bias": np.ones(36, np.float32)},
        r"unexpected 1: backbone\.layers\.0\.attn\.q_bias",
    ),
    "a pyramid of another width": (
        lambda one: one | {"neck.upsample_2x.0.weight": np.ones((20, 36, 2, 2), np.float32)},
        r"neck\.upsample_2x\.0\.weight: axis 'liftin' is 20 here, but 36 in",
    ),
    "a pyramid that enlarges three times": (
        lambda one: one | {name: np.ones((36, 36, 3, 3), np.float32) for name, held in one.items() if held.shape == (36, 36, 2, 2)},
        "expected 2 rows and columns of its convolutions, found 3",
    ),
    "half a pyramid": (lambda one: without(one, "upsample_4x"), r"unexpected 2: neck\.upsample_2x\.0\.bias"),
}


@pytest.mark.parametrize("what", MAES)
def test_what_is_no_mae_of_mmseg_is_refused(what, tmp_path):
    change, said = MAES[what]
    np.savez(tmp_path / "odd.npz", **change(of_the_model(TINY / "upernet_mae.pth")))
    with pytest.raises(ConversionError, match=said):
        convert(tmp_path / "odd.npz", tmp_path / "out.pth")
    assert not (tmp_path / "out.pth").exists()


def test_a_mae_cannot_become_a_beit_and_a_beit_no_mae():
    with pytest.raises(
        ConversionError, match="mmseg cannot become official: this file has absolute positions, for which layout 'official' has no place"
    ):
        remapped(of_the_model(TINY / "upernet_mae.pth"), "official")
    with pytest.raises(
        ConversionError, match="cannot become mae: this file has biases of queries and values, and none of keys, for which layout 'mae'"
    ):
        remapped(tensors_of(CLASSIFIERS["hf"]), "mae")


def test_heads_of_a_mae_without_tables_are_asked_for(tmp_path):
    with pytest.raises(ConversionError, match="layout 'mmseg' shows the attention heads, layout 'mae' does not") as caught:
        convert(PEERS / "mae.pth", tmp_path / "out.pth", source_layout="mae")
    assert "--heads N" in caught.value.hint
    with pytest.raises(ConversionError, match="5 heads do not divide a width of 12"):
        convert(PEERS / "mae.pth", tmp_path / "out.pth", source_layout="mae", heads=5)
    with pytest.raises(ConversionError, match="the tensors show 3 heads, but 4 were given"):
        convert(CLASSIFIERS["official"], tmp_path / "out.pth", heads=4)
    report = convert(PEERS / "mae.pth", tmp_path / "out.pth", source_layout="mae", heads=3)
    assert [(drop.section, drop.reason) for drop in report.dropped] == [("decoder", "used in pre-training only")]
    assert any("written as zeros and ones, which means the same" in note for note in report.notes)
    assert identify(tmp_path / "out.pth").geometry == report.made


@pytest.mark.parametrize("form", slow_after(5, ["prefixed", "of a trained model", "nested", "with a Namespace beside", "in half precision"]))
def test_the_same_weights_in_another_form_are_converted(form, tmp_path):
    held = torch.load(CLASSIFIERS["official"], weights_only=True)["model"]
    forms = {
        "prefixed": lambda: {"state_dict": {f"module.{name}": one for name, one in held.items()}},
        "of a trained model": lambda: {"state_dict": {f"module.backbone.{name}": one for name, one in held.items()}},
        "nested": lambda: {"model": held},
        "with a Namespace beside": lambda: {"model": held, "args": Namespace(lr=1.0), "epoch": 299},
        "in half precision": lambda: {"model": {name: one.half() if one.is_floating_point() else one for name, one in held.items()}},
    }
    torch.save(forms[form](), tmp_path / "any name.pth")
    convert(CLASSIFIERS["official"], tmp_path / "right.pth")
    convert(tmp_path / "any name.pth", tmp_path / "out.pth")
    right, made = (tensors_of(tmp_path / name) for name in ("right.pth", "out.pth"))
    half = form == "in half precision"
    assert same(made, {name: one.astype(np.float16) if half and one.dtype == np.float32 else one for name, one in right.items()})


def test_a_file_that_is_converted_already_stays_as_it_is(tmp_path):
    convert(CLASSIFIERS["official"], tmp_path / "once.pth")
    convert(tmp_path / "once.pth", tmp_path / "twice.pth")
    assert (tmp_path / "once.pth").read_bytes() == (tmp_path / "twice.pth").read_bytes()


def test_weights_that_are_no_numbers_are_told(tmp_path):
    tensors = tensors_of(CLASSIFIERS["official"])
    tensors["blocks.0.attn.qkv.weight"] = tensors["blocks.0.attn.qkv.weight"] * np.nan
    np.savez(tmp_path / "nan.npz", **tensors)
    assert convert(tmp_path / "nan.npz", tmp_path / "out.pth").not_finite


# what a file says of itself


def config(name):
    """The config of MMSegmentation that a tiny model was built by."""
    return json.loads((TINY / name / "config.json").read_text())


@pytest.mark.parametrize("name", ["upernet_beit", "upernet_mae"])
def test_a_config_of_mmseg_is_held_against_the_tensors(name, tmp_path):
    (tmp_path / "right.json").write_text(json.dumps({"model": config(name)}))
    said = identify(TINY / f"{name}.pth", config=tmp_path / "right.json").said
    facts = {"width": 36, "depth": 4, "heads": 3, "patch": 16, "image": (64, 64), "eps": 1e-6, "out_indices": (0, 1, 2, 3)}
    assert {fact: said.get(f"backbone.{fact}") for fact in facts} == facts
    assert said.get("head.bins") == (1, 2, 3, 6)
    assert (said.get("protocol.crop"), said.get("protocol.stride"), said.notes, said.unlike) == ((64, 64), (43, 43), (), ())
    wrong = config(name)
    wrong["backbone"]["img_size"] = [32, 32]
    (tmp_path / "wrong.json").write_text(json.dumps({"model": wrong}))
    with pytest.raises(UsageError, match=r"img_size says image \(32, 32\), the tensors show \(64, 64\)"):
        identify(TINY / f"{name}.pth", config=tmp_path / "wrong.json")


def test_the_least_short_side_of_a_config_is_read(tmp_path):
    """As the configs of 0.x for ms+flip have it."""
    steps = (
        "[dict(type='LoadImageFromFile'), dict(type='MultiScaleFlipAug', img_scale=(2560, 640), transforms=[dict(type='Resize', keep_ratio=True{})])]"
    )
    for least, known in ((", min_size=640", 640), ("", None), (", min_size='much'", None)):
        text = f"model = dict(backbone=dict(type='BEiT'))\ntest_pipeline = {steps.format(least)}\n"
        (tmp_path / "ms.py").write_text(text)
        said = identify(TINY / "upernet_beit.pth", config=tmp_path / "ms.py").said
        assert (said.get("protocol.min_size"), said.get("protocol.scale")) == (known, (2560, 640))
    assert any("min_size of Resize" in note for note in said.notes)


def test_timms_config_tells_its_eps(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"architecture": "beit_base_patch16_224"}))
    convert(CLASSIFIERS["timm"], tmp_path / "model.safetensors", to="timm")
    assert identify(tmp_path / "model.safetensors").said.get("backbone.eps") == 1e-6


def test_transformers_outputs_that_no_block_gives_are_told(tmp_path):
    theirs = json.loads((PEERS / "hf_segmentation" / "config.json").read_text()) | {"out_indices": [1, 2, 3, 4]}
    (tmp_path / "config.json").write_text(json.dumps(theirs))
    said = identify(WHOLE["hf"], config=tmp_path / "config.json").said
    assert any("out_indices: expected indices from 2 on" in note for note in said.notes)


def test_every_beit_table_is_registered_and_a_mae_is_read_where_it_is_named():
    assert list(LAYOUTS["beit"]) == ["official", "timm", "mmseg", "hf", "mae"]
    assert [name for name, layout in LAYOUTS["beit"].items() if layout.explicit] == ["mae"]
    file = identified(open_weights(PEERS / "mae.pth"), layout="mae", heads=3)
    assert str(file.geometry) == f"MAE, {SIZES}, a final norm"
