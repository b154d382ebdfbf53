"""`segzoo convert` against the real vitjax2mmseg.py (mmseg 1.2.2), in the same run, on files of true geometry.

    python bench/convert.py [--runs 3] [Ti] [B] [L]

Takes the peer's script out of the mmsegmentation wheel and removes its one use of mmengine (making a
folder). Both outputs are compared tensor by tensor. Reports CPU seconds (user + system) and peak
resident memory of each whole process, the least of the runs, and the ratios. Needs `segzoo[eval]`,
pip, and 4 GB of disk for L.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import numpy as np

from segzoo.conversion.axes import shape_of
from segzoo.layouts import LAYOUTS
from segzoo.layouts.rule import Depths

T = TypeVar("T")

PEER = "mmsegmentation==1.2.2"
GEOMETRY = {"Ti": (192, 12, 3), "S": (384, 12, 6), "B": (768, 12, 12), "L": (1024, 24, 16)}


def peer(folder: Path) -> Path:
    """The real script, without mmengine."""
    subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", folder, PEER], check=True)
    with zipfile.ZipFile(next(folder.glob("mmsegmentation-*.whl"))) as wheel:
        source = wheel.read("mmseg/.mim/tools/model_converters/vitjax2mmseg.py").decode()
    assert source.count("mmengine") == 2
    source = source.replace("import mmengine\n", "import os\n").replace(
        "mmengine.mkdir_or_exist(osp.dirname(args.dst))", "os.makedirs(osp.dirname(args.dst), exist_ok=True)"
    )
    script = folder / "vitjax2mmseg.py"
    script.write_text(source)
    return script


def synthetic(folder: Path, name: str) -> Path:
    """An AugReg-named file of the published geometry at 384 px, with random numbers. The peer reads the depth from the name."""
    width, depth, heads = GEOMETRY[name]
    sizes = {"d": width, "h": heads, "k": width // heads, "m": 4 * width, "n": 576, "y": 16, "x": 16, "chan": 3, "r": width, "classes": 1000}
    random = np.random.default_rng(0)
    rules = LAYOUTS["vit"]["augreg"].expand("", Depths({"i": depth}), ("stem", "encoder", "classifier"))
    path = folder / f"{name}_16-i21k-synthetic-res_384.npz"
    np.savez(path, **{key: random.standard_normal(shape_of(rule.native, sizes), dtype=np.float32) for key, rule in rules.items()})
    return path


def measured(command: list[object]) -> tuple[float, float]:
    """CPU seconds and peak megabytes of a process."""
    child = subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == 0, command
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / (1000 if sys.platform != "darwin" else 1_000_000)


def same(left: Path, right: Path) -> bool:
    import torch

    mine, theirs = (torch.load(path, weights_only=True, mmap=True) for path in (left, right))
    return mine.keys() == theirs.keys() and all(torch.equal(mine[key], theirs[key]) for key in theirs)


def elsewhere(act: Callable[..., T], *arguments: object) -> T:
    """The act in a process of its own: a child's peak memory counts that of the process it was started from."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(act, *arguments).result()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=["Ti", "L"], choices=GEOMETRY)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    print(f"least of {options.runs} runs; in brackets the median ratio of CPU time")
    print(f"{'':4}{'peer CPU s':>12}{'segzoo':>9}{'ratio':>7}{'peer MB':>10}{'segzoo':>9}{'ratio':>7}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        script = peer(folder)
        for case in options.names:
            source, theirs, ours = elsewhere(synthetic, folder, case), folder / "peer" / "a.pth", folder / "segzoo.pth"
            runs = []
            for _ in range(options.runs):
                peer_run = measured([sys.executable, script, source, theirs])
                runs.append((peer_run, measured([sys.executable, "-m", "segzoo", "convert", source, ours, "--force"])))
            assert elsewhere(same, ours, theirs), "the two outputs differ"
            (peer_cpu, our_cpu), (peer_mb, our_mb) = ([min(run[side][figure] for run in runs) for side in (0, 1)] for figure in (0, 1))
            middle = statistics.median(ours[0] / theirs[0] for theirs, ours in runs)
            print(
                f"{case:4}{peer_cpu:12.2f}{our_cpu:9.2f}{our_cpu / peer_cpu:7.2f}{peer_mb:10.0f}{our_mb:9.0f}{our_mb / peer_mb:7.2f}  ({middle:.2f})"
            )
            source.unlink()


if __name__ == "__main__":
    main()
