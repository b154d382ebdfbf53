"""What each step of the evaluation protocol is worth: the mini zoo's mask model, with one step done otherwise at a time.

`python bench/protocol.py [--record]` prints mIoU and how many of the images' counts differ. docs/protocol.md gives the figures.
"""

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from unittest import mock

import numpy as np
import record
import torch
import torch.nn.functional as F
from PIL import Image

from segzoo.datasets.pairs import samples
from segzoo.datasets.sample import Meaning
from segzoo.evaluation import evaluator as evaluation
from segzoo.evaluation import protocols
from segzoo.evaluation.counts import Counts, counts_of, metrics, total
from segzoo.evaluation.evaluator import Evaluator
from segzoo.zoo.loading import loaded
from segzoo.zoo.zoo import open_zoo

CLAIM = "The mini zoo's mask model with one step of the protocol at a time done otherwise: mIoU, and how many of 40 images have other counts."
CPU = torch.device("cpu")


def antialiased(image: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Pillow's bilinear resize, which looks at all pixels when it makes an image smaller."""
    return torch.from_numpy(np.array(Image.fromarray(image.numpy()).resize(size[::-1], Image.Resampling.BILINEAR)))


def floating(image: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """torch's bilinear resize, in floating point, rounded to 8 bits again."""
    wide = F.interpolate(image.permute(2, 0, 1)[None].float(), size, mode="bilinear", align_corners=False)
    return wide[0].permute(1, 2, 0).round().clamp(0, 255).to(torch.uint8)


def truncated(size: tuple[int, int], scale: tuple[int, int]) -> tuple[int, int]:
    """Sizes cut off instead of rounded."""
    factor = min(max(scale) / max(size), min(scale) / min(size))
    return int(size[0] * factor), int(size[1] * factor)


@contextmanager
def changed(where: Any, name: str, value: Any) -> Iterator[None]:
    with mock.patch.object(where, name, value):
        yield


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    record.add_option(parser)
    options = parser.parse_args()
    figures: dict[str, dict[str, float | str]] = {}
    zoo = open_zoo("mini")
    one = loaded("mini-mask", zoo)
    chosen = samples("ade20k", zoo.base / "ade_mini", "validation", 40)

    def measure(mode: str = "ss", found: Any = chosen, **protocol: Any) -> dict[str, Counts]:
        evaluator = Evaluator(one.module, one.protocol.model_copy(update=protocol), len(one.classes), CPU)
        return {sample.name: counts_of(confusion) for sample, confusion in evaluator.evaluate(found, mode)}

    right = measure()

    def show(what: str, act: Callable[[], dict[str, Counts]]) -> None:
        counts = act()
        differ = sum(counts[name] != right[name] for name in right)
        miou = f"{metrics(total(counts.values()))['mIoU']:.2f}"
        figures[what] = {"mIoU": miou, "images differ": differ}
        print(f"{what:<52} {miou:>6}   {differ:>2} of 40 images differ", flush=True)

    def within(where: Any, name: str, value: Any) -> Callable[[], dict[str, Counts]]:
        def act() -> dict[str, Counts]:
            with changed(where, name, value):
                return measure()

        return act

    read = evaluation.read_pair
    show("as it should be", lambda: right)
    show("resized by Pillow", within(protocols, "resize", antialiased))
    show("resized in floating point", within(protocols, "resize", floating))
    show("sizes cut off instead of rounded", within(protocols, "rescaled", truncated))
    show("blue and red exchanged", within(evaluation, "read_pair", lambda *given: (read(*given)[0][..., ::-1].copy(), read(*given)[1])))
    mean, std = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
    show("ImageNet's mean and std", lambda: measure(mean=mean, std=std))
    show("windows side by side (stride 64 instead of 48)", lambda: measure(stride=64))
    show("in one piece (whole)", lambda: measure("whole"))
    bands = evaluation.bands
    show("the softmax before the arg-max", within(evaluation, "bands", lambda views, soft: bands(views, True)))
    show("ms+flip, as 0.x", lambda: measure("ms+flip"))
    show("ms+flip, as 1.x", lambda: measure("ms+flip-1.x"))
    as_they_are = Meaning(ignore=frozenset(range(8, 256)))
    shifted = [replace(sample, meaning=as_they_are) for sample in chosen]
    show("labels not shifted by one", lambda: measure(found=shifted))
    with torch.no_grad():
        one.module.backbone.patch_embed.projection.bias.zero_()  # type: ignore[union-attr,operator]
    show("the patch bias dropped", measure)
    if options.record:
        record.keep(CLAIM, figures, {})


if __name__ == "__main__":
    main()
