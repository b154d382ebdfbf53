"""The one seam between work and who does it. Task, rows, resume, status and catalogue know no engine; an engine knows nothing of them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from segzoo.errors import UsageError

Task = tuple[str, Any]
ENGINES = {"local": "segzoo.scale.pool", "ray": "segzoo.scale.cluster"}


@dataclass(frozen=True, slots=True)
class Resources:
    """What a task needs: bytes of memory where they are known, and GPUs. At most `workers` run at a time; None for as many as fit."""

    workers: int | None = None
    memory: int | None = None
    gpus: int = 0


@dataclass(frozen=True, slots=True)
class Died:
    """In place of an outcome: the worker ended in the middle of the task, and why."""

    reason: str


def submit(function: Callable[[Any], Any], take: Callable[[], Task | None], on: str, needs: Resources) -> Iterator[tuple[str, Any] | int]:
    """Run `function(payload)` in workers for each task (key, payload) that `take` gives, until it gives none and none runs. Yields (key, outcome)
    as tasks end, in any order, and about once a second how many workers there are, or could be. `take` may give a task again that `Died`.
    """
    name, _, address = on.partition(":")
    if name not in ENGINES:
        raise UsageError(f"no engine '{name}'", hint="--on local, local:WORKERS, ray or ray:ADDRESS")
    yield from import_module(ENGINES[name]).submit(function, take, address, needs)
