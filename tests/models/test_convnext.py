"""The ConvNeXt against each library's own model on that library's own file, and against mmseg with one thing done otherwise."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from support import GOLDEN

from segzoo.conversion.checkpoint import identify
from segzoo.conversion.plan import plan
from segzoo.conversion.run import run
from segzoo.errors import ConversionError, EnvironmentFault, UsageError
from segzoo.layouts import OWN
from segzoo.models.segmentor import build

PEERS = GOLDEN / "convnext"
IMAGE = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (1, 3, 72, 101)).astype(np.float32))
SIZES = ("65x97", "40x57", "72x72")
MEAN, STD = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])


def built(path, eps=1e-6):
    file = identify(path)
    decoder = file.geometry.decoder and replace(file.geometry.decoder, bins=(1, 2, 3, 6))
    tensors = dict(run(plan(file.weights.specs, OWN["convnext"], found=file.found), file.weights))
    return build(file.family, replace(file.geometry, decoder=decoder), tensors, eps=eps)


def near(mine, theirs, tolerance=1e-5):
    return np.abs(mine - theirs).max() <= tolerance * np.abs(theirs).max()


@pytest.mark.parametrize("name", ["official.pth", "timm.pth", "timm_conv.pth", "torchvision.pth", "hf/model.safetensors"])
def test_a_librarys_own_classifier_gives_its_own_logits(name):
    """At ragged maps. Classifiers average the last stage's map, then apply the final norm."""
    file = identify(PEERS / name)
    rest = dict(run(plan(file.weights.specs, "timm", found=file.found), file.weights))
    rest = {key: torch.tensor(rest[f"head.{key}"]) for key in ("norm.weight", "norm.bias", "fc.weight", "fc.bias")}
    model, seen = built(PEERS / name), {}
    with torch.inference_mode():
        model(IMAGE, seen)
        pooled = F.layer_norm(seen["stage3.block1"].mean((2, 3)), (20,), rest["norm.weight"], rest["norm.bias"], 1e-6)
        logits = F.linear(pooled, rest["fc.weight"], rest["fc.bias"])
    assert near(logits.numpy(), np.load(PEERS / f"{name.split('.')[0].split('/')[0]}.npz")["logits"])


def test_transformers_own_upernet_gives_its_own_logits():
    with torch.inference_mode():
        scores = built(PEERS / "hf_upernet" / "model.safetensors")(IMAGE).numpy()
    assert near(scores, np.load(PEERS / "hf_upernet.npz")["logits"])


def test_its_features_are_the_outputs_with_a_norm():
    model = built(PEERS / "hf_backbone" / "model.safetensors")
    with torch.inference_mode():
        maps = model(IMAGE)
        last, first = model.features(IMAGE, (-1, 0))
    assert [one.shape[1:] for one in maps] == [(4, 18, 25), (8, 9, 12), (12, 4, 6), (20, 2, 3)]
    assert torch.equal(last, maps[3])
    assert torch.equal(first, maps[0])
    with pytest.raises(UsageError, match="layer 4: the outputs of this ConvNeXt are those of its stages 0, 1, 2, 3"):
        model.features(IMAGE, (4,))
    with pytest.raises(UsageError, match="layer 0: the outputs of this ConvNeXt are those of its stages 3"):
        built(PEERS / "timm.pth").features(IMAGE, (0,))


def test_an_image_of_which_the_last_stage_would_see_nothing_is_refused():
    model = built(PEERS / "hf_backbone" / "model.safetensors")
    assert [one.shape[-1] for one in model(IMAGE[..., :32])] == [8, 4, 2, 1]
    with pytest.raises(EnvironmentFault, match="a ConvNeXt takes 32 x 32 pixels at least, found 31 x 72"):
        model(IMAGE[..., :31])


def test_several_images_are_as_each_alone():
    model = built(GOLDEN / "transformers" / "upernet_convnext.pth").double()
    images = torch.stack([IMAGE[0, :, :65, :97], IMAGE[0, :, 5:70, 4:101]]).double()
    with torch.inference_mode():
        together, alone = model(images), torch.cat([model(image[None]) for image in images])
    assert near(together.numpy(), alone.numpy(), 1e-12)


def test_a_head_of_a_plain_vit_does_not_fit(tmp_path):
    held = torch.load(GOLDEN / "transformers" / "upernet_convnext.pth", weights_only=True)["state_dict"]
    held = {name: one for name, one in held.items() if name.startswith("backbone.")}
    held |= {"decode_head.conv_seg.weight": torch.ones(8, 64, 1, 1), "decode_head.conv_seg.bias": torch.ones(8)}
    torch.save(held, tmp_path / "linear.pth")
    file = identify(tmp_path / "linear.pth")
    tensors = dict(run(plan(file.weights.specs, OWN["convnext"], found=file.found), file.weights))
    with pytest.raises(ConversionError, match="the head takes a map of one width, and 4 of 16, 32, 48, 64 come out of the ConvNeXt"):
        build(file.family, file.geometry, tensors)


def without_output_norms(model):
    for stage in range(4):
        setattr(model.backbone, f"norm{stage}", torch.nn.Identity())
    return model


GOLD = GOLDEN / "transformers" / "upernet_convnext.pth"
# What is done otherwise, and how far that moved the logits of the real mmseg at each of the sizes.
OTHERWISE = {
    "LayerNorm eps 1e-5": (lambda model: built(GOLD, 1e-5), (6.2466e-5, 3.1471e-5, 5.0068e-5)),
    "no norms on the outputs": (without_output_norms, (1.75113, 1.24617, 1.37969)),
}


@pytest.mark.parametrize("what", OTHERWISE)
def test_one_thing_done_otherwise_moves_the_logits_as_far_as_mmsegs(what):
    """In float64, so that what lies below the floor of float32 is seen too. The figures are mmseg's own, in float32, over an image's windows."""
    change, moved = OTHERWISE[what]
    model, found = built(GOLD).double(), []
    for size in SIZES:
        data = np.load(GOLD.with_suffix("") / f"{size}.npz")
        image = torch.from_numpy((data["image"][..., ::-1] - MEAN) / STD).permute(2, 0, 1)[None]
        windows = [(slice(top, bottom), slice(left, right)) for top, left, bottom, right in data["windows"].tolist()]

        def averaged(network, image=image, windows=windows):
            total, times = torch.zeros(1, 8, *image.shape[2:], dtype=torch.float64), torch.zeros(image.shape[2:])
            for rows, columns in windows:
                total[..., rows, columns] += network(image[..., rows, columns])
                times[rows, columns] += 1
            return total / times

        with torch.inference_mode():
            found.append((averaged(model), averaged))
    with torch.inference_mode():
        other = change(model).double()
        assert [float((averaged(other) - right).abs().max()) for right, averaged in found] == pytest.approx(moved, rel=0.01, abs=3e-6)
