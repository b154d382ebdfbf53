"""The CRC-32 of a tensor in a file, piece by piece or not; zlib's is the oracle, and torch wrote what is no plain tensor."""

import zlib

import numpy as np
import pytest
import torch

from segzoo.errors import IntegrityError
from segzoo.formats import open_weights, writer
from segzoo.formats.weights import renamed
from segzoo.spec import Spec

TENSORS = {"a": np.arange(600_000, dtype="f4").reshape(2, 3, -1), "b": np.array(7), "c": np.empty((0, 3), "f4"), "d": np.arange(5, dtype="f2")}


def crc(array):
    return zlib.crc32(np.ascontiguousarray(array).tobytes())


@pytest.mark.parametrize("suffix", [".npz", ".pth", ".safetensors"])
def test_a_tensors_checksum_is_that_of_its_bytes(suffix, tmp_path):
    path = tmp_path / f"a{suffix}"
    with path.open("wb") as file:
        writer(path)(file, {name: Spec(array.shape, array.dtype.name) for name, array in TENSORS.items()}, TENSORS.items(), {})
    opened = open_weights(path)
    assert {name: opened.crc(name) for name in opened} == {name: crc(array) for name, array in TENSORS.items()}
    other = renamed(opened, {"x": "a", "y": "d"}, "renamed")
    assert (other.crc("x"), other.crc("y")) == (crc(TENSORS["a"]), crc(TENSORS["d"]))
    whole = path.read_bytes()
    place = whole.index(TENSORS["a"].tobytes()) + 400_001
    path.write_bytes(whole[:place] + b"?" + whole[place + 1 :])
    if suffix == ".safetensors":
        assert open_weights(path).crc("a") != crc(TENSORS["a"])  # the format has no checksum of its own
    else:
        with pytest.raises(IntegrityError, match="does not have the checksum"):
            open_weights(path).crc("a")


@pytest.mark.parametrize("legacy", [False, True])
def test_what_lies_otherwise_in_a_checkpoint_has_the_checksum_of_its_numbers(legacy, tmp_path):
    base = torch.arange(24.0).reshape(4, 6)
    tensors = {"whole": base, "part": base[1:3], "turned": base.T, "column": base[:, 2], "negative": torch._neg_view(torch.arange(3.0))}
    torch.save(tensors, tmp_path / "a.pth", _use_new_zipfile_serialization=not legacy)
    opened = open_weights(tmp_path / "a.pth")
    assert {name: opened.crc(name) for name in opened} == {name: crc(tensor.resolve_neg().numpy()) for name, tensor in tensors.items()}
