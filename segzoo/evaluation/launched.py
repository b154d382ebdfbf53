"""How this process was started: alone, by torchrun, or by a program that starts several and tells none of them what to do. No torch here."""

import os
import re

from segzoo.errors import UsageError

_TORCHRUN = "torchrun --nproc-per-node N -m segzoo ..."
_STARTERS = {  # what counts the tasks of a step, and how to type the same with torchrun
    "SLURM_STEP_NUM_TASKS": ("srun", f"srun --ntasks-per-node=1 {_TORCHRUN}, with --nnodes and --rdzv-endpoint where there are several machines"),
    "OMPI_COMM_WORLD_SIZE": ("mpirun", _TORCHRUN),
    "PMI_SIZE": ("mpiexec", _TORCHRUN),
}
_ALONE = "WORLD_SIZE=1 where each task has work of its own"


def processes() -> int:
    """The number of processes of this run, of which this is one.

    Raises UsageError where the environment contradicts itself, and where several tasks were started that know nothing of each other:
    each of them would do everything.
    """
    if "WORLD_SIZE" not in os.environ:
        _refuse_tasks()
        return 1
    size = _number("WORLD_SIZE", 1, 1 << 20)
    if size > 1:
        for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"):
            if not os.environ.get(name):
                raise UsageError(f"WORLD_SIZE is {size}, but {name} is not set: start several processes with torchrun", hint=_TORCHRUN)
        _number("RANK", 0, size - 1)
        _number("MASTER_PORT", 1, 65535)
    return size


def _refuse_tasks() -> None:
    for name, (starter, line) in _STARTERS.items():
        if re.fullmatch("[0-9]{1,9}", tasks := os.environ.get(name, "")) and int(tasks) > 1:
            said = f"{starter} started {tasks} tasks that know nothing of each other, and each of them would do everything"
            raise UsageError(said, hint=f"{line}; or {_ALONE}")


def _number(name: str, least: int, most: int) -> int:
    text = os.environ[name]
    if not re.fullmatch("[0-9]{1,9}", text) or not least <= int(text) <= most:
        raise UsageError(f"{name} is {text!r}: expected a number from {least} to {most}", hint="torchrun sets it")
    return int(text)
