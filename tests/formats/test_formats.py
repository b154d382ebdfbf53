"""All formats together: a file is known by its bytes, and what was written is what is read."""

import contextlib
import gzip
import zipfile

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import GOLDEN, specs_of

from segzoo.errors import IntegrityError, NotFoundError, UsageError
from segzoo.formats import open_weights, suffixes, writer

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
DTYPES = [BFLOAT16, *map(np.dtype, ("float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint8", "bool"))]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("formats")


def written(path, tensors, metadata=None):
    with path.open("wb") as file:
        writer(path)(file, specs_of(tensors), tensors.items(), metadata or {})
    return path


def read(path):
    opened = open_weights(path)
    return {name: np.array(opened[name]) for name in opened}


@st.composite
def array(draw):
    """Of any dtype and memory order, no two elements having the same bits (but of a bool's there are two only)."""
    dtype = draw(st.sampled_from(DTYPES))
    shape = draw(st.lists(st.integers(0, 6), max_size=3))
    bits = np.arange(np.prod(shape, dtype=int)) + draw(st.integers(0, 255))
    flat = (bits % 2).astype(bool) if dtype.kind == "b" else bits.astype(f"u{dtype.itemsize}").view(dtype)
    return flat.reshape(shape).transpose(draw(st.permutations(range(len(shape)))))


NAMES = st.text(st.characters(codec="utf-8", exclude_categories=("Cc",)), min_size=1, max_size=30).filter(lambda name: "module." not in name)


@pytest.mark.parametrize("suffix", suffixes)
@settings(max_examples=40, derandomize=True, deadline=None)
@given(tensors=st.dictionaries(NAMES, array(), min_size=1, max_size=6))
def test_what_was_written_is_read(suffix, tensors, folder):
    found = read(written(folder / f"any{suffix}", tensors))
    assert list(found) == list(tensors)
    for name, mine in tensors.items():
        assert (found[name].dtype, found[name].shape) == (mine.dtype, mine.shape)
        assert found[name].tobytes() == mine.tobytes()  # bits, for NaN's sake


@pytest.mark.parametrize("suffix", suffixes)
def test_the_same_tensors_give_the_same_bytes(suffix, tmp_path):
    tensors = {"b": np.arange(6.0).reshape(2, 3).T, "a": np.arange(3).astype(BFLOAT16)}
    one, two = (written(tmp_path / f"{stem}{suffix}", tensors, {"x": "1", "a": "2"}) for stem in ("one", "another name"))
    assert one.read_bytes() == two.read_bytes()


@pytest.mark.parametrize("suffix", suffixes)
def test_a_file_is_known_by_its_bytes(suffix, tmp_path):
    tensors = {"a": np.arange(3.0)}
    disguised = written(tmp_path / f"weights{suffix}", tensors).rename(tmp_path / "weights.html")
    assert read(disguised)["a"].tolist() == [0, 1, 2]
    assert open_weights(disguised).format == {".pt": "pth"}.get(suffix, suffix[1:])


@pytest.mark.parametrize("suffix", suffixes)
def test_a_name_that_is_not_there(suffix, tmp_path):
    opened = open_weights(written(tmp_path / f"weights{suffix}", {"a": np.arange(3.0)}))
    assert "b" not in opened
    with pytest.raises(KeyError, match="b"):
        opened["b"]


@pytest.mark.parametrize("suffix", suffixes)
def test_numbers_of_the_other_byte_order_are_written_as_numbers(suffix, tmp_path):
    np.savez(tmp_path / "big.npz", a=np.arange(3, dtype=">f4"), b=np.arange(3, dtype=">i8"))
    opened = open_weights(tmp_path / "big.npz")
    found = read(written(tmp_path / f"target{suffix}", opened))
    assert {name: (array.dtype, array.tolist()) for name, array in found.items()} == {"a": ("<f4", [0, 1, 2]), "b": ("<i8", [0, 1, 2])}


def zipped(path, **members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path.read_bytes()


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "an empty file"),
        (b"<!DOCTYPE html>\n<html><body>Parked domain</body></html>", "an HTML page"),
        (b"\n  <HTML><head></head></HTML>", "an HTML page"),
        (b"<?xml version='1.0'?><Error><Code>NoSuchKey</Code></Error>", "an XML document"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n", "a Git LFS pointer"),
        (gzip.compress(b"weights", mtime=0), "a gzip archive"),
        (b"\x80\x04]\x94.", "a pickle of another kind than torch's"),
        (b"PK\x03\x04" + bytes(200), "a zip file that is cut short or damaged"),
        (b"PK\x05\x06" + bytes(18), "no weights file"),
        (np.random.default_rng(0).bytes(1000), "no weights file"),
        (b"\x93NUMPY\x01\x00", "no weights file"),
    ],
    ids=range(11),
)
@pytest.mark.parametrize("suffix", suffixes)
def test_what_else_it_may_be(content, found, suffix, tmp_path):
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(content)
    with pytest.raises(IntegrityError, match=f"weights{suffix}: expected npz, pth, safetensors or flax's msgpack, found {found}") as caught:
        open_weights(path)
    assert bool(caught.value.hint) == (found != "no weights file")


def test_a_zip_of_something_else(tmp_path):
    zipped(tmp_path / "weights.npz", **{"readme.txt": b"hello", "a.npy": b""})
    with pytest.raises(IntegrityError, match=r"found a zip of something else \(readme.txt, a.npy\)"):
        open_weights(tmp_path / "weights.npz")


@pytest.mark.parametrize(("name", "complaint"), [("none.npz", "no such file"), ("folder.npz", "a folder, not a file")])
def test_no_file(name, complaint, tmp_path):
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(NotFoundError, match=f"{name}: {complaint}"):
        open_weights(tmp_path / name)


def test_a_suffix_that_no_format_has(tmp_path):
    with pytest.raises(UsageError, match=r"unknown suffix '\.bin'") as caught:
        writer(tmp_path / "weights.bin")
    assert caught.value.hint == "name the target with one of .npz, .pth, .pt, .safetensors"


GOLDEN_FILES = ["../flax/bfloat16.msgpack", "tensors.npz", "v0_zip_numpy_meta.pth", "v0_legacy_numpy_meta.pth", "bfloat16.pth", "views_legacy.pth"]


@pytest.fixture(scope="module", params=[*GOLDEN_FILES, "compressed.npz", "ours.npz", "ours.pth", "ours.safetensors"])
def whole(request, folder):
    """The bytes of a sound file, and its tensors."""
    tensors = read(GOLDEN / "pth" / "tensors.npz")
    path = (GOLDEN / "pth" if request.param in GOLDEN_FILES else folder) / request.param
    if request.param == "compressed.npz":
        np.savez_compressed(path, **tensors)
    elif request.param not in GOLDEN_FILES:
        written(path, tensors)
    return path.read_bytes()


def test_a_file_cut_short_anywhere_is_refused(whole, tmp_path):
    path = tmp_path / "cut"
    for length in range(0, len(whole), 17):
        path.write_bytes(whole[:length])
        with pytest.raises(IntegrityError, match="cut"):
            read(path)


def test_a_flipped_bit_never_raises_anything_but_ours(whole, tmp_path):
    path = tmp_path / "flipped"
    for position in range(0, len(whole), 11):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << position % 8
        path.write_bytes(damaged)
        with contextlib.suppress(IntegrityError):
            read(path)
