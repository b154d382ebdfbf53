"""safetensors: the library reads what we write, we read what it writes, and damage is refused."""

import json
import struct

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from support import same, specs_of

from segzoo.errors import ConversionError, IntegrityError
from segzoo.formats import open_weights
from segzoo.formats.safetensors import write

DTYPES = ("float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint8", ml_dtypes.bfloat16)
TENSORS = {
    "mask": np.array([True, False, True]),  # three bytes: all that follow lie on odd addresses
    **{np.dtype(dtype).name: np.arange(24).reshape(2, 3, 4).astype(dtype) for dtype in DTYPES},
    "transposed": np.arange(24, dtype="f4").reshape(2, 3, 4).transpose(2, 0, 1),
    "bfloat16 transposed": np.arange(24).astype(ml_dtypes.bfloat16).reshape(4, 6).T,
    "every second": np.arange(24, dtype="f4")[::2],
    "backwards": np.arange(24, dtype="f4")[::-1],
    "step": np.array(7),
    "empty": np.empty((0, 4), "f4"),
}
METADATA = {"segzoo": '{"heads": 3}', "zürich": "\u2713", "a": ""}


def written(path, tensors, metadata=None):
    with path.open("wb") as file:
        write(file, specs_of(tensors), tensors.items(), metadata or {})
    return path


def as_torch(array):
    bits = np.ascontiguousarray(array)
    return torch.from_numpy(bits.view(np.int16)).view(torch.bfloat16) if array.dtype == ml_dtypes.bfloat16 else torch.from_numpy(bits)


def test_the_library_reads_ours_in_numpy(tmp_path):
    assert same(safetensors.numpy.load_file(written(tmp_path / "a.safetensors", TENSORS)), TENSORS)


def test_the_library_reads_ours_in_torch(tmp_path):
    loaded = safetensors.torch.load_file(written(tmp_path / "a.safetensors", TENSORS))
    assert loaded.keys() == TENSORS.keys()
    for name, array in TENSORS.items():
        expected = as_torch(array).reshape(array.shape)
        assert loaded[name].dtype == expected.dtype
        assert torch.equal(loaded[name], expected), name


def test_we_read_the_librarys(tmp_path):
    tensors = {name: as_torch(array).reshape(array.shape) for name, array in TENSORS.items()}
    safetensors.torch.save_file(tensors, tmp_path / "a.safetensors", metadata=METADATA)
    opened = open_weights(tmp_path / "a.safetensors")
    assert same(opened, TENSORS)
    assert opened.metadata == METADATA


@pytest.mark.parametrize("metadata", [{}, METADATA])
def test_metadata_is_kept(metadata, tmp_path):
    path = written(tmp_path / "a.safetensors", {"x": np.arange(3.0)}, metadata)
    assert open_weights(path).metadata == metadata
    with safe_open(path, "numpy") as opened:
        assert (opened.metadata() or {}) == metadata


def test_the_numbers_begin_on_a_multiple_of_eight(tmp_path):
    for letters in range(8):
        content = written(tmp_path / "a.safetensors", {"x" * (letters + 1): np.arange(3.0)}).read_bytes()
        assert int.from_bytes(content[:8], "little") % 8 == 0


def test_a_dtype_that_it_cannot_hold(tmp_path):
    with pytest.raises(ConversionError, match="x: safetensors cannot hold dtype complex64"):
        written(tmp_path / "a.safetensors", {"x": np.zeros(3, "c8")})


def entry(dtype="F32", shape=(2,), offsets=(0, 8)):
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


TWICE = b'{"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"x":{"dtype":"I32","shape":[2],"data_offsets":[0,8]}}'


@pytest.mark.parametrize(
    ("header", "data"),
    [
        ({"x": entry()}, bytes(9)),
        ({"x": entry()}, bytes(7)),
        ({"x": entry(shape=(3,))}, bytes(8)),
        ({"x": entry(shape=(-2,))}, bytes(8)),
        ({"x": entry(shape=(2**62, 4))}, bytes(8)),
        ({"x": entry(offsets=(1, 9))}, bytes(9)),
        ({"x": entry(offsets=(8, 0))}, bytes(8)),
        ({"x": entry(), "y": entry()}, bytes(8)),
        ({"x": entry(), "y": entry(offsets=(4, 12))}, bytes(12)),
        ({"x": entry(), "y": entry(offsets=(12, 20))}, bytes(20)),
        ({"x": entry("F9", (8,))}, bytes(8)),
        ({"x": entry("float32")}, bytes(8)),
        ({"x": {"dtype": "F32"}}, bytes(8)),
        ({"x": 1}, bytes(8)),
        ({"__metadata__": {"a": 1}, "x": entry()}, bytes(8)),
        (TWICE, bytes(8)),
        (b'{"x": \xff\xfe}', bytes(8)),
        (b'{"x": ', bytes(8)),
        (b"{" * 10000, bytes(8)),
    ],
)
def test_a_header_that_is_not_true(header, data, tmp_path):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    (tmp_path / "a.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)
    with pytest.raises(IntegrityError, match=r"a\.safetensors: "):
        open_weights(tmp_path / "a.safetensors")


@pytest.mark.parametrize("length", [0, 1, 100, 2**20, 10**8, 10**8 + 1, 2**40, 2**64 - 1])
def test_a_header_length_that_is_not_true(length, tmp_path):
    whole = written(tmp_path / "a.safetensors", {"x": np.arange(3.0)}).read_bytes()
    (tmp_path / "a.safetensors").write_bytes(struct.pack("<Q", length) + whole[8:])
    with pytest.raises(IntegrityError, match=r"a\.safetensors: "):
        open_weights(tmp_path / "a.safetensors")


ENTRIES = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F32", "F16", "U8", "BOOL", "F9", "f32"]),
        "shape": st.lists(st.integers(-1, 3), max_size=3),
        "data_offsets": st.lists(st.integers(-1, 16), min_size=1, max_size=3).map(sorted),
    }
)


@settings(max_examples=400, derandomize=True, deadline=None)
@given(
    entries=st.dictionaries(st.sampled_from("ab"), ENTRIES, max_size=2),
    size=st.integers(0, 16),
    more=st.sampled_from([{}, {"__metadata__": {"a": "b"}}]),
)
def test_what_the_reader_takes_the_library_takes(entries, size, more, scratch):
    text = json.dumps(more | entries).encode()
    scratch.write_bytes(struct.pack("<Q", len(text)) + text + bytes(range(size)))
    try:
        opened = open_weights(scratch)
    except IntegrityError:
        return
    assert same(opened, safetensors.numpy.load_file(scratch))


@settings(max_examples=200, derandomize=True, deadline=None)
@given(
    kinds=st.lists(st.sampled_from([np.dtype(dtype) for dtype in DTYPES if dtype != ml_dtypes.bfloat16]), max_size=4),
    shape=st.lists(st.integers(0, 3), max_size=4),
)
def test_what_the_library_writes_is_taken(kinds, shape, scratch):
    tensors = {f"{kind.name}.{place}": np.arange(np.prod(shape, dtype=int)).astype(kind).reshape(shape) for place, kind in enumerate(kinds)}
    safetensors.numpy.save_file(tensors, scratch)
    assert same(open_weights(scratch), tensors)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("safetensors") / "a.safetensors"
