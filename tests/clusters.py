"""Nodes of a Ray cluster on this machine, each in a session of its own, which ends with its block."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0123456789abcdef" * 2, "RAY_USAGE_STATS_ENABLED": "0"}
MEMORY = str(200 << 20)  # bytes of a node's object store; Ray's own choice would be a third of the machine


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def node(*options):
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats", f"--object-store-memory={MEMORY}", *options]
    process = subprocess.Popen(command, env={**os.environ, **TOKEN}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        yield process
    finally:
        end(process)


def head(port, cpus):
    return node("--head", f"--port={port}", f"--num-cpus={cpus}", "--include-dashboard=false")


def joining(port, cpus):
    return node(f"--address=127.0.0.1:{port}", f"--num-cpus={cpus}")


def end(process, number=signal.SIGKILL):
    if process.poll() is None:
        os.killpg(process.pid, number)
        process.wait()


def answers(port, seconds=60):
    """Wait until a head listens."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.1)
    raise TimeoutError(f"no head on port {port}")


@contextmanager
def cluster(cpus):
    """The port and the process of a new head that answers. Where another program takes the port first, another one is tried, three in all."""
    for left in (2, 1, 0):
        port = free_port()
        with head(port, cpus) as process:
            try:
                answers(port, 30)
            except TimeoutError:
                if not left:
                    raise
                continue
            yield port, process
            return


def working():
    """The processes of our clusters that have a task of segzoo's now."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (folder / "cmdline").read_bytes().startswith(b"ray::work") and TOKEN["RAY_AUTH_TOKEN"].encode() in (folder / "environ").read_bytes():
                found.append(int(folder.name))
    return found
