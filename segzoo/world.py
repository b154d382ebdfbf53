"""The processes of one run, under `torchrun` or alone: what each does, and what they tell each other.

Each evaluates its share of the images; integer counts are summed, so their number cannot change a result. A
process that fails takes the others with it: nobody waits for it, and no receipt is written.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

from segzoo.errors import LostProcess, UsageError

_PATIENCE = timedelta(hours=2)  # the slowest share may be that much slower than the fastest


@dataclass(frozen=True, slots=True)
class World:
    """This process's number and how many there are."""

    rank: int = 0
    size: int = 1

    def total(self, counts: Tensor) -> Tensor:
        """The sum of every process's int64 counts, on the CPU."""
        if self.size > 1:
            _meet(lambda: dist.all_reduce(counts))
        return counts

    def any(self, flag: bool) -> bool:
        """Whether it holds for any process."""
        return bool(self.total(torch.tensor([int(flag)])).item())

    @contextmanager
    def together(self) -> Iterator[None]:
        """Work that all must finish: where one fails, it raises its own error, and the others one that says so."""
        failed = True
        try:
            yield
            failed = False
        finally:
            flag = torch.tensor([int(failed)])
            self.total(flag)
            others = int(flag.item()) - failed
        if others:
            raise LostProcess(f"{others} of {self.size} processes failed; each says why")


def leave() -> None:
    """Let go of the others in order: an interpreter that ends with connections open may be torn down with an abort."""
    if dist.is_initialized():
        dist.destroy_process_group()


def join() -> World:
    """The world that torchrun's environment describes; a world of one without it."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return World()
    if "RANK" not in os.environ:
        raise UsageError("WORLD_SIZE is set, but RANK is not: start several processes with torchrun")
    if not dist.is_initialized():
        _meet(lambda: dist.init_process_group("gloo", timeout=_PATIENCE))
    return World(dist.get_rank(), dist.get_world_size())


def _meet(act: Callable[[], object]) -> None:
    try:
        act()
    except (RuntimeError, ValueError) as error:  # dist.DistBackendError is a RuntimeError
        raise LostProcess(f"another process of this run is gone: {error}", hint="no receipt was written; start the run again") from error
