"""How a model becomes an ONNX graph that takes images of all sizes that the model takes, and how that graph is compared with the model.

Nothing in the graph depends on the image size of the export. The graph pads sides to whole patches, resizes position embeddings
and resizes scores to the image, by the same rules as `models`.
"""

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from segzoo.errors import ConversionError, EnvironmentFault
from segzoo.extras import install, installed
from segzoo.models.vit.network import VisionTransformer

OPSET = 20  # the first with Gelu; ONNX Runtime has it since 1.17
MOST_IN_ONE_FILE = 1 << 31  # the limit of protobuf; larger weights go into a file beside the graph
TOLERANCE = 1e-4  # relative to the largest value: float32 additions in another order give 1e-6, and 1e-5 after a mask head's norm


class AnySize(VisionTransformer):
    """The backbone for tracing. The graph itself chooses, for each image, between stored and resized position embeddings."""

    def positions(self, h: int, w: int) -> Tensor:
        count, tokens = self.pos_embed.shape[1], h * w + self.extra
        # as long as the resized table, since `where` needs that; the numbers are right only if it fits
        stored = self.pos_embed[:, torch.arange(tokens).clamp(max=count - 1)]
        fits = torch.scalar_tensor(tokens, dtype=torch.int64) == count
        return torch.where(fits, stored, self._resize(h, w))


TRACED: Mapping[str, Mapping[str, Any]] = {"vit": {"network": AnySize}}
"""By family: the options with which its network is made for tracing."""


class AnyPool(nn.Module):
    """nn.AdaptiveAvgPool2d for tracing: the graph itself finds the cells of the grid, for each size of a map."""

    def __init__(self, side: int):
        super().__init__()
        self.side = side

    def forward(self, x: Tensor) -> Tensor:
        return self._shares(x.shape[-2], x) @ x @ self._shares(x.shape[-1], x).T

    def _shares(self, length: int, like: Tensor) -> Tensor:
        """The share of each pixel of an axis in each cell, (side, length). Cells overlap where the length is no multiple."""
        places, cells = torch.arange(length, device=like.device), torch.arange(self.side, device=like.device)[:, None]
        begin, end = cells * length // self.side, ((cells + 1) * length + self.side - 1) // self.side
        inside = ((places >= begin) & (places < end)).to(like.dtype)
        return inside / inside.sum(1, keepdim=True)


def for_any_size(model: nn.Module) -> nn.Module:
    """The model with poolings that can be traced for all sizes."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.AdaptiveAvgPool2d):
                setattr(module, name, AnyPool(int(child.output_size)))  # type: ignore[arg-type]
    return model


def write_graph(
    model: nn.Module, path: Path, patch: int, output: str, *, channels: int = 3, only: int | None = None, most: int = MOST_IN_ONE_FILE
) -> list[Path]:
    """Write a model, built with `AnySize`, as a graph from `image` (b, channels, H, W) to `output`. `only` is the side of the images of a model
    that takes no others. Returns the files; weights of more than `most` bytes go into a second one.

    Raises EnvironmentFault where the versions of torch and onnxscript do not fit together.
    """
    image = torch.zeros(2, channels, *((only, only) if only else (3 * patch + 1, 5 * patch + 2)))
    free = {0: "batch"} if only else {0: "batch", 2: "height", 3: "width"}
    size = sum(parameter.nbytes for parameter in model.parameters())
    beside = size + (1 << 26) > most  # the graph itself takes some megabytes
    with _quiet():
        try:
            program = torch.onnx.export(
                model,
                (image,),
                dynamo=True,
                input_names=["image"],
                output_names=[output],
                dynamic_shapes=(free,),
                opset_version=OPSET,
                verbose=False,
            )
        except (torch.onnx.errors.OnnxExporterError, ImportError) as error:
            raise EnvironmentFault(
                f"{path.name}: torch {torch.__version__} could not export it: {str(error).splitlines()[0]}",
                hint=f"these versions of torch, onnx and onnxscript do not fit together: {install('export')} -U",
            ) from error
        assert program is not None  # with dynamo=True there always is one
        for node in program.model.graph.all_nodes():  # the metadata holds paths of this machine's source files
            node.metadata_props.clear()
        program.save(path, external_data=beside)
    return [path, *([path.with_name(path.name + ".data")] if beside else [])]


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence torch's warnings about its own deprecated calls, and about a missing torchvision, and what onnxscript does not fold."""
    logs = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript")]
    levels = [log.level for log in logs]
    for log in logs:
        log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        for log, level in zip(logs, levels, strict=True):
            log.setLevel(level)


def compare_with_torch(path: Path, model: nn.Module, patch: int, shape: tuple[int, int, int], least: int = 1, only: int | None = None) -> str:
    """Run the graph in ONNX Runtime and the model in torch, at the stored grid's `shape` (channels, height, width) and at other sizes, down to
    `least` patches. A model that takes images of the side `only` alone sees one and two of them.

    Returns the result in words.

    Raises ConversionError where they differ by more than TOLERANCE of the largest value.
    """
    if not installed("onnxruntime"):
        return "It was not compared with torch: onnxruntime was not installed."
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    channels, *stored = shape
    sizes = [(1, *stored), (2, 2 * patch + 3, 3 * patch), (1, 4 * patch, least * patch - 1)] if not only else [(1, only, only), (2, only, only)]
    random = torch.Generator().manual_seed(0)
    worst = 0.0
    for batch, height, width in sizes:
        image = torch.randn(batch, channels, height, width, generator=random)
        with torch.inference_mode():
            ours = model(image)
        (theirs,) = session.run(None, {"image": image.numpy()})
        difference, largest = float((torch.from_numpy(theirs) - ours).abs().max()), float(ours.abs().max())
        if not difference <= TOLERANCE * max(largest, 1.0):
            raise ConversionError(f"{path.name}: differs from torch by {difference:.1e} at {batch} x {height} x {width}, largest value {largest:.1f}")
        worst = max(worst, difference)
    tried = ", ".join(f"{batch} x {channels} x {height} x {width}" for batch, height, width in sizes)
    return f"In ONNX Runtime {onnxruntime.__version__} its output was within {worst:.1e} of torch's, at {tried}."
