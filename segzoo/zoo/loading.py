"""How a checkpoint becomes a torch module that is ready to run, with the protocol and the classes that it needs.

A model of the zoo is fetched, checked against its hash, and compared with the layout and geometry in the manifest. What no tensor of a
file of one's own shows (attention heads, eps, protocol, classes) is what the file says, else what the model of the zoo with its geometry
has; the result names that model.
"""

from collections.abc import Mapping
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
from segzoo.zoo.likeness import Matched, match_entry
from segzoo.zoo.zoo import ByteProgress, Zoo


def module(file: Checkpoint, entry: Entry, **options: Any) -> nn.Module:
    """The model or backbone with the weights of a file, in float32 on the CPU, ready to run. `options` go to the family's network."""
    check_buffers(file.found, file.weights, file.sizes)
    tensors = dict(run(plan(file.weights.specs, OWN[file.family.name], found=file.found, heads=file.geometry.heads), file.weights))
    refuse_not_finite(tensors)
    if not isinstance(entry, Model):
        return build(file.family, file.geometry, tensors, eps=entry.eps, **options)
    return build(file.family, file.geometry, tensors, head_eps=entry.head_eps, eps=entry.eps, resample=entry.resample, **options)


@dataclass(frozen=True)
class Loaded:
    """A Segmenter, with its protocol and classes. `like` names the model of the zoo that supplied what neither its tensors nor its file say;
    None where it needed none. `assumed` says where each fact comes from, `apart` where the file and the zoo differ.
    """

    name: str
    like: str | None
    module: nn.Module
    protocol: Protocol
    classes: Mapping[str, tuple[int, int, int]]
    assumed: tuple[str, ...] = ()
    apart: tuple[str, ...] = ()


def loaded(
    source: str | Path, zoo: Zoo, like: str | None = None, said: ByteProgress = lambda done, whole: None, config: Path | None = None
) -> Loaded:
    """A model of the zoo by name, or a Segmenter in a file of one's own, in any layout.

    `like` names the model of the zoo for a file whose geometry fits several models, or that has another number of classes. `config` is the
    file's own config. Raises UsageError for a backbone, where nobody says what is needed, and where several models fit and they differ;
    NotFoundError, ConversionError, and what fetching raises.
    """
    return loaded_of(matched_model(source, zoo, like, said, config))


def matched_model(
    source: str | Path, zoo: Zoo, like: str | None = None, said: ByteProgress = lambda done, whole: None, config: Path | None = None
) -> Matched:
    """The same before it is loaded: the file is opened and measured, and its entry is known. Raises what `loaded` raises."""
    manifest = zoo.manifest
    if isinstance(source, str) and source in manifest.backbones:
        raise UsageError(f"{source} is a backbone: it has no classes of pixels", hint=f"models are {', '.join(manifest.models)}")
    return match_entry(source, zoo, manifest.models, like, said, config)


def loaded_of(matched: Matched) -> Loaded:
    """The Segmenter in a file that is matched already."""
    entry = matched.entry
    assert isinstance(entry, Model)  # it is among the models, or it has a head
    return Loaded(matched.name, matched.like, module(matched.file, entry), entry.protocol, matched.classes, matched.assumed, matched.apart)
