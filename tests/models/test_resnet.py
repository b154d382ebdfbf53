"""The ResNet against each library's own classifier, and the Mask2Former on one against the real mmseg with one thing done otherwise."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from support import GOLDEN, arrays

from segzoo.conversion.checkpoint import identify
from segzoo.conversion.plan import plan
from segzoo.conversion.run import run
from segzoo.errors import ConversionError, UsageError
from segzoo.evaluation import protocols
from segzoo.layouts import OWN
from segzoo.manifest.document import load_manifest
from segzoo.models.segmentor import build
from segzoo.zoo.loading import module
from segzoo.zoo.opened import open_entry

PEERS = GOLDEN / "resnet"
FOLDER = GOLDEN / "transformers"
ENTRY = load_manifest(FOLDER / "zoo.yaml").models["mask2former-resnet"]
IMAGE = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (1, 3, 61, 97)).astype(np.float32))


def built(path):
    file = identify(path)
    return build(file.family, file.geometry, dict(run(plan(file.weights.specs, OWN["resnet"], found=file.found), file.weights)), eps=1e-5)


def near(mine, theirs, tolerance=1e-5):
    return np.abs(mine - theirs).max() <= tolerance * np.abs(theirs).max()


@pytest.mark.parametrize("library", ["torchvision", "timm", "hf"])
def test_a_librarys_own_classifier_gives_its_own_logits(library):
    path = PEERS / f"{library}.pth"
    file = identify(path)
    rest = dict(run(plan(file.weights.specs, "torchvision", found=file.found), file.weights))
    with torch.inference_mode():
        logits = F.linear(built(path)(IMAGE)[-1].mean((2, 3)), torch.tensor(rest["fc.weight"]), torch.tensor(rest["fc.bias"]))
    assert near(logits.numpy(), arrays(path.with_suffix(".npz"))["logits"])


def whole():
    data = arrays(FOLDER / "mask2former_resnet" / "40x57.npz")
    pixels = protocols.normalised(torch.from_numpy(data["image"][..., ::-1].copy()), ENTRY.protocol)[None]
    image = F.pad(pixels, (0, -pixels.shape[3] % 32, 0, -pixels.shape[2] % 32))
    return data, image, module(open_entry(ENTRY, FOLDER / "mask2former_resnet.pth"), ENTRY)


def test_its_maps_are_mmsegs():
    data, image, model = whole()
    with torch.inference_mode():
        maps = model.backbone(image)
    assert [one.shape[1:] for one in maps] == [(16, 16, 16), (32, 8, 8), (64, 4, 4), (128, 2, 2)]
    for stage, one in enumerate(maps):
        assert near(one[0].numpy(), data[f"out{stage}"])


def test_its_features_are_the_outputs_of_its_stages():
    model = built(PEERS / "torchvision.pth")
    with torch.inference_mode():
        maps = model(IMAGE)
        last, first = model.features(IMAGE, (-1, 0))
    assert torch.equal(last, maps[3])
    assert torch.equal(first, maps[0])
    with pytest.raises(UsageError, match="layer 4: the outputs of this ResNet are those of its stages 0, 1, 2, 3"):
        model.features(IMAGE, (4,))
    with pytest.raises(ConversionError, match="a map of one width, and 4 of 16, 32, 64, 128 come out of the ResNet"):
        _ = model.width


def of_kind(kind, **facts):
    def change(model):
        for one in model.backbone.modules():
            if isinstance(one, kind):
                vars(one).update(facts)

    return change


def caffe(model):
    for stage in (2, 3, 4):
        block = getattr(model.backbone, f"layer{stage}")[0]
        block.conv1.stride, block.conv2.stride = (2, 2), (1, 1)


def dilated(model):
    for block in model.backbone.layer4:
        block.conv2.dilation = block.conv2.padding = (2, 2)


OTHERWISE = {
    "batch norm eps 1e-3": of_kind(torch.nn.BatchNorm2d, eps=1e-3),
    "batch norm eps 1e-6": of_kind(torch.nn.BatchNorm2d, eps=1e-6),
    "halved in the first convolution, as caffe": caffe,
    "dilated in the last stage": dilated,
}


@pytest.mark.parametrize("what", OTHERWISE)
def test_one_thing_done_otherwise_is_seen(what):
    data, image, model = whole()
    model, image = model.double(), image.double()
    with torch.inference_mode():
        assert near(model(image)[0, :, ::3, ::3].numpy()[:, :14, :19], data["logits64@s3"][:, :14, :19], 1e-12)
        OTHERWISE[what](model)
        assert not near(model(image)[0, :, ::3, ::3].numpy()[:, :14, :19], data["logits64@s3"][:, :14, :19], 1e-7)
