"""The two steps that compute: positions as each peer resamples them, dtypes as torch rounds them; both named, both off by default."""

import json
import warnings

import ml_dtypes
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from support import GOLDEN, TAME, same

from segzoo import convert
from segzoo.cli import main
from segzoo.conversion.positions import METHODS, matrix, resampled
from segzoo.errors import ConversionError
from segzoo.formats import open_weights

POSITIONS = dict(np.load(GOLDEN / "augreg" / "positions.npz"))
CASES = [key.split("/") for key in POSITIONS if not key.endswith("/in") and not key.startswith("mmseg/")]
METHOD_OF = {"rstrudel": "timm", "aligned": "jax"}


def sides(text):
    return tuple(map(int, text.split("x")))


@pytest.mark.parametrize(("case", "peer"), CASES, ids=["/".join(case) for case in CASES])
def test_positions_as_the_peer_resamples_them(case, peer):
    before, after = map(sides, case.split("_"))
    table, theirs = (POSITIONS[f"{case}/{name}"][:, 1:] for name in ("in", peer))
    mine = resampled(table, before, after, METHOD_OF.get(peer, peer))
    assert mine.dtype == theirs.dtype
    assert np.abs(mine - theirs).max() <= 5e-7
    others = [resampled(table, before, after, method) for method in METHODS if method != METHOD_OF.get(peer, peer)]
    assert all(np.abs(other - theirs).max() > 1e-3 for other in others)


@pytest.mark.parametrize("to", ["4x4", "8x8", "3x5", "1x1", "6x6", "2x13"])
def test_positions_as_mmsegmentation_resamples_them(to):
    source, theirs = POSITIONS["mmseg/source_6x6"], POSITIONS[f"mmseg/to_{to}"]
    assert np.abs(resampled(source[:, 1:], (6, 6), sides(to), "mmseg") - theirs[:, 1:]).max() <= 5e-6  # torch counts in float32


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("source", "target"), [(1, 1), (1, 5), (5, 1), (7, 7), (3, 11), (14, 4)])
def test_weights_add_up_to_one(method, source, target):
    weights = matrix(source, target, method)
    assert weights.shape == (target, source)
    assert np.allclose(weights.sum(1), 1, atol=1e-12)
    if source == target:
        assert np.array_equal(weights, np.eye(source))


@pytest.mark.parametrize("to", ["augreg", "mmseg", "timm", "hf"])
def test_a_conversion_to_another_grid(to, tmp_path):
    report = convert(TAME, tmp_path / "a.npz", to=to, grid=(6, 9), resample="timm")
    plain = convert(TAME, tmp_path / "b.npz", to=to)
    made, moved = dict(np.load(tmp_path / "a.npz")), dict(np.load(tmp_path / "b.npz"))
    key = next(key for key in made if "pos" in key)
    assert np.array_equal(made[key][:, :1], moved[key][:, :1])  # the class token's
    assert np.array_equal(made[key][:, 1:], resampled(moved[key][:, 1:], (4, 4), (6, 9), "timm"))
    assert same({name: array for name, array in made.items() if name != key}, {name: array for name, array in moved.items() if name != key})
    assert report.computed == {"positions": "4x4 to 6x9, bilinear, half-pixel centres, as timm's npz loader and rstrudel/segmenter"}
    assert plain.computed == {}


def test_a_grid_without_a_class_position(tmp_path):
    convert(GOLDEN / "bigvision" / "tok.npz", tmp_path / "a.safetensors", to="timm", grid=(3, 5))
    made = open_weights(tmp_path / "a.safetensors")
    table = np.load(GOLDEN / "bigvision" / "tok.npz")["params/pos_embedding"]
    assert np.array_equal(made["pos_embed"], resampled(table, (4, 4), (3, 5), "mmseg"))
    assert json.loads(made.metadata["segzoo"])["computed"]["positions"].startswith("4x4 to 3x5, bicubic")


def test_positions_that_are_no_square_are_not_resampled(tmp_path):
    convert(TAME, tmp_path / "a.npz", to="augreg", grid=(6, 9))
    with pytest.raises(ConversionError, match=r"a\.npz: .*pos_embedding: 54 positions are no square grid"):
        convert(tmp_path / "a.npz", tmp_path / "b.npz", grid=(8, 8))
    assert not (tmp_path / "b.npz").exists()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors", ".npz"])
def test_a_dtype_is_rounded_as_torch_rounds(dtype, suffix, tmp_path):
    report = convert(TAME, tmp_path / f"a{suffix}", dtype=dtype)
    convert(TAME, tmp_path / "full.pth")
    full = torch.load(tmp_path / "full.pth", weights_only=True)
    made = open_weights(tmp_path / f"a{suffix}")
    assert {spec.dtype for spec in made.specs.values()} == {dtype}
    for name, tensor in full.items():
        assert np.array_equal(made[name].astype(np.float32), tensor.to(getattr(torch, dtype)).float().numpy())
    assert report.computed == {"dtype": f"float32 to {dtype}, rounded to nearest"}
    if suffix == ".pth":
        assert all(tensor.dtype == getattr(torch, dtype) for tensor in torch.load(tmp_path / "a.pth", weights_only=True, mmap=True).values())


def test_bfloat16_widens_to_float32_without_loss(tmp_path):
    convert(GOLDEN / "bigvision" / "map_scan_bfloat16.npz", tmp_path / "a.safetensors", to="timm", dtype="float32")
    assert same(dict(open_weights(tmp_path / "a.safetensors")), dict(np.load(GOLDEN / "bigvision" / "map_scan_bfloat16.timm_state_dict.npz")))


def test_what_is_beyond_a_dtype_is_refused_by_name(tmp_path):
    tensors = dict(np.load(TAME))
    tensors["cls"][0, 0, 5] = 1e5
    np.savez(tmp_path / "a.npz", **tensors)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ConversionError, match=r"a\.npz: cls: 100000 is beyond float16, whose largest is 65504") as error:
            convert(tmp_path / "a.npz", tmp_path / "b.pth", dtype="float16")
    assert "bfloat16" in (error.value.hint or "")
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]
    convert(tmp_path / "a.npz", tmp_path / "b.npz", dtype="bfloat16")
    assert open_weights(tmp_path / "b.npz")["cls_token"][0, 0, 5] == ml_dtypes.bfloat16(1e5)


def test_an_infinity_stays_one(tmp_path):
    tensors = dict(np.load(TAME))
    tensors["cls"][0, 0, 5] = np.inf
    np.savez(tmp_path / "a.npz", **tensors)
    assert convert(tmp_path / "a.npz", tmp_path / "b.npz", dtype="float16").not_finite == ("cls_token",)


def test_at_the_terminal(tmp_path):
    done = CliRunner().invoke(main, ["convert", str(TAME), str(tmp_path / "a.pth"), "--grid", "8x8", "--dtype", "float16"])
    assert done.exit_code == 0
    assert "computed positions: 4x4 to 8x8, bicubic, half-pixel centres, as MMSegmentation and transformers" in done.stdout
    assert "computed dtype: float32 to float16, rounded to nearest" in done.stdout
    told = CliRunner().invoke(main, ["convert", str(TAME), str(tmp_path / "b.pth"), "--grid", "8x8", "--resample", "jax", "--json"])
    assert json.loads(told.stdout)["result"][0]["computed"] == {"positions": "4x4 to 8x8, bilinear, corners aligned, as vit_jax"}
    for wrong, said in (
        (["--grid", "8"], "'8' is not rows x columns of patches, such as 32x32"),
        (["--grid", "0x8"], "is not rows x columns"),
        (["--grid", "99999x8"], "is not rows x columns"),
        (["--resample", "jax"], "--resample says how to resample to --grid HxW, which is not given"),
        (["--dtype", "int8"], "'int8' is not one of"),
    ):
        failed = CliRunner().invoke(main, ["convert", str(TAME), str(tmp_path / "c.pth"), *wrong])
        assert failed.exit_code == 2
        assert said in failed.stderr
    assert not (tmp_path / "c.pth").exists()


def test_the_help_names_every_method():
    shown = CliRunner().invoke(main, ["convert", "--help"]).stdout
    assert all(method in shown for method in METHODS)
