"""SETR and DPT against the real mmseg: intermediates, and how far one thing done otherwise moves the scores."""

from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from support import GOLDEN, arrays
from torch import nn

from segzoo.evaluation import protocols
from segzoo.evaluation.evaluator import Evaluator
from segzoo.evaluation.windows import View
from segzoo.manifest.document import load_manifest
from segzoo.models.heads.dpt import DPTHead
from segzoo.zoo.loading import module
from segzoo.zoo.opened import open_entry

FOLDER = GOLDEN / "transformers"
MODELS = load_manifest(FOLDER / "zoo.yaml").models
SIZES = ("65x97", "40x57", "72x72")
INTERPOLATE = F.interpolate


def network(name):
    return module(open_entry(MODELS[name], FOLDER / MODELS[name].checkpoint.urls[0].url), MODELS[name])


def golden(name, size):
    return arrays(FOLDER / name.replace("-", "_") / f"{size}.npz")


def scores(name, model, size):
    """Scores (c, h, w) at the image's own size: those of all windows, as mmseg puts them together."""
    protocol, image = MODELS[name].protocol, golden(name, size)["image"][..., ::-1]
    evaluator = Evaluator(model, protocol, 8, torch.device("cpu"))
    pixels, look = protocols.seen(torch.from_numpy(image.copy()), protocol)
    axes = [protocols.windowed(side, image.shape[side], image.shape[side], protocol, "ss", 16) for side in (0, 1)]
    with torch.inference_mode():
        return torch.cat(list(evaluator.bands(evaluator.scored([[View(*axes, False, pixels, look)]])[0]))).transpose(0, 1).numpy()


def first_window(name, size):
    data = golden(name, size)
    top, left, bottom, right = data["windows"][0]
    image = torch.from_numpy(data["image"][top:bottom, left:right, ::-1].astype(np.float32))
    mean, std = (torch.tensor(values) for values in (MODELS[name].protocol.mean, MODELS[name].protocol.std))
    return ((image - mean) / std).permute(2, 0, 1)[None]


# mmseg's names of intermediates, and ours
BACKBONE = {"backbone.patch_embed.0": "patch_embed", **{f"backbone.layers.{index}": f"block{index}" for index in range(4)}}
INTERMEDIATES = {
    "setr-naive": {**BACKBONE, "head.logits": "head_logits"},
    "setr-pup": {**BACKBONE, "head.logits@s3": "head_logits"},
    "setr-mla": {**BACKBONE, **{f"neck.mla.{index}": f"neck{index}" for index in range(4)}, "head.logits": "head_logits"},
    "dpt": {
        **BACKBONE,
        **{f"decode_head.reassemble_blocks.{index}": f"reassembled{index}" for index in range(4)},
        **{f"decode_head.fusion_blocks.{index}": f"fusion{index}" for index in range(4)},
        "decode_head.project": "project",
        "head.logits": "head_logits",
    },
}


@pytest.mark.parametrize("name", INTERMEDIATES)
def test_every_intermediate_is_that_of_mmseg(name):
    data, seen = golden(name, "40x57"), {}
    with torch.inference_mode():
        network(name)(first_window(name, "40x57"), seen)
    for theirs, mine in INTERMEDIATES[name].items():
        step = 3 if theirs.endswith("@s3") else 1
        expected, found = data[f"w0/{theirs}"], seen[mine][0].numpy()[..., ::step, ::step]
        assert found.shape == expected.shape, theirs
        assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max(), theirs


def test_the_norm_and_the_first_enlargements_of_setrs_head_are_mmsegs():
    """Those before the last one, which mmseg does before the scores, and segzoo after them."""
    data, seen = golden("setr-pup", "40x57"), {}
    with torch.inference_mode():
        network("setr-pup")(first_window("setr-pup", "40x57"), seen)
    norm = data["w0/decode_head.norm"]
    assert np.abs(seen["norm"][0].flatten(1).T.numpy() - norm).max() <= 1e-5 * np.abs(norm).max()
    for index in range(3):
        theirs = data[f"w0/decode_head.up_convs.{index}"]
        mine = INTERPOLATE(seen[f"up_conv{index}"], scale_factor=2, mode="bilinear", align_corners=False)[0].numpy()
        assert np.abs(mine - theirs).max() <= 1e-5 * np.abs(theirs).max()


# one thing done otherwise


def eps(kind, value, part=lambda model: model):
    def change(model, patch):
        for one in part(model).modules():
            if isinstance(one, kind):
                one.eps = value

    return change


def without_patch_bias(model, patch):
    model.backbone.patch_embed.projection.bias.data.zero_()


def resampled(mode, **named):
    def change(model, patch):
        def resize(x, size=None, **given):
            return (
                INTERPOLATE(x, size, mode=mode, align_corners=False, **named)
                if given["mode"] == model.backbone.resample
                else INTERPOLATE(x, size, **given)
            )

        table = model.backbone._resize

        def apart(h, w):
            with pytest.MonkeyPatch.context() as inner:
                inner.setattr(F, "interpolate", resize)
                return table(h, w)

        model.backbone._resize = apart
        model.backbone._resized.clear()

    return change


def unaligned(model, patch):
    patch(F, "interpolate", lambda *args, **given: INTERPOLATE(*args, **given | {"align_corners": False}))


def with_class_token(model, patch):
    model.backbone.class_token = True


def in_order(model, patch):
    plain = model.neck.forward
    model.neck.forward = lambda features, seen=None: plain(features, seen)[::-1]


def without_readout(model, patch):
    class Ignored(nn.Module):
        def forward(self, levels):
            blocks = model.decode_head.reassemble_blocks
            return [resize(project["conv"](level[0])) for project, resize, level in zip(blocks.projects, blocks.resize_layers, levels, strict=True)]

    blocks = model.decode_head.reassemble_blocks
    blocks.forward = Ignored().forward


# What is done otherwise, and how far that moved the scores of the real mmseg at each of the sizes, in float32.
OTHERWISE = {
    "GELU tanh for erf": ("setr-naive", lambda model, patch: patch(F, "gelu", partial(F.gelu, approximate="tanh")), (1.0915e-3, 7.087e-4, 6.883e-4)),
    "GELU tanh for erf, DPT": ("dpt", lambda model, patch: patch(F, "gelu", partial(F.gelu, approximate="tanh")), (3.5048e-3, 2.0714e-3, 4.0703e-3)),
    "BatchNorm eps 1e-3": ("setr-naive", eps(nn.BatchNorm2d, 1e-3), (3.6373e-3, 2.8882e-3, 3.4581e-3)),
    "BatchNorm eps 1e-6": ("setr-naive", eps(nn.BatchNorm2d, 1e-6), (3.338e-5, 2.623e-5, 3.195e-5)),
    "BatchNorm eps 1e-3, DPT": ("dpt", eps(nn.BatchNorm2d, 1e-3), (3.8845e-2, 3.3531e-2, 3.0354e-2)),
    "BatchNorm eps 1e-6, DPT": ("dpt", eps(nn.BatchNorm2d, 1e-6), (3.548e-4, 3.090e-4, 2.766e-4)),
    "backbone LayerNorm eps 1e-5": ("setr-naive", eps(nn.LayerNorm, 1e-5, lambda model: model.backbone), (4.864e-5, 1.3340e-4, 4.607e-5)),
    "backbone LayerNorm eps 1e-6, DPT": ("dpt", eps(nn.LayerNorm, 1e-6, lambda model: model.backbone), (4.272e-4, 1.335e-4, 2.155e-4)),
    "patch bias dropped": ("setr-naive", without_patch_bias, (3.31849, 5.94248, 1.74165)),
    "positions resized bicubic": ("setr-naive", resampled("bicubic"), (0, 0.56978, 0)),
    "positions resized bilinear, DPT": ("dpt", resampled("bilinear"), (4.98244, 1.85043, 3.47112)),
    "positions resized with antialias, DPT": ("dpt", resampled("bicubic", antialias=True), (1.70176, 3.80142, 1.39792)),
    "class token kept in the blocks": ("setr-mla", with_class_token, (0.35936, 0.20845, 0.32741)),
    "neck's outputs in the order of its inputs": ("setr-mla", in_order, (3.59414, 3.33048, 3.30792)),
    "fusion enlarges without aligned corners": ("dpt", unaligned, (5.17168, 5.17316, 5.60309)),
    "readout ignored": ("dpt", without_readout, (31.80678, 18.72705, 27.20471)),
}


@pytest.mark.parametrize("what", OTHERWISE)
def test_one_thing_done_otherwise_moves_the_scores_as_far_as_mmsegs(what, monkeypatch):
    name, change, moved = OTHERWISE[what]
    model = network(name).double()
    right = [scores(name, model, size) for size in SIZES]
    change(model, monkeypatch.setattr)
    found = [float(np.abs(scores(name, model, size) - one).max()) for size, one in zip(SIZES, right, strict=True)]
    floor = max(float(np.abs(one).max()) for one in right)
    assert found == pytest.approx(moved, rel=0.03, abs=1e-6 * floor)


@pytest.mark.parametrize("size", [(1, 1), (4, 2), (15, 3), (16, 5), (37, 2)])
def test_dpts_scores_in_bands_are_those_of_the_whole_map(size):
    """Maps of 16 to 304 rows at the end; a band has 62."""
    torch.manual_seed(0)
    head = DPTHead(features=6, widths=(4, 5, 6, 7), channels=8, classes=3).double().eval()
    features = [(torch.randn(2, 6, *size, dtype=torch.float64), torch.randn(2, 6, dtype=torch.float64)) for _ in range(4)]
    with torch.inference_mode():
        whole = head(features, {})
        torch.testing.assert_close(head(features), whole, rtol=0, atol=1e-12 * float(whole.abs().max()))


@pytest.mark.parametrize(("name", "moved"), [("setr-naive", 1.62706), ("setr-pup", 0.47659), ("setr-mla", 0.76052)])
def test_aligned_corners_in_the_head_move_the_scores_as_far_as_mmsegs(name, moved):
    """The resizing to the image is the head's too. That of the positions is the backbone's."""
    model, image = network(name).double(), first_window(name, "40x57").double()
    with torch.inference_mode():
        features = model.backbone(image)
        features = features if model.neck is None else model.neck(features)
        right, small = model(image), []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(F, "interpolate", lambda *args, **given: INTERPOLATE(*args, **given | {"align_corners": True}))
            small = model.decode_head(features)
        other = INTERPOLATE(small, image.shape[-2:], mode="bilinear", align_corners=True)
    assert float((other - right).abs().max()) == pytest.approx(moved, rel=0.01)


@pytest.mark.parametrize(("name", "part"), [("setr-naive", "decode_head"), ("setr-mla", "neck")])
def test_the_eps_of_a_norm_below_the_floor_of_float32_is_seen_in_float64(name, part):
    data, model = golden(name, "40x57"), network(name).double()
    image = first_window(name, "40x57").double()
    with torch.inference_mode():
        right = model(image)[0].numpy()
        eps(nn.LayerNorm, 1e-5, lambda model: getattr(model, part))(model, None)
        other = model(image)[0].numpy()
    top = np.abs(data["logits64@s3"]).max()
    assert np.abs(right[:, ::3, ::3] - data["logits64@s3"]).max() < 1e-12 * top
    assert np.abs(other[:, ::3, ::3] - data["logits64@s3"]).max() > 1e-7 * top
