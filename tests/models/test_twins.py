"""The Twins against each library's own model on that library's own file, and against mmseg with one thing done otherwise."""

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
from segzoo.models.twins import network

PEERS = GOLDEN / "twins"
DRAWN = np.random.default_rng(0)
IMAGE = torch.from_numpy(DRAWN.uniform(-1, 1, (1, 3, 64, 128)).astype(np.float32))
RAGGED = torch.from_numpy(DRAWN.uniform(-1, 1, (1, 3, 160, 96)).astype(np.float32))
MEAN, STD = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])
SIZES = ("65x97", "40x57", "72x72")
WHOLE = ("upernet_twins_pcpvt", "upernet_twins_svt", "fpn_twins_svt")


def built(path, window=2, eps=1e-5, **sizes):
    """The network of a file. Its heads are 1, 2, 3, 4 in all files of these tests."""
    file = identify(path)
    decoder = file.geometry.decoder and replace(file.geometry.decoder, **{"bins": (1, 2, 3, 6)} if file.geometry.decoder.kind == "uper" else {})
    known = {"heads": (1, 2, 3, 4), "window": window if file.geometry.variant == "svt" else None} | sizes
    tensors = dict(run(plan(file.weights.specs, OWN["twins"], found=file.found), file.weights))
    return build(file.family, replace(file.geometry, decoder=decoder, **known), tensors, eps=eps)


def golden(name):
    return built(GOLDEN / "transformers" / f"{name}.pth", 7)


def image_of(name, size, dtype=torch.float32):
    data = np.load(GOLDEN / "transformers" / name / f"{size}.npz")
    return data, torch.from_numpy((data["image"][..., ::-1] - MEAN) / STD).permute(2, 0, 1)[None].to(dtype)


def near(mine, theirs, tolerance=1e-5):
    return np.abs(mine - theirs).max() <= tolerance * np.abs(theirs).max()


@pytest.mark.parametrize("variant", ["pcpvt", "svt"])
@pytest.mark.parametrize("library", ["official", "timm", "mmpretrain"])
def test_a_librarys_own_classifier_gives_its_own_logits(library, variant):
    """timm's image has a last map that is padded on one side, where it computes as mmseg does."""
    path = PEERS / f"{library}_{variant}.pth"
    file = identify(path)
    rest = dict(run(plan(file.weights.specs, "official", found=file.found), file.weights))
    norm, fc = ([torch.tensor(rest[f"{part}.{tensor}"]) for tensor in ("weight", "bias")] for part in ("norm", "head"))
    with torch.inference_mode():
        last = built(path)(IMAGE[..., :96] if library == "timm" else IMAGE)[-1]
        logits = F.linear(F.layer_norm(last.permute(0, 2, 3, 1), (16,), *norm, 1e-5).mean((1, 2)), *fc)
    assert near(logits.numpy(), np.load(path.with_suffix(".npz"))["logits"])


def test_the_authors_segmentation_backbone_gives_its_own_maps():
    """Both sides of its maps are padded to windows of 7, and masked."""
    theirs = np.load(PEERS / "official_segmentation_svt.npz")
    with torch.inference_mode():
        maps = built(PEERS / "official_segmentation_svt.pth", 7)(RAGGED)
    assert [one.shape[1:] for one in maps] == [(4, 40, 24), (8, 20, 12), (12, 10, 6), (16, 5, 3)]
    for stage, one in enumerate(maps):
        assert near(one.numpy(), theirs[f"out{stage}"])


def theirs_by_name(data):
    """mmseg's intermediates by the names that the networks give them."""
    found = {}
    for name in data.files:
        where = name.removeprefix("w0/")
        if where != name:
            module, *numbers = where.removeprefix("backbone.").removeprefix("decode_head.").split(".")
            numbers = [int(one) for one in numbers if one.isdecimal()]
            names = {
                "patch_embeds": "patch_embed{}", "layers": "stage{}.block{}", "position_encodings": "positions{}", "out": "out{}", "neck": "neck{}",
                "scale_heads": "scale_head{}",
            }  # fmt: skip
            if module in names and "lateral" not in where:
                found[names[module].format(*numbers)] = data[name]
    return found


@pytest.mark.parametrize("name", WHOLE)
def test_every_intermediate_is_mmsegs(name):
    data, image = image_of(name, "40x57")
    theirs, seen = theirs_by_name(data), {}
    with torch.inference_mode():
        golden(name)(image, seen)
    assert len(theirs) >= 18
    for key, one in theirs.items():
        mine = seen[key][0] if one.ndim == 3 else seen[key][0].flatten(0, 1)
        assert near(mine.numpy(), one), key


def test_its_features_are_the_outputs_of_its_stages():
    model = built(PEERS / "official_pcpvt.pth")
    with torch.inference_mode():
        maps = model(IMAGE[..., :101])
        last, first = model.features(IMAGE[..., :101], (-1, 0))
    assert [one.shape[1:] for one in maps] == [(4, 16, 26), (8, 8, 13), (12, 4, 7), (16, 2, 4)]
    assert torch.equal(last, maps[3])
    assert torch.equal(first, maps[0])
    with pytest.raises(UsageError, match="layer 4: the outputs of this Twins are those of its stages 0, 1, 2, 3"):
        model.features(IMAGE, (4,))


@pytest.mark.parametrize(("name", "least"), [("upernet_twins_pcpvt", 29), ("upernet_twins_svt", 29)])
def test_an_image_of_which_a_stage_would_make_no_key_is_refused(name, least):
    """Where mmseg's own convolution raises an error: the first stage makes a key of 8 x 8 tokens of 4 x 4 pixels, padding included."""
    model = golden(name)
    assert model(IMAGE[..., :least]).shape[-1] == least
    with pytest.raises(EnvironmentFault, match=f"this Twins takes {least} x {least} pixels at least, found {least - 1} x 64"):
        model(IMAGE[..., : least - 1])


@pytest.mark.parametrize("name", WHOLE)
def test_several_images_are_as_each_alone(name):
    model = golden(name).double()
    images = torch.stack([IMAGE[0, :, :61, :97], IMAGE[0, :, 3:, 4:101]]).double()
    with torch.inference_mode():
        together, alone = model(images), torch.cat([model(image[None]) for image in images])
    assert near(together.numpy(), alone.numpy(), 1e-12)


def test_what_no_tensor_shows_must_be_known():
    with pytest.raises(ConversionError, match="the number of attention heads of each stage is not known"):
        built(PEERS / "official_svt.pth", heads=None)
    with pytest.raises(ConversionError, match="the side of the windows is not known"):
        built(PEERS / "official_svt.pth", window=None)


def test_a_head_of_a_plain_vit_does_not_fit(tmp_path):
    held = torch.load(GOLDEN / "transformers" / "fpn_twins_svt.pth", weights_only=True)["state_dict"]
    held = {name: one for name, one in held.items() if name.startswith("backbone.")}
    held |= {"decode_head.conv_seg.weight": torch.ones(8, 64, 1, 1), "decode_head.conv_seg.bias": torch.ones(8)}
    torch.save(held, tmp_path / "linear.pth")
    with pytest.raises(ConversionError, match="the head takes a map of one width, and 4 of 16, 32, 48, 64 come out of the Twins"):
        built(tmp_path / "linear.pth")


# one thing done otherwise


def of_kind(model, kind, **facts):
    for one in model.modules():
        if isinstance(one, kind):
            vars(one).update(facts)


def tanh(model, monkeypatch):
    real = F.gelu
    monkeypatch.setattr(F, "gelu", lambda x, **given: real(x, **given | {"approximate": "tanh"}))


def always_masked(model, monkeypatch):
    def places(h, w, side, like):
        padded = (torch.arange(h + -h % side)[:, None] >= h) | (torch.arange(w + -w % side) >= w)
        part = network.windows(padded[None, :, :, None], side)[0, :, :, 0]
        return ((part[:, None, :] != part[:, :, None]).to(like.dtype) * -1000.0)[:, None]

    monkeypatch.setattr(network.Twins, "_apart", lambda self, x: places(*x.shape[1:3], self.window, x))


def never_masked(model, monkeypatch):
    monkeypatch.setattr(network.Twins, "_apart", lambda self, x: None)


def enlarged(mode):
    def change(model, monkeypatch):
        real = F.interpolate
        monkeypatch.setattr(F, "interpolate", lambda *args, **named: real(*args, **named | ({"mode": mode} if named["mode"] == "nearest" else {})))

    return change


# How far each moved the logits of the real mmseg at each of the sizes, in float32.
OTHERWISE = {
    ("upernet_twins_svt", "GELU by tanh"): (tanh, (6.585e-4, 8.746e-4, 7.739e-4)),
    ("upernet_twins_svt", "BatchNorm eps 1e-3"): (lambda model, _: of_kind(model, torch.nn.BatchNorm2d, eps=1e-3), (0.012909, 0.013928, 0.012487)),
    ("upernet_twins_svt", "BatchNorm eps 1e-6"): (
        lambda model, _: of_kind(model, torch.nn.BatchNorm2d, eps=1e-6), (1.1778e-4, 1.2636e-4, 1.1396e-4),
    ),
    ("upernet_twins_svt", "backbone LayerNorm eps 1e-6"): (
        lambda model, _: of_kind(model.backbone, torch.nn.LayerNorm, eps=1e-6), (6.0678e-5, 3.2425e-5, 5.8770e-5),
    ),
    ("upernet_twins_svt", "padding masked on one side too"): (always_masked, (1.25006, 0.0, 0.0)),
    ("upernet_twins_svt", "padding never masked"): (never_masked, (2.08442, 2.64498, 3.45280)),
    ("fpn_twins_svt", "FPN by bilinear interpolation"): (enlarged("bilinear"), (4.59909, 3.90201, 4.41440)),
    ("fpn_twins_svt", "FPN by nearest-exact"): (enlarged("nearest-exact"), (6.25498, 6.13130, 5.44480)),
}  # fmt: skip


@pytest.mark.parametrize(("name", "what"), OTHERWISE)
def test_one_thing_done_otherwise_moves_the_logits_as_far_as_mmsegs(name, what, monkeypatch):
    """In float64, so that what lies below the floor of float32 is seen too. The figures are mmseg's own."""
    change, moved = OTHERWISE[name, what]
    model = golden(name).double()
    images = [image_of(name, size, torch.float64)[1] for size in SIZES]
    with torch.inference_mode():
        right = [model(image) for image in images]
        change(model, monkeypatch)
        found = [float((model(image) - one).abs().max()) for image, one in zip(images, right, strict=True)]
    assert found == pytest.approx(moved, rel=0.02, abs=5e-6)
