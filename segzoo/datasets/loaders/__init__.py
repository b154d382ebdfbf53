"""Which files belong to a split, in folders as the data set's publisher arranges them. A new loader is one line in LOADERS."""

from collections.abc import Callable, Mapping
from pathlib import Path

from segzoo.datasets.loaders.ade20k import ade20k
from segzoo.datasets.loaders.cityscapes import cityscapes
from segzoo.datasets.loaders.pascal_context import pascal_context, pascal_context_59
from segzoo.datasets.sample import Sample

Loader = Callable[[Path, str], tuple[Sample, ...]]

LOADERS: Mapping[str, Loader] = {
    "ade20k": ade20k,
    "pascal-context": pascal_context,
    "pascal-context-59": pascal_context_59,
    "cityscapes": cityscapes,
}
