"""segzoo's files in the real MMSegmentation 1.2.2, by the lines that a user's own config needs; every tensor compared.

    python bench/recipe.py --peer PYTHON [--record]

PYTHON is that of an environment with torch, mmengine 0.10.7, mmcv-lite 2.1.0, mmsegmentation 1.2.2, ftfy, regex
and opencv-python-headless. A backbone in AugReg's format (ViT-Ti's geometry at 384 px) and a whole Segmenter in the
layout of rstrudel/segmenter are made of random numbers and converted; mmseg takes its stock config of Segmenter
ViT-T with the lines of a recipe and nothing else, and loads them as `tools/train.py` and `tools/test.py` do. Ends
with exit code 1 where a tensor is not the converted one or mmseg has anything to say of the keys.
"""

import argparse
import contextlib
import io
import json
import re
import subprocess
import sys
import tempfile
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import record

CLAIM = (
    "segzoo's files in the real mmseg, by the lines of a user's config: tensors equal to the converted ones, those that mmseg loses, the largest "
    "difference of resized position embeddings and of the scores of two images. Without `patch_bias=True` the patch bias is lost, as it must be."
)
STOCK = "segmenter_vit-t_mask_8xb1-160k_ade20k-512x512.py"
# What is under the `_base_` line of the user's config; the last is the usual mistake.
RECIPES = {
    "pretrained": ("model = dict(pretrained='{backbone}', backbone=dict(patch_bias=True))",),
    "init_cfg": (
        "model = dict(pretrained=None,",
        "             backbone=dict(patch_bias=True, init_cfg=dict(type='Pretrained', checkpoint='{backbone}')))",
    ),
    "load_from": ("load_from = '{whole}'", "model = dict(pretrained=None, backbone=dict(patch_bias=True))"),
    "pretrained, no patch_bias": ("model = dict(pretrained='{backbone}')",),
    "load_from, no patch_bias": ("load_from = '{whole}'", "model = dict(pretrained=None)"),
}
# What mmengine and torch say where a file and a model have other keys or shapes.
COMPLAINTS = ("unexpected key", "missing key", "size mismatch", "do not match")
# Position embeddings: mmseg resizes in float32, segzoo in float64.
POSITIONS = 1e-6
LOGITS = 1e-5


def made(folder: Path) -> None:
    """The two sources, and what `segzoo convert` makes of them."""
    import torch
    from true_size import entry_of, shapes

    from segzoo.manifest.entries import geometry_of

    random = np.random.default_rng(0)

    def tensors(layout: str, entry: str) -> dict[str, np.ndarray]:
        found = {}
        for key, shape in shapes("vit", layout, replace(geometry_of(entry_of(entry)), classes=1000)).items():
            gain = key.endswith(("scale", "norm.weight", "norm1.weight", "norm2.weight"))
            spread = 1.0 if key.endswith("cls_emb") else 0.05  # classes apart, or the norm over their scores enlarges rounding
            found[key] = (random.standard_normal(shape) * spread + gain).astype(np.float32)
        return found

    np.savez(folder / "Ti_16.npz", **tensors("augreg", "vit-t"))
    whole = tensors("segmenter", "vit-t-mask")
    torch.save({"model": {key: torch.from_numpy(array) for key, array in whole.items()}, "n_cls": 150}, folder / "checkpoint.pth")
    for source, target, *more in (("Ti_16.npz", "backbone.pth"), ("Ti_16.npz", "grid.pth", "--grid", "32x32"), ("checkpoint.pth", "whole.pth")):
        command = [sys.executable, "-m", "segzoo", "convert", folder / source, folder / target, *more]
        subprocess.run([str(part) for part in command], check=True, capture_output=True)


def peer_side(folder: Path, recipe: str) -> dict[str, object]:
    """The user's config, loaded as mmseg's own tools do it; what was said meanwhile, and what differs."""
    import mmcv_stand_in
    import torch

    mmcv_stand_in.install()
    import mmseg
    from mmengine.config import Config
    from mmengine.runner import Runner
    from mmseg.registry import MODELS
    from mmseg.utils import register_all_modules

    register_all_modules(init_default_scope=True)
    stock = Path(mmseg.__file__).parent / ".mim" / "configs" / "segmenter" / STOCK
    lines = [f"_base_ = '{stock}'", *(line.format(backbone=folder / "backbone.pth", whole=folder / "whole.pth") for line in RECIPES[recipe])]
    user = folder / "user.py"
    user.write_text("\n".join(lines) + "\n")
    config = Config.fromfile(user)
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said), warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        if config.load_from:
            config.work_dir = str(folder / "work")
            runner = Runner.from_cfg(config)
            runner.load_or_resume()
            model, expected = runner.model, torch.load(folder / "whole.pth")
        else:
            model = MODELS.build(config.model)
            model.init_weights()
            expected = {f"backbone.{key}": tensor for key, tensor in torch.load(folder / "backbone.pth").items()}
    spoken = said.getvalue() + "\n".join(str(one.message) for one in warned)
    loaded = {key: tensor for key, tensor in model.state_dict().items() if config.load_from or key.startswith("backbone.")}
    resized = torch.load(folder / "grid.pth")["pos_embed"]
    apart = {key: tensor for key, tensor in loaded.items() if key not in expected or not torch.equal(tensor, expected[key])}
    positions = apart.pop("backbone.pos_embed", None)
    model.eval()
    pixels = torch.from_numpy(np.load(folder / "pixels.npy"))
    with torch.inference_mode():
        np.save(folder / "logits.npy", model(pixels, mode="tensor").numpy())
    return {
        "equal": len(loaded) - len(apart) - (positions is not None),
        "differing": sorted(apart),
        "lost": sorted(expected.keys() - loaded.keys()),
        "positions": None if positions is None else float((positions - resized).abs().max()),
        "complaints": [line.strip() for line in re.split(r"\n+", spoken) if any(one in line for one in COMPLAINTS)],
        "lines": lines[1:],
    }


def ours(folder: Path) -> np.ndarray:
    """The scores of segzoo's model with the source's tensors, with the eps of mmseg's config."""
    from dataclasses import replace

    import torch

    from segzoo.conversion.plan import plan
    from segzoo.conversion.run import run
    from segzoo.formats import open_weights
    from segzoo.layouts import OWN
    from segzoo.models.segmentor import build

    opened = open_weights(folder / "checkpoint.pth")
    steps = plan(opened.specs, OWN["vit"], heads=3, drop=["classifier"])
    assert steps.geometry.decoder is not None
    model = build(
        steps.layout.family, replace(steps.geometry, decoder=replace(steps.geometry.decoder, heads=3)), dict(run(steps, opened)), head_eps=1e-5
    )
    with torch.inference_mode():
        return model.scores(torch.from_numpy(np.load(folder / "pixels.npy"))).numpy()  # type: ignore[operator]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", metavar="PYTHON", required=True)
    record.add_option(parser)
    options = parser.parse_args()
    failed, figures = False, {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made(folder)
        np.save(folder / "pixels.npy", np.random.default_rng(1).uniform(-1, 1, (2, 3, 512, 512)).astype(np.float32))
        scores = ours(folder)
        for recipe, template in RECIPES.items():
            done = subprocess.run([options.peer, __file__, "--side", str(folder), recipe], capture_output=True, text=True)
            if done.returncode:
                raise SystemExit(f"{recipe} failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
            found = json.loads(done.stdout.splitlines()[-1])
            print(f"{recipe}:", *(f"    {line.format(backbone='vit_tiny_p16_384.pth', whole='segmenter.pth')}" for line in template), sep="\n")
            print(f"  {found['equal']} tensors equal to the converted ones" + (f"; lost: {', '.join(found['lost'])}" if found["lost"] else ""))
            if found["positions"] is not None:
                print(f"  position embeddings resized by mmseg: within {found['positions']:.1e} of `segzoo convert --grid 32x32`")
            print("  mmseg says: " + ("; ".join(found["complaints"]) or "nothing of keys"))
            noted = figures[recipe] = {"tensors equal": found["equal"], "lost": ", ".join(found["lost"])}
            if found["positions"] is not None:
                noted["position embeddings"] = found["positions"]
            right = not found["differing"] and not found["lost"] and not found["complaints"] and (found["positions"] or 0) <= POSITIONS
            if recipe.startswith("load_from"):
                apart = float(np.abs(np.load(folder / "logits.npy") - scores).max())
                print(f"  scores of two images: within {apart:.1e} of segzoo's, the largest {np.abs(scores).max():.1f}")
                noted["scores"] = apart
                right &= apart <= LOGITS
            meant = "no patch_bias" not in recipe
            print(f"  {'whole' if right else 'NOT the converted model'}{'' if right == meant else ': unexpected'}\n")
            failed |= right != meant
    if options.record and not failed:
        record.keep(CLAIM, figures, record.versions(options.peer, "mmsegmentation"))
    raise SystemExit(failed)


if __name__ == "__main__":
    if "--side" in sys.argv:
        print(json.dumps(peer_side(Path(sys.argv[2]), sys.argv[3])))
    else:
        main()
