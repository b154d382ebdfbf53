"""A model of transformers, filled with tensors in its own names: what a reference of the numbers rung runs."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from transformers.utils import logging

from segzoo.errors import ConversionError


def filled(kind: Any, config: Any, held: Mapping[str, Tensor], spare: tuple[str, ...] = (), **options: Any) -> nn.Module:
    """transformers' own class `kind` with these tensors, in its names on disk. It may have tensors beyond, if their names start with one of `spare`.

    Raises ConversionError where it has a place for other tensors.
    """
    logging.disable_progress_bar()
    loud = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        model, info = kind.from_pretrained(None, config=config, state_dict=dict(held), output_loading_info=True, **options)
    finally:
        logging.set_verbosity(loud)
    lacking = {name for name in info["missing_keys"] if not name.startswith(spare)}
    if lacking or info["unexpected_keys"] or info["mismatched_keys"]:
        raise ConversionError(f"transformers' {kind.__name__} has other tensors: {', '.join(sorted({*lacking, *info['unexpected_keys']}))}")
    return model.eval()


def watch(module: nn.Module, name: str, seen: dict[str, Tensor]) -> None:
    """Have a module put its output aside under a name as it runs: of a tuple, the first."""

    def keep(module: nn.Module, given: object, found: Any) -> None:
        seen[name] = found[0] if isinstance(found, tuple) else found

    module.register_forward_hook(keep)
