"""npz: what numpy wrote is read, what cannot be trusted is refused by the member's name, and numpy reads ours."""

import io
import re
import struct
import tracemalloc
import zipfile
from contextlib import nullcontext

import ml_dtypes
import numpy as np
import pytest
from support import same, specs_of

from segzoo.errors import IntegrityError
from segzoo.formats import npz, open_weights

TENSORS = {
    "Transformer/kernel": np.arange(24, dtype="f4").reshape(2, 3, 4),
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "half": np.arange(5, dtype="f2"),
    "step": np.array(7),
    "mask": np.array([True, False]),
    "empty": np.empty((0, 3), "u1"),
}
HEADER = "{'descr': %r, 'fortran_order': False, 'shape': %s}"


def npy(header, data=b"", version=(1, 0)):
    """A .npy file by hand: whatever header, whatever data."""
    text = header.encode().ljust(118 - (version != (1, 0)) * 2) + b"\n"
    return b"\x93NUMPY" + bytes(version) + struct.pack("<H" if version == (1, 0) else "<I", len(text)) + text + data


USUAL = [
    *(
        (np.zeros(shape, dtype), order)
        for dtype in ("f4", "f2", "f8", "u1", "i8", "?")
        for shape in ((), (0,), (5,), (2, 3), (16, 16, 3, 768))
        for order in "CF"
    ),
    (np.zeros(2, ">f4"), "C"),
    (np.zeros(2, "c8"), "C"),
]


@pytest.mark.parametrize(("array", "order"), USUAL)
def test_a_header_is_read_as_numpy_reads_it(array, order):
    """Whether it goes by the short way or not."""
    file = io.BytesIO()
    np.save(file, np.asarray(array, order=order))
    file.seek(0)
    assert np.lib.format.read_magic(file) == (1, 0)
    theirs = (*np.lib.format.read_array_header_1_0(file), file.tell())
    assert npz._header(file.getvalue()) == theirs
    plain = array.dtype.isnative and array.dtype.kind != "c"
    assert bool(npz._USUAL.match(file.getvalue())) is plain


@pytest.mark.parametrize(
    ("descr", "shape"),
    [("<f4", "(5)"), ("<f4", "(05,)"), ("<f4", "(2,3,)"), ("<f4", "(-1,)"), ("<f3", "(2,)"), ("|O", "(2,)"), ("<U5", "(2,)"), ("<f4", "(2L,)")],
)
def test_a_header_that_numpy_does_not_write_goes_to_numpy(descr, shape):
    assert not npz._USUAL.match(npy(HEADER % (descr, shape)))


def test_a_length_that_is_not_that_of_the_header_goes_to_numpy():
    good = npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", bytes(8))
    for length, there in {118: True, 0: False, 120: False, 65535: False}.items():
        wrong = good[:8] + struct.pack("<H", length) + good[10:]
        with nullcontext() if there else pytest.raises(ValueError, match="header"):
            assert npz._header(wrong)[:3] == ((2,), False, np.dtype("f4"))


def member(content, path, compression=zipfile.ZIP_STORED):
    """An npz of one member 'x' that holds `content`, opened and read."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("x.npy", content)
    return np.array(open_weights(path)["x"])


def claim(path, size, compressed=None):
    """Let the zip say, in its directory and before the member, that its one member has another size."""
    damaged = bytearray(path.read_bytes())
    for sizes in (damaged.index(b"PK\x01\x02") + 20, 18):
        struct.pack_into("<II", damaged, sizes, compressed or size, size)
    path.write_bytes(damaged)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_what_numpy_wrote_is_read(save, tmp_path):
    save(tmp_path / "a.npz", **TENSORS)
    opened = open_weights(tmp_path / "a.npz")
    assert opened.specs == specs_of(TENSORS)
    assert same(opened, TENSORS)


def test_numpy_reads_ours(tmp_path):
    with (tmp_path / "a.npz").open("wb") as file:
        npz.write(file, specs_of(TENSORS), TENSORS.items(), {})
    with np.load(tmp_path / "a.npz") as loaded:
        assert same(dict(loaded), TENSORS)
    assert same(open_weights(tmp_path / "a.npz"), TENSORS)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_bfloat16_that_numpy_saved_without_a_name_for_it(save, tmp_path):
    numbers = np.arange(5).astype(ml_dtypes.bfloat16)
    save(tmp_path / "a.npz", x=numbers)
    with np.load(tmp_path / "a.npz") as loaded:
        assert loaded["x"].dtype == "V2"
    assert same(open_weights(tmp_path / "a.npz"), {"x": numbers})


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_every_version_of_the_header(version, tmp_path):
    assert member(npy(HEADER % ("<f4", (2,)), b"\0\0\0\0\0\0\x80?", version), tmp_path / "a.npz").tolist() == [0, 1]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (npy(HEADER % ("|O", (1,)), bytes(8)), "an object array, which only running its pickle could open"),
        (npy(HEADER % ([("a", "<f4"), ("b", "<f4")], (1,)), bytes(8)), "dtype [('a', '<f4'), ('b', '<f4')] is no number"),
        (npy(HEADER % ("<U2", (1,)), bytes(8)), "dtype <U2 is no number"),
        (npy(HEADER % ("<M8[s]", (1,)), bytes(8)), "dtype datetime64[s] is no number"),
        (npy(HEADER % ("|V3", (1,)), bytes(3)), "dtype |V3 is no number"),
        (npy(HEADER % ("<f4", (2**40,)), bytes(8)), f"its header claims {2**42} bytes, it holds 8"),
        (npy(HEADER % ("<f4", (1,)), bytes(8)), "its header claims 4 bytes, it holds 8"),
        (npy(HEADER % ("<f4", (3,)), bytes(8)), "its header claims 12 bytes, it holds 8"),
        (npy(HEADER % ("<f4", (-1, -2)), bytes(8)), "a negative size in shape [-1, -2]"),
        (npy(HEADER % ("<f4", (0, 2**70))), "damaged"),
        (npy(HEADER % ("<f4", (1,) * 70), bytes(4)), "damaged"),
        (npy(HEADER % ("nonsense", (1,)), bytes(8)), "damaged"),
        (npy("{'descr': '<f4', 'shape': (2,"), "damaged"),
        (npy("-" * 5000 + "1"), "damaged"),
        (npy("(" * 5000), "damaged"),
        (npy("__import__('os')"), "damaged"),
        (npy(HEADER % ("<f4", (2,)), bytes(8), (9, 0)), "damaged"),
        (b"\x93NUMPY", "damaged"),
        (b"", "damaged"),
    ],
)
@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_member_that_is_no_sound_array(content, complaint, compression, tmp_path):
    with pytest.raises(IntegrityError, match=rf"a\.npz: (member 'x\.npy'|tensor 'x'): {re.escape(complaint)}"):
        member(content, tmp_path / "a.npz", compression)


def test_object_arrays_as_numpy_saves_them(tmp_path):
    np.savez(tmp_path / "a.npz", fine=np.arange(3), x=np.array([{}, None], dtype=object))
    with pytest.raises(IntegrityError, match=r"member 'x\.npy': an object array") as caught:
        open_weights(tmp_path / "a.npz")
    assert caught.value.hint == "weights are plain numbers; do not trust this file"


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_that_is_there_twice(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        for number in range(2):
            archive.writestr("x.npy", npy(HEADER % ("<f4", (1,)), struct.pack("<f", number)))
    with np.load(tmp_path / "a.npz") as loaded:
        assert loaded["x"] == 1  # the last wins, in silence
    with pytest.raises(IntegrityError, match=r"member 'x\.npy' is there twice"):
        open_weights(tmp_path / "a.npz")


def allocated(act):
    """The most bytes that `act`, which must be refused, had allocated at once; and the complaint."""
    tracemalloc.start()
    try:
        with pytest.raises(IntegrityError) as caught:
            act()
        return tracemalloc.get_traced_memory()[1], caught.value.message
    finally:
        tracemalloc.stop()


HUGE = npy(HEADER % ("<f4", (2**28,)))


@pytest.mark.parametrize(
    ("content", "compression", "size", "complaint"),
    [
        (HUGE, zipfile.ZIP_STORED, None, "member 'x.npy': its header claims"),
        (HUGE, zipfile.ZIP_DEFLATED, None, "member 'x.npy': its header claims"),
        (
            HUGE,
            zipfile.ZIP_STORED,
            len(HUGE) + 2**30,
            "member 'x.npy': reaches into the next member",
        ),  # the zip's directory in league with the header
        (HUGE, zipfile.ZIP_DEFLATED, len(HUGE) + 2**30, "which no weights do"),
        (npy(HEADER % ("<f4", (4,)), bytes(2**26)), zipfile.ZIP_DEFLATED, None, "member 'x.npy': its header claims 16 bytes"),
        (npy(HEADER % ("<f4", (4,)), bytes(2**26)), zipfile.ZIP_DEFLATED, 145, "member 'x.npy' does not unpack to 145 bytes"),
    ],
    ids=["claims", "claims_deflated", "both_claim", "both_claim_deflated", "bomb", "bomb_in_league"],
)
def test_claims_allocate_nothing(content, compression, size, complaint, tmp_path):
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("x.npy", content)
        compressed = archive.infolist()[0].compress_size
    if size:
        claim(path, size, compressed if compression == zipfile.ZIP_DEFLATED else None)
    peak, message = allocated(lambda: np.array(open_weights(path)["x"]))
    assert complaint in message
    assert peak < 2**20


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_one_flipped_bit_of_the_numbers(save, tmp_path):
    path = tmp_path / "a.npz"
    save(path, fine=np.arange(3.0), x=np.random.default_rng(0).standard_normal(999, "f4"))
    whole = path.read_bytes()
    end = whole.index(b"PK\x01\x02")  # where the members end, 'x' the last of them
    for position in range(end - 3600, end, 37):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 1 << position % 8]) + whole[position + 1 :])
        with pytest.raises(
            IntegrityError, match=r"(tensor|member) 'x(\.npy)?'.* (damaged|does not have the checksum|does not unpack|say different things)"
        ):
            open_weights(path)["x"]


def test_an_encrypted_member(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, x=np.arange(3))
    damaged = bytearray(path.read_bytes())
    for flags in (6, damaged.index(b"PK\x01\x02") + 8):
        damaged[flags] |= 1
    path.write_bytes(damaged)
    with pytest.raises(IntegrityError, match=r"member 'x\.npy': is encrypted"):
        open_weights(path)


def test_tensors_are_read_when_asked_for(tmp_path):
    """One at a time, into memory of their own."""
    np.savez(tmp_path / "a.npz", x=np.zeros(2**20), y=np.arange(3), z=np.zeros(2**20))
    tracemalloc.start()
    opened = open_weights(tmp_path / "a.npz")
    assert opened["y"].tolist() == [0, 1, 2]
    assert tracemalloc.get_traced_memory()[1] < 2**20
    assert [opened[name].shape for name in "xz"] == [(2**20,)] * 2
    assert tracemalloc.get_traced_memory()[1] < 2**23 + 2**20
    tracemalloc.stop()
    opened["x"][:] = 1
    assert not opened["x"].any()


def test_an_npz_may_come_from_a_stream(tmp_path):
    """As numpy writes to a pipe: sizes and checksum follow each member."""

    class Pipe(io.RawIOBase):
        def __init__(self, file):
            self.file = file

        def writable(self):
            return True

        def write(self, data):
            return self.file.write(data)

    with (tmp_path / "a.npz").open("wb") as file:
        np.savez(Pipe(file), **TENSORS)
    assert same(open_weights(tmp_path / "a.npz"), TENSORS)
