"""Mask2Former against the real mmseg, intermediate by intermediate, with one thing done otherwise, and through all modes of the evaluator."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from support import GOLDEN, arrays

from segzoo.conversion.checkpoint import identify
from segzoo.conversion.plan import plan
from segzoo.conversion.run import run
from segzoo.errors import ConversionError
from segzoo.evaluation import protocols
from segzoo.evaluation.evaluator import Evaluator
from segzoo.evaluation.windows import windows
from segzoo.layouts import OWN
from segzoo.manifest.document import load_manifest
from segzoo.models.heads import mask2former, mask2former_attention, mask2former_pixels
from segzoo.models.heads.mask2former_attention import DeformableAttention
from segzoo.models.masks import Masks
from segzoo.models.segmentor import build

FOLDER = GOLDEN / "transformers"
ENTRY = load_manifest(FOLDER / "zoo.yaml").models["mask2former-swin"]
SIZES = ("40x57", "65x97", "72x72")


def golden(**decoder):
    file = identify(FOLDER / "mask2former_swin.pth")
    known = replace(file.geometry, heads=(1, 2, 4, 8), decoder=replace(file.geometry.decoder, **{"heads": 4, "groups": 8} | decoder))
    return build(file.family, known, dict(run(plan(file.weights.specs, OWN["swin"], found=file.found), file.weights)), eps=1e-5)


def image_of(size, dtype=torch.float32, pad=32):
    data = arrays(FOLDER / "mask2former_swin" / f"{size}.npz")
    pixels = protocols.normalised(torch.from_numpy(data["image"][..., ::-1].copy()), ENTRY.protocol)[None].to(dtype)
    return data, F.pad(pixels, (0, -pixels.shape[3] % pad, 0, -pixels.shape[2] % pad))


def near(mine, theirs, tolerance=1e-5):
    return np.abs(mine - theirs).max() <= tolerance * np.abs(theirs).max()


@pytest.mark.parametrize("size", SIZES)
def test_every_intermediate_is_mmsegs(size):
    data, image = image_of(size)
    names = {"decode_head.pixel_decoder.0": "mask_features", "head.out.0.3": "classes", "head.out.1.3": "masks"}
    names |= {f"decode_head.pixel_decoder.1.{index}": f"pixel_level{index}" for index in range(3)}
    names |= {f"decode_head.transformer_decoder.layers.{index}": f"dec_layer{index}" for index in range(3)}
    seen = {}
    with torch.inference_mode():
        golden()(image, seen)
    theirs = {names[name[3:]]: one for name, one in data.items() if name.startswith("w0/")}
    assert len(theirs) == {"40x57": 9}.get(size, 2)
    for name, one in theirs.items():
        assert near(seen[name][0].numpy(), one), name


def test_several_images_are_as_each_alone():
    model, (_, image) = golden().double(), image_of("40x57", torch.float64)
    images = torch.cat([image, image.flip(2), image.roll(7, 3)])
    with torch.inference_mode():
        together, alone = model(images), torch.cat([model(one[None]) for one in images])
    assert near(together.numpy(), alone.numpy(), 1e-12)


@pytest.mark.parametrize(("wrong", "said"), [({"heads": None}, "not known"), ({"groups": None}, "not known"), ({"heads": 3}, "do not divide")])
def test_what_no_tensor_shows_must_be_known_and_fit(wrong, said):
    with pytest.raises(ConversionError, match=said):
        golden(**wrong)


def test_a_query_whose_mask_is_empty_looks_at_all_pixels():
    seen, head = [], golden().decode_head
    head.transformer_decoder["layers"][0].register_forward_pre_hook(lambda module, given: seen.append(given[4]))
    with torch.inference_mode():  # every mask is below zero everywhere
        for one, weight, bias in ((head.mask_embed[4], 0, 1), (head.pixel_decoder.mask_feature, 0, -1)):
            one.weight.fill_(weight)
            one.bias.fill_(bias)
        found = head([torch.ones(1, width, side, side) for width, side in zip((12, 24, 48, 96), (16, 8, 4, 2), strict=True)])
    assert found.masks.max() < 0
    assert seen[0].shape == (1, 12, 4)
    assert seen[0].all()


# the evaluator


def plainly(model, image, mode, crop, stride):
    """Scores at an image's own size, by mmseg 1.2.2's steps: each window padded, scored whole, cut; averaged, flipped back, resized."""
    pixels, height, width = torch.from_numpy(image), *image.shape[:2]
    protocol, total = ENTRY.protocol, torch.zeros(8, height, width)
    found = [(size, flip) for size in protocols.sizes((height, width), None, mode) for flip in ((False, True) if "flip" in mode else (False,))]
    for (h, w), flip in found:
        one = protocols.normalised(protocols.resize(pixels, (h, w)), protocol)
        one = one.flip(2) if flip else one
        scores, count = torch.zeros(8, h, w), torch.zeros(h, w)
        for y1, y2 in windows(h, crop or h, stride or h):
            for x1, x2 in windows(w, crop or w, stride or w):
                window = one[None, :, y1:y2, x1:x2]
                padded = F.pad(window, (0, (x1 - x2) % 32, 0, (y1 - y2) % 32))
                scores[:, y1:y2, x1:x2] += model(padded)[0, :, : y2 - y1, : x2 - x1]
                count[y1:y2, x1:x2] += 1
        scores /= count
        scores = F.interpolate((scores.flip(2) if flip else scores)[None], (height, width), mode="bilinear", align_corners=False)[0]
        total += scores.softmax(0) if len(found) > 1 else scores
    return total / len(found)


@pytest.mark.parametrize(("mode", "crop", "stride"), [("ss", None, None), ("ss", 48, 33), ("ms+flip", None, None), ("ms+flip-1.x", 40, 40)])
def test_bands_of_scores_are_what_the_steps_give_one_by_one(mode, crop, stride, monkeypatch):
    """mmseg's SegTTAModel takes the softmax of these scores too, which are no logits."""
    model, image = golden(), arrays(FOLDER / "mask2former_swin" / "65x97.npz")["image"]
    evaluator = Evaluator(model, ENTRY.protocol.model_copy(update={"crop": crop, "stride": stride}), 8, torch.device("cpu"))
    monkeypatch.setattr("segzoo.evaluation.windows._BAND_BYTES", {"cpu": 4 * 12 * 97 * 10})  # ten rows a band
    with torch.inference_mode():
        theirs = plainly(model, image, mode, crop, stride)
    assert near(evaluator.scores(image, mode).numpy(), theirs.numpy())


# one thing done otherwise


def eps(kind, value):
    def change(model, monkeypatch):
        for one in model.decode_head.modules():
            if isinstance(one, kind):
                one.eps = value

    return change


def replaced(where, name, made):
    return lambda model, monkeypatch: monkeypatch.setattr(where, name, made(getattr(where, name)))


def all_seen(real):
    return lambda self, x, positions, pixels, places, seen: real(self, x, positions, pixels, places, torch.ones_like(seen))


def values_with_positions(real):
    return lambda self, asking, asked, told, seen=None: real(self, asking, asked, asked, seen)


def swapped(real):
    return lambda self, x, positions, places, sizes: real(self, x, positions, places.flip(1), sizes)


def resized_after(real):
    def at(self, size):
        grown = F.interpolate(self.masks.sigmoid(), size, mode="bilinear", align_corners=False)
        return torch.einsum("bqc,bqhw->bchw", self.classes, grown)

    return at


def renormalised(real):
    return lambda self, size: real(Masks(self.masks, self.classes / self.classes.sum(2, keepdim=True)), size)


def aligned(real):
    return lambda *args, **named: real(*args, **named | ({"align_corners": True} if "align_corners" in named else {}))


def border(real):
    return lambda *args, **named: real(*args, **named | {"padding_mode": "border"})


def of_maps(change):
    def changed(model, monkeypatch):
        monkeypatch.setattr(mask2former_attention, "_from_rows", mask2former_attention._from_maps)
        change(model, monkeypatch)

    return changed


def between_corners(real):
    return lambda offsets, places, sides: real(offsets, places * (1 - 1 / sides.min()) + 0.5 / sides.min(), sides)


def not_zeroed(real):
    def around(offsets, places, sides):
        at = offsets + (places[:, None, None, None] * sides - 0.5)
        part = at - at.floor()
        pixels = [pixel for pixel, _ in real(offsets, places, sides)]
        return zip(pixels, (1 - part, part), strict=True)

    return around


def without(name):
    def change(model, monkeypatch):
        part = model.decode_head.pixel_decoder if name == "level_encoding" else model.decode_head
        getattr(part, name).weight.zero_()

    return change


def finest_first(model, monkeypatch):
    real = mask2former_pixels.PixelDecoder.forward
    monkeypatch.setattr(mask2former_pixels.PixelDecoder, "forward", lambda self, maps: (lambda found: (found[0], found[1][::-1]))(real(self, maps)))


def unscaled(real):
    return lambda h, w, width, like: real(h + 1, w + 1, width, like).view(h + 1, w + 1, width)[:h, :w].flatten(0, 1)


OTHERWISE = {
    "GroupNorm eps 1e-6": eps(torch.nn.GroupNorm, 1e-6),
    "LayerNorm eps 1e-6": eps(torch.nn.LayerNorm, 1e-6),
    "aligned corners": replaced(F, "interpolate", aligned),
    "aligned corners of sampled places": of_maps(replaced(F, "grid_sample", aligned)),
    "places outside of a map are those at its border": of_maps(replaced(F, "grid_sample", border)),
    "pixels of rows sampled between corners": replaced(mask2former_attention, "_around", between_corners),
    "rows outside of a map are those at its border": replaced(mask2former_attention, "_around", not_zeroed),
    "GELU for ReLU": replaced(F, "relu", lambda real: lambda x, inplace=False: F.gelu(x)),
    "each query looks at all pixels": replaced(mask2former.QueryLayer, "forward", all_seen),
    "values with positions": replaced(mask2former.QueryAttention, "forward", values_with_positions),
    "rows for columns": replaced(DeformableAttention, "forward", swapped),
    "masks resized after the sigmoid": replaced(Masks, "at", resized_after),
    "the share of nothing left out of the softmax": replaced(Masks, "at", renormalised),
    "positions scaled by another length": replaced(mask2former_pixels, "sines", unscaled),
    "no scales of pixels": without("level_encoding"),
    "no scales of queries": without("level_embed"),
    "the finest map first": finest_first,
}


@pytest.mark.parametrize("what", OTHERWISE)
def test_one_thing_done_otherwise_is_seen(what, monkeypatch):
    data, image = image_of("40x57", torch.float64)
    model = golden().double()
    with torch.inference_mode():
        assert near(model(image)[0, :, ::3, ::3].numpy(), data["logits64@s3"], 1e-12)
        OTHERWISE[what](model, monkeypatch)
        assert not near(model(image)[0, :, ::3, ::3].numpy(), data["logits64@s3"], 1e-7)


def test_padding_before_the_model_moves_the_scores():
    """What is padded takes part in attention: a model that pads itself, or not at all, gives others."""
    data, image = image_of("40x57", pad=1)
    model = golden()
    with torch.inference_mode():
        scores = model(image)[0, :, ::3, ::3].numpy()
    assert not near(scores, data["logits64@s3"][:, :14, :19], 1e-2)


@pytest.mark.parametrize("sizes", [[(1, 1), (2, 3), (3, 5)], [(4, 6), (8, 11), (16, 22)]])
def test_sums_of_rows_are_those_of_maps(sizes):
    torch.manual_seed(0)
    count, heads = sum(h * w for h, w in sizes), 4
    places = torch.cat([mask2former_pixels.centres(h, w, torch.empty(0, dtype=torch.float64)) for h, w in sizes])
    values, offsets = torch.randn(2, count, 32, dtype=torch.float64), 4 * torch.randn(2, count, heads, 3, 5, 2, dtype=torch.float64)
    weights = torch.rand(2, count, heads, 3, 5, dtype=torch.float64)
    with torch.inference_mode():
        rows, maps = (way(values, offsets, weights, places, sizes) for way in (mask2former_attention._from_rows, mask2former_attention._from_maps))
    torch.testing.assert_close(rows, maps, rtol=1e-12, atol=1e-12)


def test_a_place_that_is_no_number_gives_none():
    model = DeformableAttention(32, 4, 1, 2).requires_grad_(False)
    x = torch.randn(1, 6, 32)
    x[0, 2] = float("nan")
    with torch.inference_mode():
        found = model(x, torch.zeros(6, 32), mask2former_pixels.centres(2, 3, x), [(2, 3)])
    assert found[0, 2].isnan().all()
