"""`segzoo convert` against the converters of mmseg 1.2.2 (vitjax2mmseg.py, swin2mmseg.py, mit2mmseg.py), in the same run, on files of true geometry.

    python bench/convert.py [--runs 3] [--record] [Ti] [B] [L] [swin-t] [swin-l] [mit-b0] [mit-b5]

Takes the peers' scripts out of the mmsegmentation wheel and has torch do what mmengine does in them (loading a file and making a
folder). Both outputs are compared tensor by tensor. Reports CPU seconds (user + system) and peak
resident memory of each whole process, the least of the runs, and the ratios. Then the wall time of segzoo against `cp` of the same
file, and against `cp` that also waits until the copy is on the disk, as segzoo does. Needs `segzoo[eval]`, pip, and 6 GB of disk for L.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import numpy as np
import record
from true_size import entry_of, shapes

from segzoo.layouts import FAMILIES
from segzoo.layouts.mit.geometry import MitSizes
from segzoo.layouts.swin.geometry import SwinSizes
from segzoo.manifest.entries import geometry_of

T = TypeVar("T")

PEER = "mmsegmentation==1.2.2"
CLAIM = (
    "`convert` against mmseg's converter of the same family, on random weights of the published sizes, both outputs equal: CPU time and peak memory "
    "of the whole process as a share of its own; wall time as a multiple of that of `cp`, and of `cp` that waits for the disk."
)
AUGREG = {"Ti": "vit-t", "S": "vit-s", "B": "vit-b", "L": "vit-l"}
OFFICIAL = {
    "swin-t": ("swin", SwinSizes(96, (2, 2, 6, 2), (3, 6, 12, 24), 7)),
    "swin-l": ("swin", SwinSizes(192, (2, 2, 18, 2), (6, 12, 24, 48), 12)),
    "mit-b0": ("mit", MitSizes(widths=(32, 64, 160, 256), depths=(2, 2, 2, 2), heads=(1, 2, 5, 8))),
    "mit-b5": ("mit", MitSizes(widths=(64, 128, 320, 512), depths=(3, 6, 40, 3), heads=(1, 2, 5, 8))),
}
RENAMED = {"norm3": "norm"}
"""swin2mmseg.py leaves the name of the last norm, which no model of mmseg reads."""


def peers(folder: Path) -> Path:
    """The folder of the real scripts, without mmengine."""
    subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", folder, PEER], check=True)
    with zipfile.ZipFile(next(folder.glob("mmsegmentation-*.whl"))) as wheel:
        for name in ("vitjax2mmseg", "swin2mmseg", "mit2mmseg"):
            source = wheel.read(f"mmseg/.mim/tools/model_converters/{name}.py").decode()
            for theirs, plain in (
                ("from mmengine.runner import CheckpointLoader\n", ""),
                ("import mmengine\n", "import os\n"),
                ("CheckpointLoader.load_checkpoint(args.src, map_location='cpu')", "torch.load(args.src, map_location='cpu')"),
                ("mmengine.mkdir_or_exist(osp.dirname(args.dst))", "os.makedirs(osp.dirname(args.dst), exist_ok=True)"),
            ):
                source = source.replace(theirs, plain)
            assert "mmengine" not in source
            (folder / f"{name}.py").write_text(source)
    return folder


def augreg(folder: Path, name: str) -> Path:
    """An AugReg-named file of the published geometry at 384 px, with random numbers. The peer reads the depth from the name."""
    random, path = np.random.default_rng(0), folder / f"{name}_16-i21k-synthetic-res_384.npz"
    wanted = shapes("vit", "augreg", geometry_of(entry_of(AUGREG[name])))
    np.savez(path, **{key: random.standard_normal(shape, dtype=np.float32) for key, shape in wanted.items()})
    return path


def official(folder: Path, name: str) -> Path:
    """A backbone of the published geometry under the names of its authors, with random numbers, as `{'model': ...}`."""
    import torch

    from segzoo.models.segmentor import empty

    family, sizes = OFFICIAL[name]
    own, path = folder / "own.pth", folder / f"{name}.pth"
    module = empty(FAMILIES[family], sizes.geometry(), (), eps=FAMILIES[family].eps).to_empty(device="cpu")
    torch.manual_seed(0)
    torch.save({key: tensor.normal_() for key, tensor in module.state_dict().items() if tensor.is_floating_point()}, own)
    subprocess.run([sys.executable, "-m", "segzoo", "convert", own, path, "--to", "official"], check=True, stdout=subprocess.DEVNULL)
    torch.save({"model": torch.load(path, weights_only=True)}, path)
    own.unlink()
    return path


def measured(command: list[object]) -> tuple[float, float, float]:
    """CPU seconds, peak megabytes and wall seconds of a process."""
    started = time.perf_counter()
    compiled = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}  # as the peer's libraries are
    child = subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL, env=compiled)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == 0, command
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / (1000 if sys.platform != "darwin" else 1_000_000), time.perf_counter() - started


def same(left: Path, right: Path) -> bool:
    import torch

    mine, theirs = (torch.load(path, weights_only=True, mmap=True) for path in (left, right))
    mine = {".".join([RENAMED.get(part, part) for part in key.split(".", 1)]): tensor for key, tensor in mine.items()}
    return mine.keys() == theirs.keys() and all(torch.equal(mine[key], theirs[key]) for key in theirs)


def elsewhere(act: Callable[..., T], *arguments: object) -> T:
    """The act in a process of its own: a child's peak memory counts that of the process it was started from."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(act, *arguments).result()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=["Ti", "L", "swin-t", "swin-l", "mit-b0", "mit-b5"], choices=[*AUGREG, *OFFICIAL])
    parser.add_argument("--runs", type=int, default=3)
    record.add_option(parser)
    options = parser.parse_args()
    print(f"least of {options.runs} runs; in brackets the median ratio of CPU time")
    print(
        f"{'':7}{'peer CPU s':>12}{'segzoo':>9}{'ratio':>7}{'peer MB':>10}{'segzoo':>9}{'ratio':>7}"
        f"{'wall s':>9}{'cp':>7}{'ratio':>7}{'cp, sync':>10}{'ratio':>7}"
    )
    figures: dict[str, dict[str, float | str]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scripts = peers(folder)
        for case in options.names:
            make, script = (augreg, "vitjax2mmseg") if case in AUGREG else (official, f"{OFFICIAL[case][0]}2mmseg")
            source, theirs, ours = elsewhere(make, folder, case), folder / "peer" / "a.pth", folder / "segzoo.pth"
            copy = folder / "copy"
            runs = []
            for _ in range(options.runs):
                peer_run = measured([sys.executable, scripts / f"{script}.py", source, theirs])
                ours.unlink(missing_ok=True)
                run = peer_run, measured([sys.executable, "-m", "segzoo", "convert", source, ours])
                runs.append((*run, measured(["cp", source, copy]), measured(["sh", "-c", f"cp '{source}' '{copy}' && sync '{copy}'"])))
                copy.unlink()
            assert elsewhere(same, ours, theirs), "the two outputs differ"
            (peer_cpu, our_cpu), (peer_mb, our_mb) = ([min(run[side][figure] for run in runs) for side in (0, 1)] for figure in (0, 1))
            wall, plain, synced = (min(run[side][2] for run in runs) for side in (1, 2, 3))
            middle = statistics.median(run[1][0] / run[0][0] for run in runs)
            print(
                f"{case:7}{peer_cpu:12.2f}{our_cpu:9.2f}{our_cpu / peer_cpu:7.2f}{peer_mb:10.0f}{our_mb:9.0f}{our_mb / peer_mb:7.2f}"
                f"{wall:9.2f}{plain:7.2f}{wall / plain:7.1f}{synced:10.2f}{wall / synced:7.2f}  ({middle:.2f})"
            )
            source.unlink()
            figures[case] = {"CPU": our_cpu / peer_cpu, "memory": our_mb / peer_mb, "cp": wall / plain, "cp, on the disk": wall / synced}
    if options.record:
        record.keep(CLAIM, figures, {"mmsegmentation": PEER.partition("==")[2]})


if __name__ == "__main__":
    main()
