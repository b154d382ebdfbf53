"""A checkpoint as a torch module that is ready to run, with all that must be known to run it right.

From a zoo's name: fetched, held to its hash, its names and geometry compared with the manifest. From a file of one's own: what
no tensor shows (attention heads, eps, protocol, classes) is taken from the model of the zoo that has just its layout and
geometry, and that is said.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from segzoo.conversion.checkpoint import Checkpoint
from segzoo.conversion.plan import plan
from segzoo.conversion.run import check_buffers, run
from segzoo.errors import UsageError
from segzoo.formats.arrays import refuse_not_finite
from segzoo.layouts import OWN
from segzoo.manifest.entries import Entry, Model, Protocol
from segzoo.models.segmentor import build
from segzoo.zoo.likeness import known
from segzoo.zoo.zoo import Zoo

Said = Callable[[int, int | None], None]


def module(file: Checkpoint, entry: Entry, **options: Any) -> nn.Module:
    """The model or backbone with these weights, in float32 on the CPU, ready to run. `options` go to the family's network."""
    check_buffers(file.found, file.weights, file.sizes)
    tensors = dict(run(plan(file.weights.specs, OWN[file.family.name], found=file.found, heads=file.geometry.heads), file.weights))
    refuse_not_finite(tensors)
    if not isinstance(entry, Model):
        return build(file.family, file.geometry, tensors, eps=entry.eps, **options)
    return build(file.family, file.geometry, tensors, head_eps=entry.head_eps, eps=entry.eps, resample=entry.resample, **options)


@dataclass(frozen=True)
class Loaded:
    """A Segmenter and what is known of it. `like` is the model of the zoo that told what its tensors do not."""

    name: str
    like: str
    module: nn.Module
    protocol: Protocol
    classes: Mapping[str, tuple[int, int, int]]


def loaded(source: str | Path, zoo: Zoo, like: str | None = None, said: Said = lambda done, whole: None) -> Loaded:
    """A model of the zoo by name, or a checkpoint of one's own in any layout that holds a Segmenter.

    `like` names the model of the zoo to take a file of one's own for, where several or none have its geometry.
    Raises NotFoundError, ConversionError, and what fetching raises.
    """
    manifest = zoo.manifest
    if isinstance(source, str) and source in manifest.backbones:
        raise UsageError(f"{source} is a backbone: it has no classes of pixels", hint=f"models are {', '.join(manifest.models)}")
    it = known(source, zoo, manifest.models, like, said)
    entry = manifest.models[it.like]
    return Loaded(it.name, it.like, module(it.file, entry), entry.protocol, manifest.datasets[entry.protocol.dataset].classes)
