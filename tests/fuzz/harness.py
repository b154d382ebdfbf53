"""What every fuzz target shares: how bytes are changed, which errors are allowed, and what must not happen meanwhile.

A target reads bytes of a stranger. A module `target_NAME.py` beside this one holds its `TARGETS`; `test_fuzz.py` runs them for about a minute
altogether, `bench/fuzz.py` for as long as one likes.
"""

import contextlib
import importlib
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from hypothesis import strategies as st

from segzoo.errors import SegzooError

NUMBERS = [0, 1, -1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 0x7FFFFFFFFFFFFFFF, 0xFFFFFFFFFFFFFFFF]
FORBIDDEN = ("subprocess.Popen", "os.exec", "os.system", "os.posix_spawn", "os.fork", "os.forkpty", "socket.connect", "pty.spawn")


@dataclass(frozen=True)
class Target:
    """A reader of bytes. `seeds` returns good inputs; `read` may raise SegzooError and nothing else, and may write into the folder only.

    `name` is the file name that the bytes get. `share` is how many times the usual number of examples the target runs in the gate.
    `loopback` allows connections to this machine, for a target that plays the bytes from a server of its own.
    """

    reader: str
    seeds: Callable[[], list[bytes]]
    read: Callable[[Path], object]
    name: str = "input"
    share: float = 1.0
    loopback: bool = False


def targets() -> list[Target]:
    """The targets of all modules `target_*.py`, by module and in the order of their tables."""
    modules = [importlib.import_module(path.stem) for path in sorted(Path(__file__).parent.glob("target_*.py"))]
    return [target for module in modules for target in module.TARGETS]


@st.composite
def changed(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """One of the seeds after a few edits: bits flipped, bytes cut, inserted or copied elsewhere, an extreme number put in, the end lost."""
    data = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        match draw(st.sampled_from(["flip", "cut", "insert", "copy", "number", "end", "digits"])):
            case "flip" if data:
                data[at] ^= draw(st.integers(1, 255))
            case "cut":
                del data[at : at + draw(st.integers(1, 64))]
            case "insert":
                data[at:at] = draw(st.binary(min_size=1, max_size=32))
            case "copy":
                piece = bytes(data[at : at + draw(st.integers(1, 256))])
                to = draw(st.integers(0, len(data)))
                data[to:to] = piece * draw(st.sampled_from([1, 1, 2, 50]))
            case "number":
                width = draw(st.sampled_from([1, 2, 4, 8]))
                value = draw(st.sampled_from(NUMBERS)) & (1 << 8 * width) - 1
                data[at : at + width] = value.to_bytes(width, draw(st.sampled_from(["little", "big"])))
            case "digits":
                data[at : at + 1] = draw(st.sampled_from([b"-1", b"1e999", b"NaN", b"9" * 400, b"[" * 300, b"{", b'"', b"\n", b"\x1b[2K", b"../../"]))
            case "end":
                del data[at:]
    return bytes(data)


_EVENTS: list[tuple[str, str]] | None = None
_LOOPBACK = False


def _hear(event: str, args: tuple[object, ...]) -> None:
    if _EVENTS is None or event not in FORBIDDEN or (_LOOPBACK and event == "socket.connect" and args[1][0] == "127.0.0.1"):
        return
    _EVENTS.append((event, repr(args)[:200]))


sys.addaudithook(_hear)  # for good: an audit hook cannot be taken away


@contextlib.contextmanager
def watched(loopback: bool = False) -> Iterator[None]:
    """Fail if a process is started or a connection opened within the block. `loopback` allows those to this machine."""
    global _EVENTS, _LOOPBACK
    _EVENTS, _LOOPBACK = [], loopback
    try:
        yield
        assert not _EVENTS, f"reading started something: {_EVENTS}"
    finally:
        _EVENTS = None


def attempt(target: Target, data: bytes) -> bool:
    """Give the target these bytes as a file. True if it read them, False if it refused them; any other exception is a fault and comes out."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder, watched(target.loopback):
        path = Path(folder) / target.name
        path.write_bytes(data)
        try:
            target.read(path)
        except SegzooError:
            return False
    return True
