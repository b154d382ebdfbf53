"""A run of many files against its bars: throughput, scaling, driver, kills, catalogue, pins. Prints what it measures, then a table of all bars.

    python bench/scale.py                 workers of this machine
    python bench/scale.py --on ray        clusters of this machine; what needs no engine is left out
    python bench/scale.py latency kills   some of it: throughput latency driver kills lock
    python bench/scale.py kills --kills 20   fewer of them; else 200 of workers, a tenth of drivers, and five of nodes

Files are made, under true names, and come from a server of this process; no file of the release is needed. Either command takes some ten minutes
of a quiet machine. Figures of one run are compared with one another only; [--record] keeps them.
"""

import argparse
import csv
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
import record
from clusters import TOKEN, cluster, end, joining, working
from killed import alive, children
from server import Ranged, serve
from small_release import npz, row, sized, tensors, write_index

from segzoo.manifest.artifact import Artifact
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
from segzoo.store.lock import LOCK_NAME, Lock
from segzoo.store.store import Store

CLAIM = (
    "`segzoo augreg run` on made files from a local server, against its bars: files a second, also as a multiple of a loop of `fetch` and `convert`, "
    "which prove less; with more workers where a file is answered after two seconds; after kills; and the driver at the length of the release."
)
TI = FAMILIES["Ti/16"]
MEDIUM = Family(64, 6, 4, 16, 16, 0, 0)  # 1.4 MB a file
SMALL = Family(16, 2, 2, 16, 112, 0, 0)  # 70 kB a file
KILLS = 200
PYTHONPATH = [os.environ["PYTHONPATH"]] if "PYTHONPATH" in os.environ else []
RATE = 250_000  # bytes a second of a connection, while something is killed: a third of a second a file
STEPS = {"imagenet2012": (20000,), "cifar100": (2500, 10000), "resisc45": (2500, 10000), "kitti": (500, 2500), "oxford_iiit_pet": (500, 2500)}
TABLE: list[tuple[str, str, str, bool]] = []


def bar(what: str, bound: str, measured: str, holds: bool) -> None:
    """A row of the table at the end."""
    TABLE.append((what, bound, measured, holds))
    print(f"{what}: {measured} (bar: {bound}{'' if holds else '; MISSED'})", flush=True)


def command(*arguments: object) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "segzoo", "-q", *map(str, arguments)], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def core_seconds() -> float:
    """Seconds of a core that finished children of this process have used."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def released(family: Family, count: int, latency: float = 0.0, rate: int | None = None) -> tuple[list[dict[str, str]], dict[str, Ranged]]:
    """Rows of the index and the server's table: files of one kind that differ in one tensor."""
    given, made = [named(number) for number in range(count)], tensors(family, 4)
    table = {}
    for number, one in enumerate(given):
        made["head/bias"][:] = number
        table[f"/{one['adapt_filename']}.npz"] = Ranged(npz(made), latency=latency, rate=rate)
    return given, table


def named(number: int) -> dict[str, str]:
    """A row of the index; after the 112 names of one data set come those of other resolutions."""
    return row(number % 112, resolution=str(224 + 16 * (number // 112)))


def planned(folder: Path, base: str, given: list[dict[str, str]], family: Family, doing: Doing) -> Plan:
    index = write_index(folder / "index.csv", given)
    families = {"Ti/16": family}
    plan = of_rows(query(index, Query(), families).rows, Query(), index, base, doing, ["mini"], None, families)
    return freeze(plan, place_of(str(folder / "run")))[0]


@contextmanager
def engine(on: str, workers: int) -> Iterator[str]:
    """The value of --on for so many workers: of this machine, or of a Ray cluster that is started for the block."""
    if on == "local":
        yield f"local:{workers}"
        return
    with cluster(workers) as (port, _):
        time.sleep(5)  # its raylet comes after its head
        yield f"ray:127.0.0.1:{port}"


def timed(family: Family, count: int, on: str, workers: int, latency: float = 0.0) -> tuple[float, float, float]:
    """Files a second of one run with the start of its driver and of its workers, the same between its first row and its last, and the seconds
    of a core that a file took, which are not known of a cluster.
    """
    given, table = released(family, count, latency)
    with serve(table) as server, tempfile.TemporaryDirectory() as scratch, engine(on, workers) as address:
        os.environ["SEGZOO_HOME"] = f"{scratch}/home"
        planned(Path(scratch), server.base, given, family, Doing(to="timm", numbers="none"))
        before = core_seconds()
        spent = command("--zoo", "mini", "augreg", "run", f"{scratch}/run", "--on", address)
        times = sorted(path.stat().st_mtime for path in Path(scratch, "run", "rows").rglob("*.json"))
        return count / spent, (count - 1) / (times[-1] - times[0]), (core_seconds() - before) / count


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


def throughput(on: str) -> None:
    family = sized(TI)  # today's numpy writes 20 bytes a tensor more than that of the release
    serial, (run, steady, spent) = loop(family, 4), timed(family, 30, on, 1)
    said = f"{steady:.2f} files/s, {run:.2f} with the start" + (f", {spent:.2f} core-seconds a file" if on == "local" else "")
    bar(f"Ti/16 of true size, fetch + convert + rungs but numbers, one worker, {on}", ">= 0.9 files/s", said, steady >= 0.9)
    said = f"{run / serial:.1f} times {serial:.2f} files/s"
    bar("the same against a serial loop of commands, which prove less", ">= 3 times", said, run >= 3 * serial)


def latency(on: str) -> None:
    family, found = sized(MEDIUM), {}
    for workers in (1, 2, 4):
        found[workers], steady, spent = timed(family, 24 * workers, on, workers, 2.0)
        said = f"{found[workers]:.2f} files/s with the start, {steady:.2f} after it" + (f", {spent:.2f} core-seconds a file" if on == "local" else "")
        print(f"2 s of latency, {workers} workers, {on}: {said}", flush=True)
    for workers in (2, 4):
        efficiency = found[workers] / workers / found[1]
        bar(f"{workers} workers, server with 2 s latency, {on}", "efficiency >= 0.85", f"{efficiency:.2f}", efficiency >= 0.85)


WATCH = """
import os, re, sys
def watch(event, given, log={log!r}, blob=re.compile("/runs/[0-9a-f]{{12}}/[0-9a-f]{{32}}/blobs/[0-9a-f]{{64}}$"), seen=set()):
    if event == "open" and isinstance(given[0], str | os.PathLike) and blob.search(os.fspath(given[0])) and given[0] not in seen:
        seen.add(given[0])
        with open(log, "a") as file:
            file.write(f"{{os.getpid()}}\\n")
sys.addaudithook(watch)
"""
"""A worker opens a file when it begins to work on it: so starts are counted, once a worker and file, whatever becomes of the worker."""


class Campaign:
    """A run of small files that something is killed of, again and again, and what is left of it."""

    def __init__(self, folder: Path, count: int, seed: int):
        self.folder, self.count, self.kills = folder, count, 0
        self.log = folder / "starts"
        self.given, self.table = released(sized(SMALL), count, rate=RATE)
        (folder / "sitecustomize.py").write_text(WATCH.format(log=str(self.log)))
        os.environ["SEGZOO_HOME"] = f"{folder}/home"
        os.environ["PYTHONPATH"] = os.pathsep.join([str(folder), *PYTHONPATH])
        random.seed(seed)

    def plan(self, base: str) -> None:
        planned(self.folder, base, self.given, sized(SMALL), Doing(to="timm", numbers="none"))

    def driver(self, on: str) -> "subprocess.Popen[str]":
        words = ["-q", "--zoo", "mini", "augreg", "run", str(self.folder / "run"), "--on", on, "--tries", "100"]
        errors = (self.folder / "errors").open("a")
        return subprocess.Popen([sys.executable, "-m", "segzoo", *words], stdout=subprocess.DEVNULL, stderr=errors, text=True)

    def done(self) -> int:
        return sum(1 for _ in (self.folder / "run" / "rows").rglob("*.json"))

    def begun(self) -> list[int]:
        """The processes that have begun a file, one for each start."""
        return [int(line) for line in self.log.read_text().split()] if self.log.exists() else []

    def until_done(self, on: str, kill: Callable[[int], bool], most: int, pause: tuple[float, float], after: float = 0.0) -> None:
        """Run to the end. `kill` gets the driver's pid, and says whether it has killed; it is called after `after` seconds, so many times at most."""
        process, killed = self.driver(on), 0
        time.sleep(after)
        while process.poll() is None:
            time.sleep(random.uniform(*pause))
            if killed < most and kill(process.pid):
                killed += 1
        self.kills += killed
        if process.returncode:
            raise SystemExit(f"a run ended with exit {process.returncode}: {(self.folder / 'errors').read_text()[-2000:]}")

    def sent(self) -> float:
        """The bytes that the server sent, as a multiple of those of all files."""
        return sum(one.sent for one in self.table.values()) / sum(len(one.data) for one in self.table.values())

    def judge(self, what: str, bound: float | None) -> None:
        """The rows of the table: what was lost, what was done twice, what was left."""
        place = place_of(str(self.folder / "run"))
        plan = thaw(place)
        there = [row["key"] for row in rows.each(place, plan) if row["status"] == "passed"]
        lost, doubled = self.count - len(set(there)), len(there) - len(set(there))
        left = [path for path in self.folder.rglob("*") if path.suffix in (".part", ".held")]
        until, orphans = time.monotonic() + 20, list[int]()
        while (orphans := [pid for pid in running() if str(self.folder) in environment(pid)]) and time.monotonic() < until:
            time.sleep(0.1)
        sent, starts = self.sent(), len(self.begun())
        bar(f"{what}: rows lost, doubled", "0, 0", f"{lost}, {doubled}", not lost and not doubled)
        twice = (sent - 1) * sum(len(one.data) for one in self.table.values()) / max(self.kills, 1)
        said = f"{twice / 1e6:.2f} MB; {sent:.3f} times the bytes of these files of 70 kB"
        bar(f"{what}: bytes that came twice, a kill", "< 4 MB, 1 % of the release's mean file", said, twice < 4e6)
        bar(f"{what}: processes and parts left", "0, 0", f"{len(orphans)}, {len(left)}", not orphans and not left)
        if bound:
            extra = (starts - self.count) / max(self.kills, 1)
            bar(f"{what}: extra starts of a file for a kill", f"<= {bound}", f"{extra:.2f}", extra <= bound)


def running() -> list[int]:
    return [int(one.name) for one in Path("/proc").iterdir() if one.name.isdecimal() and alive(int(one.name)) and int(one.name) != os.getpid()]


def environment(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace")
    except OSError:
        return ""


def strike(pids: set[int]) -> bool:
    """Kill one of some processes, if there is any."""
    if not pids:
        return False
    try:
        os.kill(random.choice(sorted(pids)), signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def crew(pid: int) -> list[int]:
    """The workers of a driver of this machine."""
    try:
        return [one for one in children(pid) if b"segzoo.scale.worker" in Path(f"/proc/{one}/cmdline").read_bytes()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def kills(on: str) -> None:
    for name in ("workers", "drivers") if on == "local" else ("workers", "nodes"):
        with tempfile.TemporaryDirectory() as scratch:
            {"workers": kill_workers, "drivers": kill_drivers, "nodes": kill_nodes}[name](on, Path(scratch))


def kill_workers(on: str, scratch: Path) -> None:
    campaign = Campaign(scratch, 400, seed=1)
    with serve(campaign.table) as server, engine(on, 2) as address:
        campaign.plan(server.base)
        at_work = crew if on == "local" else lambda pid: working()
        campaign.until_done(address, lambda pid: strike(set(at_work(pid)) & set(campaign.begun())), KILLS, (0.02, 0.8))
    campaign.judge(f"{campaign.kills} kills of workers, {on}", 2 if on == "local" else 1.1)


def kill_drivers(on: str, scratch: Path) -> None:
    campaign = Campaign(scratch, 200, seed=2)
    with serve(campaign.table) as server:
        campaign.plan(server.base)
        for _ in range(KILLS // 10):
            process = campaign.driver("local:2")
            before, until = campaign.done(), time.monotonic() + 30
            while campaign.done() < before + random.randint(1, 8) and time.monotonic() < until and process.poll() is None:
                time.sleep(0.05)
            process.kill()
            campaign.kills += process.wait() == -signal.SIGKILL
        campaign.until_done("local:2", lambda pid: False, 0, (0.1, 0.1))
    campaign.judge(f"{campaign.kills} kills of drivers", None)


def kill_nodes(on: str, scratch: Path) -> None:
    campaign = Campaign(scratch, 200, seed=3)
    with serve(campaign.table) as server, cluster(1) as (port, _), ExitStack() as stack:
        campaign.plan(server.base)
        nodes = [stack.enter_context(joining(port, 1))]
        time.sleep(5)
        done = 0

        def kill(pid: int) -> bool:
            """Kill the second node with all its processes once twenty more files are done, and start it again."""
            nonlocal done
            if campaign.done() < done + 20:
                return False
            end(nodes[-1])
            nodes.append(stack.enter_context(joining(port, 1)))
            done = campaign.done()
            return True

        campaign.until_done(f"ray:127.0.0.1:{port}", kill, min(5, KILLS // 10), (0.2, 0.5))
    campaign.judge(f"{campaign.kills} kills of a node of two", None)


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


def driver(on: str) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        os.environ["SEGZOO_HOME"] = f"{scratch}/home"
        whole_index(folder / "index.csv")
        place = place_of(str(folder / "run"))
        started = time.perf_counter()
        everything = Query(kinds=("finetuned", "pretrained"))
        found = query(folder / "index.csv", everything)
        print(f"index of {len(found.rows):,} files read and queried: {time.perf_counter() - started:.1f} s")
        plan, _ = freeze(of_rows(found.rows, everything, folder / "index.csv", "https://a.test/", Doing(keep="none"), ["mini"]), place)
        spent = (time.perf_counter() - started) / len(plan.items) * 1e3
        work = (folder / "run" / "work.jsonl").stat().st_size / 1e6
        bar(f"{len(plan.items):,} files planned, a work list of {work:.0f} MB", "<= 2 ms a file", f"{spent:.2f} ms", spent <= 2)
        started = time.perf_counter()
        left_of(thaw(place), {}, Wishes(shard=(3, 64)))
        print(f"a shard of 64 found: {time.perf_counter() - started:.1f} s")
        write_rows(folder / "run", plan)
        spent = command("--zoo", "mini", "augreg", "run", folder / "run")
        bar("a run that finds nothing left", "<= 30 s", f"{spent:.1f} s", spent <= 30)
        used = max(resource.getrusage(who).ru_maxrss / 1e6 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        bar("memory of planning, and of that run", "<= 1 GB", f"{used:.2f} GB at most", used <= 1)
        catalogue(folder / "run", plan)


def write_rows(folder: Path, plan: Plan) -> None:
    """A row for each file of a plan, of the size and the variety of real ones."""
    started = time.perf_counter()
    for number, item in enumerate(plan.items):
        sha256, seconds = rows.hash_of(item.file), [random.uniform(0.1, 2) for _ in range(5)]
        made = {"key": item.key, "name": item.name, "file": item.file, "attempts": 1, "status": "passed", "code": 0, "reason": None}
        made |= {"time": f"2026-11-29T{number // 3600 % 24:02}:{number // 60 % 60:02}:{number % 60:02}+00:00", "machine": f"node-{number % 16}"}
        made |= {"seconds": round(sum(seconds), 3), "fetch_seconds": round(seconds[0], 3), "received": item.size}
        made |= {"memory": 300_000_000 + 4096 * (number % 5000)}
        made |= {"size": item.size, "sha256": sha256, "versions": {"segzoo": "0.1.0", "python": "3.11.2", "numpy": "2.4", "torch": "2.13.0"}}
        made |= {"layout": "augreg", "geometry": f"{item.name}, {item.kind}", "dtype": "float32", "tensors": 200, "params": item.size // 4}
        made |= {"converted": {"sha256": rows.hash_of(sha256), "size": item.size - 1000}}
        checks = []
        for rung, took in zip(("bytes", "names", "round trip", "convert", "numbers"), seconds, strict=True):
            said = {"status": "passed", "short": "ok", "code": 0, "seconds": round(took, 3), "time": None, "basis": {"sha256": sha256}}
            checks.append({"rung": rung, **said, "detail": f"{rung} of {sha256}", "facts": {"tensors": 200, "apart": took * 1e-9, "sha256": sha256}})
        path = folder / rows.name_of(plan.digest, item.key)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"schema": rows.SCHEMA, "plan": plan.digest, **made, "checks": checks}))
    print(f"(rows of all files written by this benchmark in {time.perf_counter() - started:.0f} s)")


def catalogue(folder: Path, plan: Plan) -> None:
    place = place_of(str(folder))
    started = time.perf_counter()
    _, count = compact(plan, place)
    size, spent = (folder / NAME).stat().st_size / 1e6, time.perf_counter() - started
    bar(f"catalogue of {count:,} rows, made in {spent:.0f} s", "<= 20 MB", f"{size:.1f} MB", size <= 20)
    slowest = 0.0
    with opened(place) as connection:
        for sql in (
            "select name, count(*) from files where status <> 'passed' group by name",
            "select rung, name, avg(seconds), sum(size) from files group by all order by all",
            "select key, max(seconds) from files group by key order by 2 desc limit 10",
        ):
            started = time.perf_counter()
            select(connection, sql)
            slowest = max(slowest, time.perf_counter() - started)
            print(f"  {time.perf_counter() - started:.3f} s: {sql}")
    bar("a query of it", "<= 0.1 s", f"{slowest:.3f} s at most", slowest <= 0.1)


def lock(on: str) -> None:
    count, times = 100_000, 200
    with tempfile.TemporaryDirectory() as scratch:
        store = Store(Path(scratch) / "home", Path(scratch) / LOCK_NAME)
        whole = Lock(store.lock, True)
        for number in range(count):
            name = f"file_{number}.npz"
            whole.pages.setdefault(whole.page(name), {})[name] = {"sha256": rows.hash_of(name), "size": number, "url": f"https://a.test/{name}"}
        for page, pins in whole.pages.items():
            page.parent.mkdir(exist_ok=True)
            page.write_text(json.dumps({"version": 1, "pins": pins}, indent=2, sort_keys=True))
        store.lock.write_text(json.dumps({"version": 2, "folder": f"{LOCK_NAME}.d"}))
        new = [Artifact(name=f"new_{number}.npz", urls=("x.npz",)) for number in range(times)]
        for what, most, act in (
            ("pin", 20, lambda one: store.pin(one, "1" * 64, 5, "https://a.test/x")),
            ("look", 5, lambda one: store.expectation(one)),
        ):
            started = time.perf_counter()
            for one in new:
                act(one)
            spent = (time.perf_counter() - started) / times * 1e3
            bar(f"a {what}, with {count:,} pins in {LOCK_NAME}", f"<= {most} ms", f"{spent:.1f} ms", spent <= most)


BENCHES = {"throughput": throughput, "latency": latency, "kills": kills, "driver": driver, "lock": lock}
WITHOUT_ENGINE = ("driver", "lock")


def main() -> None:
    global KILLS
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[*BENCHES, []], default=[], metavar="NAME")
    parser.add_argument("--on", default="local", help="where workers run: local or ray [local]")
    parser.add_argument("--kills", type=int, default=KILLS, help="how many workers are killed [200]")
    record.add_option(parser)
    options = parser.parse_args()
    KILLS = options.kills
    os.environ |= {**TOKEN} if options.on == "ray" else {}
    started = time.perf_counter()
    for name in options.names or [name for name in BENCHES if options.on == "local" or name not in WITHOUT_ENGINE]:
        BENCHES[name](options.on)
    print(f"\n{time.perf_counter() - started:.0f} s, load {os.getloadavg()[0]:.1f}\n\n| what | bar | measured | |\n|---|---|---|---|")
    for what, bound, measured, holds in TABLE:
        print(f"| {what} | {bound} | {measured} | {'holds' if holds else 'MISSED'} |")
    if options.record:
        figures = {what: {"bar": bound, "measured": measured if holds else f"{measured} (missed)"} for what, bound, measured, holds in TABLE}
        record.keep(CLAIM, figures, record.versions(sys.executable, "ray"))


if __name__ == "__main__":
    main()
