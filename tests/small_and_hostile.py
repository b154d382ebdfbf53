"""What a command costs on a small file that was made to cost much: CPU seconds and peak memory, each command in a process of its own.

A room adds its rows: a test module beside its others builds a table of `Small` and hands it to `refuse_costly`.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

SMALL = 1_000_000  # bytes of a file
SECONDS, MEGABYTES = 2.0, 300.0  # seconds of a quick core: see `pace`

_RUNNER = """
import json, math, os, resource, signal, sys
from pace import pace
from segzoo.cli import main
import segzoo.conversion.convert, segzoo.conversion.inspect, segzoo.conversion.compare, segzoo.cli.terminal.show, rich.console, rich.text
for arguments in json.load(sys.stdin):
    before = pace()
    child = os.fork()
    if not child:
        limit = math.ceil(4 * before)
        resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))
        out = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for stream in (1, 2):
            os.dup2(out, stream)
        code = 1
        try:
            main(arguments, prog_name="segzoo")
        except SystemExit as end:
            code = end.code or 0
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    _, status, usage = os.wait4(child, 0)
    said = open(sys.argv[1], errors="replace").read(100_000)
    seconds = (usage.ru_utime + usage.ru_stime) / max(before, pace())
    print(json.dumps([os.waitstatus_to_exitcode(status), seconds, usage.ru_maxrss / 1000, said]), flush=True)
"""


@dataclass(frozen=True)
class Small:
    """A file of less than 1 MB: what is hostile in it, its name, its bytes, and the commands that read it.

    In a command, FILE is the file and OUT a name that is free. `says` must stand in what the last command prints.
    """

    what: str
    file: str
    make: Callable[[], bytes]
    commands: Sequence[Sequence[str]] = (("inspect", "FILE"), ("convert", "FILE", "OUT.pth"))
    says: str = ""


def refuse_costly(rows: Sequence[Small], folder: Path, largest: int = SMALL) -> None:
    """Run the commands of all rows, and fail with a line for each that takes too long, takes too much memory, or ends in a traceback."""
    todo, labels = [], []
    for number, row in enumerate(rows):
        place = folder / str(number)
        place.mkdir()
        (place / row.file).write_bytes(row.make())
        assert (place / row.file).stat().st_size < largest, f"{row.what}: not small"
        for command in row.commands:
            todo.append(
                [str(place / (row.file if word == "FILE" else word)) if word == "FILE" or word.startswith("OUT") else word for word in command]
            )
            labels.append((row, command[0], command is row.commands[-1]))
    here = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    run = subprocess.run(
        [sys.executable, "-c", _RUNNER, folder / "said"], input=json.dumps(todo), capture_output=True, text=True, check=False, env=here
    )
    results = [json.loads(line) for line in run.stdout.splitlines()]
    assert len(results) == len(todo), run.stderr
    wrong = []
    for (row, command, last), (code, seconds, megabytes, said) in zip(labels, results, strict=True):
        line = f"{row.what}: {command}: exit {code}, {seconds:.2f} s, {megabytes:.0f} MB"
        print(line, "|", " ".join(said.split())[:200])
        if code < 0 or code == 1 or "Traceback" in said or seconds > SECONDS or megabytes > MEGABYTES:
            wrong.append(line)
        elif last and row.says not in said.replace("\n", " "):
            wrong.append(f"{line}: does not say {row.says!r}, but {said[:400]!r}")
    assert not wrong, "\n".join(wrong)
