"""A .pth and a .safetensors beyond 4 GiB: written by segzoo, read by torch and by segzoo. Takes 11 GB of disk and a minute or two.

python bench/large.py [--record]
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import record
import torch
from safetensors import safe_open

from segzoo.formats import open_weights, writer
from segzoo.spec import Spec

CLAIM = "Files beyond 4 GiB, written by segzoo and read right by each of these readers."
# one tensor beyond 2 GiB, and one that begins beyond 4 GiB
SHAPES = {"first": (600, 1 << 20), "second": (500, 1 << 20), "last": (3, 5)}


def tensors():
    for number, (name, shape) in enumerate(SHAPES.items()):
        array = np.full(shape, number, np.float32)
        array.reshape(-1)[-1] = 1000 + number
        yield name, array


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    record.add_option(parser)
    options, figures = parser.parse_args(), {}
    specs = {name: Spec(shape, "float32") for name, shape in SHAPES.items()}
    with tempfile.TemporaryDirectory() as folder:
        for suffix in (".pth", ".safetensors"):
            path, begun = Path(folder) / f"large{suffix}", time.perf_counter()
            with path.open("wb") as file:
                writer(path)(file, specs, tensors(), {})
            print(f"{path.name}: {path.stat().st_size:,} bytes written in {time.perf_counter() - begun:.0f} s")
            ours = open_weights(path)
            readers = {"segzoo": ours.__getitem__}
            if suffix == ".pth":
                whole, mapped = (torch.load(path, weights_only=True, mmap=mmap) for mmap in (False, True))
                readers |= {"torch": lambda name, whole=whole: whole[name].numpy(), "torch by mmap": lambda name, mapped=mapped: mapped[name].numpy()}
            else:
                opened = safe_open(path, framework="numpy")
                readers["safetensors"] = opened.get_tensor
            for reader, read in readers.items():
                for number, (name, shape) in enumerate(SHAPES.items()):
                    flat = read(name).reshape(-1)
                    assert flat.shape == (np.prod(shape),)
                    assert (flat[0], flat[-1]) == (number, 1000 + number), (reader, name)
                    assert (flat[:-1:9973] == number).all(), (reader, name)
                print(f"  read right by {reader}")
            figures[suffix] = {"bytes": f"{path.stat().st_size:,}", "read right by": ", ".join(readers)}
            path.unlink()
    if options.record:
        record.keep(CLAIM, figures, record.versions(sys.executable, "safetensors"))


if __name__ == "__main__":
    main()
