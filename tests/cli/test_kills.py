"""Bad days: a command is killed at any moment. Run again as it was typed, it ends well, and everything is as if nothing had happened."""

import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys

import pytest
from killing import warm
from PIL import Image
from support import MINI, TAME

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs signals and forks")
MASK = next(MINI.glob("segmenter_mini_mask-*.pth"))
QUICK = 3  # moments of a command in a quick run: the first, one between and the last


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("kills")


@pytest.fixture(scope="module")
def process(place):
    """The warm process. Its store is in the folder where the commands are run, so that it is looked at too."""
    own = {"SEGZOO_HOME": str(place / "lab" / "home"), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "COLUMNS": "200"}
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SEGZOO_")}
    with warm({**kept, **own}) as running:
        yield running


def photos(lab, run):
    (lab / "photos").mkdir()
    for index, name in enumerate(("one.png", "two.jpg")):
        Image.effect_noise((48, 40), 60 + index).convert("RGB").save(lab / "photos" / name)
    run("--zoo", "mini", "fetch", "mini-mask", "mini-linear")


def fetched(lab, run):
    run("--zoo", "mini", "fetch", "mini-vit", "mini-mask")


def other(lab, run):
    (lab / "out.pth").write_bytes(b"another file")


def verified(lab, run):
    fetched(lab, run)
    run("--zoo", "mini", "verify", "mini-vit")


def manifest(lab, run):
    weights(lab, run)
    run("manifest", "init")


def unhashed(lab, run):
    manifest(lab, run)
    run("manifest", "add", "one.npz", "--to", "zoo.yaml")
    text = (lab / "zoo.yaml").read_text()
    (lab / "zoo.yaml").write_text(re.sub(r'sha256: "[0-9a-f]{64}"(, |\n *)', "", text))
    assert (lab / "zoo.yaml").read_text() != text


def bundled(lab, run):
    fetched(lab, run)
    run("--zoo", "mini", "store", "bundle", "a.tar", "mini-vit", "mini-mask")
    shutil.rmtree(lab / "home")


def weights(lab, run):
    shutil.copy(TAME, lab / "one.npz")
    shutil.copy(MASK, lab / "two.pth")


def half(lab, run):
    fetched(lab, run)
    (lab / "home" / "partials").mkdir(exist_ok=True)
    (lab / "home" / "partials" / "abc-whole.1.part").write_bytes(b"half")


COMMANDS = {
    "convert": (None, ["convert", TAME, "out.pth"]),
    "convert to safetensors": (None, ["convert", TAME, "out.safetensors", "--to", "timm"]),
    "convert to npz": (None, ["convert", TAME, "new/out.npz", "--to", "augreg"]),
    "convert --force": (other, ["convert", TAME, "out.pth", "--force"]),
    "convert several": (weights, ["convert", "one.npz", "two.pth", "out/"]),
    "convert --all": (None, ["--zoo", "mini", "convert", "--all", "pretrain"]),
    "export": (fetched, ["--zoo", "mini", "export", "mini-mask", "-o", "out", "--as", "safetensors"]),
    "export for timm": (fetched, ["--zoo", "mini", "export", "mini-vit", "-o", "new/out", "--as", "timm", "--json"]),
    "store bundle": (fetched, ["--zoo", "mini", "store", "bundle", "out.tar", "mini-vit", "mini-mask"]),
    "store bundle --force": (fetched, ["--zoo", "mini", "store", "bundle", "out.tar", "mini-vit", "--force"]),
    "store load": (bundled, ["--zoo", "mini", "store", "load", "a.tar"]),
    "store add": (None, ["--zoo", "mini", "store", "add", TAME, MASK]),
    "fetch": (None, ["--zoo", "mini", "fetch", "mini-vit", "-o", "copies"]),
    "manifest init": (None, ["manifest", "init"]),
    "manifest add": (manifest, ["--zoo", "mini", "manifest", "add", "one.npz", "two.pth", "--to", "zoo.yaml"]),
    "manifest add, begun": (weights, ["manifest", "add", "one.npz", "--to", "own.yaml"]),
    "manifest lock": (unhashed, ["manifest", "lock"]),
    "predict": (photos, ["--zoo", "mini", "predict", "mini-mask", "photos", "-o", "seen", "--device", "cpu"]),
    "predict --compare": (photos, ["--zoo", "mini", "predict", "--compare", "mini-mask", "mini-linear", "photos", "-o", "seen", "--device", "cpu"]),
    "data check": (None, ["--zoo", "mini", "data", "check", "ade-mini", "--pictures", "drawn"]),
    "verify": (fetched, ["--zoo", "mini", "verify", "mini-vit"]),
    "report": (verified, ["--zoo", "mini", "report", "--no-images"]),
    "store rm": (fetched, ["--zoo", "mini", "store", "rm", "mini-vit"]),
    "store prune": (half, ["--zoo", "mini", "store", "prune", "--unused"]),
}
AGAIN = {"store rm": 7}  # what is gone already is not found
IN_QUICK_RUNS = ("convert several", "export for timm", "store bundle", "fetch", "manifest add", "predict")


class Lab:
    """A folder that is made anew for each kill, always at the same place."""

    def __init__(self, place, process, prepare):
        self.folder, self.kept, self.process = place / "lab", place / "kept", process
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.rmtree(self.kept, ignore_errors=True)
        self.folder.mkdir()
        if prepare:
            prepare(self.folder, self.well)
        shutil.copytree(self.folder, self.kept, symlinks=True)

    def anew(self):
        shutil.rmtree(self.folder)
        shutil.copytree(self.kept, self.folder, symlinks=True)

    def run(self, *argv, **how):
        return self.process.run(self.folder, *argv, **how)

    def well(self, *argv):
        done = self.run(*argv)
        assert done["status"] == 0, done["output"]
        return done

    def files(self):
        """Every file, folder and link, with its content but for times and durations."""
        return {path.relative_to(self.folder).as_posix(): content(path) for path in sorted(self.folder.rglob("*"))}


def content(path):
    if not path.is_file() or path.is_symlink():
        return path.lstat().st_mode
    data = path.read_bytes()
    if path.suffix in (".json", ".unfinished", ".html", ".md"):
        data = re.sub(rb'"(seconds|time)": [^,\n]+|\d{4}-\d\d-\d\dT[^<"\s]+', b"", data)
    return hashlib.sha256(data).hexdigest()


def final(files):
    """What stands under a final name: neither parts nor what only segzoo reads while it works."""
    return {name: one for name, one in files.items() if isinstance(one, str) and not re.search(r"\.(part(/.*)?|held|unfinished|lock|guard)$", name)}


def survive(lab, name, argv, most=None):
    """Kill the command at its moments, run it again each time, and compare with the run that nothing disturbed. Returns the number of kills."""
    before = lab.files()
    moments = moments_of(lab.well(*argv)["moments"], most)
    after = lab.files()
    allowed = [final(before), final(after)]
    if name == "manifest add, begun":
        allowed.append({"own.yaml": content(MINI.parent / "zoo.template.yaml")})
    if not most:
        largest = max((lab.folder.joinpath(name).stat().st_size for name in final(after).keys() - before.keys()), default=0)
        moments += [{"size": size} for size in sorted({9_000, largest // 2, largest - 1}) if 9_000 <= size < largest]
    for how in moments:
        lab.anew()
        killed = lab.run(*argv, **how)
        assert killed["status"] == -(signal.SIGXFSZ if "size" in how else signal.SIGKILL), (how, killed)
        for file, found in final(lab.files()).items():
            assert any(state.get(file) == found for state in allowed), (how, file)
        again = lab.run(*argv)
        assert again["status"] in (0, AGAIN.get(name, 0)), (how, again["output"])
        assert "Traceback" not in again["output"]
        assert lab.files() == after, how
    return len(moments)


def moments_of(count, most=None):
    """The moments of a command, from 1; at most so many, spread over all."""
    if most and count > most:
        return [{"at": 1 + round(index * (count - 1) / (most - 1))} for index in range(most)]
    return [{"at": at} for at in range(1, count + 1)]


@pytest.mark.parametrize("name", IN_QUICK_RUNS)
def test_a_command_that_is_killed_is_run_again_as_typed(name, place, process):
    prepare, argv = COMMANDS[name]
    assert survive(Lab(place, process, prepare), name, argv, QUICK) == QUICK


@pytest.mark.thorough
@pytest.mark.parametrize("name", COMMANDS)
def test_at_every_moment_and_within_files(name, place, process):
    prepare, argv = COMMANDS[name]
    kills = survive(Lab(place, process, prepare), name, argv)
    assert kills
    print(f"{name}: {kills} kills")


# signals that may be handled


def left(folder):
    return [path.name for path in folder.rglob(".*") if re.search(r"\.(part|held)$", path.name)]


ENDS = {"SIGTERM": -signal.SIGTERM, "SIGHUP": -signal.SIGHUP, "SIGINT": 130}
WRITING = ["convert", "export", "store bundle"]


@pytest.mark.parametrize("times", [1, 2], ids=["once", "twice"])
@pytest.mark.parametrize("kind", ENDS)
@pytest.mark.parametrize("name", [WRITING[0], *(pytest.param(name, marks=pytest.mark.thorough) for name in WRITING[1:])])
def test_a_signal_leaves_nothing_half_written(name, kind, times, place, process):
    prepare, argv = COMMANDS[name]
    lab = Lab(place, process, prepare)
    for how in moments_of(lab.well(*argv)["moments"], 4):
        lab.anew()
        done = lab.run(*argv, **how, number=signal.Signals[kind], times=times)
        assert (done["status"], left(lab.folder)) == (ENDS[kind], []), (how, done)
        assert "Traceback" not in done["output"]
        assert kind == "SIGINT" or "error" not in done["output"]


def test_a_signal_that_the_caller_ignores_stays_ignored(tmp_path):
    done = subprocess.run(
        ["sh", "-c", 'trap "" HUP; exec "$@"', "sh", sys.executable, "-c", HANGS_UP, "convert", TAME, "out.pth"], cwd=tmp_path, check=False
    )
    assert (done.returncode, [path.name for path in tmp_path.iterdir()]) == (0, ["out.pth"])


HANGS_UP = """
import os, signal, sys
from segzoo.__main__ import main

def watch(event, arguments):
    if event == "os.rename":
        os.kill(os.getpid(), signal.SIGHUP)
sys.addaudithook(watch)
main()
"""


@pytest.mark.parametrize("arguments", [("list",), ("list", "--json"), ("--help",), ("explain", "4")])
def test_a_reader_that_leaves_ends_the_command_as_any_other(arguments, tmp_path):
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as closed:
        done = subprocess.run([sys.executable, "-m", "segzoo", *arguments], stdout=closed, stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (-signal.SIGPIPE, b"")


def test_what_is_written_for_a_reader_that_leaves_is_whole(tmp_path):
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as closed:
        done = subprocess.run([sys.executable, "-m", "segzoo", "convert", TAME, "out.pth"], stdout=closed, cwd=tmp_path, check=False)
    assert (done.returncode, [path.name for path in tmp_path.iterdir()]) == (-signal.SIGPIPE, ["out.pth"])
