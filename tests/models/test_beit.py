"""BEiT and MAE: every intermediate of mmseg, its scores with one thing done otherwise, the sizes that are refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from support import GOLDEN, arrays

from segzoo.conversion.checkpoint import identified, identify
from segzoo.conversion.plan import plan
from segzoo.conversion.run import run
from segzoo.errors import ConversionError, EnvironmentFault, UsageError
from segzoo.formats import open_weights
from segzoo.layouts import OWN
from segzoo.models.beit.network import RelativeAttention
from segzoo.models.necks.pyramid import Feature2Pyramid
from segzoo.models.segmentor import build

FOLDER = GOLDEN / "transformers"
WHOLE = ("upernet_beit", "upernet_mae")
MEAN, STD = torch.tensor([123.675, 116.28, 103.53]), torch.tensor([58.395, 57.12, 57.375])


def built(path, *, eps=1e-6, layout=None, given=None, **sizes):
    """The network of a file. All its blocks' outputs go to the head, if it has one. `given` are the heads that nothing shows."""
    file = identified(open_weights(path), layout=layout, heads=given)
    decoder = file.geometry.decoder and replace(file.geometry.decoder, bins=(1, 2, 3, 6))
    known = {"out_indices": tuple(range(file.geometry.depth)) if decoder else None} | sizes
    tensors = dict(run(plan(file.weights.specs, OWN["beit"], found=file.found, heads=given), file.weights))
    return build(file.family, replace(file.geometry, decoder=decoder, **known), tensors, eps=eps)


def whole(name, **sizes):
    return built(FOLDER / f"{name}.pth", **sizes)


def image_of(name, dtype=torch.float32):
    data = arrays(FOLDER / name / "64x64.npz")
    pixels = torch.from_numpy(data["image"][..., ::-1].astype(np.float32))
    return data, ((pixels - MEAN) / STD).permute(2, 0, 1)[None].to(dtype)


def near(mine, theirs, tolerance=1e-5):
    return np.abs(mine - theirs).max() <= tolerance * np.abs(theirs).max()


PEERS = GOLDEN / "beit"
LARGE = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (1, 3, 48, 48)).astype(np.float32))
IMAGE = LARGE[:, :, :12, :12]


@pytest.mark.parametrize("name", ["official", "timm", "hf"])
def test_a_librarys_own_classifier_gives_its_own_logits(name):
    path = PEERS / (f"{name}.pth" if name != "hf" else "hf/model.safetensors")
    file = identify(path)
    rest = dict(run(plan(file.weights.specs, "official", found=file.found), file.weights))
    norm, fc = ([torch.tensor(rest[f"{part}.{tensor}"]) for tensor in ("weight", "bias")] for part in ("fc_norm", "head"))
    with torch.inference_mode():
        features = built(path)(IMAGE)
        logits = F.linear(F.layer_norm(features.mean((2, 3)), (12,), *norm, 1e-6), *fc)
    assert near(logits.numpy(), arrays(PEERS / f"{name}.npz")["logits"])


@pytest.mark.parametrize(("name", "layers"), [("official_segmentation.pth", (0, 1, 2, 3)), ("hf_segmentation/model.safetensors", None)])
def test_a_librarys_own_segmentation_model_gives_its_own_scores(name, layers):
    """transformers' config says which blocks' outputs its head takes; it counts what stands before each block, from 1."""
    known = layers or identify(PEERS / name).said.get("backbone.out_indices")
    assert known == (0, 1, 2, 3)
    with torch.inference_mode():
        scores = built(PEERS / name, out_indices=known).scores(LARGE)
    assert near(scores.numpy(), arrays(PEERS / f"{name.split('.')[0].split('/')[0]}.npz")["logits"])


@pytest.mark.parametrize(("name", "layout"), [("mae.pth", "mae"), ("beit2mmseg_mae.pth", None)])
def test_the_authors_mae_gives_its_own_features(name, layout):
    """Without relative positions and scales it is the same model as with zeros and ones."""
    with torch.inference_mode():
        features = built(PEERS / name, layout=layout, given=3)(IMAGE)
    assert near(features.numpy(), arrays(PEERS / "mae.npz")["features"])


@pytest.mark.parametrize("path", ["beit/timm.pth", "beit/official.pth", "beit/hf/model.safetensors", "transformers/upernet_beit.pth"])
def test_transformers_computes_every_intermediate_too(path):
    """To the last digits of float64; with another eps, or with two rows of a table exchanged, the two part."""
    pytest.importorskip("transformers", reason="it is in the extra 'peers'")
    from segzoo.evidence.rungs.parity import differences, probe
    from segzoo.models.references import reference_of

    file = identify(GOLDEN / path)
    rest = [section for section in file.found.sections if section in ("uper decoder", "feature pyramid neck")]
    tensors = dict(run(plan(file.weights.specs, "hf", found=file.found, drop=rest), file.weights))
    image, reference = probe(file.family.image(file.geometry)), reference_of("beit").intermediates
    model = built(GOLDEN / path)
    model = getattr(model, "backbone", model)
    found = differences(model, reference, tensors, image, 1e-6)
    assert all(one.passed for one in found)
    assert max(one.relative for one in found if one.dtype == "float64") < 1e-13
    assert len(found) == 2 * (2 + file.geometry.depth)
    assert not all(one.passed for one in differences(model, reference, tensors, image, 1e-5))
    name = "beit.encoder.layer.1.attention.attention.relative_position_bias.relative_position_bias_table"
    tensors[name] = np.concatenate([tensors[name][:-3], tensors[name][[-2, -3, -1]]])
    assert not all(one.passed for one in differences(model, reference, tensors, image, 1e-6))


@pytest.mark.parametrize("name", WHOLE)
def test_every_intermediate_is_mmsegs(name):
    data, image = image_of(name)
    seen = {}
    model = whole(name)
    with torch.inference_mode():
        model(image, seen)
        seen |= {f"out{index}": one for index, one in enumerate(model.backbone(image))}
    names = {"backbone.patch_embed.0": "patch_embed", "backbone.layers.": "block", "backbone.out.": "out", "neck.": "neck"}
    theirs = {key.removeprefix("w0/"): one for key, one in data.items() if key.startswith("w0/")}
    for there, here in names.items():
        found = [key for key in theirs if key.startswith(there)]
        assert found
        for key in found:
            assert near(seen[here + key.removeprefix(there)][0].numpy(), theirs.pop(key)), key
    assert not theirs


def test_the_bias_of_each_pair_is_that_of_mmsegs_index():
    """The file's own index, which mmseg saved, looks it up in the file's own table."""
    held = torch.load(FOLDER / "upernet_beit.pth", weights_only=True)["state_dict"]
    model = whole("upernet_beit")
    for block, layer in enumerate(model.backbone.layers):
        table, index = (held[f"backbone.layers.{block}.attn.relative_position_{part}"] for part in ("bias_table", "index"))
        assert torch.equal(layer.attn.backwards().flip(2), table[index].permute(2, 0, 1))


@pytest.mark.parametrize("size", [(64, 80), (48, 48), (72, 72), (128, 128), (63, 64)])
@pytest.mark.parametrize("name", WHOLE)
def test_an_image_of_another_size_is_refused(name, size):
    """mmseg's own network raises an error for all but 72 x 72, of whose pixels it would leave the last 8 rows and columns out."""
    with pytest.raises(EnvironmentFault, match=rf"this BEiT takes images, or windows of them, of 64 x 64 pixels only, found {size[1]} x {size[0]}"):
        whole(name)(torch.zeros(1, 3, *size))


def test_a_map_without_a_half_is_refused():
    with pytest.raises(EnvironmentFault, match="too small: a map of 1x3 has no half"):
        Feature2Pyramid(width=2).eval()([torch.zeros(1, 2, 1, 3)] * 4)


def test_its_features_are_the_outputs_of_its_blocks():
    model, (_, image) = whole("upernet_mae").backbone, image_of("upernet_mae")
    with torch.inference_mode():
        maps, (last, first) = model(image), model.features(image, (-1, 0))
    assert [one.shape for one in maps] == [(1, 36, 4, 4)] * 4
    assert torch.equal(last, maps[3])
    assert torch.equal(first, maps[0])
    with pytest.raises(UsageError, match="layer 4: there are 4 blocks, 0 to 3"):
        model.features(image, (4,))


@pytest.mark.parametrize("name", WHOLE)
def test_several_images_are_as_each_alone(name):
    model, (_, image) = whole(name).double(), image_of(name, torch.float64)
    images = torch.cat([image, image.flip(2)])
    with torch.inference_mode():
        together, alone = model(images), torch.cat([model(one[None]) for one in images])
    assert near(together.numpy(), alone.numpy(), 1e-12)


def test_gradients_reach_each_row_of_a_table_as_often_as_mmsegs_index_names_it():
    index = torch.load(FOLDER / "upernet_beit.pth", weights_only=True)["state_dict"]["backbone.layers.0.attn.relative_position_index"]
    attention = RelativeAttention(6, 3, 4, joined=False)
    attention.backwards().sum().backward()
    times = torch.bincount(index.flatten()).float()
    assert torch.equal(attention.relative_position_bias_table.grad, times[:, None].expand(-1, 3))


def test_what_does_not_fit_is_refused():
    with pytest.raises(ConversionError, match="the feature pyramid takes 4 maps, and 2 come out of the backbone: out_indices names them"):
        whole("upernet_beit", out_indices=(1, 3))
    with pytest.raises(ConversionError, match="the number of attention heads is not known"):
        whole("upernet_beit", heads=None)


# one thing done otherwise


def blocks(model):
    return model.backbone.layers


def tanh(model, monkeypatch):
    real = F.gelu
    monkeypatch.setattr(F, "gelu", lambda x, **given: real(x, **given | {"approximate": "tanh"}))


def of_kind(model, kind, **facts):
    for one in model.modules():
        if isinstance(one, kind):
            vars(one).update(facts)


def filled(value, *names):
    def change(model, monkeypatch):
        for block in blocks(model):
            for name in names:
                block.get_parameter(name).fill_(value)

    return change


def bias(otherwise):
    def change(model, monkeypatch):
        real = RelativeAttention.backwards
        monkeypatch.setattr(RelativeAttention, "backwards", lambda self, space: otherwise(real(self).flip(2)).flip(2))

    return change


def exchanged(found):
    found = found.clone()
    row, column = found[:, 0, 1:].clone(), found[:, 1:, 0].clone()
    found[:, 0, 1:], found[:, 1:, 0] = column, row
    return found


# How far each moved the logits of the real mmseg, in float32, at 64 x 64: a single window.
OTHERWISE = {
    ("upernet_beit", "GELU by tanh"): (tanh, 8.4352e-4),
    ("upernet_beit", "BatchNorm eps 1e-3"): (lambda model, _: of_kind(model, torch.nn.BatchNorm2d, eps=1e-3), 0.0164137),
    ("upernet_beit", "BatchNorm eps 1e-6"): (lambda model, _: of_kind(model, torch.nn.BatchNorm2d, eps=1e-6), 1.5163e-4),
    ("upernet_beit", "backbone LayerNorm eps 1e-12"): (lambda model, _: of_kind(model.backbone, torch.nn.LayerNorm, eps=1e-12), 1.62125e-5),
    ("upernet_beit", "q bias dropped"): (filled(0.0, "attn.q_bias"), 2.990584),
    ("upernet_beit", "LayerScale left out"): (filled(1.0, "gamma_1", "gamma_2"), 8.187562),
    ("upernet_mae", "LayerScale left out"): (filled(1.0, "gamma_1", "gamma_2"), 5.278907),
    ("upernet_beit", "relative position bias left out"): (bias(torch.zeros_like), 1.368738),
    ("upernet_mae", "relative position bias left out"): (bias(torch.zeros_like), 2.185570),
    ("upernet_beit", "relative position index transposed"): (bias(lambda found: found.transpose(1, 2)), 2.038613),
    ("upernet_beit", "class-to-token and token-to-class exchanged"): (bias(exchanged), 1.153317),
}  # fmt: skip


@pytest.mark.parametrize(("name", "what"), OTHERWISE)
def test_one_thing_done_otherwise_moves_the_logits_as_far_as_mmsegs(name, what, monkeypatch):
    """In float64, so that what lies below the floor of float32 is seen too. The figures are mmseg's own, of a floor of 9e-6."""
    change, moved = OTHERWISE[name, what]
    model, (data, image) = whole(name).double(), image_of(name, torch.float64)
    with torch.inference_mode():
        right = model(image)
        assert near(right[0].numpy()[:, ::3, ::3], data["logits64@s3"], 1e-12)
        change(model, monkeypatch)
        found = float((model(image) - right).abs().max())
    assert found == pytest.approx(moved, rel=0.02, abs=9e-6)
