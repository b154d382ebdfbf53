"""What a program asks of segzoo: each function opens the zoo, finds the store and uses the network, as the command of its name does.

Each body begins with its imports, so that a program pays only for what it uses. `segzoo.convert` and `segzoo.open` need no zoo:
they come from `conversion` and `formats`.

Everywhere `zoo` is a manifest's path, `mini` or `shipped`, or several of them, `offline` whether no connection may be opened, and
`mirror` one address or several to try first. What is left open, SEGZOO_ZOO, SEGZOO_OFFLINE and SEGZOO_MIRROR decide;
SEGZOO_DEADLINE says how many seconds a download may take, SEGZOO_CONNECTIONS over how many connections one file comes, SEGZOO_NETRC whether
~/.netrc is used.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segzoo.errors import AccuracyError, EnvironmentFault, SegzooError, UsageError, of_code, one_of
from segzoo.extras import named
from segzoo.vocabulary import MODES

if TYPE_CHECKING:
    from torch import Tensor, nn

    from segzoo.datasets.picture import Picture
    from segzoo.evaluation.prediction import Prediction
    from segzoo.evidence.check import Check
    from segzoo.manifest.merge import Zoos
    from segzoo.publishing.export.export import Publication

Mirrors = str | Sequence[str] | None


@named
def fetch(name: str, *, zoo: Zoos = None, offline: bool | None = None, mirror: Mirrors = None) -> Path:
    """The path of a verified file in the store, as `segzoo fetch` gets it; `name` is a backbone, model, data set or file of the zoo.

    Raises NotFoundError for an unknown name, and offline for a file that is not in the store; NetworkError, IntegrityError,
    EnvironmentFault.
    """
    from segzoo.zoo.names import resolve_one
    from segzoo.zoo.zoo import open_zoo

    opened = open_zoo(zoo, offline, mirror)
    artifact = resolve_one(opened, name, opened.manifest.artifacts)
    return opened.fetch(artifact, lambda done, whole: None).path


@named
def export(
    name: str | Path,
    folder: str | Path,
    *,
    form: str,
    zoo: Zoos = None,
    like: str | None = None,
    config: str | Path | None = None,
    offline: bool | None = None,
    mirror: Mirrors = None,
) -> Publication:
    """Write a model as a folder that another library loads, as `segzoo export` does; `name` is a backbone or model of the zoo, or a file.

    `form` is `safetensors`, `hf`, `timm` or `onnx`; `like` names the entry that a file is like, where its tensors leave that open;
    `config` is the config that the file was trained with, where it has none in it.
    Raises UsageError where the folder exists already, ConversionError where the form cannot hold the model, NotFoundError,
    EnvironmentFault, and what fetching raises.
    """
    from segzoo.publishing.export.export import publish
    from segzoo.zoo.zoo import open_zoo

    return publish(name, Path(folder), form, open_zoo(zoo, offline, mirror), like, config=Path(config) if config else None)


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
    offline: bool | None = None,
    mirror: Mirrors = None,
) -> Mapping[str, Any]:
    """Climb the ladder for a model and return the facts of its mIoU: per mode `measured`, `reported`, `verdict`, `per_class`,
    `confusion`, `per_image`, as `segzoo.evidence.receipt` describes them. No receipt is written or read.

    `data` is the data set's folder, where the manifest does not know it. `images` is the size of a seeded sample; None takes all
    images. `modes` is one or several of `ss`, `ms+flip`, `ms+flip-1.x`, `whole`, `ss-32` and `ms+flip-32`. `precision` is `fp32`, `tf32`,
    `bf16` or `fp16`.
    Raises UsageError for any other value, the error of the first rung that fails, and EnvironmentFault where data or a library
    is missing. AccuracyError means that a figure is off; its `facts` hold the same facts, up to the mode that is off.
    """
    from segzoo.evidence.climb import verify
    from segzoo.evidence.ladder import Setting
    from segzoo.zoo.names import resolve_one
    from segzoo.zoo.zoo import open_zoo

    opened = open_zoo(zoo, offline, mirror)
    if name in opened.manifest.backbones:
        raise UsageError(f"{name} is a backbone: it has no mIoU", hint=f"models are {', '.join(opened.manifest.models)}")
    entry = resolve_one(opened, name, opened.manifest.models)
    modes = (modes,) if isinstance(modes, str) else tuple(modes)
    folder = Path(data) if data is not None else None
    setting = Setting(
        opened.manifest,
        opened.base,
        opened.store,
        device=device,
        images=images,
        data=folder,
        modes=modes,
        precision=precision,
        policy=opened.policy(),
    )
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
def load(
    source: str | Path,
    *,
    train: bool = False,
    zoo: Zoos = None,
    like: str | None = None,
    config: str | Path | None = None,
    offline: bool | None = None,
    mirror: Mirrors = None,
) -> nn.Module:
    """A Segmenter or a backbone as a torch module. An entry of the zoo is fetched and checked; a file is read.

    It takes RGB (b, 3, H, W) float32, from 0 to 255 and normalised by (x - mean) / std of its protocol. A Segmenter returns scores
    (b, classes, H, W), and has `classes`, `protocol` and `predict`, which runs whole pictures. A backbone returns a grid (b, d, H/p, W/p).
    Both have `features(image, layers)`. With `train` the module is in training mode and its weights want gradients. `like` names the entry
    that a file is like, where its geometry alone does not tell; `config` is the config that it was trained with, where it has none in it.
    Raises NotFoundError, ConversionError, and what fetching raises.
    """
    from segzoo.zoo.ready import ready
    from segzoo.zoo.zoo import open_zoo

    module = ready(source, open_zoo(zoo, offline, mirror), like, Path(config) if config else None)
    return module.train().requires_grad_(True) if train else module


@named
def predict(
    model: str | Path | nn.Module,
    image: Picture | Iterable[Picture],
    *,
    mode: str = "ss",
    scores: bool = False,
    device: str | None = None,
    precision: str | None = None,
    zoo: Zoos = None,
    like: str | None = None,
    config: str | Path | None = None,
    offline: bool | None = None,
    mirror: Mirrors = None,
) -> Prediction | list[Prediction]:
    """What a model sees in a picture, as `segzoo predict` finds it: `labels` (h, w), `shares` in percent, `classes`; with `scores` those too.

    `model` is a name in the zoo, a file, or what `load` gave. `image` is a path, a PIL image or an RGB array uint8 (h, w, 3); of several
    in a list the answer is a list. A name or a file goes to `device`, by default a GPU if there is one; a loaded model runs where it is.
    `precision` is what the network computes in, by default float32, or what the weights of a loaded model are in.
    Raises UsageError, EnvironmentFault for a picture that cannot be read, and what `load` raises.
    """
    from segzoo.datasets.picture import is_one
    from segzoo.evaluation.device import best_device
    from segzoo.evaluation.precision import device_of
    from segzoo.zoo.ready import segmenter

    one_of("mode", mode, MODES)
    if isinstance(model, str | Path):
        at = device_of(device or best_device())
        running = segmenter(load(model, zoo=zoo, like=like, config=config, offline=offline, mirror=mirror)).to(at)
    else:
        running = segmenter(model)
        if device is not None and device_of(device) != running.device:
            raise UsageError(f"the model is on {running.device}, not on {device}", hint=f"model.to({device!r}) moves it")
    alone = is_one(image)
    several: Any = [image] if alone else image
    found = running.predict(several, mode=mode, precision=precision, scores=scores)
    return found[0] if alone else found


@named
def backbone(name: str, layout: str = "timm", *, zoo: Zoos = None, offline: bool | None = None, mirror: Mirrors = None) -> dict[str, Tensor]:
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
    opened = open_zoo(zoo, offline, mirror)
    entry = resolve_one(opened, name, opened.manifest.entries)
    path = opened.fetch(entry.artifact, lambda done, whole: None).path
    with naming(path, name):
        file = open_entry(entry, path)
        head = head_of(file.found.sections)
        steps = plan(file.weights.specs, layout, found=file.found, heads=file.geometry.heads, drop=[head.section] if head else [])
    return {key: torch.from_numpy(array.copy()) for key, array in run(steps, file.weights)}
