"""What a bench has found, with its command and the machine: `--record` keeps it in measured.json, and docs/measured.py writes the page from that.

A record takes the place of an earlier one of the same command. No path of the machine is in it: a file is its name, a Python is `PYTHON`.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

FILE = Path(__file__).with_name("measured.json")
LOAD = os.getloadavg()[0]  # of the minute before the bench
DIGITS = 3  # of a number


def add_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--record", action="store_true", help="keep the figures in bench/measured.json; `python docs/measured.py` writes the page")


def keep(claim: str, figures: Mapping[str, Mapping[str, float | str]], peers: Mapping[str, str], gpu: str | None = None) -> None:
    """Write the record of this process's command.

    `claim` says what the figures are; they come by case and name. `peers` are the versions of what was measured beside, `gpu` is the GPU's name.
    """
    machine = {"processor": processor(), "cores": os.cpu_count(), "gpu": gpu, "load": round(LOAD, 2)}
    machine["versions"] = versions(sys.executable, "torch") | dict(peers)
    rounded = {case: {name: _rounded(figure) for name, figure in found.items()} for case, found in figures.items()}
    made = {"command": typed(sys.argv), "claim": claim, "date": f"{datetime.now(UTC):%Y-%m-%d}", "machine": machine, "figures": rounded}
    others = [one for one in json.loads(FILE.read_text(encoding="utf-8")) if one["command"] != made["command"]]
    FILE.write_text(json.dumps([*others, made], indent=1) + "\n", encoding="utf-8")
    print(f"\nkept in bench/{FILE.name}: `python docs/measured.py` writes the page")


def typed(words: list[str]) -> str:
    """The command as anybody would type it, without --record."""
    plain = ["PYTHON" if Path(word).name.startswith("python") else Path(word).name if Path(word).is_absolute() else word for word in words[1:]]
    return " ".join(["python", f"bench/{Path(words[0]).name}", *(word for word in plain if word != "--record")])


def _rounded(figure: float | str) -> float | str:
    return figure if isinstance(figure, str) else float(f"{figure:.{DIGITS}g}")


def processor() -> str:
    """The name that the processor gives itself, where Linux tells it; elsewhere what Python knows."""
    told = Path("/proc/cpuinfo")
    lines = told.read_text(encoding="utf-8").splitlines() if told.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def versions(python: str | None, *distributions: str) -> dict[str, str]:
    """The versions of distributions in the environment of a Python, without those that it lacks. No Python has none."""
    if python is None:
        return {}
    code = "import importlib.metadata as m, json; print(json.dumps({d.name.lower(): d.version for d in m.distributions()}))"
    there = json.loads(subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout)
    return {name: there[name] for name in distributions if name in there}
