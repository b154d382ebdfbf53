"""A warm process that runs segzoo's commands in forked children, and kills each with SIGKILL at the moment that it is told.

A moment is an operation on a folder of the test: a file is opened for writing, renamed, removed, changed, a folder is made or removed.
Python announces each to audit hooks, before it is done. A kill before the next operation is a kill after the last one, so all moments
together are all states in which a kill may leave the disk, but for half written files: `size` stops the child (by SIGXFSZ, which
cannot be put off here) when a file grows beyond so many bytes.

Run as a program, it answers lines of JSON on stdin: {"folder", "argv", "at", "size", "signal", "times"} -> {"status", "moments", "output"}.
"""

import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress
from pathlib import Path

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod")


class Warm:
    """A warm process, seen from the test."""

    def __init__(self, process):
        self.process = process

    def run(self, folder, *argv, at=0, size=0, number=signal.SIGKILL, times=1):
        """Run `segzoo *argv` in this folder. Before its moment `at` (from 1; 0 is never) and the ones after it, so many times, it gets a signal."""
        order = {"folder": str(folder), "argv": [str(one) for one in argv], "at": at, "size": size, "signal": int(number), "times": times}
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


@contextmanager
def warm(environment):
    command = [sys.executable, __file__]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as process:
        yield Warm(process)
        process.stdin.close()


def _serve():
    import numpy  # noqa: F401 - what children would import again and again; nothing is computed here, so there are no threads to fork
    import PIL.Image  # noqa: F401
    import torch  # noqa: F401

    import segzoo.cli
    import segzoo.conversion.convert
    import segzoo.publishing.export.export
    import segzoo.publishing.pictures
    import segzoo.zoo.loading
    import segzoo.zoo.zoo  # noqa: F401

    for line in sys.stdin:
        order = json.loads(line)
        back, to = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(back)
            _child(order, to)
        os.close(to)
        with os.fdopen(back, "rb") as pipe:
            moments = len(pipe.read())
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        output = _output(order).read_text(encoding="utf-8", errors="replace")
        print(json.dumps({"status": status, "moments": moments, "output": output}), flush=True)


def _output(order):
    return Path(order["folder"]).with_name("output")


def _child(order, pipe):
    """Run the command of an order; each moment is a byte in the pipe."""
    import resource

    for number in (signal.SIGTERM, signal.SIGHUP):  # `nohup` has its children ignore SIGHUP, and a shell those it starts with `&` SIGINT
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(order["folder"])
    output = os.open(_output(order), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    sys.stdin, sys.stdout, sys.stderr = os.fdopen(0, encoding="utf-8"), os.fdopen(1, "w", encoding="utf-8"), os.fdopen(2, "w", encoding="utf-8")
    if order["size"]:
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (order["size"],) * 2)
    folder, count = Path(order["folder"]), 0

    def watch(event, arguments):
        nonlocal count
        changes = bool((arguments[2] or 0) & _WRITES) if event == "open" else event in _CHANGES
        if changes and isinstance(arguments[0], str | bytes | os.PathLike) and Path(os.fsdecode(arguments[0])).absolute().is_relative_to(folder):
            count += 1
            if order["at"] <= count < order["at"] + order["times"] and order["at"]:
                os.kill(os.getpid(), order["signal"])
            os.write(pipe, b".")

    sys.addaudithook(watch)
    sys.argv = ["segzoo", *order["argv"]]
    code = 1
    try:
        from segzoo.__main__ import main

        main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(bool(end.code))
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError):
                stream.flush()
        os._exit(code)


if __name__ == "__main__":
    _serve()
