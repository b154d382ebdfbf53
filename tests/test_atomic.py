"""A file appears whole or not at all, whatever stops its writing."""

import errno
import os
import stat
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from support import slow_after

from segzoo.atomic import abandoned, alone, give_name, part_file, replacing, sweep
from segzoo.errors import EnvironmentFault, IntegrityError
from segzoo.formats import suffixes

STOPS = [
    (ValueError("a bug"), ValueError),
    (IntegrityError("read back, it differs"), IntegrityError),
    (KeyboardInterrupt(), KeyboardInterrupt),
    (SystemExit(1), SystemExit),
    (OSError(errno.EIO, "Input/output error"), EnvironmentFault),
]


def listing(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(params=[{}, {"target": b"as it was"}], ids=["new", "replaced"])
def before(request, tmp_path):
    for name, content in request.param.items():
        (tmp_path / name).write_bytes(content)
    return request.param


def test_a_finished_file_takes_the_name(before, tmp_path):
    with replacing(tmp_path / "target") as part:
        part.write_bytes(b"new")
        assert part.parent == tmp_path  # a rename across file systems would not be atomic
        assert {name: content for name, content in listing(tmp_path).items() if name in before} == before
    assert listing(tmp_path) == {"target": b"new"}


@pytest.mark.parametrize(("stop", "seen"), STOPS, ids=[type(stop).__name__ for stop, _ in STOPS])
def test_an_unfinished_one_leaves_nothing(stop, seen, before, tmp_path):
    def write():
        with replacing(tmp_path / "target") as part:
            part.write_bytes(b"half")
            raise stop

    with pytest.raises(seen):
        write()
    assert listing(tmp_path) == before


def test_a_part_that_is_not_kept_is_gone(tmp_path):
    with part_file(tmp_path, "blob") as part:
        part.write_bytes(b"not wanted")
    assert listing(tmp_path) == {}
    with part_file(tmp_path, "blob") as part:
        part.write_bytes(b"wanted")
        give_name(part, tmp_path / "blob")
    assert listing(tmp_path) == {"blob": b"wanted"}


def test_two_at_once_do_not_meet(tmp_path):
    with replacing(tmp_path / "target") as one, replacing(tmp_path / "target") as two:
        assert one != two
        one.write_bytes(b"one")
        two.write_bytes(b"two")
    assert listing(tmp_path) == {"target": b"one"}  # the one that ended last


def test_missing_folders_are_made(tmp_path):
    with replacing(tmp_path / "a" / "b" / "target") as part:
        part.write_bytes(b"new")
    assert listing(tmp_path) == {"a/b/target": b"new"}


@pytest.mark.parametrize("name", ["n" * 255, "\N{GREEK SMALL LETTER PI}" * 127, "\N{PERSON WITH FOLDED HANDS}" * 63])
def test_names_as_long_as_names_may_be(name, tmp_path):
    with replacing(tmp_path / name) as part:
        part.write_bytes(b"new")
    assert listing(tmp_path) == {name: b"new"}


@pytest.mark.parametrize("place", ["file/target", "file/sub/target"])
def test_a_folder_that_cannot_be_written(place, tmp_path):
    (tmp_path / "file").write_bytes(b"no folder")
    with pytest.raises(EnvironmentFault, match="cannot write here"), replacing(tmp_path / place):
        pytest.fail("nothing can be written there")
    assert listing(tmp_path) == {"file": b"no folder"}


def test_a_target_that_is_a_folder(tmp_path):
    (tmp_path / "target").mkdir()
    with pytest.raises(EnvironmentFault, match="target: not written: Is a directory"), replacing(tmp_path / "target") as part:
        part.write_bytes(b"new")
    assert listing(tmp_path) == {}


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_the_umask_is_respected_and_kept(mask, mode, before, tmp_path):
    caller = os.umask(mask)
    try:
        with replacing(tmp_path / "target") as part:
            part.write_bytes(b"new")
        assert os.umask(mask) == mask
    finally:
        os.umask(caller)
    assert stat.S_IMODE((tmp_path / "target").stat().st_mode) == mode


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk(before, tmp_path):
    with pytest.raises(EnvironmentFault, match="target: not written: No space left on device") as caught, replacing(tmp_path / "target"):
        Path("/dev/full").write_bytes(b"half")
    assert caught.value.hint.startswith("free some space, or write to another folder; SEGZOO_HOME sets")
    assert listing(tmp_path) == before


WRITES = """
import resource, signal, sys
from contextlib import contextmanager
from pathlib import Path
from segzoo.atomic import replacing
from segzoo.errors import EnvironmentFault
from segzoo.formats import open_weights, writer
source, target, limit = map(Path, sys.argv[1:])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(str(limit)),) * 2)
opened = open_weights(source)
try:
    with replacing(target) as part, part.open("wb") as file:
        writer(target)(file, opened.specs, opened.items(), {})
except EnvironmentFault as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on the size of files")
@pytest.mark.parametrize("limit", slow_after(2, [80_000, 0, 100, 20_000]))
@pytest.mark.parametrize("suffix", suffixes)
def test_a_disk_that_fills_while_weights_are_written(suffix, limit, before, tmp_path):
    source, folder = tmp_path / "source.npz", tmp_path / "folder"
    np.savez(source, small=np.arange(3), large=np.arange(9999.0), last=np.arange(3))
    folder.mkdir()
    for name, content in before.items():
        (folder / f"{name}{suffix}").write_bytes(content)
    kept = listing(folder)
    command = [sys.executable, "-W", "error", "-c", WRITES, source, folder / f"target{suffix}", str(limit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"target{suffix}: not written: File too large" in done.stdout
    assert listing(folder) == kept


HOLDS = """
import sys, time
from contextlib import contextmanager
from pathlib import Path
from segzoo.atomic import replacing, whole_folder
with {begin}(Path(sys.argv[1])) as part:
    (part / "inside" if {folder} else part).write_bytes(b"half")
    print("writing", flush=True)
    time.sleep(60)
"""
KINDS = [("replacing", False), ("whole_folder", True)]


@contextmanager
def writing(begin, folder, target):
    """A process that has begun to write, and does not end by itself."""
    process = subprocess.Popen([sys.executable, "-c", HOLDS.format(begin=begin, folder=folder), target], stdout=subprocess.PIPE)
    try:
        assert process.stdout.readline() == b"writing\n"
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(("begin", "folder"), KINDS)
@pytest.mark.parametrize("label", ["target", "n" * 200, "[a-z]*\n", ".x.0123abcd"])
def test_a_part_that_no_process_holds_goes(begin, folder, label, tmp_path):
    with writing(begin, folder, tmp_path / label):
        there = listing(tmp_path)
        assert sorted(Path(name).parts[0][-5:] for name in there) == [".held", ".part"]
        assert (abandoned(tmp_path), sweep(tmp_path), sweep(tmp_path, label), listing(tmp_path)) == ([], [], [], there)
    (left,) = abandoned(tmp_path)
    assert sweep(tmp_path, "another") == []
    assert listing(tmp_path) == there
    assert sweep(tmp_path, label) == [left]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("begin", "folder"), KINDS)
def test_the_next_writer_removes_it(begin, folder, tmp_path):
    with writing(begin, folder, tmp_path / "target") as killed, writing(begin, folder, tmp_path / "other"):
        killed.kill()
        killed.wait()
        assert len(list(tmp_path.iterdir())) == 4
        with replacing(tmp_path / "third") as part:
            part.write_bytes(b"new")
        assert sorted(path.suffix for path in tmp_path.iterdir()) == ["", ".held", ".part"]
        assert len(list(tmp_path.glob(".other.*"))) == 2


@pytest.mark.parametrize("name", [".target.0123abcd.part", ".target.0123abcd.held"])
def test_what_has_half_of_the_pair(name, tmp_path):
    """A locked file without a part is done for. A part that nobody ever locked may be in use for a day."""
    (tmp_path / name).write_bytes(b"")
    assert bool(sweep(tmp_path)) == name.endswith("held")
    (tmp_path / name).touch()
    os.utime(tmp_path / name, (1, 1))
    assert sweep(tmp_path) == [tmp_path / ".target.0123abcd.part"]
    assert listing(tmp_path) == {}


@pytest.mark.parametrize("name", ["target.part", ".target.part", ".target.0123abcd.part.txt", ".target.0123ABCD.part", ".0123abcd.part"])
def test_other_files_stay(name, tmp_path):
    (tmp_path / name).write_bytes(b"somebody's")
    os.utime(tmp_path / name, (1, 1))
    assert sweep(tmp_path) == []
    assert listing(tmp_path) == {name: b"somebody's"}


@pytest.mark.skipif(sys.platform == "win32", reason="needs links and pipes")
@pytest.mark.parametrize("end", ["part", "held"])
def test_links_and_pipes_among_the_parts(end, tmp_path):
    """In a folder that others may write to: nothing hangs, nothing behind a link is touched."""
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").write_bytes(b"kept")
    folder = tmp_path / "shared"
    folder.mkdir()
    (folder / f".link.0123abcd.{end}").symlink_to(tmp_path / "precious")
    (folder / f".file.0123abcd.{end}").symlink_to(tmp_path / "precious" / "file")
    os.mkfifo(folder / f".pipe.0123abcd.{end}")
    if end == "part":
        for name in ("link", "file", "pipe"):
            (folder / f".{name}.0123abcd.held").touch()
    with replacing(folder / "target") as part:
        part.write_bytes(b"new")
    assert sorted(path.name for path in folder.iterdir() if path.suffix == ".part") == []
    assert (tmp_path / "precious" / "file").read_bytes() == b"kept"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs files of two users")
def test_the_parts_of_others_stay(tmp_path):
    for end in ("part", "held"):
        (tmp_path / f".target.0123abcd.{end}").touch()
        os.chown(tmp_path / f".target.0123abcd.{end}", 12345, 12345)
    assert sweep(tmp_path) == []


def test_writers_and_sweepers_at_once(tmp_path):
    """A sweep between a file and its lock, or between its lock and its part, takes nothing away."""
    code = """
import sys
from contextlib import contextmanager
from pathlib import Path
from segzoo import atomic
folder, number = Path(sys.argv[1]), sys.argv[2]
for turn in range(300):
    atomic.sweep(folder)
    with atomic.replacing(folder / number) as part:
        part.write_text(f"{number} {turn}")
    with atomic.whole_folder(folder / f"{number}.{turn}") as part:
        (part / "file").write_text(number)
"""
    running = [subprocess.Popen([sys.executable, "-c", code, tmp_path, str(number)], stderr=subprocess.PIPE, text=True) for number in range(4)]
    assert [process.communicate()[1] for process in running] == [""] * 4
    assert {(tmp_path / str(number)).read_text() for number in range(4)} == {f"{number} 299" for number in range(4)}
    assert len(list(tmp_path.glob("*.*/file"))) == 1200
    assert list(tmp_path.glob(".*")) == []


def refuse(descriptor, how):
    """As on Lustre without flock, where the call itself fails."""
    raise OSError(errno.ENOSYS, "Function not implemented")


def grant(descriptor, how):
    """As where each machine has locks of its own: everybody gets the lock."""


@pytest.mark.parametrize("flock", [refuse, grant])
def test_where_locks_do_not_work_age_decides(flock, tmp_path, monkeypatch):
    monkeypatch.setattr("fcntl.flock", flock)
    with replacing(tmp_path / "target") as part:
        part.write_bytes(b"new")
        assert sweep(tmp_path) == []
    assert listing(tmp_path) == {"target": b"new"}
    for end in ("part", "held"):
        (tmp_path / f".target.0123abcd.{end}").touch()
    assert sweep(tmp_path) == []
    for end in ("part", "held"):
        os.utime(tmp_path / f".target.0123abcd.{end}", (1, 1))
    assert len(sweep(tmp_path)) == 1
    assert listing(tmp_path) == {"target": b"new"}


COUNTS = """
import sys, time
from pathlib import Path
from segzoo.atomic import alone, sweep
path, turns = Path(sys.argv[1]), int(sys.argv[2])
for _ in range(turns):
    with alone(path):
        before = int(path.read_text())
        time.sleep(0.001)
        path.write_text(str(before + 1))
    sweep(path.parent)
if not turns:
    with alone(path):
        print("alone", flush=True)
        time.sleep(60)
"""


def test_one_process_at_a_time_changes_a_file(tmp_path):
    """A process that is killed keeps nobody out, and the file that it locked does not stay."""
    path = tmp_path / "counter"
    path.write_text("0")
    killed = subprocess.Popen([sys.executable, "-c", COUNTS, path, "0"], stdout=subprocess.PIPE)
    assert killed.stdout.readline() == b"alone\n"
    assert [one.name for one in tmp_path.glob(".*")] == [".counter.00000000.held"]
    running = [subprocess.Popen([sys.executable, "-c", COUNTS, path, "40"], stderr=subprocess.PIPE, text=True) for _ in range(4)]
    assert sweep(tmp_path) == []
    assert path.read_text() == "0"
    killed.kill()
    killed.communicate()
    assert [process.communicate()[1] for process in running] == [""] * 4
    assert listing(tmp_path) == {"counter": b"160"}


def test_a_process_that_does_not_end_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr("segzoo.atomic._LONGEST_WAIT", 0.1)
    with alone(tmp_path / "file"):
        with pytest.raises(EnvironmentFault, match=r"another process has held it for 0\.1 s"), alone(tmp_path / "file"):
            pytest.fail("there are two at once")
        assert len(list(tmp_path.iterdir())) == 1
    assert list(tmp_path.iterdir()) == []
