"""What a program asks of segzoo: each function opens the zoo, finds the store and uses the network, as the command of its name does.

Each body begins with its imports, so that a program pays only for what it uses. `segzoo.convert` and `segzoo.open` need no zoo:
they come from `conversion` and `formats`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segzoo.errors import AccuracyError, EnvironmentFault, SegzooError, UsageError, of_code, one_of
from segzoo.extras import named

if TYPE_CHECKING:
    from torch import Tensor, nn

    from segzoo.evidence.check import Check
    from segzoo.manifest.merge import Zoos
    from segzoo.publishing.export.export import Publication


@named
def fetch(name: str, *, zoo: Zoos = None, offline: bool = False) -> Path:
    """The path of a verified file in the store, as `segzoo fetch` gets it; `name` is a backbone, model, data set or file of the zoo.

    `zoo` is a manifest's path, `mini` or `shipped`, or several of them; the shipped zoo is the default. Raises NotFoundError for an
    unknown name, and offline for a file that is not in the store; NetworkError, IntegrityError, EnvironmentFault.
    """
    from segzoo.zoo.names import resolve_one
    from segzoo.zoo.zoo import open_zoo

    opened = open_zoo(zoo, offline)
    artifact = resolve_one(opened, name, opened.manifest.artifacts)
    return opened.fetch(artifact, lambda done, whole: None).path


@named
def export(name: str | Path, folder: str | Path, *, form: str, zoo: Zoos = None, like: str | None = None) -> Publication:
    """Write a model as a folder that another library loads, as `segzoo export` does; `name` is a backbone or model of the zoo, or a file.

    `form` is `safetensors`, `hf`, `timm` or `onnx`; `like` names the entry that a file is like, where its tensors leave that open.
    Raises UsageError where the folder exists already, ConversionError where the form cannot hold the model, NotFoundError,
    EnvironmentFault, and what fetching raises.
    """
    from segzoo.publishing.export.export import publish
    from segzoo.zoo.zoo import open_zoo

    return publish(name, Path(folder), form, open_zoo(zoo), like)


@named
def evaluate(
    name: str,
    *,
    data: str | Path | None = None,
    images: int | None = None,
    modes: str | Sequence[str] = ("ss",),
    device: str = "cpu",
    precision: str = "fp32",
    zoo: Zoos = None,
) -> Mapping[str, Any]:
    """Climb the ladder for a model and return the facts of its mIoU: per mode `measured`, `reported`, `verdict`, `per_class`,
    `confusion`, `per_image`, as `segzoo.evidence.receipt` describes them. No receipt is written or read.

    `data` is the data set's folder, where the manifest does not know it. `images` is the size of a seeded sample; None takes all
    images. `modes` is one or several of `ss`, `ms+flip`, `ms+flip-1.x` and `whole`. `precision` is `fp32`, `tf32`, `bf16` or `fp16`.
    Raises UsageError for any other value, the error of the first rung that fails, and EnvironmentFault where data or a library
    is missing. AccuracyError means that a figure is off; its `facts` hold the same facts, up to the mode that is off.
    """
    from segzoo.evidence.climb import verify
    from segzoo.evidence.ladder import Setting
    from segzoo.zoo.names import resolve_one
    from segzoo.zoo.zoo import open_zoo

    opened = open_zoo(zoo)
    if name in opened.manifest.backbones:
        raise UsageError(f"{name} is a backbone: it has no mIoU", hint=f"models are {', '.join(opened.manifest.models)}")
    entry = resolve_one(opened, name, opened.manifest.models)
    modes = (modes,) if isinstance(modes, str) else tuple(modes)
    folder = Path(data) if data is not None else None
    setting = Setting(opened.manifest, opened.base, opened.store, device=device, images=images, data=folder, modes=modes, precision=precision)
    for check in verify(entry, setting):
        if check.status == "failed":
            raise _failure(name, check)
    if "modes" not in check.facts:
        raise EnvironmentFault(f"{name}: {check.detail}")
    return check.facts


def _failure(name: str, check: Check) -> SegzooError:
    """The error of a rung that failed."""
    said = f"{name}: {check.rung}: {check.detail}"
    if check.code == AccuracyError.exit_code:
        return AccuracyError(said, hint="what was measured is in this error's facts", facts=check.facts)
    return of_code(check.code)(said)


@named
def load(source: str | Path, *, zoo: Zoos = None, like: str | None = None) -> nn.Module:
    """A Segmenter as a torch module, ready to run. A model of the zoo is fetched and checked; a file is read.

    It takes RGB (b, 3, H, W) float32, from 0 to 255 and normalised by (x - mean) / std of its protocol. It returns scores
    (b, classes, H, W). `zoo` is a manifest's path, `mini` or `shipped`, or several of them; the shipped zoo is the default. `like`
    names the entry that a file is like, where its geometry alone does not tell. Raises NotFoundError, ConversionError, and what
    fetching raises.
    """
    from segzoo.zoo.loading import loaded
    from segzoo.zoo.zoo import open_zoo

    return loaded(source, open_zoo(zoo), like).module


@named
def backbone(name: str, layout: str = "timm", *, zoo: Zoos = None) -> dict[str, Tensor]:
    """The tensors of a backbone in a layout, as a state dict that the library of this layout loads; `name` is a backbone or model of the zoo.

    Raises UsageError (no such layout), NotFoundError, ConversionError, and what fetching raises.
    """
    import torch

    from segzoo.conversion.plan import plan
    from segzoo.conversion.run import run
    from segzoo.formats import naming
    from segzoo.layouts import NAMES, head_of
    from segzoo.zoo.names import resolve_one
    from segzoo.zoo.opened import open_entry
    from segzoo.zoo.zoo import open_zoo

    one_of("layout", layout, NAMES)
    opened = open_zoo(zoo)
    entry = resolve_one(opened, name, opened.manifest.entries)
    path = opened.fetch(entry.artifact, lambda done, whole: None).path
    with naming(path, name):
        file = open_entry(entry, path)
        head = head_of(file.found.sections)
        steps = plan(file.weights.specs, layout, found=file.found, heads=file.geometry.heads, drop=[head.section] if head else [])
    return {key: torch.from_numpy(array.copy()) for key, array in run(steps, file.weights)}
