"""Workers of this machine: long-lived processes, each with one task at a time. One that dies is replaced, and costs its own task only.

A worker ends when its standard input does: a driver that is killed leaves none behind. What goes through the pipes is JSON, a line a message.
"""

import json
import os
import selectors
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import IO, Any

from segzoo.errors import EnvironmentFault, UsageError
from segzoo.scale.engine import Died, Resources, Task
from segzoo.text import brief

_STARTS = 3  # workers in a row that end before they are ready
_TICK = 1.0  # seconds
_LAST = 10.0  # seconds that a worker has to end
_CORE = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def workers_of(address: str, needs: Resources) -> int:
    """How many workers: as the engine's address says, else one a GPU or one a core, within what is needed."""
    if address and not (address.isascii() and address.isdecimal() and 0 < int(address) <= 1024):
        raise UsageError(f"local:{address}: expected a number of workers", hint="such as --on local:4")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    fitting = (len(_gpus()) if needs.gpus else cores) or 1
    return int(address) if address else min(fitting, needs.workers or fitting)


def _gpus() -> Sequence[str]:
    """The GPUs that this process may use, by the names that CUDA_VISIBLE_DEVICES takes."""
    if (given := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return [one for one in given.split(",") if one]
    try:
        done = subprocess.run(["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"], capture_output=True, text=True, check=True, timeout=20)  # noqa: S607
    except (OSError, subprocess.SubprocessError):
        return []
    return done.stdout.split()


class _Worker:
    """A process, the task that it has, and whether it has said that it is ready."""

    def __init__(self, function: Callable[[Any], Any], gpu: str | None):
        self.errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed when the process has ended
        environment = {**os.environ, **_CORE, **({"CUDA_VISIBLE_DEVICES": gpu} if gpu is not None else {})}
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))  # a function of the caller's is found as the caller found it
        command = [sys.executable, "-m", "segzoo.scale.worker", function.__module__, function.__qualname__]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, env=environment)  # noqa: S603
        self.task: Task | None = None
        self.ready, self.gpu = False, gpu
        self._unread = b""

    @property
    def out(self) -> IO[bytes]:
        assert self.process.stdout is not None
        return self.process.stdout

    def give(self, task: Task) -> None:
        self.task = task
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(task[1]).encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:  # it died; the end of its output says so
            return

    def hear(self) -> list[Any] | None:
        """The messages that have come; None where the worker is gone."""
        data = os.read(self.out.fileno(), 1 << 20)
        *lines, self._unread = (self._unread + data).split(b"\n")
        return [json.loads(line) for line in lines] if data else None

    def end(self) -> str:
        """End the process, and say how it ended."""
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):  # it has ended already
            self.process.stdin.close()
        try:
            code = self.process.wait(_LAST)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        self.out.close()
        self.errors.seek(0)
        last = self.errors.read()[-2000:].decode(errors="replace").strip().rpartition("\n")[2]
        self.errors.close()
        said = f"signal {-code}" if code < 0 else f"exit code {code}"
        return f"{said}{f': {brief(last)}' if last and code > 0 else ''}"


def submit(function: Callable[[Any], Any], take: Callable[[], Task | None], address: str, needs: Resources) -> Iterator[tuple[str, Any] | int]:
    """As `engine.submit`. Raises EnvironmentFault where no worker can be started."""
    number = workers_of(address, needs)
    free = [*(_gpus() if needs.gpus else [])]
    crew: list[_Worker] = []
    failed = 0
    with selectors.DefaultSelector() as selector:
        try:
            while True:
                while (idle := next((one for one in crew if one.task is None), None)) or len(crew) < number:
                    if (task := take()) is None:
                        break
                    if idle is None:
                        idle = _Worker(function, free.pop(0) if free else None)
                        crew.append(idle)
                        selector.register(idle.out, selectors.EVENT_READ, idle)
                    idle.give(task)
                if not any(one.task for one in crew):
                    return
                ready = selector.select(_TICK)
                for key, _ in ready:
                    worker: _Worker = key.data
                    heard = worker.hear()
                    for message in heard or ():
                        if worker.ready and worker.task is not None:
                            (name, _), worker.task = worker.task, None
                            crew.append(crew.pop(crew.index(worker)))  # the next task is for who waits longest, not for who has just failed one
                            yield name, message
                        worker.ready, failed = True, 0
                    if heard is None:
                        crew.remove(worker)
                        selector.unregister(worker.out)
                        reason = worker.end()
                        free += [worker.gpu] if worker.gpu is not None else []
                        failed += not worker.ready and worker.process.returncode > 0  # a kill says nothing of the next one
                        if failed >= _STARTS:
                            raise EnvironmentFault(f"no worker starts: {reason}", hint="segzoo doctor says what is missing")
                        if worker.task is not None:
                            yield worker.task[0], Died(reason)
                if not ready:
                    yield len(crew)
        finally:
            for worker in crew:
                worker.end()
