"""Only regular files are opened, at once, and no more is read of them than they say they have."""

import os
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from click.testing import CliRunner
from support import TAME

from segzoo.cli import main
from segzoo.regular import NotRegular, chunks, open_named, open_regular, own

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs pipes and devices")


@pytest.fixture
def places(tmp_path):
    """What may be in the place of a file: a path, and the word for it."""
    (tmp_path / "file").write_bytes(b"bytes")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "link to pipe").symlink_to("pipe")
    (tmp_path / "link to zero").symlink_to("/dev/zero")
    (tmp_path / "link to stdin").symlink_to("/dev/stdin")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(tmp_path / "socket"))
        yield tmp_path


IRREGULAR = {"folder": "a folder", "pipe": "a pipe", "link to pipe": "a pipe", "link to zero": "a device", "socket": "a socket"}
DEVICES = ["/dev/zero", "/dev/random", "/dev/null", "/dev/full", "/dev/tty"]


@pytest.mark.parametrize("name", [*IRREGULAR, *(one for one in DEVICES if Path(one).exists())])
def test_what_is_no_file_is_refused_at_once(name, places):
    for opened in (open_regular, open_named):
        with pytest.raises(NotRegular) as caught:
            opened(places / name)
        assert caught.value.what == IRREGULAR.get(name, "a device")


def test_links_are_the_users_business_alone(places):
    with open_regular(places / "link") as file:
        assert file.read() == b"bytes"
    with pytest.raises(NotRegular, match="a link, not a file"):
        open_regular(places / "link", links=False)
    assert [own(places / name) for name in ("file", "link", "pipe", "folder")] == [True, False, False, False]


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")
def test_what_the_system_shows_of_itself(places):
    """A stranger's path leads to none of it, by whatever way. Where the user names it, it has as many bytes as it says: none."""
    ways = ["/proc/self/environ", "/proc/../proc/self/environ", "/proc/self/cwd/../proc/version", "/sys/kernel/uevent_seqnum"]
    (places / "way").symlink_to("/proc/self/environ")
    (places / "there").symlink_to("/proc/self")
    with ExitStack() as stack:
        stdin = stack.enter_context((places / "file").open("rb"))
        ways += [f"/dev/fd/{stdin.fileno()}", f"/proc/self/fd/{stdin.fileno()}"]
        for way in [*ways, places / "way", places / "there" / "environ", places / "link to stdin", "/dev/stdin"]:
            with pytest.raises((NotRegular, FileNotFoundError)):
                open_named(Path(way))
    with open_regular(Path("/proc/self/environ")) as file:
        assert b"".join(chunks(file)) == b""


def test_a_file_that_grows_is_read_as_far_as_it_was(places):
    with open_regular(places / "file") as file:
        pieces = chunks(file)
        with (places / "file").open("ab") as more:
            more.write(b" and more")
            more.flush()
            assert b"".join(pieces) in (b"bytes", b"bytes and more")  # by when it was asked for its size
        assert list(chunks(file)) == []


COMMANDS = [
    ("inspect", "{}"),
    ("convert", "{}", "out.pth"),
    ("diff", "{}", str(TAME)),
    ("store", "add", "{}"),
    ("store", "add", "--as", "mini-vit", "{}"),
    ("store", "load", "{}"),
    ("verify", "{}"),
    ("receipt", "check", "{}"),
    ("--zoo", "{}", "list"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("name", ["pipe", "/dev/zero", "folder"])
def test_no_command_waits_for_a_pipe(command, name, places, monkeypatch):
    monkeypatch.chdir(places)
    zoo = () if "--zoo" in command else ("--zoo", "mini")
    done = CliRunner().invoke(main, [*zoo, *(word.format(name) for word in command)], catch_exceptions=False)
    assert done.exit_code in (2, 7)
    assert (IRREGULAR.get(name) or "a device") in done.stderr or name == "folder"
    assert name == "folder" or "save " in done.stderr


def test_what_comes_from_another_program_is_told_to_be_saved(tmp_path):
    """`segzoo inspect <(cat x.npz)`, as bash makes it: a pipe that is open already."""
    read, write = os.pipe()
    try:
        command = [sys.executable, "-m", "segzoo", "inspect", f"/dev/fd/{read}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, pass_fds=[read], timeout=60)
    finally:
        os.close(read)
        os.close(write)
    assert (done.returncode, done.stdout) == (7, "")
    assert done.stderr == f"error: /dev/fd/{read}: a pipe, not a file\nhint: save what comes from it as a file first: cat /dev/fd/{read} > FILE\n"


@pytest.mark.parametrize("said", ["\0" * 100_000, "x" * 100_000, "photo.jpg\n" + "x" * 20_000], ids=["a device", "a text", "a line"])
def test_what_is_no_list_of_images_is_not_read_to_its_end(said, tmp_path):
    done = CliRunner().invoke(main, ["--zoo", "mini", "predict", "mini-linear", "-", "-o", str(tmp_path)], input=said)
    assert (done.exit_code, "what comes on stdin is no list of images" in done.stderr) == (2, True)


@pytest.mark.parametrize("name", ["pipe", "/dev/zero", "socket", "no\0name", "x" * 300, "x/" * 3000])
def test_a_list_of_images_that_are_none(name, places, monkeypatch):
    monkeypatch.chdir(places)
    done = CliRunner().invoke(main, ["--zoo", "mini", "predict", "mini-linear", "-", "-o", "out"], input=f"{name}\n")
    assert (done.exit_code, "no such image" in done.stderr) == (7, True)
