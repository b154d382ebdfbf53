"""Workers of a Ray cluster. Ray places the tasks; whether a file is done, its row says."""

import logging
import socket
from collections.abc import Callable, Iterator
from typing import Any

from segzoo.errors import NetworkError
from segzoo.extras import require
from segzoo.scale.engine import Died, Resources, Task

_TICK = 1.0  # seconds
_WAIT = 15.0  # seconds for a cluster to answer
_HINT = "ray status says whether a cluster runs; --on ray:HOST:PORT names another, and --on local needs none"


def join(address: str) -> Any:
    """Ray, connected: to the cluster at an address, to one that runs on this machine (`auto`), or without an address to a new one of this machine.

    Raises NetworkError where no cluster answers, EnvironmentFault where Ray is not installed.
    """
    require("ray")
    import ray

    if ray.is_initialized():
        return ray
    host, _, port = address.rpartition(":")
    if address and address != "auto":
        try:
            socket.create_connection((host, int(port)), timeout=_WAIT).close()
        except (OSError, ValueError, OverflowError) as error:
            raise NetworkError(f"{address}: no cluster answers: {error}", hint=_HINT) from error
    try:
        ray.init(address=address or None, log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False if not address else None)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise NetworkError(f"{address or 'ray'}: no cluster answers: {str(error).partition(chr(10))[0]}", hint=_HINT) from error
    return ray


def workers_of(address: str, needs: Resources) -> int:
    """How many tasks fit into the cluster now: one a core, or one a GPU."""
    there = join(address).cluster_resources()
    return max(1, int(there.get("GPU" if needs.gpus else "CPU", 1)))


def submit(function: Callable[[Any], Any], take: Callable[[], Task | None], address: str, needs: Resources) -> Iterator[tuple[str, Any] | int]:
    """As `engine.submit`. Retries are not Ray's: a task whose worker or node died is given back as `Died`."""
    ray = join(address)
    options: dict[str, Any] = {"num_cpus": 1, "max_retries": 0} | ({"num_gpus": needs.gpus} if needs.gpus else {})
    options |= {"memory": needs.memory} if needs.memory else {}
    remote = ray.remote(function).options(**options)
    out: dict[Any, str] = {}
    try:
        while True:
            number = workers_of(address, needs)  # nodes come and go
            while len(out) < number and (task := take()) is not None:
                out[remote.remote(task[1])] = task[0]
            if not out:
                return
            ready, _ = ray.wait(list(out), num_returns=1, timeout=_TICK)
            for one in ready:
                key = out.pop(one)
                try:
                    yield key, ray.get(one)
                except (ray.exceptions.RayTaskError, ray.exceptions.RuntimeEnvSetupError) as error:
                    raise error.as_instanceof_cause() if isinstance(error, ray.exceptions.RayTaskError) else error from None
                except ray.exceptions.RayError as error:
                    yield key, Died(str(error).partition("\n")[0])
            if not ready:
                yield sum(node["Alive"] and node["Resources"].get("CPU", 0) > 0 for node in ray.nodes())
    finally:
        for one in out:
            ray.cancel(one, force=True)
