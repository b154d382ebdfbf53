"""A source that another program cuts, rewrites or replaces while it is converted: exit 4 and no output, whatever the format."""

import os
import subprocess
import sys
import time

import pytest
from support import TAME

from segzoo.conversion.convert import convert

WAITS = """
import sys
from segzoo.conversion.convert import convert
from segzoo.errors import SegzooError
told = []
def wait(doing, done, whole):
    if not told:
        told.append(print("reading", flush=True))
        sys.stdin.readline()
try:
    convert(sys.argv[1], sys.argv[2], progress=wait, heads=4)
except SegzooError as error:
    sys.exit(print(error.message) or error.exit_code)
"""


def cut(path):
    os.truncate(path, path.stat().st_size // 2)


def rewritten(path):
    """The same size, and other bytes at the place where the tensors are that were not read yet."""
    size = path.stat().st_size
    with path.open("rb+") as file:
        file.seek(size // 4)
        file.write(bytes(size // 2))


def replaced(path):
    other = path.with_name("other")
    other.write_bytes(path.read_bytes())
    other.replace(path)


@pytest.mark.parametrize("suffix", [".npz", ".pth", ".safetensors"])
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (cut, "cut short while it was read"),
        (rewritten, "changed while it was read"),
        (replaced, "changed while it was read"),
        (lambda path: path.unlink(), "removed while it was read"),
        (None, None),
    ],
    ids=["cut", "rewritten", "replaced", "removed", "left alone"],
)
def test_a_source_that_changes_while_it_is_read(suffix, change, said, tmp_path):
    source, target = tmp_path / f"a{suffix}", tmp_path / "out" / "b.pth"
    if suffix == ".npz":
        source.write_bytes(TAME.read_bytes())
    else:
        convert(TAME, source, to="timm")
    with subprocess.Popen([sys.executable, "-c", WAITS, source, target], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "reading\n"
        time.sleep(0.02)  # a tick of the file system's clock
        if change:
            change(source)
        message, _ = process.communicate("on\n")
    if not change:
        assert (process.returncode, target.exists()) == (0, True), message
        return
    assert process.returncode == 4, message
    assert said in message
    assert str(source) in message
    assert not list(target.parent.iterdir())
