"""A run of many files against a serial loop of commands, its scaling, its driver at the size of the release, and its catalogue.

    python bench/scale.py [throughput] [latency] [driver] [--on ray] [--record]

Files are made, under true names, and come from a server of this machine; no file of the release is needed. Kills are measured by
`pytest -n 0 -m thorough -s tests/scale`. A quiet machine: figures of one run are compared with one another only.
"""

import argparse
import csv
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
import record
from server import Ranged, serve
from small_release import npz, row, sized, tensors, write_index

from segzoo.scale import rows
from segzoo.scale.catalogue import NAME, compact, opened
from segzoo.scale.database import select
from segzoo.scale.index import COLUMNS
from segzoo.scale.make import of_rows
from segzoo.scale.place import place_of
from segzoo.scale.plan import Doing, Plan, freeze, thaw
from segzoo.scale.query import Query, query
from segzoo.scale.release import FAMILIES, Family
from segzoo.scale.run import Wishes, left_of

CLAIM = (
    "`segzoo augreg run` on made files from a local server: files a second, also as a multiple of a loop of `fetch` and `convert`, which prove less; "
    "with more workers where a file is answered after two seconds; and the driver with a work list as long as the whole release."
)
Figures = dict[str, dict[str, float | str]]
TI = FAMILIES["Ti/16"]
MEDIUM = Family(64, 6, 4, 16, 16, 0, 0)  # 1.4 MB a file
STEPS = {"imagenet2012": (20000,), "cifar100": (2500, 10000), "resisc45": (2500, 10000), "kitti": (500, 2500), "oxford_iiit_pet": (500, 2500)}


def command(*arguments: object) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "segzoo", "-q", *map(str, arguments)], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def released(family: Family, count: int, latency: float = 0.0) -> tuple[list[dict[str, str]], dict[str, Ranged]]:
    """Rows of the index and the server's table: files of one kind that differ in one tensor."""
    given, made = [row(number) for number in range(count)], tensors(family, 4)
    table = {}
    for number, one in enumerate(given):
        made["head/bias"][:] = number
        table[f"/{one['adapt_filename']}.npz"] = Ranged(npz(made), latency=latency)
    return given, table


def planned(folder: Path, base: str, given: list[dict[str, str]], family: Family, doing: Doing) -> Plan:
    index = write_index(folder / "index.csv", given)
    families = {"Ti/16": family}
    plan = of_rows(query(index, Query(), families).rows, Query(), index, base, doing, ["mini"], None, families)
    return freeze(plan, place_of(str(folder / "run")))[0]


def timed(family: Family, count: int, on: str, latency: float = 0.0) -> float:
    """Files a second of one run, with the start of its driver and of its workers."""
    given, table = released(family, count, latency)
    with serve(table) as server, tempfile.TemporaryDirectory() as scratch:
        os.environ["SEGZOO_HOME"] = f"{scratch}/home"
        planned(Path(scratch), server.base, given, family, Doing(to="timm", numbers="none"))
        return count / command("--zoo", "mini", "augreg", "run", f"{scratch}/run", "--on", on)


def loop(family: Family, count: int) -> float:
    """Files a second of `segzoo fetch` and `segzoo convert`, one file after the other. They prove less than a run does."""
    given, table = released(family, count)
    with serve(table) as server, tempfile.TemporaryDirectory() as scratch:
        os.environ["SEGZOO_HOME"] = f"{scratch}/home"
        grid = 224 // family.stride
        sizes = (
            f"{{width: {family.width}, depth: {family.depth}, heads: {family.heads}, mlp: {4 * family.width}, patch: 16, grid: {grid}, classes: 4}}"
        )
        lines = ["version: 1", "backbones:"]
        for number, one in enumerate(given):
            name = f"{one['adapt_filename']}.npz"
            source = f"{{name: {name}, layout: augreg, urls: ['{server.base}/{name}']}}"
            lines.append(f"  file-{number}: {{title: t, file: file-{number}.pth, source: {source}, geometry: {sizes}}}")
        (Path(scratch) / "zoo.yaml").write_text("\n".join(lines))
        zoo = ("--zoo", f"{scratch}/zoo.yaml")
        spent = sum(
            command(*zoo, "fetch", f"file-{one}") + command(*zoo, "convert", f"file-{one}", f"{scratch}/{one}.safetensors", "--to", "timm")
            for one in range(count)
        )
        return count / spent


def throughput(on: str) -> Figures:
    count = 12
    family = sized(TI)  # today's numpy writes 20 bytes a tensor more than that of the release
    serial, run = loop(family, 4), timed(family, count, f"{on}:1" if on == "local" else on)
    print(
        f"Ti/16 of true size, one worker, {on}: {run:.2f} files/s with its start; a loop of fetch and convert {serial:.2f}: {run / serial:.1f} times"
    )
    return {f"Ti/16, one worker, {on}": {"files/s": run, "times the loop's": run / serial}}


def latency(on: str) -> Figures:
    family = sized(MEDIUM)
    found = {number: timed(family, 12 * number, f"local:{number}", 2.0) for number in (1, 2, 4)} if on == "local" else {1: timed(family, 24, on, 2.0)}
    for number, rate in found.items():
        print(f"2 s of latency, {number} workers, {on}: {rate:.2f} files/s, efficiency {rate / number / found[1]:.2f}")
    return {f"2 s of latency, workers: {number}, {on}": {"files/s": rate, "efficiency": rate / number / found[1]} for number, rate in found.items()}


def whole_index(path: Path) -> int:
    """An index of the size of the release: all families, data, seven augmentations, four regularisations, and what they were finetuned on."""
    count = 0
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        for name, ds, aug, wd, do in (
            (name, ds, aug, wd, do)
            for name in FAMILIES
            if name != "B/8"
            for ds in ("i1k", "i21k", "i21k_30")
            for aug in ("none", "light0", "light1", "medium1", "medium2", "strong1", "strong2")
            for wd in ("0.03", "0.1")
            for do in ("0.0", "0.1")
        ):
            model = name.replace("/", "_").replace("+", "_")
            epochs = {"i21k_30": "30"}.get(ds, "300")
            upstream = f"{model}-{ds}-{epochs}ep-lr_0.001-aug_{aug}-wd_{wd}-do_{do}-sd_{do}"
            common = {"name": name, "ds": ds, "epochs": epochs, "lr": "0.001", "aug": aug, "wd": wd, "do": do, "sd": do, "filename": upstream}
            for resolution in ("224", "384"):
                for adapt_ds, steps in STEPS.items():
                    for step in steps:
                        for lr in ("0.01", "0.03") if adapt_ds == "imagenet2012" else ("0.001", "0.003", "0.01", "0.03"):
                            adapted = f"{upstream}--{adapt_ds}-steps_{step // 1000}k-lr_{lr}-res_{resolution}"
                            more = {"adapt_ds": adapt_ds, "adapt_lr": lr, "adapt_steps": step, "adapt_resolution": resolution, "adapt_final_val": 0.8}
                            writer.writerow(common | more | {"adapt_filename": adapted})
                            count += 1
    return count


def driver(on: str) -> Figures:
    figures: Figures = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        os.environ["SEGZOO_HOME"] = f"{scratch}/home"
        whole_index(folder / "index.csv")
        place = place_of(str(folder / "run"))
        started = time.perf_counter()
        everything = Query(kinds=("finetuned", "pretrained"))
        found = query(folder / "index.csv", everything)
        figures["index read and queried"] = {"files": len(found.rows), "s": (spent := time.perf_counter() - started)}
        print(f"index of {len(found.rows):,} files read and queried: {spent:.1f} s")
        plan, _ = freeze(of_rows(found.rows, everything, folder / "index.csv", "https://a.test/", Doing(keep="none"), ["mini"]), place)
        spent = time.perf_counter() - started
        work = (folder / "run" / "work.jsonl").stat().st_size / 1e6
        figures["planned"] = {"files": len(plan.items), "s": spent, "MB": work}
        print(f"planned: {spent:.1f} s, {spent / len(plan.items) * 1e3:.2f} ms a file; work list {work:.0f} MB")
        started = time.perf_counter()
        left_of(thaw(place), {}, Wishes(shard=(3, 64)))
        print(f"a shard of 64 found: {time.perf_counter() - started:.1f} s")
        check = {"status": "passed", "short": "ok", "detail": "as it should be", "facts": {}, "basis": {}, "code": 0, "seconds": 0.2, "time": None}
        started = time.perf_counter()
        for item in plan.items:
            made = {
                "key": item.key,
                "name": item.name,
                "file": item.file,
                "attempts": 1,
                "status": "passed",
                "code": 0,
                "reason": None,
                "seconds": 1.0,
            }
            made |= {"time": "2026-11-29T16:00:00+00:00", "versions": {"segzoo": "0.1.0"}, "size": item.size, "machine": "m", "sha256": "0" * 64}
            made["checks"] = [{**check, "rung": rung} for rung in ("bytes", "names", "round trip", "convert", "numbers")]
            path = folder / "run" / rows.name_of(plan.digest, item.key)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps({"schema": rows.SCHEMA, "plan": plan.digest, **made}))
        print(f"(rows of all files written by this benchmark in {time.perf_counter() - started:.0f} s)")
        spent = command("--zoo", "mini", "augreg", "run", folder / "run")
        print(f"a run that finds nothing left: {spent:.1f} s")
        used = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        figures["a run that finds nothing left"] = {"s": spent, "peak GB": used / 1e6}
        print(f"memory at most: planning {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB, the run {used / 1e6:.2f} GB")
        started = time.perf_counter()
        _, count = compact(plan, place)
        figures["catalogue"] = {"files": count, "s": time.perf_counter() - started, "MB": (folder / "run" / NAME).stat().st_size / 1e6}
        print(f"catalogue of {count:,} rows: {figures['catalogue']['MB']:.1f} MB, made in {figures['catalogue']['s']:.0f} s")
        with opened(place) as connection:
            for sql in (
                "select name, count(*) from files where status <> 'passed' group by name",
                "select rung, name, avg(seconds), sum(size) from files group by all order by all",
                "select key, max(seconds) from files group by key order by 2 desc limit 10",
            ):
                started = time.perf_counter()
                select(connection, sql)
                print(f"  {time.perf_counter() - started:.3f} s: {sql}")
    return figures


BENCHES = {"throughput": throughput, "latency": latency, "driver": driver}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=list(BENCHES), choices=list(BENCHES), metavar="NAME")
    parser.add_argument("--on", default="local", help="where workers run: local or ray [local]")
    record.add_option(parser)
    options = parser.parse_args()
    figures: Figures = {}
    for name in options.names:
        figures |= BENCHES[name](options.on)
    if options.record:
        record.keep(CLAIM, figures, record.versions(sys.executable, "ray"))


if __name__ == "__main__":
    main()
