"""Bad days: a command is killed at any moment. Run again as it was typed, it ends well, and everything is as if nothing had happened."""

import hashlib
import json
import os
import re
import shutil
import signal
import sys
from pathlib import Path

import pytest
from killing import warm
from PIL import Image
from support import MINI, TAME

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs signals and forks")
MASK = next(MINI.glob("segmenter_mini_mask-*.pth"))
QUICK = 5  # moments of each command in a quick run: the first, the last and some between


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
    (lab / "zoo.yaml").write_text(re.sub("(size: [0-9]+|sha256: \"[0-9a-f]{64}\"), ", "", (lab / "zoo.yaml").read_text()))


def bundled(lab, run):
    fetched(lab, run)
    run("--zoo", "mini", "bundle", "create", "a.tar", "mini-vit", "mini-mask")
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
    "bundle create": (fetched, ["--zoo", "mini", "bundle", "create", "out.tar", "mini-vit", "mini-mask"]),
    "bundle create --force": (fetched, ["--zoo", "mini", "bundle", "create", "out.tar", "mini-vit", "--force"]),
    "bundle load": (bundled, ["--zoo", "mini", "bundle", "load", "a.tar"]),
    "adopt": (None, ["--zoo", "mini", "adopt", TAME, MASK]),
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
    "cache rm": (fetched, ["--zoo", "mini", "cache", "rm", "mini-vit"]),
    "cache prune": (half, ["--zoo", "mini", "cache", "prune", "--unused"]),
}
AGAIN = {"cache rm": 7}  # what is gone already is not found
SLOW = ("verify", "report", "data check", "predict --compare")


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


def survive(lab, name, argv, moments):
    """Kill the command at each of these moments, run it again, and compare with the run that nothing disturbed."""
    before = lab.files()
    lab.well(*argv)
    after = lab.files()
    allowed = [final(before), final(after)]
    if name == "manifest add, begun":
        allowed.append({"own.yaml": content(MINI.parent / "zoo.template.yaml")})
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


def moments_of(lab, argv, most=None):
    """The moments of a command, from 1; at most so many, spread over all."""
    lab.anew()
    count = lab.well(*argv)["moments"]
    lab.anew()
    chosen = range(1, count + 1)
    if most and count > most:
        chosen = sorted({1 + round(index * (count - 1) / (most - 1)) for index in range(most)})
    return [{"at": at} for at in chosen]


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in COMMANDS])
def test_a_command_that_is_killed_is_run_again_as_typed(name, place, process):
    prepare, argv = COMMANDS[name]
    lab = Lab(place, process, prepare)
    survive(lab, name, argv, moments_of(lab, argv, QUICK))


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_at_every_moment_and_within_files(name, place, process):
    prepare, argv = COMMANDS[name]
    lab = Lab(place, process, prepare)
    old = {path for path in lab.folder.rglob("*")}
    lab.well(*argv)
    largest = max((path.stat().st_size for path in lab.folder.rglob("*") if path not in old and path.is_file()), default=0)
    sizes = {size for size in (9_000, largest // 2, largest - 1) if 9_000 <= size < largest}
    moments = [*moments_of(lab, argv), *({"size": size} for size in sorted(sizes))]
    print(f"{name}: {len(moments)} kills")
    survive(lab, name, argv, moments)
