"""The Swin against each library's own model on that library's own file, and against mmseg with one thing done otherwise."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from einops import rearrange
from support import GOLDEN

from segzoo.conversion.checkpoint import identify
from segzoo.conversion.plan import plan
from segzoo.conversion.run import run
from segzoo.errors import ConversionError, UsageError
from segzoo.layouts import OWN
from segzoo.models.segmentor import build
from segzoo.models.swin import network

PEERS = GOLDEN / "swin"
IMAGE = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (1, 3, 192, 192)).astype(np.float32))
SIZES = ("65x97", "40x57", "72x72")
MEAN, STD = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])
INTERPOLATE = F.interpolate


def built(path, eps=1e-5):
    file = identify(path)
    decoder = file.geometry.decoder and replace(file.geometry.decoder, bins=(1, 2, 3, 6))
    tensors = dict(run(plan(file.weights.specs, OWN["swin"], found=file.found), file.weights))
    return build(file.family, replace(file.geometry, decoder=decoder), tensors, eps=eps)


def near(mine, theirs, tolerance=1e-5):
    return np.abs(mine - theirs).max() <= tolerance * np.abs(theirs).max()


# Maps of the image are 48, 24, 12 and 6, whole windows of 3 and none a single one: there all libraries compute the same.
@pytest.mark.parametrize("name", ["official.pth", "timm.pth", "torchvision.pth", "hf/model.safetensors"])
def test_a_librarys_own_classifier_gives_its_own_logits(name):
    """A wrong order of a merging's neighbours, or a layer under another's name, would show in none of shape and name."""
    theirs = np.load(PEERS / f"{name.split('.')[0].split('/')[0]}.npz")
    file = identify(PEERS / name)
    head = dict(run(plan(file.weights.specs, "timm", found=file.found), file.weights))
    with torch.inference_mode():
        features = built(PEERS / name)(IMAGE).numpy()
    assert near(features.mean((2, 3)) @ head["head.fc.weight"].T + head["head.fc.bias"], theirs["logits"])
    assert "features" not in theirs or near(features, theirs["features"])


def test_transformers_own_upernet_gives_its_own_logits_where_maps_are_ragged():
    with torch.inference_mode():
        scores = built(PEERS / "hf_upernet" / "model.safetensors")(IMAGE[:, :, :72, :101]).numpy()
    assert near(scores, np.load(PEERS / "hf_upernet.npz")["logits"])


def test_its_features_are_the_outputs_with_a_norm():
    model = built(PEERS / "hf_backbone" / "model.safetensors")
    with torch.inference_mode():
        maps = model(IMAGE)
        last, first = model.features(IMAGE, (-1, 0))
    assert [one.shape[1:] for one in maps] == [(4, 48, 48), (8, 24, 24), (16, 12, 12), (32, 6, 6)]
    assert torch.equal(last, maps[3])
    assert torch.equal(first, maps[0])
    with pytest.raises(UsageError, match="layer 4: the outputs of this Swin are those of its stages 0, 1, 2, 3"):
        model.features(IMAGE, (4,))
    with pytest.raises(UsageError, match="layer 0: the outputs of this Swin are those of its stages 3"):
        built(PEERS / "timm.pth").features(IMAGE, (0,))


def test_several_images_are_as_each_alone():
    model = built(GOLDEN / "transformers" / "upernet_swin.pth").double()
    images = torch.stack([IMAGE[0, :, :65, :97], IMAGE[0, :, 60:125, 90:187]]).double()
    with torch.inference_mode():
        together, alone = model(images), torch.cat([model(image[None]) for image in images])
    assert near(together.numpy(), alone.numpy(), 1e-12)


def test_a_mask_is_remembered_by_size_and_not_made_of_another():
    model = built(GOLDEN / "transformers" / "upernet_swin.pth")
    large, small = IMAGE, IMAGE[:, :, :65, :97]
    with torch.inference_mode():
        fresh = model(small)
        model(large)
        assert torch.equal(model(small), fresh)
        half = model.double()(small.double())
    assert half.dtype == torch.float64
    assert near(fresh.numpy(), half.numpy())


def test_a_head_of_a_plain_vit_does_not_fit(tmp_path):
    held = torch.load(GOLDEN / "transformers" / "upernet_swin.pth", weights_only=True)["state_dict"]
    held = {name: one for name, one in held.items() if name.startswith("backbone.")}
    held |= {"decode_head.conv_seg.weight": torch.ones(8, 96, 1, 1), "decode_head.conv_seg.bias": torch.ones(8)}
    torch.save(held, tmp_path / "linear.pth")
    file = identify(tmp_path / "linear.pth")
    tensors = dict(run(plan(file.weights.specs, OWN["swin"], found=file.found), file.weights))
    with pytest.raises(ConversionError, match="the head takes a map of one width, and 4 of 12, 24, 48, 96 come out of the Swin"):
        build(file.family, file.geometry, tensors)


@pytest.mark.parametrize("path", ["swin/timm.pth", "swin/official.pth", "transformers/upernet_swin.pth", "transformers/upernet_swin_w12.pth"])
def test_transformers_computes_every_intermediate_too(path):
    """At ragged maps, to the last digits of float64; with another eps, or mergings in another order, the two part."""
    pytest.importorskip("transformers", reason="it is in the extra 'peers'")
    from segzoo.evidence.rungs.parity import differences, probe
    from segzoo.models.references import reference_of

    file = identify(GOLDEN / path)
    head = [section for section in file.found.sections if section == "uper decoder"]
    tensors = dict(run(plan(file.weights.specs, "hf", found=file.found, drop=head), file.weights))
    image, reference = probe(file.family.image(file.geometry)), reference_of("swin").intermediates
    model = built(GOLDEN / path)
    model = getattr(model, "backbone", model)
    found = differences(model, reference, tensors, image, 1e-5)
    assert all(one.passed for one in found)
    assert max(one.relative for one in found if one.dtype == "float64") < 1e-13
    assert len(found) == 2 * (1 + sum(file.geometry.depths) + 3 + (4 if file.geometry.output_norms else 1))
    assert not all(one.passed for one in differences(model, reference, tensors, image, 1e-6))
    tensors["swin.encoder.layers.1.downsample.norm.bias"] = tensors["swin.encoder.layers.1.downsample.norm.bias"][::-1].copy()
    assert not all(one.passed for one in differences(model, reference, tensors, image, 1e-5))


def merged(model, pattern):
    """The model with the inputs of its mergings in another order."""
    before, after = pattern.split(" -> ")
    for stage in list(model.backbone.stages)[:-1]:
        for tensor in stage.downsample.parameters():
            rows = "o " * (tensor.dim() - 1)
            tensor.data = rearrange(tensor.data, f"{rows}{before} -> {rows}{after}", row=2, col=2)
    return model


def with_eps(model, eps):
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eps = eps
    return model


def without_output_norms(model):
    for stage in range(4):
        setattr(model.backbone, f"norm{stage}", torch.nn.Identity())
    return model


def unshifted_where_small(model):
    def choose(stage, given):
        for index, block in enumerate(stage.blocks):
            block.shift = stage.shift * (index % 2) if min(given[0].shape[1:3]) > stage.side else 0

    for stage in model.backbone.stages:
        stage.register_forward_pre_hook(choose)
    return model


def pyramid_aligned(model, patch):
    """The pyramid's maps resized with aligned corners: those that UPerHead resizes to the deepest map."""

    def aligned(bottleneck, given):
        deepest, *pyramid = given
        return deepest, *(INTERPOLATE(x, deepest.shape[-2:], mode="bilinear", align_corners=True) for x in pyramid)

    model.decode_head.bottleneck.register_forward_pre_hook(aligned)
    return model


def aligned_throughout(x, size, mode, align_corners):
    return INTERPOLATE(x, size, mode=mode, align_corners=True)


SWIN, W12 = "upernet_swin", "upernet_swin_w12"
# What is done otherwise, and how far that moved the logits of the real mmseg at each of the sizes.
OTHERWISE = {
    "GELU tanh for erf": (SWIN, lambda model, patch: patch(F, "gelu", partial(F.gelu, approximate="tanh")), (8.905e-4, 4.663e-4, 1.2152e-3)),
    "BatchNorm eps 1e-3": (SWIN, lambda model, patch: with_eps(model, 1e-3), (7.381e-3, 6.9225e-3, 8.9462e-3)),
    "BatchNorm eps 1e-6": (SWIN, lambda model, patch: with_eps(model, 1e-6), (6.676e-5, 6.318e-5, 8.249e-5)),
    "backbone LayerNorm eps 1e-6": (SWIN, lambda model, patch: built(GOLDEN / "transformers" / f"{SWIN}.pth", 1e-6), (1.463e-4, 1.075e-4, 1.407e-4)),
    "align_corners throughout": (SWIN, lambda model, patch: patch(F, "interpolate", aligned_throughout), (1.40712, 0.89025, 2.27803)),
    "no shift in a small map": (SWIN, lambda model, patch: unshifted_where_small(model), (3.88082, 1.34640, 2.55380)),
    "no shift in a small map, windows of 12": (W12, lambda model, patch: unshifted_where_small(model), (0, 1.28241, 0)),
    "no mask": (SWIN, lambda model, patch: patch(network, "_APART", 0.0), (3.66090, 1.66530, 2.45398)),
    "merging in the official order": (SWIN, lambda model, patch: merged(model, "(c row col) -> (col row c)"), (6.01589, 3.04206, 7.55438)),
    "two neighbours exchanged": (SWIN, lambda model, patch: merged(model, "(c row col) -> (c col row)"), (2.72390, 2.64334, 3.76059)),
    "no norms on the outputs": (SWIN, lambda model, patch: without_output_norms(model), (5.54505, 4.27114, 5.56422)),
    "pyramid with aligned corners": (SWIN, pyramid_aligned, (3.942e-2, 5.163e-2, 0)),
}


@pytest.mark.parametrize("what", OTHERWISE)
def test_one_thing_done_otherwise_moves_the_logits_as_far_as_mmsegs(what, monkeypatch):
    """In float64, so that what lies below the floor of float32 is seen too. The figures are mmseg's own, in float32."""
    name, change, moved = OTHERWISE[what]
    folder = GOLDEN / "transformers"
    images = [np.load(folder / name / f"{size}.npz")["image"][..., ::-1] for size in SIZES]
    images = [torch.from_numpy((image - MEAN) / STD).permute(2, 0, 1)[None] for image in images]
    model = built(folder / f"{name}.pth").double()
    with torch.inference_mode():
        right = [model(image) for image in images]
        other = (change(model, monkeypatch.setattr) or model).double()
        other.backbone.stages.apply(lambda module: getattr(module, "_masks", {}).clear())
        found = [float((other(image) - one).abs().max()) for image, one in zip(images, right, strict=True)]
    assert found == pytest.approx(moved, rel=0.03, abs=1e-6)
