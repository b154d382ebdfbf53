"""SegFormer: each library's own MiT on that library's own file, every intermediate of mmseg, and mmseg with one thing done otherwise."""

from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from support import GOLDEN, arrays

from segzoo.conversion.checkpoint import identify
from segzoo.conversion.plan import plan
from segzoo.conversion.run import run
from segzoo.errors import ConversionError, EnvironmentFault, UsageError
from segzoo.layouts import OWN
from segzoo.layouts.family import told
from segzoo.models.segmentor import build

WHOLE = GOLDEN / "transformers" / "segformer.pth"
PEERS = GOLDEN / "mit"
MEAN, STD = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])
SIZES = ("65x97", "40x57", "72x72")
IMAGE = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (1, 3, 64, 128)).astype(np.float32))
ODD = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (1, 3, 61, 93)).astype(np.float32))
NVLABS = {"heads": (1, 2, 3, 4), "conv_eps": 1e-5}
TRANSFORMERS = {"heads": (1, 2, 3, 4), "eps": 1e-5}


def built(path, heads=(1, 2, 4, 5), eps=1e-6, conv_eps=None):
    file = identify(path)
    tensors = dict(run(plan(file.weights.specs, OWN["mit"], found=file.found), file.weights))
    return build(file.family, told(file.geometry, {"heads": heads, "conv_eps": conv_eps}), tensors, eps=eps)


def image_of(size, dtype=torch.float32):
    data = arrays(GOLDEN / "transformers" / "segformer_whole" / f"{size}.npz")
    return data, torch.from_numpy((data["image"][..., ::-1] - MEAN) / STD).permute(2, 0, 1)[None].to(dtype)


def near(mine, theirs, tolerance=1e-5):
    return np.abs(mine - theirs).max() <= tolerance * np.abs(theirs).max()


def names_of(module):
    """What the networks call the output of this module of mmseg's."""
    part, *numbers = module.removeprefix("decode_head.").removeprefix("backbone.").split(".")
    if part == "layers":
        stage, which, *block = numbers
        return (f"patch_embed{stage}", f"stage{stage}.block{''.join(block)}", f"out{stage}")[int(which)]
    return {"convs": "level{}", "out": "out{}", "fusion_conv": "fusion_conv", "head": "head_logits"}[part].format(*numbers)


@pytest.mark.parametrize(("file", "sizes"), [("official.pth", NVLABS), ("hf_model/model.safetensors", TRANSFORMERS)])
def test_a_librarys_own_backbone_gives_its_own_maps(file, sizes):
    theirs = arrays(PEERS / f"{file.split('.')[0].split('/')[0]}.npz")
    with torch.inference_mode():
        maps = built(PEERS / file, **sizes)(ODD)
    assert [one.shape[1:] for one in maps] == [(4, 16, 24), (8, 8, 12), (12, 4, 6), (16, 2, 3)]
    for stage, one in enumerate(maps):
        assert near(one.numpy(), theirs[f"out{stage}"])


def test_transformers_own_classifier_gives_its_own_logits():
    path = PEERS / "hf" / "model.safetensors"
    file = identify(path)
    head = dict(run(plan(file.weights.specs, "official", found=file.found), file.weights))
    with torch.inference_mode():
        last = built(path, **TRANSFORMERS)(ODD)[-1].numpy()
    assert near(last.mean((2, 3)) @ head["head.weight"].T + head["head.bias"], arrays(PEERS / "hf.npz")["logits"])


@pytest.mark.parametrize(("file", "sizes"), [("official_segformer.pth", NVLABS), ("hf_segformer/model.safetensors", TRANSFORMERS)])
def test_a_librarys_own_segformer_gives_its_own_scores(file, sizes):
    """NVlabs' head and transformers', which is the same: scores at the finest map's size."""
    theirs = arrays(PEERS / f"{file.split('.')[0].split('/')[0]}.npz")["logits"]
    with torch.inference_mode():
        assert near(built(PEERS / file, **sizes).scores(ODD).numpy(), theirs)


def test_every_intermediate_is_mmsegs():
    data, image = image_of("40x57")
    theirs, seen = {name.removeprefix("w0/"): one for name, one in data.items() if name.startswith("w0/")}, {}
    with torch.inference_mode():
        built(WHOLE)(image, seen)
    assert len(theirs) == 24
    for name, one in theirs.items():
        mine = seen[names_of(name)][0]
        if name.startswith("backbone.layers"):  # mmseg has tokens there
            mine = (mine.permute(1, 2, 0) if ".2" in name[17:] and names_of(name).startswith("out") else mine).flatten(0, 1)
        assert near(mine.numpy(), one), name


@pytest.mark.parametrize(
    ("file", "sizes"), [(WHOLE, {}), (PEERS / "official.pth", NVLABS), (PEERS / "hf_segformer" / "model.safetensors", TRANSFORMERS)], ids=str
)
def test_transformers_computes_every_intermediate_too(file, sizes):
    """At ragged maps, to the last digits of float64; with another eps or other heads the two part."""
    pytest.importorskip("transformers", reason="it is in the extra 'peers'")
    from segzoo.evidence.rungs.parity import differences, probe
    from segzoo.models.references import reference_of

    opened = identify(file)
    heads = [section for section in opened.found.sections if "decoder" in section]
    tensors = dict(run(plan(opened.weights.specs, "hf", found=opened.found, drop=heads), opened.weights))
    image, model = probe(opened.family.image(opened.geometry)), built(file, **sizes)
    model = getattr(model, "backbone", model)
    eps, hidden = sizes.get("eps", 1e-6), {"heads": sizes.get("heads", (1, 2, 4, 5)), "conv_eps": sizes.get("conv_eps")}

    def found(eps=eps, **otherwise):
        return differences(model, partial(reference_of("mit").intermediates, **hidden | otherwise), tensors, image, eps)

    assert all(one.passed for one in found())
    assert max(one.relative for one in found() if one.dtype == "float64") < 1e-13
    assert len(found()) == 2 * (2 * 4 + sum(opened.geometry.depths))
    for otherwise in ({"eps": 3e-6}, {"conv_eps": 3e-6}, {"heads": (2, *hidden["heads"][1:])}):
        assert not all(one.passed for one in found(**otherwise))


def test_its_features_are_the_outputs_of_its_stages():
    model = built(WHOLE).backbone
    with torch.inference_mode():
        maps = model(IMAGE[..., :101])
        last, first = model.features(IMAGE[..., :101], (-1, 0))
    assert [one.shape[1:] for one in maps] == [(12, 16, 26), (24, 8, 13), (48, 4, 7), (60, 2, 4)]
    assert torch.equal(last, maps[3])
    assert torch.equal(first, maps[0])
    with pytest.raises(UsageError, match="layer 4: the outputs of this MiT are those of its stages 0, 1, 2, 3"):
        model.features(IMAGE, (4,))


def test_an_image_of_which_a_stage_would_make_no_key_is_refused():
    """Where mmseg's own convolution raises an error: the first stage makes a key of 8 x 8 tokens, each of 4 x 4 pixels."""
    model = built(WHOLE)
    assert model(IMAGE[..., :29]).shape[-1] == 29
    with pytest.raises(EnvironmentFault, match="this MiT takes 29 x 29 pixels at least, found 28 x 64"):
        model(IMAGE[..., :28])


def test_several_images_are_as_each_alone():
    model = built(WHOLE).double()
    images = torch.stack([IMAGE[0, :, :61, :97], IMAGE[0, :, 3:, 4:101]]).double()
    with torch.inference_mode():
        together, alone = model(images), torch.cat([model(image[None]) for image in images])
    assert near(together.numpy(), alone.numpy(), 1e-12)


def test_what_no_tensor_shows_must_be_known():
    with pytest.raises(ConversionError, match="the number of attention heads of each stage is not known"):
        built(WHOLE, heads=None)


def test_a_head_of_a_plain_vit_does_not_fit(tmp_path):
    held = torch.load(WHOLE, weights_only=True)["state_dict"]
    held = {name: one for name, one in held.items() if name.startswith("backbone.")}
    held |= {"decode_head.conv_seg.weight": torch.ones(8, 60, 1, 1), "decode_head.conv_seg.bias": torch.ones(8)}
    torch.save(held, tmp_path / "linear.pth")
    with pytest.raises(ConversionError, match="the head takes a map of one width, and 4 of 12, 24, 48, 60 come out of the MiT"):
        built(tmp_path / "linear.pth")


# one thing done otherwise


def eps(kind, value, which=lambda name: True):
    def change(model, monkeypatch):
        for name, one in model.named_modules():
            if isinstance(one, kind) and which(name):
                one.eps = value

    return change


def after_a_convolution(name):
    """Whether a norm is that of a patch embedding or of reduced keys."""
    return name.endswith((".0.norm", ".attn.norm"))


def tanh(model, monkeypatch):
    real = F.gelu
    monkeypatch.setattr(F, "gelu", lambda x, **given: real(x, **given | {"approximate": "tanh"}))


def aligned(model, monkeypatch):
    real = F.interpolate
    monkeypatch.setattr(F, "interpolate", lambda *args, **named: real(*args, **named | {"align_corners": True}))


def without_relu(model, monkeypatch):
    for level in model.decode_head.convs:
        monkeypatch.setattr(level, "forward", lambda x, level=level: level.bn(level.conv(x)))


# How far each moved the logits of the real mmseg at each of the sizes, in float32.
OTHERWISE = {
    "GELU by tanh": (tanh, (6.4477e-4, 2.9883e-4, 3.4297e-4)),
    "BatchNorm eps 1e-3": (eps(torch.nn.BatchNorm2d, 1e-3), (0.0057049, 0.0040338, 0.0049427)),
    "BatchNorm eps 1e-6": (eps(torch.nn.BatchNorm2d, 1e-6), (5.2929e-5, 3.6955e-5, 4.5061e-5)),
    "aligned corners": (aligned, (1.340158, 0.480182, 0.556104)),
    "LayerNorm eps 1e-5 after convolutions, as NVlabs": (eps(torch.nn.LayerNorm, 1e-5, after_a_convolution), (6.1035e-5, 3.4571e-5, 6.2287e-5)),
    "LayerNorm eps 1e-5 everywhere, as transformers": (eps(torch.nn.LayerNorm, 1e-5), (8.4311e-5, 2.9892e-5, 6.4731e-5)),
    "no ReLU after the projections, as NVlabs": (without_relu, (4.953112, 5.628335, 6.128388)),
}


@pytest.mark.parametrize("what", OTHERWISE)
def test_one_thing_done_otherwise_moves_the_logits_as_far_as_mmsegs(what, monkeypatch):
    """In float64, so that what lies below the floor of float32 is seen too. The figures are mmseg's own."""
    change, moved = OTHERWISE[what]
    model = built(WHOLE).double()
    images = [image_of(size, torch.float64)[1] for size in SIZES]
    with torch.inference_mode():
        right = [model(image) for image in images]
        change(model, monkeypatch)
        found = [float((model(image) - one).abs().max()) for image, one in zip(images, right, strict=True)]
    assert found == pytest.approx(moved, rel=0.02, abs=6e-6)
