"""Grids that are no squares, and images of other than three channels: through convert, diff, the torch network and exports."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from click.testing import CliRunner

from segzoo.cli import main
from segzoo.conversion.checkpoint import identify
from segzoo.conversion.convert import convert
from segzoo.conversion.plan import plan
from segzoo.conversion.run import run
from segzoo.errors import ConversionError
from segzoo.layouts import OWN
from segzoo.layouts.vit import VIT
from segzoo.layouts.vit.geometry import ModelBackbone, Sizes
from segzoo.models.segmentor import build_backbone

WIDTH = 8


def timm_file(path, positions, channels=3):
    generator = torch.Generator().manual_seed(5)
    shapes = {"cls_token": (1, 1, WIDTH), "pos_embed": (1, positions + 1, WIDTH), "patch_embed.proj.weight": (WIDTH, channels, 4, 4)}
    shapes |= {"patch_embed.proj.bias": (WIDTH,), "blocks.0.attn.qkv.weight": (3 * WIDTH, WIDTH), "blocks.0.attn.qkv.bias": (3 * WIDTH,)}
    shapes |= {"blocks.0.attn.proj.weight": (WIDTH, WIDTH), "blocks.0.mlp.fc1.weight": (16, WIDTH), "blocks.0.mlp.fc1.bias": (16,)}
    shapes |= {"blocks.0.mlp.fc2.weight": (WIDTH, 16)} | {f"{norm}.weight": (WIDTH,) for norm in ("blocks.0.norm1", "blocks.0.norm2", "norm")}
    shapes |= {f"{name}.bias": (WIDTH,) for name in ("blocks.0.attn.proj", "blocks.0.norm1", "blocks.0.norm2", "blocks.0.mlp.fc2", "norm")}
    torch.save({name: torch.randn(*shape, generator=generator) for name, shape in shapes.items()}, path)
    return path


def resized(table, there, to):
    """As mmseg's resize_pos_embed: bicubic, corners not aligned, the class position as it is."""
    first, grid = table[:, :1], table[:, 1:].transpose(1, 2).unflatten(2, there)
    return torch.cat([first, F.interpolate(grid, size=to, mode="bicubic", align_corners=False).flatten(2).transpose(1, 2)], 1)


def segzoo(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments], catch_exceptions=False)


@pytest.mark.parametrize("there", [(2, 8), (8, 2), (4, 4)])  # 16 positions each
def test_a_square_number_of_positions_is_resampled_as_they_lie(there, tmp_path):
    source = timm_file(tmp_path / "source.pth", 16)
    convert(source, tmp_path / "out.npz", to="timm", positions=there, grid=(6, 5))
    expected = resized(torch.load(source)["pos_embed"], there, (6, 5))
    assert np.allclose(np.load(tmp_path / "out.npz")["pos_embed"], expected, atol=1e-5)


def test_a_square_is_assumed_and_said(tmp_path):
    source = timm_file(tmp_path / "source.pth", 16)
    said = "16 positions are taken for 4 x 4: no tensor shows how they lie; if they lie otherwise, say so with --positions HxW"
    assert said in convert(source, tmp_path / "a.npz", to="timm", grid=(6, 5)).notes
    assert said not in convert(source, tmp_path / "b.npz", to="timm", grid=(6, 5), positions=(4, 4)).notes
    assert said not in convert(source, tmp_path / "c.npz", to="timm").notes  # nothing hangs on it
    done = segzoo("convert", source, tmp_path / "d.npz", "--to", "timm", "--grid", "6x5", "--json")
    assert said in json.loads(done.stdout)["result"][0]["notes"]


def test_a_grid_that_is_no_square_must_be_told(tmp_path):
    source = timm_file(tmp_path / "source.pth", 12)
    with pytest.raises(ConversionError, match="12 positions are no square grid") as caught:
        convert(source, tmp_path / "out.npz", to="timm", grid=(6, 5))
    assert "--positions 18x32" in caught.value.hint
    with pytest.raises(ConversionError, match="the grid has 12 positions, and 3 x 5 are 15"):
        convert(source, tmp_path / "out.npz", to="timm", grid=(6, 5), positions=(3, 5))
    done = segzoo("convert", source, tmp_path / "out.npz", "--to", "timm", "--positions", "3by4")
    assert done.exit_code == 2
    assert "'3by4' is not a number, and not rows x columns" in done.stderr
    assert segzoo("convert", source, tmp_path / "out.npz", "--to", "timm", "--positions", "3x4", "--grid", "6x5").exit_code == 0


def test_safetensors_remembers_how_the_positions_lie(tmp_path):
    source = timm_file(tmp_path / "source.pth", 16)
    convert(source, tmp_path / "out.safetensors", to="timm", positions=(2, 8))
    assert identify(tmp_path / "out.safetensors").geometry.grid == (2, 8)
    assert identify(source).geometry.grid == (4, 4)


@pytest.mark.parametrize(("positions", "there"), [(16, (2, 8)), (12, (3, 4)), (16, (4, 4))])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_the_network_resizes_positions_as_they_lie(positions, there, channels, tmp_path):
    file = identify(timm_file(tmp_path / "source.pth", positions, channels), heads=2, positions=there)
    assert (file.geometry.channels, file.geometry.grid) == (channels, there)
    model = build_backbone(VIT, file.geometry, dict(run(plan(file.weights.specs, OWN["vit"], found=file.found, heads=2), file.weights)))
    assert torch.allclose(model.positions(5, 7), resized(model.pos_embed, there, (5, 7)), atol=1e-6)
    assert model(torch.zeros(1, channels, 20, 28)).shape == (1, WIDTH, 5, 7)


def test_a_manifest_describes_both(tmp_path):
    file = identify(timm_file(tmp_path / "source.pth", 12, 4), heads=2, positions=(3, 4))
    plain = VIT.describe(file.geometry)
    assert plain == {"width": 8, "depth": 1, "heads": 2, "mlp": 16, "patch": 4, "grid": (3, 4), "channels": 4}
    assert Sizes(**plain).geometry() == file.geometry
    model = VIT.describe_model(file.geometry)
    assert model["image"] == (12, 16)
    assert ModelBackbone(**{**model, "eps": 1e-6}).geometry() == file.geometry
    with pytest.raises(ValueError, match="image is no multiple of patch"):
        ModelBackbone(**{**model, "image": (12, 17), "eps": 1e-6})
