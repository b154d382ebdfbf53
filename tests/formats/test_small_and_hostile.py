"""Small files of weights that were made to cost much: none takes 2 s or 300 MB, and none ends in a traceback.

A pickle repeats a part of itself in two bytes, a deflated member makes a thousand bytes of one, a name claims any number of blocks: each
row is one way to make readers work more than the file is worth.
"""

import io
import json
import pickle
import struct
import zipfile
import zlib

import numpy as np
import pytest
from small_and_hostile import Small, refuse_costly

ROOM = 950_000  # bytes to fill
TENSOR = b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x06tQK\x00K\x02K\x03\x86K\x03K\x01\x86\x89}tR"
"""The opcodes of a tensor [2, 3] in storage 0."""


def text(data, opcode=b"X"):
    data = data.encode() if isinstance(data, str) else data
    return opcode + struct.pack("<I", len(data)) + data


def torch_zip(pickled, numbers=bytes(24), method=zipfile.ZIP_STORED, **more):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in {"data.pkl": pickled, "byteorder": b"little", "data/0": numbers, **more}.items():
            archive.writestr(f"a/{name}", content)
    return file.getvalue()


def checkpoint(*opcodes, tensor=True):
    """A checkpoint whose root is a dict: a tensor `w`, and under `x` what the opcodes leave on top of the stack."""
    return torch_zip(b"\x80\x04}" + ((text("w") + TENSOR + b"s") if tensor else b"") + text("x") + b"".join(opcodes) + b"s.")


def legacy(*opcodes):
    head = [0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}]
    return b"".join(pickle.dumps(one, 2) for one in head) + b"\x80\x04}" + text("x") + b"".join(opcodes) + b"s." + pickle.dumps([], 2)


def fill(piece, room=ROOM):
    """As many of these opcodes as fit."""
    return piece * (room // len(piece))


def many(make, room=ROOM):
    """The opcodes of `make(0)`, `make(1)`, ... as many as fit."""
    made, size, number = [], 0, 0
    while size < room:
        made.append(make(number))
        size, number = size + len(made[-1]), number + 1
    return b"".join(made[:-1])


ORDERED = b"ccollections\nOrderedDict\nq\x00"
PAIRS = b"](" + many(lambda n: text(f"{n:x}", b"X") + b"N\x86", 150_000) + b"e\x85q\x01"
CLASH = (1 << 61) - 1  # Python's hash of its multiples is 0

PICKLES = {
    "an OrderedDict of the same pairs again and again": checkpoint(ORDERED, b"0", PAIRS, b"0", fill(b"h\x00h\x01R0", 600_000), b"N"),
    "as above, all kept": checkpoint(ORDERED, b"0", PAIRS, b"0(", fill(b"h\x00h\x01R", 600_000), b"l"),
    "torch.Size of the same numbers again and again": checkpoint(b"(", fill(b"K\x01", 300_000), b"t\x85q\x010ctorch\nSize\nq\x000(", fill(b"h\x00h\x01R", 600_000), b"l"),
    "tensors of the same long shape": checkpoint(
        b"(", fill(b"K\x01", 300_000), b"tq\x010ctorch._utils\n_rebuild_tensor\nq\x000(N", b"K\x00h\x01h\x01tq\x020(", fill(b"h\x00h\x02R", 600_000), b"l"
    ),
    "storages of the same long description": checkpoint(b"(", fill(b"K\x01", 300_000), b"tq\x010(", fill(b"h\x01Q", 600_000), b"l"),
    "calls of the same long arguments": checkpoint(
        b"(", fill(b"K\x01", 300_000), b"tq\x010ctorch._utils\n_rebuild_tensor_v2\nq\x000(", fill(b"h\x00h\x01R", 600_000), b"l"
    ),
    "a class of a long name": checkpoint(text("m" * 400_000), b"q\x000(", fill(b"h\x00h\x00\x93)R", 500_000), b"l"),
    "nested tuples": checkpoint(b")", fill(b"\x85")),
    "nested lists": checkpoint(b"](", fill(b"]("), b"N", fill(b"e", 0), b"0N"),
    "nested tuples of two": checkpoint(b")", fill(b"2\x86")),
    "nested OrderedDicts": checkpoint(ORDERED, b"0(", fill(b"h\x00)R", 300_000), many(lambda n: text("k")[:1] + struct.pack("<I", 1) + b"k", 10), b"l"),
    "dicts within one another": checkpoint(b"}", fill(text("k") + b"}", 600_000), fill(b"s", 60_000)),
    "calls nested in calls": checkpoint(b"cm\nC\n", fill(b"2)\x81")),
    "tuples as keys": checkpoint(b"}(", many(lambda n: b"J" + struct.pack("<i", n) + b"K\x01\x86N"), b"u"),
    "a long tuple as a key, again and again": checkpoint(b"(", fill(b"K\x01", 300_000), b"tq\x010}(", fill(b"h\x01N", 600_000), b"u"),
    "tuples in tuples as a key": checkpoint(b"})", b"2\x86" * 60, b"Ns"),
    "integers of one hash as keys": checkpoint(b"}(", many(lambda n: b"\x8a\x0c" + (CLASH * (n + 1)).to_bytes(12, "little") + b"N"), b"u"),
    "a long integer as a key, again and again": checkpoint(b"\x8b", struct.pack("<i", 300_000), b"\x7f" * 300_000, b"q\x010}(", fill(b"h\x01N", 600_000), b"u"),
    "places of the memo of one hash": checkpoint(b"N", many(lambda n: b"p%d\n" % (CLASH * n))),
    "a full memo": checkpoint(b"N", fill(b"\x94")),
    "empty dicts": checkpoint(b"(", fill(b"}"), b"l"),
    "empty dicts, all remembered": checkpoint(b"(", fill(b"}\x94"), b"l"),
    "empty lists": checkpoint(b"(", fill(b"]"), b"l"),
    "marks": checkpoint(fill(b"(")),
    "sets": checkpoint(b"(", fill(b"\x8f"), b"l"),
    "calls": checkpoint(b"cm\nC\nq\x000(", fill(b"h\x00)R"), b"l"),
    "states": checkpoint(b"cm\nC\n)R", fill(b"Nb")),
    "copies of the top": checkpoint(b"(N", fill(b"2"), b"l"),
    "floats in decimals": checkpoint(b"(", fill(b"F1e5\n"), b"l"),
    "a float of many digits": checkpoint(b"F", b"9" * ROOM, b"\n"),
    "a text of many escapes": checkpoint(b"S'", b"\\x41" * (ROOM // 4), b"'\n"),
    "the same dict under many names": checkpoint(b"}(", many(lambda n: text(f"{n:x}") + b"}" + text("y") + b"Ns", 300_000), b"uq\x010}(", many(lambda n: text(f"{n:x}") + b"h\x01", 600_000), b"u"),
    "many copies of the state dict": torch_zip(
        b"\x80\x04}(" + text("state_dict") + b"}(" + many(lambda n: text(f"{n:x}") + (TENSOR + b"q\x09" if not n else b"h\x09"), 400_000) + b"uq\x01"
        + many(lambda n: text(f"k{n:x}") + b"h\x01", 500_000) + b"u."
    ),
    "many dicts of one tensor": torch_zip(b"\x80\x04}(" + text("state_dict") + b"}(" + many(lambda n: text(f"{n:x}") + (TENSOR + b"q\x09" if not n else b"h\x09"), 400_000) + b"u"
        + many(lambda n: text(f"k{n:x}") + b"}" + text("a") + b"h\x09s", 500_000) + b"u."),
    "one long text under many names of meta": torch_zip(b"\x80\x04}(" + text("w") + TENSOR + text("meta") + b"}(" + text("x" * 400_000) + b"q\x01N"
        + many(lambda n: text(f"{n:x}") + b"h\x01", 500_000) + b"uu."),
    "one tensor under many names": torch_zip(b"\x80\x04}(" + text("w") + TENSOR.replace(b"K\x06tQ", b"J\x28\x3b\x00\x00tQ").replace(b"K\x02K\x03\x86K\x03K\x01\x86", b"J\x28\x3b\x00\x00\x85K\x01\x85") + b"q\x09"
        + many(lambda n: text(f"{n:x}") + b"h\x09", 500_000) + b"u.", bytes(4 * 15144)),
    "columns of one storage under many names": torch_zip(b"\x80\x04}(" + text("w") + TENSOR.replace(b"K\x06tQ", b"J\xa0\x86\x01\x00tQ").replace(b"K\x02K\x03\x86K\x03K\x01\x86", b"K\x02\x85J\x9f\x86\x01\x00\x85") + b"q\x09"
        + many(lambda n: text(f"{n:x}") + b"h\x09", 500_000) + b"u.", bytes(400_000)),
    "a name of many dots": torch_zip(b"\x80\x04}" + text("a." * (ROOM // 2)) + TENSOR + b"s."),
    "a name of many digits": torch_zip(b"\x80\x04}" + text("layers." + "1" * ROOM) + TENSOR + b"s."),
    "many names of meta that are no facts": torch_zip(b"\x80\x04}(" + text("w") + TENSOR + text("meta") + b"}(" + many(lambda n: text(f"{n:x}") + b"N", 900_000) + b"uu."),
    "many facts of meta": torch_zip(b"\x80\x04}(" + text("w") + TENSOR + text("meta") + b"}(" + many(lambda n: text(f"{n:x}") + b"K\x01", 900_000) + b"uu."),
    "many things that are no tensors": torch_zip(b"\x80\x04}(" + text("w") + TENSOR + many(lambda n: text(f"{n:x}") + b"N", 900_000) + b"u."),
    "many calls left undone": torch_zip(b"\x80\x04}(" + text("w") + TENSOR + text("x") + b"(" + many(lambda n: b"cm%d\nC\n)R" % n, 900_000) + b"lu."),
}
