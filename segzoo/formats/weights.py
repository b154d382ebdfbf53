"""The one thing all readers return: a lazy, read-only mapping of tensor names to numpy arrays."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from segzoo.geometry import Spec


@dataclass(frozen=True)
class Weights(Mapping[str, np.ndarray]):
    """An opened file. `specs` is known at once; `weights[name]` reads that tensor, memory-mapped where it can.

    `notes` says what a reader should know: where in the file the tensors were found, what was left out.
    `metadata` holds the file's own plain facts (for `.pth`: numbers and texts of its `meta`).
    """

    path: Path
    format: str
    specs: Mapping[str, Spec]
    read: Callable[[str], np.ndarray]
    notes: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)

    def __getitem__(self, name: str) -> np.ndarray:
        return self.read(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.specs)

    def __len__(self) -> int:
        return len(self.specs)

    def __contains__(self, name: object) -> bool:
        return name in self.specs
