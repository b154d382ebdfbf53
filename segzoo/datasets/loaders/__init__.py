"""Which files belong to a split, in folders as the data set's publisher arranges them. A new loader is one line in LOADERS."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from segzoo.datasets.loaders.ade20k import ade20k
from segzoo.datasets.loaders.cityscapes import cityscapes
from segzoo.datasets.loaders.folders import folders
from segzoo.datasets.loaders.pascal_context import pascal_context, pascal_context_59
from segzoo.datasets.sample import Sample

Loader = Callable[[Path, str], tuple[Sample, ...]]

LOADERS: Mapping[str, Callable[..., tuple[Sample, ...]]] = {
    "ade20k": ade20k,
    "pascal-context": pascal_context,
    "pascal-context-59": pascal_context_59,
    "cityscapes": cityscapes,
    "folders": folders,
}


def loader(name: str, settings: Mapping[str, Any] | None = None) -> Loader:
    """The loader of a name. `settings` are what `folders` needs to know beside the folder and the split; the others need nothing."""
    return partial(LOADERS[name], **(settings or {}))
