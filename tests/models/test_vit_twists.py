"""ViTs with LayerScale, registers, SwiGLU and more, against the libraries' own tokens and names (tests/data/vit_twists)."""

import gzip
import json
import math
import re
import shlex
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from support import GOLDEN, TAME, arrays, remapped, same, specs_of

from segzoo.cli import main
from segzoo.conversion.axes import measure
from segzoo.conversion.config_json import of_json
from segzoo.conversion.detect import detect
from segzoo.conversion.fit import layout_of, refusal
from segzoo.conversion.inspect import inspect
from segzoo.conversion.plan import plan
from segzoo.conversion.run import run
from segzoo.errors import ConversionError
from segzoo.evidence.rungs.parity import differences
from segzoo.layouts import FAMILIES, LAYOUTS, OWN
from segzoo.layouts.extent import nbytes, shown
from segzoo.layouts.vit import VIT
from segzoo.models.segmentor import build_backbone
from segzoo.models.vit.reference import intermediates
from segzoo.spec import Spec

ROOT = Path(__file__).parents[2]
PEERS = ("timm", "dinov2", "transformers", "open_clip", "mmpretrain")
HEADS = 2


@lru_cache
def peer(name):
    """The cases of a peer: by name, the tensors of a file, an image, and the tokens after the last norm."""
    with np.load(GOLDEN / "vit_twists" / f"{name}.npz") as kept:
        arrays = dict(kept)
    cases = {}
    for key, array in arrays.items():
        case, _, part = key.partition("/")
        whole = cases.setdefault(case, {"tensors": {}})
        kind, _, tensor = part.partition("/")
        (whole["tensors"] if tensor else whole)[tensor or kind] = array
    return cases


CASES = [(name, case) for name in PEERS for case in peer(name)]
LAYOUT = {"timm": "timm", "dinov2": "dinov2", "transformers": "hf", "open_clip": "openclip", "mmpretrain": "mmpretrain"}


def read(name, case):
    """A case's tensors, how they are read, and the geometry with what no tensor shows."""
    tensors = peer(name)[case]["tensors"]
    found = detect(specs_of(tensors), positions=6 if case == "gate apart" else None)
    geometry, _ = measure(found, specs_of(tensors), HEADS)
    if geometry.activation_open:
        geometry = replace(geometry, activation="quick_gelu" if "quick" in case else "gelu")
    if case == "gate apart":
        geometry = replace(geometry, rows=2)
    return tensors, found, geometry


def eps_of(name, case):
    return 1e-5 if case.endswith("clip") and name != "mmpretrain" else 1e-6


def network(name, case):
    tensors, found, geometry = read(name, case)
    own = dict(run(plan(specs_of(tensors), OWN["vit"], found=found, heads=HEADS), tensors))
    return build_backbone(VIT, geometry, own, eps=eps_of(name, case))


@pytest.mark.parametrize(("name", "case"), CASES)
def test_tokens_are_the_peers(name, case):
    """In float64, as the peer computed them; they are kept in float32."""
    expected = peer(name)[case]
    model = network(name, case).double()
    seen = {}
    with torch.inference_mode():
        grid = model(torch.from_numpy(expected["image"]).double(), seen)
    tokens = seen.get("final_norm", seen["block1"]).numpy()
    assert tokens.shape == expected["tokens"].shape
    assert np.abs(tokens - expected["tokens"]).max() <= 1e-6 * np.abs(expected["tokens"]).max()
    patches = grid.flatten(2).transpose(1, 2).numpy()
    assert np.array_equal(patches, tokens[:, tokens.shape[1] - patches.shape[1] :])
    assert read(name, case)[1].layout.name == LAYOUT[name]


@pytest.mark.parametrize("case", peer("timm"))
def test_the_jax_reference_is_timm_and_torch_is_the_reference(case):
    tensors, found, geometry = read("timm", case)
    expected = peer("timm")[case]
    written = dict(run(plan(specs_of(tensors), LAYOUTS["vit"]["timm"], found=found, heads=HEADS), tensors))
    told = {"heads": HEADS, "activation": geometry.activation}
    image = expected["image"].transpose(0, 2, 3, 1).astype(np.float64)
    seen = intermediates(written, image, eps=eps_of("timm", case), dtype=np.float64, **told)
    tokens = list(seen.values())[-1]
    assert np.abs(tokens - expected["tokens"]).max() <= 1e-6 * np.abs(expected["tokens"]).max()
    ours = differences(network("timm", case), partial(intermediates, **told), written, image, eps_of("timm", case))
    assert all(one.passed for one in ours)
    assert max(one.relative for one in ours if one.dtype == "float64") < 1e-12


@pytest.mark.parametrize("to", LAYOUTS["vit"])
@pytest.mark.parametrize(("name", "case"), CASES)
def test_every_layout_holds_a_file_whole_or_refuses_it_by_name(name, case, to):
    """There and back: each tensor of the encoder the same, bit for bit."""
    tensors, found, _ = read(name, case)
    if why := refusal(found, layout_of(found, to)):
        lacking = [VIT.essential[one] for one in found.sections if one in VIT.essential and one not in LAYOUTS["vit"][to].sections]
        with pytest.raises(ConversionError) as caught:
            plan(specs_of(tensors), to, found=found, heads=HEADS)
        assert caught.value.message == why
        of_openclip = to == "openclip" and why.endswith("holds only models with a norm before its first block")
        assert of_openclip or any(f"this file has {one}, for which layout" in why for one in lacking)
        return
    first = [tensors[key].size // 8 for key, rule in found.rules.items() if rule.holds in (("cls",), ("dist",), ("reg",))]
    positions = peer(name)[case]["tokens"].shape[1] - sum(first)
    there = plan(specs_of(tensors), to, found=found, heads=HEADS)
    middle = dict(run(there, tensors))
    read_there = detect(specs_of(middle), to, positions)
    table = replace(found.layout, spellings=())
    back = dict(run(plan(specs_of(middle), table, found=read_there, heads=HEADS, prefix=found.prefix), middle))
    dropped = {key for one in there.dropped for key in one.keys}
    assert same({key: back[key] for key in back.keys() & tensors.keys()}, {key: array for key, array in tensors.items() if key not in dropped})
    filled = back.keys() - tensors.keys()
    assert not any(back[key].any() for key in filled)
    droppable = {"classifier", "distillation classifier", "classifier of token and average", "pre_logits", "pooled norm", "mask token", "decoder"}
    droppable |= {"text tower", "numbers of the training", "projection"}
    assert {one.section for one in there.dropped} <= droppable


HOLDERS = {
    "deit3": {"timm", "mmpretrain"},
    "gap with registers": {"timm"},
    "registers with positions": {"timm"},
    "registers with positions and no class token": {"timm"},
    "registers without positions": {"timm"},
    "clip": {"timm", "mmpretrain", "openclip", "hf"},
    "quick clip": {"timm", "mmpretrain", "openclip", "hf"},
    "norms of queries and keys": {"timm"},
    "gate apart": {"timm", "dinov2", "mmpretrain", "hf"},
    "no norm": {"timm", "mmpretrain"},
    "distilled": {"timm", "segmenter", "hf", "mmpretrain"},
    "all at once": {"timm"},
}


@pytest.mark.parametrize("case", HOLDERS)
def test_which_layouts_can_hold_what(case):
    _, found, _ = read("timm", case)
    assert {to for to in LAYOUTS["vit"] if not refusal(found, layout_of(found, to))} == HOLDERS[case]


SAID = {
    "deit3": "LayerScale, no class position",
    "gap with registers": "4 registers, LayerScale, no class token",
    "registers with positions": "3 registers, LayerScale, register positions",
    "registers without positions": "2 registers, LayerScale, SwiGLU, no class position",
    "clip": "no patch bias, norm before the blocks",
    "norms of queries and keys": "heads 2, mlp 16, patch 8, grid 3, 1 channel, no qkv bias, norms of queries and keys",
}


@pytest.mark.parametrize("case", SAID)
def test_a_geometry_says_its_twists(case):
    geometry = measure(detect(specs_of(peer("timm")[case]["tensors"])), specs_of(peer("timm")[case]["tensors"]))[0]
    assert SAID[case] in str(geometry)


def test_a_file_in_memory_is_the_file_on_disk():
    for case in ("vit", "gated dinov2", "dinov2 with registers", "deit with teacher"):
        disk, memory = (peer("transformers")[name]["tensors"] for name in (case, f"{case} in memory"))
        assert disk.keys() != memory.keys()
        assert same(
            remapped(memory, "hf", prefix=detect(specs_of(disk)).prefix), {name: one for name, one in disk.items() if "mask_token" not in name}
        )


def test_a_file_of_chunks_is_the_plain_one():
    plain = peer("dinov2")["gated"]["tensors"]
    chunked = {name.replace("blocks.", "blocks.0."): array for name, array in plain.items()}
    assert same(remapped(chunked, "dinov2"), remapped(plain, "dinov2"))
    hub = {f"backbone.{name}": array for name, array in plain.items()} | {
        "linear_head.weight": np.ones((3, 16), np.float32),
        "linear_head.bias": np.ones(3, np.float32),
    }
    assert [one.section for one in plan(specs_of(hub), "hf").dropped] == ["mask token"]
    assert same(remapped(hub, "dinov2", prefix="", drop=["classifier of token and average"]), remapped(plain, "dinov2"))


@pytest.mark.parametrize(("depth", "chunks"), [(4, 2), (12, 4), (24, 3), (7, 2), (11, 3), (5, 4)])
def test_a_file_of_several_chunks_is_the_plain_one(depth, chunks):
    """As DINOv2's training makes them: each of depth // chunks blocks, the last perhaps smaller, and the blocks numbered through."""
    peers = peer("dinov2")["registers"]["tensors"]
    block = {name.removeprefix("blocks.0."): array for name, array in peers.items() if name.startswith("blocks.0.")}
    others = {name: array for name, array in peers.items() if not name.startswith("blocks.")}
    plain = others | {f"blocks.{i}.{name}": array + i for i in range(depth) for name, array in block.items()}
    chunked = others | {f"blocks.{i // (depth // chunks)}.{i}.{name}": array + i for i in range(depth) for name, array in block.items()}
    assert same(remapped(chunked, "dinov2"), remapped(plain, "dinov2"))
    del chunked[f"blocks.1.{depth // chunks}.norm1.weight"]
    with pytest.raises(ConversionError, match=f"missing 1: blocks.1.{depth // chunks}.norm1.weight"):
        plan(specs_of(chunked), "dinov2")


def test_sizes_decide_between_layouts_that_have_the_same_names():
    """Under `encoder.` a plain file is rstrudel/segmenter's, which has no place for a gate."""
    plain = remapped(arrays(TAME), "timm")
    gated = {name: np.concatenate([array, array]) if ".fc1." in name else array for name, array in plain.items()}
    found = [detect(specs_of({f"encoder.{name}": array for name, array in one.items()})) for one in (plain, gated)]
    assert [(one.layout.name, "gated MLP" in one.sections) for one in found] == [("segmenter", False), ("timm", True)]


def test_a_clip_that_was_tuned_with_an_average_is_no_perception_encoder():
    tensors = peer("timm")["clip"]["tensors"]
    moved = {re.sub(r"^norm\.", "fc_norm.", name): array for name, array in tensors.items()}
    found = detect(specs_of(moved))
    assert not measure(found, specs_of(moved))[0].final_norm
    assert same(remapped(moved, "timm"), moved)
    bare = {name: array for name, array in moved.items() if not name.startswith("fc_norm.")}
    with pytest.raises(ConversionError, match="Perception Encoder"):
        measure(detect(specs_of(bare)), specs_of(bare))


def test_a_checkpoint_of_dino_takes_one_line(tmp_path):
    """Student, teacher and the centre of the loss; the heads belong to training. The line of the hint is what is typed."""
    plain = peer("dinov2")["plain"]["tensors"]
    model = {f"backbone.{name}": torch.from_numpy(array) for name, array in plain.items()}
    heads = {"head.mlp.0.weight": torch.ones(8, 8), "head.last_layer.weight_g": torch.ones(8, 1), "dino_head.mlp.0.bias": torch.ones(8)}
    student = {f"module.{name}": one + 1 for name, one in (model | heads).items()}
    torch.save({"student": student, "teacher": model | heads, "dino_loss": {"center": torch.zeros(1, 8)}, "epoch": 3}, tmp_path / "dino.pth")
    refused = CliRunner().invoke(main, ["convert", str(tmp_path / "dino.pth"), str(tmp_path / "out.npz")])
    assert refused.exit_code == 5
    line = re.search(r"segzoo (convert .*?) takes one of them out, or (.*?);", refused.stderr)
    assert line[2] == "--at teacher"
    typed = line[1].replace("DST --at student", f"{tmp_path / 'out.npz'} --to dinov2 {line[2]}")
    done = CliRunner().invoke(main, shlex.split(typed))
    assert done.exit_code == 0, done.output
    assert same(arrays(tmp_path / "out.npz"), remapped(plain, "dinov2"))


def test_dinov2_and_transformers_have_the_same_tensors():
    """Written by way of `hf`, Meta's files load strictly there: the names and shapes are those of transformers' own files."""
    for ours, theirs in (("registers", "dinov2 with registers"), ("gated", "gated dinov2")):
        made = {name.removeprefix("dinov2_with_registers."): one.shape for name, one in remapped(peer("dinov2")[ours]["tensors"], "hf").items()}
        of = peer("transformers")[theirs]["tensors"]
        wanted = {
            name.removeprefix("dinov2_with_registers."): one.shape
            for name, one in of.items()
            if "mask_token" not in name and "classifier" not in name
        }
        if theirs == "gated dinov2":
            made = {name: shape for name, shape in made.items() if "register" not in name}
        assert {name: shape for name, shape in made.items() if "position" not in name} == {
            name: shape for name, shape in wanted.items() if "position" not in name
        }


@pytest.mark.parametrize(("name", "case"), CASES)
def test_a_geometry_says_how_large_the_file_is(name, case):
    """All but what the geometry does not say: heads of classifiers, projections, and what only pre-training used."""
    tensors, found, geometry = read(name, case)
    layout = LAYOUTS["vit"][found.layout.name]
    if "distilled stem" in found.sections or found.beside:
        pytest.skip("a geometry does not tell a second token from a class token")
    unsaid = set(found.sections) - set(shown(layout, geometry).sections)
    assert unsaid <= {"pooled norm", "pre_logits", "projection", "pooling head", "classifier of token and average"}
    left_out = sum(Spec(tensors[key].shape, "float32").nbytes for section in unsaid for key in found.keys(section))
    assert nbytes(layout, geometry, "float32") == sum(spec.nbytes for spec in specs_of(tensors).values()) - left_out


NAMES = json.loads(gzip.decompress((GOLDEN / "vit_twists" / "names.json.gz").read_bytes()))
"""Each plain ViT of timm 1.0.31: names and shapes of its tensors, `blocks.#` for all blocks alike; its classes, heads, eps and activation."""
PLAIN = {"VisionTransformer Block", "VisionTransformerDistilled Block", "VisionTransformer ResPostBlock"}


def shapes_of(name):
    told = NAMES[name]
    blocks = {key: range(told["depth"]) if "#" in key else (0,) for key in told["shapes"]}
    return {key.replace("#", str(i)): Spec(tuple(shape), "float32") for key, shape in told["shapes"].items() for i in blocks[key]}


def form(name):
    """What tells files apart: their names, and how many entries the position table has beyond a square."""
    shapes = NAMES[name]["shapes"]
    beyond = [shape[1] - math.isqrt(shape[1]) ** 2 for key, shape in shapes.items() if key == "pos_embed"]
    return (*NAMES[name]["classes"], *(re.sub(r"\d+", "#", key) for key in shapes), *beyond)


FORMS = {form(name): name for name in reversed(NAMES)}


@lru_cache
def verdict(name):
    """What becomes of one of timm's models: its geometry, or the error."""
    try:
        found = detect(shapes_of(name))
        return found, measure(found, shapes_of(name))[0]
    except ConversionError as error:
        return error


@pytest.mark.parametrize("name", FORMS.values())
def test_each_of_timms_plain_vits_is_read_or_refused_by_a_named_twist(name):
    told = NAMES[name]
    expected = " ".join(told["classes"][:2]) in PLAIN and not re.search("_resnet|_mci_|_dlittle_|_dwee_", name)
    outcome = verdict(name)
    if expected:
        found, geometry = outcome
        assert (found.layout.name, geometry.depth) == ("timm", told["depth"])
        assert ("SwiGLU" in geometry.twists) == (told["classes"][2] == "GluMlp")
        assert any("vit_*_rpn_*" in note for note in found.notes) == (told["classes"][1] == "ResPostBlock")
        assert ("norm before the blocks" in geometry.twists) == (told["activation"] == "QuickGELU" or "clip" in name)
    else:
        said = outcome.hint + outcome.message
        assert any(variant.title in said for family in FAMILIES.values() for variant in family.variants) or "rotary positions" in said
        assert "--drop" not in said


COUNTED = {
    "read": lambda found, geometry: True,
    "plain": lambda found, geometry: (
        not geometry.twists and not geometry.registers and geometry.residual is None and "distilled stem" not in found.sections
    ),
    "LayerScale": lambda found, geometry: "LayerScale" in geometry.twists,
    "registers": lambda found, geometry: geometry.registers,
    "SwiGLU": lambda found, geometry: "SwiGLU" in geometry.twists,
    "no class token": lambda found, geometry: "no class token" in geometry.twists,
    "no class position": lambda found, geometry: "no class position" in geometry.twists,
    "register positions": lambda found, geometry: "register positions" in geometry.twists,
    "norm before the blocks": lambda found, geometry: "norm before the blocks" in geometry.twists,
    "norm behind the pooling": lambda found, geometry: "pooled norm" in found.sections,
    "no norm after the last block": lambda found, geometry: not geometry.final_norm,
    "distillation token": lambda found, geometry: "distilled stem" in found.sections,
    "ResNet before the patch embedding": lambda found, geometry: geometry.residual is not None,
    "pooling head": lambda found, geometry: "pooling head" in found.sections,
}


def test_the_table_in_the_docs_counts_them():
    """All names, each by the one of its form that is looked at."""
    read = [one for name in NAMES if isinstance(one := verdict(FORMS[form(name)]), tuple)]
    counts = {what: sum(bool(holds(*one)) for one in read) for what, holds in COUNTED.items()}
    page = (ROOT / "docs" / "concepts" / "layouts.md").read_text()
    page = page.split("## The variants of a ViT")[1].split("\n## ")[0]
    shown = {what: int(number) for what, number in re.findall(r"^\| ([^|]+?) \| (\d+) \|", page, re.MULTILINE)}
    assert shown == {**counts, "refused": len(NAMES) - len(read)}


@pytest.mark.parametrize("name", [name for name, told in NAMES.items() if " ".join(told["classes"][:2]) in PLAIN])
def test_what_a_config_of_timm_says_is_so(name):
    said = of_json({"architecture": name, "num_features": 1}, "config.json")
    told = NAMES[name]
    assert said.get("backbone.heads") in (None, told["heads"])
    assert said.get("backbone.eps") == told["eps"]
    activation = {"GELU": "gelu", "GELUTanh": "gelu_tanh", "QuickGELU": "quick_gelu"}.get(told["activation"])
    outcome = verdict(FORMS[form(name)])
    assert said.get("backbone.activation") in (activation, *(() if isinstance(outcome, tuple) and outcome[1].activation_open else (None,)))


SECTIONS = {
    "LayerScale": "layer scale",
    "registers": "register tokens",
    "registers with positions": "stem with register positions",
    "SwiGLU": "gated MLP",
    "norm behind the pooling": "pooled norm",
    "no norm after the last block": "no final norm",
    "distillation token": "distilled stem",
    "positions for the patches only": "stem without class position",
}


def test_the_docs_say_which_layouts_have_a_place_for_what():
    page = (ROOT / "docs" / "concepts" / "layouts.md").read_text().split("## The variants of a ViT")[1]
    shown = {what: re.findall("`(.+?)`", listed) for what, listed in re.findall(r"^\| ([^|`]+?) \| (`.*`) \|", page, re.MULTILINE)}
    assert len(shown) == 11
    for what, listed in shown.items():
        section = SECTIONS.get(what, what)
        assert listed == [name for name, table in LAYOUTS["vit"].items() if any(section in one.sections for one in (table, *table.spellings))], what


def test_the_docs_say_how_many_files_each_layout_was_tried_on():
    page = (ROOT / "docs" / "concepts" / "layouts.md").read_text().split("## What each layout of a ViT was tried on")[1].split("\n## ")[0]
    told = {name: int(number) for name, number in re.findall(r"^\| `(\w+)` \| (\d+)", page, re.MULTILINE)}
    classes = [key for key in arrays(GOLDEN / "vit_twists" / "transformers_classes.npz") if key.endswith("/tokens") and "Data2Vec" not in key]
    tried = {LAYOUT[name]: len(peer(name)) for name in PEERS}
    assert told | tried | {"hf": 1 + tried["hf"] + len(classes)} == told
    assert told.keys() == LAYOUTS["vit"].keys()


def test_a_tower_of_clip_is_not_built_until_its_activation_is_known(tmp_path):
    tensors, found, geometry = read("timm", "clip")
    own = dict(run(plan(specs_of(tensors), OWN["vit"], found=found, heads=HEADS), tensors))
    with pytest.raises(ConversionError, match="GELU or QuickGELU, which no tensor shows"):
        build_backbone(VIT, replace(geometry, activation=None), own)
    np.savez(tmp_path / "clip.npz", **tensors)
    assert any("QuickGELU" in note for note in inspect(tmp_path / "clip.npz").notes)
    done = CliRunner().invoke(main, ["manifest", "add", str(tmp_path / "clip.npz"), "--heads", "2", "--zoo", str(tmp_path / "zoo.yaml")])
    assert done.exit_code != 0


MANIFEST = """
version: 1
backbones:
  odd:
    title: All at once
    file: odd.pth
    source: {name: odd.npz, layout: timm, urls: [odd.npz]}
    geometry: {width: 8, depth: 2, heads: 2, mlp: 16, patch: 4, grid: 4, registers: 2, absent: [patch bias, qkv bias], activation: gelu,
               twists: [LayerScale, SwiGLU, norms of queries and keys, norm before the blocks, no class position]}
"""


def test_verify_climbs_to_the_numbers(tmp_path, monkeypatch):
    """By way of the command: names, round trip and numbers of a model with all twists at once."""
    np.savez(tmp_path / "odd.npz", **peer("timm")["all at once"]["tensors"])
    (tmp_path / "zoo.yaml").write_text(MANIFEST)
    done = CliRunner().invoke(main, ["--zoo", str(tmp_path / "zoo.yaml"), "verify", "odd", "--json"])
    assert done.exit_code == 0, done.output
    receipt = json.loads(done.stdout)
    assert '"numbers"' in json.dumps(receipt)
    assert '"status": "failed"' not in json.dumps(receipt)
    metas = MANIFEST.replace("layout: timm", "layout: dinov2").replace("absent: [patch bias, qkv bias], activation: gelu,", "")
    metas = re.sub("twists: .*]", "twists: [LayerScale, SwiGLU]", metas.replace("registers: 2", "registers: 4"))
    (tmp_path / "metas").mkdir()
    np.savez(tmp_path / "metas" / "odd.npz", **peer("dinov2")["gated"]["tensors"])
    (tmp_path / "metas" / "zoo.yaml").write_text(metas)
    done = CliRunner().invoke(main, ["--zoo", str(tmp_path / "metas" / "zoo.yaml"), "verify", "odd", "--require", "numbers"])
    assert done.exit_code == 0, done.output
    assert "torch against JAX" in done.output
    (tmp_path / "zoo.yaml").write_text(MANIFEST.replace("registers: 2", "registers: 3"))
    done = CliRunner().invoke(main, ["--zoo", str(tmp_path / "zoo.yaml"), "verify", "odd"])
    assert done.exit_code != 0
    assert "registers 2, expected 3" in done.output + done.stderr
    (tmp_path / "zoo.yaml").write_text(MANIFEST.replace("LayerScale", "LayerScales"))
    done = CliRunner().invoke(main, ["--zoo", str(tmp_path / "zoo.yaml"), "list"])
    assert "'LayerScales' is none of LayerScale, SwiGLU" in done.output + done.stderr


def test_jeonsworlds_names_are_those_that_it_makes_of_an_npz():
    """As `load_from` of its `models/modeling.py` fills its parameters from an npz of AugReg."""
    npz = arrays(TAME)
    d, start = 64, "transformer.encoder.layer"
    wanted = {
        "transformer.embeddings.cls_token": npz["cls"],
        "transformer.embeddings.position_embeddings": npz["Transformer/posembed_input/pos_embedding"],
        "transformer.embeddings.patch_embeddings.weight": npz["embedding/kernel"].transpose(3, 2, 0, 1),
        "transformer.embeddings.patch_embeddings.bias": npz["embedding/bias"],
        "transformer.encoder.encoder_norm.weight": npz["Transformer/encoder_norm/scale"],
        "transformer.encoder.encoder_norm.bias": npz["Transformer/encoder_norm/bias"],
        "head.weight": npz["head/kernel"].T,
        "head.bias": npz["head/bias"],
    }
    for i in range(3):
        root = f"Transformer/encoderblock_{i}"
        for theirs in ("query", "key", "value", "out"):
            one = f"{root}/MultiHeadDotProductAttention_1/{theirs}"
            wanted[f"{start}.{i}.attn.{theirs}.weight"] = npz[f"{one}/kernel"].reshape(d, d).T
            wanted[f"{start}.{i}.attn.{theirs}.bias"] = npz[f"{one}/bias"].reshape(-1)
        for theirs, own in (("fc1", "Dense_0"), ("fc2", "Dense_1")):
            wanted[f"{start}.{i}.ffn.{theirs}.weight"] = npz[f"{root}/MlpBlock_3/{own}/kernel"].T
            wanted[f"{start}.{i}.ffn.{theirs}.bias"] = npz[f"{root}/MlpBlock_3/{own}/bias"]
        for theirs, own in (("attention_norm", "LayerNorm_0"), ("ffn_norm", "LayerNorm_2")):
            wanted[f"{start}.{i}.{theirs}.weight"] = npz[f"{root}/{own}/scale"]
            wanted[f"{start}.{i}.{theirs}.bias"] = npz[f"{root}/{own}/bias"]
    assert same(remapped(npz, "jeonsworld"), wanted)
    assert same(remapped(wanted, "augreg", heads=4), npz)
