"""Pictures of strangers: no program is started for one, no memory filled, and what is damaged is said of that picture alone."""

import errno
import io
import json
import os
import struct
import subprocess
import sys
import threading
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from segzoo.datasets.arrangement import arranged
from segzoo.datasets.decode import read_values
from segzoo.datasets.image import read_image
from segzoo.datasets.picture_file import FORMATS, opened
from segzoo.datasets.sample import Sample
from segzoo.errors import EnvironmentFault, UsageError

VALUES = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(%pipe%touch PWNED) (w) file\nshowpage\n%%EOF\n"

# A program that reads each file in the ways that segzoo does, and tells what came of it, the most memory (MB) and the seconds of a core.
READER = """
import json, os, sys, time
heard = []
def hear(event, args):
    if event in ("subprocess.Popen", "os.exec", "os.system", "os.posix_spawn", "os.forkpty", "pty.spawn", "socket.connect", "webbrowser.open"):
        heard.append(event)
sys.addaudithook(hear)
from pathlib import Path
from segzoo.datasets.decode import mode_of, read_values
from segzoo.datasets.image import pixels_of, read_image
from segzoo.datasets.picture_file import lacking_plugin
from segzoo.datasets.sample import Meaning, Sample
from segzoo.errors import SegzooError
lacking_plugin(".jpg")
def peak():
    return int(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))) / 1000
ways = {
    "image": read_image,
    "one band": lambda path: read_image(path, 1),
    "pixels": pixels_of,
    "mode": mode_of,
    "label": lambda path: read_values(Sample("a", path, path)),
    "colours": lambda path: read_values(Sample("a", path, path, Meaning(coloured=True))),
}
for path in sys.argv[2:]:
    if (child := os.fork()) == 0:
        found = {}
        for way in sys.argv[1].split(","):
            if os.path.exists("/proc/self/clear_refs"):
                open("/proc/self/clear_refs", "w").write("5")
            before, begun = peak(), time.process_time()
            try:
                ways[way](Path(path))
                said = "read"
            except SegzooError as error:
                said = error.message
            found[way] = (said, peak() - before, time.process_time() - begun)
        print(json.dumps([Path(path).name, found, heard]), flush=True)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0, path
"""
WAYS = "image,one band,pixels,mode,label,colours"


def read_by_a_program(ways, *paths, **options):
    """For each file what came of each way of reading it: (message, MB, seconds); and what processes and connections were started."""
    done = subprocess.run([sys.executable, "-c", READER, ways, *map(str, paths)], capture_output=True, text=True, check=True, **options)
    assert done.stderr == ""  # nothing raw from Pillow or from libtiff
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return {name: found for name, found, _ in lines}, [event for _, _, heard in lines for event in heard]


def every_format(folder):
    """A file of each format that Pillow writes, and of others that it reads, all named .jpg."""
    Image.init()
    for form in sorted(Image.SAVE):
        for mode in ("RGB", "P", "1", "L"):
            file = io.BytesIO()
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", DeprecationWarning)
                    Image.fromarray(VALUES).convert(mode).save(file, form)
            except (OSError, ValueError, KeyError, AttributeError):
                continue  # not this mode, or only with a handler of the program's own
            (folder / f"{form}.jpg").write_bytes(file.getvalue())
            break
    by_hand = {
        "EPS": EPS,
        "EPS-DOS": struct.pack("<IIIIIIIH", 0xC6D3D0C5, 32, len(EPS), 0, 0, 0, 0, 0xFFFF) + b"\0\0" + EPS,
        "WMF": b"\xd7\xcd\xc6\x9a\0\0" + struct.pack("<hhhhHIH", 0, 0, 9, 9, 96, 0, 0) + b"\1\0\t\0" + bytes(40),
        "EMF": struct.pack("<IIiiiiiiii4s", 1, 88, 0, 0, 9, 9, 0, 0, 9, 9, b" EMF") + bytes(80),
        "PDF": b"%PDF-1.4\n" + bytes(60),
        "SVG": b"<svg xmlns='http://www.w3.org/2000/svg'><image href='http://127.0.0.1:9/a.png'/></svg>",
        "FITS": b"SIMPLE  =                    T" + b" " * 2850,
        "OLE": bytes.fromhex("d0cf11e0a1b11ae1") + bytes(600),
        "GRIB": b"GRIB\0\0\0\1" + bytes(60),
        "BUFR": b"BUFR\0\0\0\1" + bytes(60),
        "HDF5": b"\x89HDF\r\n\x1a\n" + bytes(60),
        "PCD": bytes(2048) + b"PCD_" + bytes(4000),
        "DCX": struct.pack("<III", 0x3ADE68B1, 12, 0) + bytes(200),
        "FLI": struct.pack("<IHHHHH", 200, 0xAF12, 1, 9, 9, 8) + bytes(200),
        "IPTC": b"\x1c\x03\x3c\0\x02\x01\0" + bytes(60),
    }
    for name, data in by_hand.items():
        (folder / f"{name}.jpg").write_bytes(data)
    return sorted(folder.glob("*.jpg"))


def test_no_format_starts_a_program(tmp_path):
    """Ghostscript's place is taken by a program that leaves a trace, so that one that the audit misses shows as well."""
    (tmp_path / "bin").mkdir()
    for name in ("gs", "gswin32c", "gswin64c", "djpeg", "convert", "pdftoppm", "hpcdtoppm"):
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\ntouch {tmp_path}/started\n")
        (tmp_path / "bin" / name).chmod(0o755)
    (tmp_path / "files").mkdir()
    files = every_format(tmp_path / "files")
    assert len(files) > 30
    found, heard = read_by_a_program(WAYS, *files, cwd=tmp_path, env={**os.environ, "PATH": f"{tmp_path}/bin:{os.environ['PATH']}"})
    assert (heard, (tmp_path / "started").exists(), (tmp_path / "PWNED").exists()) == ([], False, False)
    readable = {name.removesuffix(".jpg") for name, ways in found.items() if ways["image"][0] == "read"}
    assert readable == {"BMP", "DIB", "GIF", "JPEG", "MPO", "PNG", "PPM", "TIFF", "WEBP", "JPEG2000", "AVIF"} & {path.stem for path in files} - {
        "DIB"
    }
    assert {"EPS", "EPS-DOS", "WMF", "PSD", "ICO", "TGA", "PDF"} & {path.stem for path in files} >= {"EPS", "WMF", "ICO", "TGA"}
    for name, ways in found.items():
        if ways["image"][0] != "read":
            assert ": not a readable image: " in ways["image"][0], name
    assert "EPS inside, not JPEG, PNG" in found["EPS.jpg"]["image"][0]
    assert ": not a readable label map: EPS inside" in found["EPS.jpg"]["label"][0]
    with pytest.raises(EnvironmentFault, match="no images with label maps"):
        arranged(tmp_path / "files")
    assert not (tmp_path / "started").exists()
    assert all(form in Image.OPEN for form in FORMATS if form not in ("AVIF", "HEIF"))


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, bits, colour, zeros, beside=b""):
    """A PNG whose pixels are so many zero bytes."""
    pack, body = zlib.compressobj(9), b""
    for begin in range(0, zeros, 1 << 24):
        body += pack.compress(bytes(min(1 << 24, zeros - begin)))
    head = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + beside + chunk(b"IDAT", body + pack.flush()) + chunk(b"IEND", b"")


def saved(image, form, **options):
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def webp(side):
    """A lossless WebP of one colour: 34 bytes, whatever its size."""
    found = saved(Image.new("RGB", (9, 9)), "WEBP", lossless=True, method=0)
    sizes = int.from_bytes(found[21:25], "little") & ~0xFFFFFFF | (side - 1) << 14 | (side - 1)
    return found[:21] + sizes.to_bytes(4, "little") + found[25:]


def wide_jpeg2000(width):
    """A JPEG 2000 in tiles of 11 x 9 pixels, of which all but the first are missing."""
    data = bytearray(saved(Image.new("RGB", (11, 9)), "JPEG2000", no_jp2=True))
    sizes = data.index(b"\xff\x51")
    data[sizes + 6 : sizes + 10] = struct.pack(">I", width)
    return bytes(data)


def scans(count):
    """A progressive JPEG of 4096 x 4096 whose shortest scan comes so many times more."""
    data = saved(Image.new("L", (4096, 4096)), "JPEG", progressive=True)
    begins = [place for place in range(len(data)) if data[place : place + 2] == b"\xff\xda"]
    shortest = min((data[begin:end] for begin, end in zip(begins, [*begins[1:], len(data) - 2], strict=True)), key=len)
    return data[:-2] + shortest * count + b"\xff\xd9"


def tiff(width, height, body, changed):
    """A TIFF of RGB, deflated, in one strip, with other tags in the place of some; a tag is (type, count, value), None leaves it out."""
    tags = {256: (4, 1, width), 257: (4, 1, height), 258: (3, 1, 8), 259: (3, 1, 8), 262: (3, 1, 1), 273: (4, 1, 8), 277: (3, 1, 1)}
    tags |= {278: (4, 1, height), 279: (4, 1, len(body)), **changed}
    there = [struct.pack("<HHII", tag, *facts) for tag, facts in sorted(tags.items()) if facts]
    return struct.pack("<2sHI", b"II", 42, 8 + len(body)) + body + struct.pack("<H", len(there)) + b"".join(there) + bytes(4)


def gif(width, height, frame):
    """A GIF whose screen has this size, and its first picture that of `frame`."""
    data = bytearray(saved(Image.new("P", (8, 8)), "GIF"))
    begin = data.index(b",")
    data[6:10], data[begin + 1 : begin + 9] = struct.pack("<HH", width, height), struct.pack("<HHHH", 0, 0, *frame)
    return bytes(data)


TILES = {273: None, 278: None, 279: None, 322: (4, 1, 16384), 323: (4, 1, 16384), 324: (4, 1, 8)}
REFUSED = {
    "164 kB of grey": (lambda: png(13000, 13000, 8, 0, 13000 * 13001), "13000x13000 pixels in a file of only 164340 bytes"),
    "a million of bits": (lambda: png(16000, 16000, 1, 0, 16000 * 2001), "16000x16000 pixels in a file of only"),
    "more than any": (lambda: png(30000, 30000, 8, 0, 9000), "30000x30000 are 900 million pixels, and at most 268 million are read"),
    "a JPEG's largest": (
        lambda: saved(Image.new("L", (9, 9)), "JPEG").replace(b"\x08\0\x09\0\x09", b"\x08\xff\xdc\xff\xdc"),
        "65500x65500 are 4,290 million",
    ),
    "a GIF's screen": (lambda: gif(65535, 65535, (8, 8)), "65535x65535 are 4,295 million"),
    "a GIF's frame": (lambda: gif(8, 8, (65535, 65535)), "65535x65535 are 4,295 million"),
    "34 bytes of WebP": (lambda: webp(16383), "16383x16383 pixels in a file of only"),
    "a thousand scans": (lambda: scans(1000), "a JPEG of 1006 scans, and at most 32 are read"),
    "a tile beyond the picture": (lambda: tiff(16, 16, zlib.compress(bytes(16384)), {**TILES, 325: (4, 1, 40)}), "in tiles of 16384x16384"),
    "10**9 strips": (lambda: tiff(16, 16, bytes(999), {273: (4, 10**9, 8), 279: (4, 10**9, 8)}), "not a readable image"),
    "a tag of 4 GB": (lambda: tiff(16, 16, bytes(999), {259: (3, 1, 9), 700: (1, 2**32 - 1, 8)}), "not a readable image"),
    "100,000 strips": (
        lambda: tiff(300, 100_000, struct.pack("<I", 8) * 200_000, {259: (3, 1, 1), 278: (4, 1, 1), 273: (4, 100_000, 8), 279: (4, 100_000, 8)}),
        "a TIFF in 100000 pieces, and at most 65536 are read",
    ),
    "JPEG 2000 in many tiles": (lambda: wide_jpeg2000(524_299), "524299x9 pixels in a file of only"),
    "a number of a million digits": (lambda: b"P6 " + b"9" * 900_000, "not a readable image"),
}
READ = {
    "16 million of one colour": lambda: png(4096, 4096, 8, 2, 4096 * 12289),
    "a profile of 50 MB": lambda: png(16, 16, 8, 0, 16 * 17, chunk(b"iCCP", b"icc\0\0" + zlib.compress(bytes(50_000_000), 9))),
    "ten texts of 9 MB": lambda: png(16, 16, 8, 0, 16 * 17, chunk(b"zTXt", b"C\0\0" + zlib.compress(bytes(9_000_000), 9)) * 10),
    "60,000 texts": lambda: png(16, 16, 8, 0, 16 * 17, chunk(b"tEXt", b"a\0b") * 60_000),
    "EXIF that leads to itself": lambda: png(
        16, 16, 8, 0, 16 * 17, chunk(b"eXIf", b"II*\0\x08\0\0\0\xff\xff" + struct.pack("<HHII", 0x8769, 4, 1, 8) * 40_000)
    ),
    "4096 x 4096 in 34 bytes": lambda: webp(4096),
    "200,000 comments": lambda: saved(Image.new("L", (9, 9)), "JPEG").replace(b"\xff\xd8", b"\xff\xd8" + b"\xff\xfe\0\2" * 200_000, 1),
}


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the peak of memory is Linux's")
def test_a_small_file_takes_little_memory_and_time(tmp_path):
    """A file under 1 MB: 300 MB, and 2 s of a core."""
    for name, make in {**{name: make for name, (make, _) in REFUSED.items()}, **READ}.items():
        (tmp_path / name).write_bytes(data := make())
        assert len(data) < 1_000_000, name
    found, heard = read_by_a_program("image", *sorted(tmp_path.iterdir()))
    assert heard == []
    said = {name: ways["image"][0].split(": ", 1)[-1] for name, ways in found.items()}
    assert {name: text for name, text in said.items() if name in REFUSED and REFUSED[name][1] not in text} == {}
    assert {name: text for name, text in said.items() if name in READ and text != "read"} == {}
    worst = {name: (round(ways["image"][1]), round(ways["image"][2], 1)) for name, ways in found.items()}
    assert {name: figures for name, figures in worst.items() if figures[0] > 300 or figures[1] > 2} == {}


def test_the_limit_of_pixels_may_be_set(tmp_path, monkeypatch):
    Image.fromarray(VALUES).save(tmp_path / "a.png")
    monkeypatch.setenv("SEGZOO_MOST_PIXELS", "767")
    with pytest.raises(EnvironmentFault, match="32x24 are 0 million pixels") as raised:
        read_image(tmp_path / "a.png")
    assert "set SEGZOO_MOST_PIXELS" in raised.value.hint
    monkeypatch.setenv("SEGZOO_MOST_PIXELS", "768")
    assert read_image(tmp_path / "a.png").shape == (24, 32, 3)
    for wrong in ("many", "-1", "0", "1e9", "9" * 5000):
        monkeypatch.setenv("SEGZOO_MOST_PIXELS", wrong)
        with pytest.raises(UsageError, match="expected a number of pixels from 1 to 1073741824"):
            read_image(tmp_path / "a.png")


def test_a_label_map_of_one_class_may_be_very_small(tmp_path):
    (tmp_path / "a.png").write_bytes(png(6000, 6000, 1, 0, 6000 * 751))
    assert read_values(Sample("a", tmp_path / "a.png", tmp_path / "a.png")).shape == (6000, 6000)
    (tmp_path / "b.png").write_bytes(png(30000, 30000, 1, 0, 9))
    with pytest.raises(EnvironmentFault, match="not a readable label map: 30000x30000 are 900 million pixels"):
        read_values(Sample("b", tmp_path / "b.png", tmp_path / "b.png"))


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the memory in use is read as on Linux")
def test_out_of_memory_is_said_of_the_picture(tmp_path):
    """A picture that the system has no memory for: a limit stands in for a small machine."""
    (tmp_path / "a.png").write_bytes(png(4096, 4096, 8, 2, 4096 * 12289))
    code = (
        "import resource, sys; from pathlib import Path; from segzoo.datasets.image import read_image; from segzoo.errors import SegzooError\n"
        "used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + (100 << 20),) * 2)\n"
        "try: read_image(Path(sys.argv[1]))\n"
        "except SegzooError as error: print(error.message)"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "a.png"], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == (f"{tmp_path}/a.png: not a readable image: out of memory\n", "")


def test_what_is_no_regular_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.jpg")
    (tmp_path / "b.jpg").symlink_to("/dev/zero")
    (tmp_path / "c.jpg").symlink_to("c.jpg")
    (tmp_path / "e.jpg").touch()
    found, _ = read_by_a_program(WAYS, *(tmp_path / f"{name}.jpg" for name in "abcde"), timeout=60)
    said = [ways["image"][0].rsplit(": ", 1)[1] for ways in found.values()]
    none = ["expected a file, found a pipe", "expected a file, found a socket or device", os.strerror(errno.ELOOP), os.strerror(errno.ENOENT)]
    assert said == [*none, "it is empty"]


@pytest.mark.parametrize("form", ["BMP", "PPM", "TIFF"])
def test_a_file_cut_while_it_is_read_does_not_end_the_process(form, tmp_path):
    """Pillow would map one that is stored as its pixels are; reading a page that is gone ends a process by SIGBUS."""
    Image.fromarray(np.tile(VALUES[..., 0], (100, 100))).save(tmp_path / "a", form)
    code = (
        "import os, sys; import numpy as np; from pathlib import Path; from segzoo.datasets.picture_file import opened\n"
        "with opened(Path(sys.argv[1])) as image:\n"
        "    image.load(); os.truncate(sys.argv[1], 100); print(np.asarray(image).shape)"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "a"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "(2400, 3200)\n")


def test_what_pillow_has_set_is_as_before_when_the_last_thread_is_done(tmp_path):
    """And nobody hears its warnings meanwhile, not even of a second picture that is read at the same time."""
    Image.fromarray(VALUES).save(tmp_path / "a.png")
    (tmp_path / "a.tif").write_bytes(tiff(16, 16, zlib.compress(bytes(256)), {34853: (4, 1, 99999)}))
    faults, before = [], (Image.MAX_IMAGE_PIXELS, list(warnings.filters))

    def read():
        try:
            for _ in range(30):
                read_image(tmp_path / "a.png")
                read_image(tmp_path / "a.tif")
        except Exception as error:
            faults.append(error)

    threads = [threading.Thread(target=read) for _ in range(4)]
    with warnings.catch_warnings(record=True) as heard:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert (faults, heard) == ([], [])
    assert (Image.MAX_IMAGE_PIXELS, list(warnings.filters)) == before
    with opened(tmp_path / "a.png"):
        assert Image.MAX_IMAGE_PIXELS is None


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP", *(["AVIF"] if features.check("avif") else [])])
def test_of_several_pictures_the_first_is_read_and_it_is_said(form, tmp_path):
    first, second = Image.fromarray(VALUES), Image.fromarray(VALUES[::-1])
    first.save(tmp_path / "one", form)
    first.save(tmp_path / "two", form, save_all=True, append_images=[second])
    said = []
    alone = read_image(tmp_path / "one", said=said.append)
    assert said == []
    assert np.abs(alone.astype(int) - read_image(tmp_path / "two", said=said.append)).mean() < 20
    assert said == ["it has several pictures: only the first is read"]
