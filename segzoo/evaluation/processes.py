"""The processes of one run under `torchrun`, and what they tell each other. A run of one process is `alone.Alone`.

Each process evaluates its share of the images. The counts are integers and are added, so the number of processes cannot
change a result. If one process fails, the others stop as well: none of them waits, and no receipt is written.
"""

import hashlib
import os
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from segzoo.errors import EnvironmentFault, LostProcess, SegzooError, Skip
from segzoo.evaluation.launched import processes

T = TypeVar("T")
_PATIENCE = timedelta(hours=2)  # the slowest process may take that much longer than the fastest
_MEETING = timedelta(minutes=5)  # torchrun starts all at about the same time
_NETWORK = "GLOO_SOCKET_IFNAME"


@dataclass(frozen=True, slots=True)
class World:
    """This process's rank, the number of processes, and torch's group of them."""

    rank: int
    size: int
    group: Any

    def total(self, counts: Tensor) -> Tensor:
        """The sum of every process's int64 counts, on the CPU."""
        hint = "no receipt was written; start the run again"
        _meet(lambda: dist.all_reduce(counts, group=self.group), "another process of this run is gone", hint)
        return counts

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process."""
        return bool(self.total(torch.tensor([int(flag)])).item())

    @contextmanager
    def together(self) -> Iterator[None]:
        """Work that all processes must finish: one that fails raises its own error, and the others raise LostProcess.

        If all processes raise the same error, rank 0 reports it, and the others have it marked as `elsewhere`. A skip must be
        unanimous: a process that skips while another does not raises EnvironmentFault.
        """
        mine: SegzooError | Skip | None = None
        failed = True
        try:
            yield
            failed = False
        except (SegzooError, Skip) as error:
            mine = error
        finally:
            state = torch.tensor([int(failed), mark := _mark(mine)])
            whole = self.total(state).tolist()
            others = whole[0] - failed
        if isinstance(mine, Skip) and others < self.size - 1:
            raise EnvironmentFault(f"{mine}; other processes of this run have it") from mine
        if isinstance(mine, SegzooError):
            mine.elsewhere = self.rank > 0 and whole == [self.size, self.size * mark]
        if mine:
            raise mine
        if others:
            raise LostProcess(f"{others} of {self.size} processes failed; each says why")


def _mark(error: Exception | None) -> int:
    """A number that is the same in two processes if their errors are the same."""
    return int.from_bytes(hashlib.sha256(repr(error).encode()).digest()[:4])


def leave() -> None:
    """Leave the group of processes. A Python that exits with open connections may abort."""
    if dist.is_initialized():
        dist.destroy_process_group()


def join() -> World:
    """The processes that torchrun's environment describes."""
    size = processes()
    master = os.environ.get("MASTER_ADDR", "")
    if _NETWORK not in os.environ and (network := interface(master)):
        os.environ[_NETWORK] = network
    apart = f"the {size} processes of this run do not reach each other"
    hint = f"start all of them again; on several machines {_NETWORK}=NAME says by which network interface they meet"
    if not dist.is_initialized():
        _meet(lambda: dist.init_process_group("gloo", timeout=_MEETING), apart, hint)
    return World(dist.get_rank(), dist.get_world_size(), _meet(lambda: dist.new_group(timeout=_PATIENCE), apart, hint))


def interface(master: str) -> str | None:
    """The network interface by which this machine reaches `master`; None if that is the loopback, or if it is not known.

    By itself, gloo takes the interface that this machine's own name points to. On many machines that is the loopback.
    """
    if sys.platform != "linux":
        return None
    import fcntl

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((master, 9))  # sends nothing; it only finds the way
        except OSError:
            return None  # no such name, or an address of IPv6
        mine = probe.getsockname()[0]
        if mine.startswith("127."):
            return None
        for _, name in socket.if_nameindex():
            try:
                found = fcntl.ioctl(probe, 0x8915, struct.pack("256s", name.encode()[:15]))  # SIOCGIFADDR
            except OSError:
                continue  # an interface without an address
            if socket.inet_ntoa(found[20:24]) == mine:
                return name
    return None


def _meet(act: Callable[[], T], what: str, hint: str) -> T:
    try:
        return act()
    except (RuntimeError, ValueError) as error:  # dist.DistBackendError is a RuntimeError
        raise LostProcess(f"{what}: {error}", hint) from error
