"""Workers of a Ray cluster. Ray places the tasks; whether a file is done, its row says."""

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any

from segzoo.errors import EnvironmentFault, NetworkError
from segzoo.extras import require
from segzoo.scale.engine import Died, Resources, Task
from segzoo.text import brief

_FOREIGN = "ModuleNotFoundError"
_STARTS = 3  # tasks in a row that cannot be imported
_TICK = 1.0  # seconds
_WAIT = 13.0  # seconds for a cluster to answer
_HINT = "ray status says whether a cluster runs; --on ray:HOST:PORT names another, and --on local needs none"


def join(address: str) -> Any:
    """Ray, connected: to the cluster at an address, to one that runs on this machine (`auto`), or without an address to a new one of this machine.

    Raises NetworkError where no cluster answers, EnvironmentFault where Ray is not installed.
    """
    require("ray")
    import ray

    if not ray.is_initialized():
        if address and address != "auto":
            _listens(address)
        try:
            _init(ray, address)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise NetworkError(f"{address or 'ray'}: no cluster answers: {str(error).partition(chr(10))[0]}", hint=_HINT) from error
    return ray


def _listens(address: str, patience: float = 0.0) -> None:
    """Raises NetworkError where nobody listens at an address, nor does after so many seconds."""
    host, _, port = address.rpartition(":")
    until = time.monotonic() + patience
    while True:
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=_WAIT).close()
            return
        except (OSError, ValueError, OverflowError) as error:
            if time.monotonic() >= until:
                raise NetworkError(f"{address}: no cluster answers: {error}", hint=_HINT) from error
        time.sleep(_TICK)


def _init(ray: Any, address: str) -> None:
    """Start a cluster of this machine, or connect to one. What listens and is no cluster would keep Ray for minutes: it is left after a while."""
    start = partial(ray.init, log_to_driver=False, logging_level=logging.ERROR)
    if not address:
        start(include_dashboard=False)
        return
    done: SimpleQueue[Exception | None] = SimpleQueue()

    def connect() -> None:
        try:
            start(address=address)
            done.put(None)
        except Exception as error:
            done.put(error)

    threading.Thread(target=connect, daemon=True).start()
    try:
        error = done.get(timeout=_WAIT)
    except Empty:
        error = ConnectionError(f"what listens there is no cluster, or has not answered for {_WAIT:g} s")
    if error:
        raise error


def workers_of(address: str, needs: Resources) -> int:
    """How many tasks fit into the cluster now, one at the least: a node may still come."""
    return _at_once(_room(join(address), needs), needs)


def _at_once(room: int, needs: Resources) -> int:
    return max(1, min(room, needs.workers or room))


def _room(ray: Any, needs: Resources) -> int:
    """How many tasks fit on the nodes that live, by their cores, their memory and their GPUs."""
    wanted = {name: amount for name, amount in (("CPU", 1), ("GPU", needs.gpus), ("memory", needs.memory)) if amount}
    alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return sum(min(int(there.get(name, 0) // amount) for name, amount in wanted.items()) for there in alive)


def submit(function: Callable[[Any], Any], take: Callable[[], Task | None], address: str, needs: Resources) -> Iterator[tuple[str, Any] | int]:
    """As `engine.submit`. Retries are not Ray's: a task whose worker or node died is given back as `Died`.

    Raises EnvironmentFault where the workers of the cluster cannot import the function, NetworkError where its head is gone.
    """
    ray = join(address)
    head = ray.get_runtime_context().gcs_address
    options: dict[str, Any] = {"num_cpus": 1, "max_retries": 0, "scheduling_strategy": "SPREAD"} | ({"num_gpus": needs.gpus} if needs.gpus else {})
    options |= {"memory": needs.memory} if needs.memory else {}
    remote = ray.remote(function).options(**options)
    out: dict[Any, str] = {}
    failed = 0
    try:
        while True:
            _listens(head, _WAIT)  # Ray itself waits a minute for a head that is gone, and then ends the process
            room = _room(ray, needs)  # nodes come and go
            while len(out) < _at_once(room, needs) and (task := take()) is not None:
                out[remote.remote(task[1])] = task[0]
            if not out:
                return
            ready, _ = ray.wait(list(out), num_returns=1, timeout=_TICK)
            for one in ready:
                key, outcome = out.pop(one), _outcome(one, ray)
                failed = failed + 1 if isinstance(outcome, Died) and _FOREIGN in outcome.reason else 0
                if failed >= _STARTS:
                    raise EnvironmentFault(
                        f"no worker of the cluster starts: {outcome.reason}", hint="have all nodes the same segzoo, and its extras?"
                    )
                yield key, outcome
            if not ready:
                yield room
    except NetworkError:
        out.clear()  # nobody is there to be told
        raise
    finally:
        for one in out:
            ray.cancel(one, force=True)


def _outcome(one: Any, ray: Any) -> Any:
    """What a task gave back, or that its worker died."""
    try:
        return ray.get(one)
    except ray.exceptions.RayTaskError as error:
        return Died(brief(str(error).strip().rpartition("\n")[2]))
    except ray.exceptions.RayError as error:
        return Died(brief(str(error).partition("\n")[0]))
