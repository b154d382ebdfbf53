"""How the tensors of a plan get into a file: written as they are made, then read back and compared before the file takes its name."""

import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from segzoo.atomic import replacing
from segzoo.conversion.plan import Plan
from segzoo.conversion.run import run
from segzoo.errors import EnvironmentFault, IntegrityError, SegzooError
from segzoo.formats import Weights, format_of, open_weights, writer
from segzoo.formats.arrays import copy, finite, identical, raw_bytes, tensor_digest
from segzoo.formats.source import crc_of
from segzoo.spec import Spec

T = TypeVar("T")
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Written:
    """The file that holds what was asked for: its size in bytes, the SHA-256 of each tensor if it was asked for, and which tensors are
    not finite. `already` is True if the file was there, and nothing was written.
    """

    size: int = 0
    digests: dict[str, str] = field(default_factory=dict)
    not_finite: list[str] = field(default_factory=list)
    already: bool = False


def write(target: Path, steps: Plan, source: Weights, metadata: Mapping[str, str], digests: bool, said: Progress) -> Written:
    """Write the tensors as they are made, and read each back before the file takes its name.

    Raises IntegrityError if one differs, EnvironmentFault if memory does not suffice.
    """
    specs = steps.specs
    whole = sum(spec.nbytes for spec in specs.values())
    written = Written()
    checksums: dict[str, int] = {}

    def produce() -> Iterator[tuple[str, np.ndarray]]:
        done = 0
        for name, array in _ahead(_made(target, steps, source, digests, written), beside):
            checksums[name] = crc_of(raw_bytes(array))
            yield name, array
            done += array.nbytes
            said("writing", done // 2, whole)  # the other half of the work is reading back

    with replacing(target) as part, ThreadPoolExecutor(1) as beside:
        with part.open("wb") as file:
            writer(target)(file, specs, produce(), metadata)
            file.flush()
            on_disk = beside.submit(os.fsync, file.fileno())
            _read_back(part, target, specs, checksums, lambda done: said("comparing", (whole + done) // 2, whole))
            on_disk.result()
        return replace(written, size=part.stat().st_size)


def _ahead(made: Iterator[T], beside: ThreadPoolExecutor) -> Iterator[T]:
    """What an iterator makes, each item in another thread while the one before is used."""
    following = beside.submit(next, made, None)
    while (item := following.result()) is not None:
        following = beside.submit(next, made, None)
        yield item


def written_before(target: Path, steps: Plan, source: Weights, metadata: Mapping[str, str], digests: bool, said: Progress) -> Written | None:
    """What the target holds, if that is what `write` would write: the same tensors bit for bit, the same metadata, and nothing else.

    None for any other file. A command that was killed after its last step, and is run again, finds its work done.
    """
    try:
        there = open_weights(target)
    except (SegzooError, OSError):
        return None
    if there.format != format_of(target):  # its suffix says another format than its content
        return None
    recorded = metadata if there.format == "safetensors" else {}  # the other formats have no place for it
    if dict(there.specs) != steps.specs or there.metadata != recorded or there.notes or there.meta or there.place:
        return None
    whole, done, found = sum(spec.nbytes for spec in steps.specs.values()), 0, Written(target.stat().st_size, already=True)
    for name, array in _made(target, steps, source, digests, found):
        try:
            if not identical(there[name], array):
                return None
        except (SegzooError, OSError):  # the file there is damaged
            return None
        said("comparing", done := done + array.nbytes, whole)
    return found


def _made(target: Path, steps: Plan, source: Weights, digests: bool, noted: Written) -> Iterator[tuple[str, np.ndarray]]:
    """The tensors of a plan, each with its bytes in order; what is to be said of them is noted. Raises EnvironmentFault for too little memory."""
    try:
        largest = max((spec.nbytes for spec in steps.specs.values()), default=0)
        scratch, other = np.empty(largest, np.uint8), np.empty(largest, np.uint8)
    except MemoryError as error:
        raise EnvironmentFault(f"{target}: not enough memory for its largest tensor") from error
    for name, array in run(steps, source):
        array = _contiguous(array, scratch)
        scratch, other = other, scratch  # the one before is being written
        if digests:
            noted.digests[name] = tensor_digest(array)
        if not finite(array):
            noted.not_finite.append(name)
        yield name, array


def _contiguous(array: np.ndarray, scratch: np.ndarray) -> np.ndarray:
    """The array with its bytes in order. If it must be copied, it goes into `scratch`: new memory for each tensor costs more than the copy."""
    if array.flags.c_contiguous:
        return array
    flat = scratch[: array.nbytes].view(array.dtype).reshape(array.shape)
    copy(array, flat)
    return flat


def _read_back(part: Path, target: Path, specs: Mapping[str, Spec], checksums: Mapping[str, int], said: Callable[[int], None]) -> None:
    """Open the finished file as a reader will, and compare each tensor with what was written: dtype, shape and CRC-32 of its bytes."""
    done = 0
    again = open_weights(part)
    if dict(again.specs) != specs:
        raise IntegrityError(f"{target}: read back, it holds other tensors than were written; nothing was kept")
    for name, checksum in checksums.items():
        if again.crc(name) != checksum:
            raise IntegrityError(f"{target}: read back, tensor '{name}' differs from what was written; nothing was kept")
        said(done := done + specs[name].nbytes)
