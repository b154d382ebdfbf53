"""A store that others use too: what they left in it, what they may read, and what several processes do in it at once."""

import hashlib
import json
import os
import random
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from support import slow_after

from segzoo.cli import main
from segzoo.errors import IntegrityError
from segzoo.store.partial import Partial, arrived, in_use, parts
from segzoo.store.store import LOCK_NAME, Store, home
from segzoo.zoo.doctor import diagnose
from segzoo.zoo.zoo import open_zoo

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs links, pipes and users")
DATA = random.Random(3).randbytes(300_000)
SHA = hashlib.sha256(DATA).hexdigest()


def zoo_of(folder, **files):
    """A zoo whose backbones have these bytes, each behind a relative address."""
    geometry = {"width": 64, "depth": 1, "heads": 1, "mlp": 64, "patch": 16, "grid": 2}
    backbones = {}
    for name, data in files.items():
        (folder / f"{name}.bin").write_bytes(data)
        known = {"name": f"{name}.npz", "sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "urls": [f"{name}.bin"]}
        backbones[name] = {"title": name, "file": f"{name}.pth", "source": known, "geometry": dict(geometry)}
    (folder / "zoo.yaml").write_text(yaml.safe_dump({"version": 1, "backbones": backbones}))
    return folder / "zoo.yaml"


@pytest.fixture
def zoo(tmp_path):
    return zoo_of(tmp_path, tiny=DATA)


@pytest.fixture
def store(tmp_path):
    return Store(home(), tmp_path / LOCK_NAME)


def segzoo(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments], catch_exceptions=False)


# what is no digest


@pytest.mark.parametrize(
    "digest",
    ["", "..", "../../../etc/passwd", "/dev/stdin", SHA[:-1], f"{SHA}0", SHA.upper(), f"{SHA}\n", "\uff10" * 64, "a" * 63 + "\0", 7, ["a"] * 64],
)
def test_what_is_no_digest_is_no_part_of_a_path(digest, store):
    for use in (store.blob, store.stored, store.remove):
        with pytest.raises(IntegrityError, match="is no sha256: expected 64 digits from 0-9a-f"):
            use(digest)


# what others left


def left_by_others(kind, path, secret):
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        (path / "inside").mkdir(parents=True)
    elif kind == "other's":
        path.write_bytes(secret.read_bytes())
        os.chown(path, 12345, 12345)
    else:
        path.symlink_to({"link": secret, "link to zero": "/dev/zero", "broken link": "nowhere"}[kind])


LEFT = ["pipe", "link", "link to zero", "broken link", "folder"]
ROOT = hasattr(os, "geteuid") and os.geteuid() == 0


@pytest.mark.parametrize("kind", [*LEFT, pytest.param("other's", marks=pytest.mark.skipif(not ROOT, reason="needs two users"))])
def test_a_part_of_a_download_that_is_none(kind, zoo, store, tmp_path):
    """A link there would copy a private file to where others read it, a pipe would wait for ever."""
    secret = tmp_path / "secret"
    secret.write_bytes(DATA[:200_000])
    secret.chmod(0o600)
    left = store.partials / f"{SHA[:32]}-whole.{'0' * 32}.part"
    left_by_others(kind, left, secret)
    assert (parts(store.partials), in_use(left), arrived(store.partials, SHA[:32])) == ([], False, 0)
    partial = Partial(store.partials, SHA[:32], "whole")
    partial.resume()
    assert partial.size == 0
    partial.close()
    assert segzoo("--zoo", zoo, "store", "ls").exit_code == 0
    assert segzoo("--zoo", zoo, "fetch", "tiny").exit_code == 0
    assert store.blob(SHA).read_bytes() == DATA
    assert segzoo("--zoo", zoo, "store", "prune").exit_code == 0
    assert secret.read_bytes() == DATA[:200_000]


@pytest.mark.parametrize("kind", LEFT)
def test_a_blob_that_is_none(kind, zoo, store, tmp_path):
    """Even a link to the right bytes is none: whoever owns it can let it lead elsewhere."""
    (tmp_path / "secret").write_bytes(DATA)
    left_by_others(kind, store.blob(SHA), tmp_path / "secret")
    assert store.stored(SHA) is None
    listed = segzoo("--zoo", zoo, "store", "ls")
    assert (listed.exit_code, f"{store.blob(SHA)}: no file of the store" in listed.stdout) == (0, True)
    verified = segzoo("--zoo", zoo, "store", "verify")
    assert (verified.exit_code, f"{store.blob(SHA)}: no file of the store" in verified.stderr) == (4, True)
    done = segzoo("--zoo", zoo, "fetch", "tiny")
    if kind == "folder":
        assert (done.exit_code, done.stderr.startswith(f"error: {store.blob(SHA)}: a folder has the name of a file")) == (8, True)
        return
    assert done.exit_code == 0
    assert stat.S_ISREG(store.blob(SHA).lstat().st_mode)
    assert (tmp_path / "secret").read_bytes() == DATA
    assert segzoo("--zoo", zoo, "store", "verify").exit_code == 0


def test_hidden_files_of_the_system_are_no_fault(zoo, store):
    assert segzoo("--zoo", zoo, "fetch", "tiny").exit_code == 0
    for name in (".nfs000000000000001f", ".DS_Store"):
        (store.blobs / name).write_bytes(b"the system's")
    assert segzoo("--zoo", zoo, "store", "verify").stdout == "1 file: all are what their names say\n"


@pytest.mark.parametrize("kind", ["pipe", "link to zero", "folder"])
@pytest.mark.parametrize("name", [LOCK_NAME, f".{LOCK_NAME}.00000000.held"])
def test_a_lock_file_that_is_none(kind, name, tmp_path):
    zoo = tmp_path / "zoo.yaml"
    geometry = {"width": 64, "depth": 1, "heads": 1, "mlp": 64, "patch": 16, "grid": 2}
    source = {"name": "tiny.npz", "sha256_prefix": SHA[:8], "urls": ["tiny.bin"]}
    entry = {"title": "tiny", "file": "tiny.pth", "source": source, "geometry": geometry}
    zoo.write_text(yaml.safe_dump({"version": 1, "backbones": {"tiny": entry}}))
    (tmp_path / "tiny.bin").write_bytes(DATA)
    left_by_others(kind, tmp_path / name, tmp_path / "secret")
    started = time.monotonic()
    done = segzoo("--zoo", zoo, "store", "add", tmp_path / "tiny.bin")
    assert time.monotonic() - started < 30
    assert done.exit_code in ((4, 8) if name == LOCK_NAME or kind != "pipe" else (0, 8))
    assert f"error: {tmp_path / LOCK_NAME}" in done.stderr or done.exit_code == 0
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == ([name] if name[0] == "." and done.exit_code else [])


@pytest.mark.parametrize("name", ["receipts", "locks", "partials", "blobs", "datasets"])
def test_a_file_in_place_of_a_folder(name, zoo, store):
    home().mkdir(exist_ok=True)
    (home() / name).write_bytes(b"")
    for command in (["store", "ls"], ["store", "verify"], ["store", "prune"], ["list"], ["fetch", "tiny"], ["info", "tiny"]):
        done = segzoo("--zoo", zoo, *command)
        assert done.exit_code == (8 if command[0] == "fetch" and name in ("partials", "blobs") else 0), done.output


def test_a_second_name_of_a_private_file_is_no_part_of_a_download(store, tmp_path):
    """A hard link is a regular file of one's own, but somebody else may have put it there."""
    (tmp_path / "secret").write_bytes(DATA)
    store.partials.mkdir(parents=True)
    os.link(tmp_path / "secret", store.partials / f"{SHA[:32]}-whole.{'0' * 32}.part")
    assert parts(store.partials) == []
    partial = Partial(store.partials, SHA[:32], "whole")
    partial.resume()
    assert partial.size == 0
    partial.close()


HOLDS = """
import sys, time
from pathlib import Path
from segzoo.atomic import part_folder, replacing
from segzoo.store.partial import Partial
home, lock = Path(sys.argv[1]), Path(sys.argv[2])
partial = Partial(home / "partials", "a" * 32, "whole")
partial.append(bytes(100_000))
with part_folder(home / "datasets", "set") as folder, replacing(home / "receipts" / "mini" / "x.json") as receipt, replacing(lock) as pins:
    (folder / "images").mkdir()
    (folder / "images" / "a.jpg").write_bytes(bytes(50_000))
    print("writing", flush=True)
    time.sleep(60)
"""


def test_what_killed_runs_left_is_named_and_removed_and_what_living_ones_write_is_not(zoo, store):
    command = [sys.executable, "-c", HOLDS, str(home()), str(store.lock)]
    killed, living = (subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(2))
    assert [one.stdout.readline() for one in (killed, living)] == [b"writing\n"] * 2
    assert segzoo("--zoo", zoo, "store", "prune").stdout == "removed 0 files, 0 B\n"
    killed.kill()
    killed.communicate()
    listed = segzoo("--zoo", zoo, "store", "ls").stdout
    assert "1 unfinished download, 100.0 kB: fetch goes on from there" in listed
    assert "3 parts of what killed runs wrote, 50.0 kB: store prune removes them" in listed
    left = next(found for found in diagnose(open_zoo(zoo)) if found.what == "store")
    assert "unfinished or left by killed runs" in left.detail
    pruned = segzoo("--zoo", zoo, "store", "prune", "--json")
    assert pruned.exit_code == 0
    assert segzoo("--zoo", zoo, "store", "prune").stdout == "removed 0 files, 0 B\n"
    still = [path for path in (*home().rglob("*"), *store.lock.parent.glob(".*")) if path.suffix in (".part", ".held")]
    assert len(still) == 7  # of the living: three pairs, and a download
    living.kill()
    living.communicate()
    assert segzoo("--zoo", zoo, "store", "prune").exit_code == 0
    assert not [path for path in (*home().rglob("*"), *store.lock.parent.glob(".*")) if path.suffix in (".part", ".held")]


# who may not read


@contextmanager
def not_readable(path):
    """Nobody but root may read it in the block."""
    mode = path.stat().st_mode
    path.chmod(0)
    try:
        yield
    finally:
        path.chmod(mode)


AS_SOMEBODY = """
import json, os, sys
from click.testing import CliRunner
from segzoo.cli import main
scratch, number, commands = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3])
kept = dict(os.environ)
os.environ["SEGZOO_HOME"] = scratch
for words in [*commands, ["fetch", "no such name"]]:  # what is imported now need not be read as another user, who may not read this Python
    CliRunner().invoke(main, words)
os.environ.clear()
os.environ.update(kept)
if number:
    os.setgroups([]), os.setgid(number), os.setuid(number)
done = [CliRunner().invoke(main, words) for words in commands]
print(json.dumps([[one.exit_code, one.stdout, one.stderr] for one in done]))
"""


def as_somebody(zoo, *commands, env=None, code=AS_SOMEBODY):
    """Run commands as a user who is not root, owns nothing and has no name. Returns exit code, stdout and stderr of each."""
    words = json.dumps([["--zoo", str(zoo), *command.split()] for command in commands])
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, "-c", code, scratch, str(54321 if ROOT else 0), words]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, env=env)
    assert done.stderr == ""
    return json.loads(done.stdout)


@pytest.fixture
def open_to_all(tmp_path, monkeypatch):
    """A folder that every user may enter: pytest's own are private."""
    folder = Path("/tmp") / f"segzoo-shared-{os.getpid()}"
    folder.mkdir(0o755)
    folder.chmod(0o755)
    monkeypatch.setenv("SEGZOO_HOME", str(folder / "home"))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("hidden", slow_after(1, ["blobs", ""]))
def test_a_store_that_may_not_be_read(hidden, open_to_all):
    zoo = zoo_of(open_to_all, tiny=DATA)
    assert segzoo("--zoo", zoo, "fetch", "tiny").exit_code == 0
    home().chmod(0o755)
    with not_readable(home() / hidden):
        verified, seen, listed, rows, fetched = as_somebody(zoo, "store verify", "store ls", "list", "list --json", "fetch tiny")
    for code, stdout, stderr in (verified, seen, fetched):
        assert (code, stdout) == (8, "")
        assert "may not be read: Permission denied\nhint: " in stderr
    assert (listed[0], "may not be read" in listed[2], listed[1].splitlines()[1].split()[-1]) == (0, True, "?")
    assert [row["in_store"] for row in json.loads(rows[1])["result"]] == [None]


@pytest.mark.slow
def test_a_blob_that_may_not_be_read(open_to_all):
    zoo = zoo_of(open_to_all, tiny=DATA, other=DATA[1:])
    assert segzoo("--zoo", zoo, "fetch", "--all").exit_code == 0
    home().chmod(0o755)
    with not_readable(home() / "blobs" / SHA):
        verified, rows, fetched = as_somebody(zoo, "store verify", "cache verify --json", "fetch tiny")
    assert (verified[0], verified[1]) == (8, f"may not be read: {SHA}  tiny\n")
    assert "error: 1 file of 2 may not be read\nhint: " in verified[2]
    assert [row["right"] for row in json.loads(rows[1])["result"] if row["names"] == ["tiny"]] == [None]
    assert (fetched[0], f"{home() / 'blobs' / SHA}: may not be read: Permission denied" in fetched[2]) == (8, True)


def test_a_blob_that_changed_and_may_not_be_removed(open_to_all):
    zoo = zoo_of(open_to_all, tiny=DATA)
    assert segzoo("--zoo", zoo, "fetch", "tiny").exit_code == 0
    blob = home() / "blobs" / SHA
    blob.write_bytes(b"changed")
    for folder in (home(), blob.parent):
        folder.chmod(0o555)
    fetched, removed = as_somebody(zoo, "fetch tiny", "cache rm tiny")
    for folder in (home(), blob.parent):
        folder.chmod(0o755)
    now = hashlib.sha256(b"changed").hexdigest()
    said = f"error: {blob}: changed on disk, its sha256 is now {now}; it may not be removed: Permission denied\nhint: "
    assert (fetched[0], said in fetched[2]) == (8, True)
    assert (removed[0], f"{blob}: may not be removed: Permission denied" in removed[2]) == (8, True)


NO_NAME = "import pwd; pwd.getpwuid = lambda number: {}[number]\n"  # where the tests cannot become another user


def test_a_user_without_a_home():
    """As in a container that runs under a number that no name belongs to."""
    clean = {name: value for name, value in os.environ.items() if name not in ("HOME", "SEGZOO_HOME", "XDG_CACHE_HOME", "SEGZOO_RECEIPTS")}
    commands = ["list", "info mini-linear", "fetch mini-linear", "store ls", "store dir", "store load a.tar"]
    for code, stdout, stderr in as_somebody("mini", *commands, env=clean, code=AS_SOMEBODY if ROOT else NO_NAME + AS_SOMEBODY):
        assert (code, stdout) == (8, "")
        said = "error: ~/.cache/segzoo: the system knows no home of this user, and HOME is not set\nhint: set SEGZOO_HOME to a folder"
        assert stderr.startswith(said)


# eight processes


WORKS = """
import json, random, subprocess, sys, time, traceback
from pathlib import Path
from click.testing import CliRunner
from segzoo.cli import main
zoo, own, seed, seconds = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
draw, until, counts, wrong = random.Random(seed), time.monotonic() + seconds, {}, []
names = [f"n{number}" for number in range(4)]
folder = Path(zoo).parent
def some():
    return draw.choice(names)
# what may be run, and the exit codes that are right: another process may have removed what this one asks for
OPERATIONS = [
    (lambda: ["fetch", some()], {0}),
    (lambda: ["fetch", "--all"], {0}),
    (lambda: ["store", "add", str(folder / f"{some()}.bin")], {0}),
    (lambda: ["store", "verify"], {0}),
    (lambda: ["store", "verify", "--json"], {0}),
    (lambda: ["store", "ls"], {0}),
    (lambda: ["store", "prune"], {0}),
    (lambda: ["store", "prune", "--unused"], {0}),
    (lambda: ["store", "rm", some()], {0, 7}),
    (lambda: ["list"], {0}),
    (lambda: ["info", some()], {0}),
    (lambda: ["store", "bundle", str(own / "a.tar"), some(), "--force"], {0, 7}),
    (lambda: ["store", "load", str(folder / "whole.tar")], {0}),
]
while time.monotonic() < until:
    make, right = draw.choice(OPERATIONS)
    words = make()
    done = CliRunner().invoke(main, ["--zoo", zoo, *words])
    key = " ".join(words[:2] if words[0] in ("cache", "bundle") else words[:1])
    counts[key] = counts.get(key, 0) + 1
    if done.exit_code not in right:
        wrong.append([words, done.exit_code, done.output[-800:], "".join(traceback.format_exception(*done.exc_info))[-1500:]])
print(json.dumps([counts, wrong]))
"""


@pytest.mark.parametrize(("processes", "seconds"), [(4, 4), pytest.param(8, 60, marks=pytest.mark.thorough)])
def test_many_processes_in_one_store(processes, seconds, tmp_path):
    """Gone is no error, and what is there is right."""
    files = {f"n{number}": random.Random(number).randbytes(50_000 * (number + 1)) for number in range(4)}
    zoo = zoo_of(tmp_path, **files)
    assert segzoo("--zoo", zoo, "fetch", "--all").exit_code == 0
    assert segzoo("--zoo", zoo, "store", "bundle", tmp_path / "whole.tar", "--all").exit_code == 0
    running = []
    for number in range(processes):
        (tmp_path / str(number)).mkdir()
        command = [sys.executable, "-W", "error", "-c", WORKS, str(zoo), str(tmp_path / str(number)), str(number), str(seconds)]
        running.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
    answers = [one.communicate(timeout=seconds + 120) for one in running]
    assert [stderr for _, stderr in answers] == [""] * processes
    results = [json.loads(stdout) for stdout, _ in answers]
    total = sum(sum(counts.values()) for counts, _ in results)
    print(f"{total} operations, {sum(len(wrong) for _, wrong in results)} wrong")
    assert [wrong for _, wrong in results] == [[]] * processes
    assert total >= processes
    for path in (home() / "blobs").iterdir():
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name
    assert list((home() / "partials").iterdir()) == []
