"""How the tensors of a plan get into a file: written as they are made, then read back and compared before the file takes its name."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from segzoo.atomic import replacing
from segzoo.conversion.plan import Plan
from segzoo.conversion.run import run
from segzoo.errors import EnvironmentFault, IntegrityError
from segzoo.formats import Weights, open_weights, writer
from segzoo.formats.arrays import copy, finite, raw_bytes, tensor_digest
from segzoo.formats.source import crc_of
from segzoo.spec import Spec

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Written:
    """What was written: the size in bytes, the SHA-256 of each tensor if it was asked for, and which tensors are not finite."""

    size: int
    digests: Mapping[str, str]
    not_finite: tuple[str, ...]


def write(target: Path, steps: Plan, source: Weights, metadata: Mapping[str, str], digests: bool, said: Progress) -> Written:
    """Write the tensors as they are made, and read each back before the file takes its name.

    Raises IntegrityError if one differs, EnvironmentFault if memory does not suffice.
    """
    specs = steps.specs
    whole = sum(spec.nbytes for spec in specs.values())
    checksums: dict[str, int] = {}
    sha256: dict[str, str] = {}
    not_finite: list[str] = []
    try:
        scratch = np.empty(max((spec.nbytes for spec in specs.values()), default=0), np.uint8)
    except MemoryError as error:
        raise EnvironmentFault(f"{target}: not enough memory for its largest tensor") from error

    def produce() -> Iterator[tuple[str, np.ndarray]]:
        done = 0
        for name, array in run(steps, source):
            array = _contiguous(array, scratch)
            checksums[name] = crc_of(raw_bytes(array))
            if digests:
                sha256[name] = tensor_digest(array)
            if not finite(array):
                not_finite.append(name)
            yield name, array
            done += array.nbytes
            said("writing", done // 2, whole)  # the other half of the work is reading back

    with replacing(target) as part:
        with part.open("wb") as file:
            writer(target)(file, specs, produce(), metadata)
        _read_back(part, target, specs, checksums, lambda done: said("comparing", (whole + done) // 2, whole))
        return Written(part.stat().st_size, sha256, tuple(not_finite))


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
        array = again[name]
        if crc_of(raw_bytes(array)) != checksum:
            raise IntegrityError(f"{target}: read back, tensor '{name}' differs from what was written; nothing was kept")
        said(done := done + array.nbytes)
