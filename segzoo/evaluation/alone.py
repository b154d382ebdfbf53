"""A run of one process, which has nobody to wait for: what `processes.World` is to several, and without torch."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Alone:
    """This process, the only one of its run."""

    rank: int = 0
    size: int = 1

    def total(self, counts: Any) -> Any:
        """The sum of every process's counts: this one's."""
        return counts

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process."""
        return flag

    def together(self) -> AbstractContextManager[None]:
        """Work that all processes must finish."""
        return nullcontext()
