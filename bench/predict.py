"""What `segzoo predict` takes: memory in bytes a pixel, and time, for pictures of several sizes.

    python bench/predict.py [--sides 64 2000 4000 10000] [--native] [--record]

Each picture goes through a process of its own (`segzoo --zoo mini predict`), whose peak of resident memory is compared with that of a
picture of 64 px. `--native` takes the windows from the picture at its own size instead of at the protocol's scale.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import record
from PIL import Image

from segzoo.manifest.document import packaged

CLAIM = "`segzoo predict` of one square picture by the mini zoo's models: peak memory, bytes a pixel beyond a small picture's peak, and wall time."


def picture(side: int, path: Path) -> None:
    """Soft blobs with noise, as JPEG or PNG by the path's suffix."""
    random = np.random.default_rng(side)
    small = Image.fromarray(random.integers(0, 256, (16, 16, 3), np.uint8))
    small.resize((side, side), Image.Resampling.BICUBIC).save(path)


def peak(arguments: list[str], zoo: str) -> tuple[float, float]:
    """Peak of resident memory in bytes, and seconds, of one command."""
    code = (
        "import sys; from segzoo.cli import main; from segzoo.evaluation.memory import resident_peak\n"
        f"try: main(['--zoo', {zoo!r}, 'predict', *sys.argv[1:]])\n"
        "finally: print('PEAK', resident_peak())"
    )
    begin = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code, *arguments, "--device", "cpu"], check=True, capture_output=True, text=True)
    return float(done.stdout.rsplit("PEAK", 1)[1]), time.perf_counter() - begin


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--sides", type=int, nargs="+", default=[2000, 4000, 10000])
    options.add_argument("--native", action="store_true")
    record.add_option(options)
    chosen = options.parse_args()
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        for name, models in (("one model", ["mini-mask"]), ("--compare", ["--compare", "mini-mask", "mini-linear"])):
            for side in [64, *chosen.sides]:
                zoo = _zoo(place, side) if chosen.native else "mini"
                path = place / f"{side}.png"
                if not path.exists():
                    picture(side, path)
                memory, seconds = peak([*models, str(path), "-o", str(place / "out")], zoo)
                if side == 64:
                    base = memory
                    continue
                bytes_each = (memory - base) / side**2
                figures[f"{name}, {side} x {side}"] = {"GB": memory / 1e9, "bytes a pixel": bytes_each, "s": seconds}
                print(f"{name:10} {side:6} x {side:6}: {memory / 1e9:5.2f} GB, {bytes_each:5.1f} bytes a pixel, {seconds:6.1f} s", flush=True)
    if chosen.record:
        record.keep(CLAIM, figures, {})


def _zoo(place: Path, side: int) -> str:
    """The mini zoo with a protocol that does not resize a picture of this side."""
    mini = packaged("mini/zoo.yaml")
    path = place / f"{side}.yaml"
    text = mini.read_text().replace("scale: [256, 64]", f"scale: [{side}, {side}]")
    path.write_text(text.replace("urls: [", f"urls: [{mini.parent.as_uri()}/"))
    return str(path)


if __name__ == "__main__":
    main()
