"""transformers' own models, filled with given tensors: what some families' references run."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.utils import logging

from segzoo.errors import ConversionError


def peer(of: type[PreTrainedModel], config: PretrainedConfig, held: Mapping[str, Tensor], *, idle: tuple[str, ...] = ()) -> PreTrainedModel:
    """A model of this class in the tensors' precision, ready to run. It may lack tensors whose names begin as `idle` says, which nothing uses.

    Raises ConversionError where it has a place for other tensors.
    """
    logging.disable_progress_bar()
    loud = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        model, info = of.from_pretrained(None, config=config, state_dict=dict(held), add_pooling_layer=False, output_loading_info=True)
    finally:
        logging.set_verbosity(loud)
    lacking = {name for name in info["missing_keys"] if not name.startswith(idle)}
    if lacking or info["unexpected_keys"] or info["mismatched_keys"]:
        raise ConversionError(f"transformers' {of.__name__} has other tensors: {', '.join(sorted({*lacking, *info['unexpected_keys']}))}")
    return model.eval().to(next(iter(held.values())))


def keeping(seen: dict[str, Tensor], name: str) -> Callable[..., None]:
    """A hook that puts a module's output, or the first of several, aside under this name."""

    def hook(module: nn.Module, given: object, found: Any) -> None:
        seen[name] = found[0] if isinstance(found, tuple) else found

    return hook
