"""A model as an ONNX graph that takes images of any size, and that graph held to the model it was made of.

Nothing in it is fixed to the size it was exported with: sides are padded to whole patches, position embeddings resized and
scores brought to the image's size inside the graph, by the same rules as in `model`.
"""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn

from segzoo.errors import ConversionError, EnvironmentFault
from segzoo.models.vit.network import VisionTransformer

OPSET = 20  # the first with Gelu; ONNX Runtime has it since 1.17
MOST_IN_ONE_FILE = 1 << 31  # of protobuf; weights beyond it lie beside the graph
TOLERANCE = 1e-4  # relative to the largest value: float32 in another order of additions gives 1e-6, behind a mask head's norm 1e-5


class AnySize(VisionTransformer):
    """The backbone for tracing: which table of positions is right is decided in the graph, for each image."""

    def positions(self, h: int, w: int) -> Tensor:
        count, tokens = self.pos_embed.shape[1], h * w + self.extra
        stored = self.pos_embed[:, torch.arange(tokens).clamp(max=count - 1)]  # as long as the other, so that `where` takes both; right if it fits
        fits = torch.scalar_tensor(tokens, dtype=torch.int64) == count
        return torch.where(fits, stored, self._resize(h, w))


def write(model: nn.Module, path: Path, patch: int, output: str, most: int = MOST_IN_ONE_FILE) -> list[Path]:
    """Write a model, built with `AnySize`, from `image` (b, 3, H, W) to `output`; returns the files, two where one may not hold it.

    Raises EnvironmentFault where torch and onnxscript do not get on with each other.
    """
    image = torch.zeros(2, 3, 3 * patch + 1, 5 * patch + 2)
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
                dynamic_shapes=({0: "batch", 2: "height", 3: "width"},),
                opset_version=OPSET,
                verbose=False,
            )
        except (torch.onnx.errors.OnnxExporterError, ImportError) as error:
            raise EnvironmentFault(
                f"{path.name}: torch {torch.__version__} could not export it: {str(error).splitlines()[0]}",
                hint="these versions of torch, onnx and onnxscript do not fit together: pip install -U 'segzoo[export]'",
            ) from error
        assert program is not None  # it is with dynamo=True
        for node in program.model.graph.all_nodes():  # they carry the traces of this machine's source files
            node.metadata_props.clear()
        program.save(path, external_data=beside)
    return [path, *([path.with_name(path.name + ".data")] if beside else [])]


@contextmanager
def _quiet() -> Iterator[None]:
    """Torch warns of its own use of itself, and of a torchvision that is not there."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        log.setLevel(level)


def compared(path: Path, model: nn.Module, patch: int, grid: int) -> str:
    """The graph run by ONNX Runtime beside the model, at the stored grid and at others; what was found, in words.

    Raises ConversionError where they differ by more than TOLERANCE of the largest value.
    """
    if find_spec("onnxruntime") is None:
        return "It was not compared with torch: onnxruntime was not installed."
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    sizes = [(1, grid * patch, grid * patch), (2, 2 * patch + 3, 3 * patch), (1, 4 * patch, patch - 1)]
    random = torch.Generator().manual_seed(0)
    worst = 0.0
    for batch, height, width in sizes:
        image = torch.randn(batch, 3, height, width, generator=random)
        with torch.inference_mode():
            ours = model(image)
        (theirs,) = session.run(None, {"image": image.numpy()})
        difference, largest = float((torch.from_numpy(theirs) - ours).abs().max()), float(ours.abs().max())
        if not difference <= TOLERANCE * max(largest, 1.0):
            raise ConversionError(f"{path.name}: differs from torch by {difference:.1e} at {batch} x {height} x {width}, largest value {largest:.1f}")
        worst = max(worst, difference)
    tried = ", ".join(f"{batch} x 3 x {height} x {width}" for batch, height, width in sizes)
    return f"In ONNX Runtime {onnxruntime.__version__} its output was within {worst:.1e} of torch's, at {tried}."
