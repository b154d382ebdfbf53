"""Small files of weights that were made to cost much: none takes 2 s or 300 MB, and none ends in a traceback.

A pickle repeats a part of itself in two bytes, a deflated member makes a thousand bytes of one, a name claims any number of blocks: each
row is one way to make readers work more than the file is worth.
"""

import io
import json
import pickle
import struct
import zipfile
from itertools import count

import pytest
from small_and_hostile import Small, refuse_costly

ROOM = 950_000  # bytes to fill
TENSOR = (
    b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x06tQ"
    b"K\x00K\x02K\x03\x86K\x03K\x01\x86\x89}tR"
)
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
    """What `make(0)`, `make(1)`, ... give, as many as fit."""
    made, left = [], room
    for piece in map(make, count()):
        if len(piece) > left:
            return b"".join(made)
        made.append(piece)
        left -= len(piece)
    raise AssertionError


def upto(make, room=ROOM):
    """The texts `make(0)`, `make(1)`, ... as many as fit."""
    return many(lambda number: make(number).encode(), room).decode()


def root(*opcodes):
    """A checkpoint whose root is a dict of these keys and values."""
    return b"\x80\x04}(" + b"".join(opcodes) + b"u."


def tensor(*shape, strides=None, size=6):
    """The opcodes of a tensor in storage 0."""
    strides = strides or [1] * len(shape)
    numbers = [b"(" + b"".join(b"J" + struct.pack("<i", number) for number in some) + b"t" for some in (shape, strides)]
    return TENSOR.replace(b"K\x06tQ", b"J" + struct.pack("<i", size) + b"tQ").replace(b"K\x02K\x03\x86K\x03K\x01\x86", b"".join(numbers))


def names(make, room=ROOM):
    """A checkpoint of small tensors with these names."""
    return torch_zip(root(text("w"), TENSOR, b"q\x09", many(lambda number: text(make(number)) + b"h\x09", room)))


def meta(**texts):
    """A checkpoint that has these texts in its meta."""
    return torch_zip(root(text("w"), TENSOR, text("meta"), b"}(", *(text(key) + text(value) for key, value in texts.items()), b"u"))


def npy(header, data=b"", version=1):
    header = header.encode() + b"\n"
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H" if version == 1 else "<I", len(header)) + header + data


def npz(method=zipfile.ZIP_STORED, /, **members):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return file.getvalue()


def safetensors(header, data=b""):
    header = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(header)) + header + data


def zeros(count):
    return npy(f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({count},), }}", bytes(4 * count))


def overlapping():
    """A zip whose directory lists one member under many names: each reading reads the same bytes."""
    one = npz(x=zeros(100_000))
    start = one.index(b"PK\x01\x02")
    record = one[start : one.index(b"PK\x05\x06")]
    records = many(lambda number: record[:28] + struct.pack("<H", 9) + record[30:46] + b"%05d.npy" % number + record[51:], 500_000)
    number = len(records) // (len(record) + 4)
    return one[:start] + records + b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, number % 65536, number % 65536, len(records), start, 0)


ORDERED = b"ccollections\nOrderedDict\nq\x00"
ENTRY = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
CLASH = (1 << 61) - 1  # Python's hash of its multiples is 0


def pickles():
    state = many(lambda n: text(f"{n:x}") + (b"h\x09" if n else TENSOR + b"q\x09"), 400_000)
    pairs = b"](" + many(lambda n: text(f"{n:x}", b"X") + b"N\x86", 150_000) + b"e\x85q\x01"
    return {
        "an OrderedDict of the same pairs again and again": checkpoint(ORDERED, b"0", pairs, b"0", fill(b"h\x00h\x01R0", 600_000), b"N"),
        "as above, all kept": checkpoint(ORDERED, b"0", pairs, b"0(", fill(b"h\x00h\x01R", 600_000), b"l"),
        "torch.Size of the same numbers again and again": checkpoint(
            b"(", fill(b"K\x01", 300_000), b"t\x85q\x010ctorch\nSize\nq\x000(", fill(b"h\x00h\x01R", 600_000), b"l"
        ),
        "tensors of the same long shape": checkpoint(
            b"(",
            fill(b"K\x01", 300_000),
            b"tq\x010ctorch._utils\n_rebuild_tensor\nq\x000(N",
            b"K\x00h\x01h\x01tq\x020(",
            fill(b"h\x00h\x02R", 600_000),
            b"l",
        ),
        "storages of the same long description": checkpoint(b"(", fill(b"K\x01", 300_000), b"tq\x010(", fill(b"h\x01Q", 600_000), b"l"),
        "calls of the same long arguments": checkpoint(
            b"(", fill(b"K\x01", 300_000), b"tq\x010ctorch._utils\n_rebuild_tensor_v2\nq\x000(", fill(b"h\x00h\x01R", 600_000), b"l"
        ),
        "a class of a long name": checkpoint(text("m" * 400_000), b"q\x000(", fill(b"h\x00h\x00\x93)R", 500_000), b"l"),
        "nested tuples": checkpoint(b")", fill(b"\x85")),
        "nested lists": checkpoint(b"](", fill(b"]("), b"N", fill(b"e", 0), b"0N"),
        "nested tuples of two": checkpoint(b")", fill(b"2\x86")),
        "nested OrderedDicts": checkpoint(
            ORDERED, b"0(", fill(b"h\x00)R", 300_000), many(lambda n: text("k")[:1] + struct.pack("<I", 1) + b"k", 10), b"l"
        ),
        "dicts within one another": checkpoint(b"}", fill(text("k") + b"}", 600_000), fill(b"s", 60_000)),
        "calls nested in calls": checkpoint(b"cm\nC\n", fill(b"2)\x81")),
        "tuples as keys": checkpoint(b"}(", many(lambda n: b"J" + struct.pack("<i", n) + b"K\x01\x86N"), b"u"),
        "a long tuple as a key, again and again": checkpoint(b"(", fill(b"K\x01", 300_000), b"tq\x010}(", fill(b"h\x01N", 600_000), b"u"),
        "tuples in tuples as a key": checkpoint(b"})", b"2\x86" * 60, b"Ns"),
        "integers of one hash as keys": checkpoint(b"}(", many(lambda n: b"\x8a\x0c" + (CLASH * (n + 1)).to_bytes(12, "little") + b"N"), b"u"),
        "a long integer as a key, again and again": checkpoint(
            b"\x8b", struct.pack("<i", 300_000), b"\x7f" * 300_000, b"q\x010}(", fill(b"h\x01N", 600_000), b"u"
        ),
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
        "the same dict under many names": checkpoint(
            b"}(",
            many(lambda n: text(f"{n:x}") + b"}" + text("y") + b"Ns", 300_000),
            b"uq\x010}(",
            many(lambda n: text(f"{n:x}") + b"h\x01", 600_000),
            b"u",
        ),
        "OrderedDicts made of one another": checkpoint(ORDERED, b"0", fill(b"h\x00](" + text("k"), 600_000), b"N", fill(b"\x86e\x85R", 300_000)),
        "many copies of the state dict": torch_zip(
            root(text("state_dict"), b"}(", state, b"uq\x01", many(lambda n: text(f"k{n:x}") + b"h\x01", 500_000)),
        ),
        "many dicts of one tensor": torch_zip(
            root(text("state_dict"), b"}(", state, b"u", many(lambda n: text(f"k{n:x}") + b"}" + text("a") + b"h\x09s", 500_000))
        ),
        "one long text under many names of meta": torch_zip(
            root(text("w"), TENSOR, text("meta"), b"}(", text("x" * 400_000), b"q\x01N", many(lambda n: text(f"{n:x}") + b"h\x01", 500_000), b"u")
        ),
        "one tensor under many names": torch_zip(
            root(text("w"), tensor(15144, size=15144), b"q\x09", many(lambda n: text(f"{n:x}") + b"h\x09", 500_000)), bytes(4 * 15144)
        ),
        "columns of one storage under many names": torch_zip(
            root(text("w"), tensor(2, strides=[99999], size=100_000), b"q\x09", many(lambda n: text(f"{n:x}") + b"h\x09", 500_000)), bytes(400_000)
        ),
        "a name of many dots": torch_zip(root(text("a." * (ROOM // 2)), TENSOR)),
        "a name of many digits": torch_zip(root(text("layers." + "1" * ROOM), TENSOR)),
        "many facts of meta": torch_zip(root(text("w"), TENSOR, text("meta"), b"}(", many(lambda n: text(f"{n:x}") + b"K\x01", 900_000), b"u")),
        "many things that are no tensors": torch_zip(root(text("w"), TENSOR, many(lambda n: text(f"{n:x}") + b"N", 900_000))),
        "many calls left undone": torch_zip(root(text("w"), TENSOR, text("x"), b"(", many(lambda n: b"cm%d\nC\n)R" % n, 900_000), b"l")),
        "classes that are one long name": torch_zip(
            root(text("w"), TENSOR, text("meta"), b"}" + text("CLASSES"), b"(", text("x" * 400_000), b"q\x01", fill(b"h\x01", 500_000), b"ls")
        ),
        "a palette of large arrays": torch_zip(
            root(
                text("w"),
                TENSOR,
                text("meta"),
                b"}" + text("PALETTE"),
                b"(cnumpy.core.multiarray\n_reconstruct\nq\x010(K\x01M\xe8\xfd\x85cnumpy\ndtype\n",
                text("i8"),
                b"\x85R\x89",
                text(bytes(520_000), b"B"),
                b"tq\x020(",
                fill(b"h\x01)Rh\x02b", 400_000),
                b"ls",
            )
        ),
    }


def names_of():
    return {
        "foreign names": names(lambda n: f"{n:x}"),
        "foreign blocks": names(lambda n: f"m.layers.{n}.w"),
        "blocks of one tensor": names(lambda n: f"blocks.{n}.norm1.weight"),
        "blocks of one tensor under a prefix": names(lambda n: f"backbone.layers.{n}.ln1.weight"),
        "blocks of one tensor with slashes": names(lambda n: f"Transformer/encoderblock_{n}/LayerNorm_0/bias"),
        "a block of the highest number": names(lambda n: f"{n:x}" if n else "blocks.49999.norm1.weight"),
        "blocks of high numbers": names(lambda n: f"blocks.{999999 - n}.norm1.weight"),
        "stages of one unit": names(lambda n: f"block{n + 1}/unit1/conv1/kernel"),
        "units of one stage": names(lambda n: f"block1/unit{n + 1}/conv1/kernel"),
        "names of training": names(lambda n: f"optimizer.{n:x}" if n else "blocks.0.norm1.weight"),
        "averages": names(lambda n: f"ema_{n:x}" if n else "blocks.0.norm1.weight"),
        "models within one another": names(lambda n: f"a{n % 7}.b{n % 5}.c{n % 3}.{n:x}"),
        "two models": names(lambda n: f"{'ab'[n % 2]}.{n // 2:x}"),
    }


def configs():
    return {
        "deep brackets": "a = " + "(" * 200_000,
        "deep lists": "a = " + "[" * 90 + "]" * 90 + upto(lambda n: "\nb = a", 200_000),
        "signs": "a = " + "-" * 200_000 + "1",
        "attributes": "a = b" + ".c" * 120_000,
        "sums": "a = 1" + "+1" * 120_000,
        "names": "a = [" + "a," * 125_000 + "]",
        "dicts": "a = [" + "{}," * 80_000 + "]",
        "statements that may change all": "a = [" + "1," * 60_000 + "]\n" + "b = a\n" * 1000 + "f(a)\n" * 20_000,
        "statements that may change lists": "a = [" + "[]," * 30_000 + "]\n" + "f(a)\n" * 30_000,
        "a dict spread again and again": "a = dict(" + upto(lambda n: f"k{n}=1,", 120_000) + ")\n" + upto(lambda n: f"b{n} = dict(**a)\n", 130_000),
        "integers of one hash": "a = {" + upto(lambda n: f"{CLASH * (n + 1)}:1,", 250_000) + "}",
        "a long integer": "model = dict(backbone=dict(type='VisionTransformer', num_heads=0x" + "f" * 200_000 + "))",
        "infinite numbers": "model = dict(data_preprocessor=dict(mean=[1e999, 1, 1], std=[1e999, 10**400, 1]))",
        "a base again and again": "a = '" + "x" * 100_000 + "'\n_base_ = [" + "a," * 60_000 + "]",
        "a value that repeats itself": "a = [0]\n" + "a = [a, a]\n" * 60 + "model = dict(decode_head=dict(align_corners=a))",
        "text that is no text": "a = '" + "\\N{" * 50_000 + "'",
        "bytes that are longer than a config": "a = 1\n" * 60_000,
    }


def zips():
    return [
        Small("zip: bzip2", "a.npz", lambda: npz(zipfile.ZIP_BZIP2, x=zeros(1 << 24)), says="compressed by bzip2, expected stored or deflated"),
        Small("zip: lzma", "a.npz", lambda: npz(zipfile.ZIP_LZMA, x=zeros(1 << 20)), says="compressed by lzma, expected stored or deflated"),
        Small("zip: deflated zeros", "a.npz", lambda: npz(zipfile.ZIP_DEFLATED, x=zeros(1 << 26)), says="which no weights do"),
        Small("zip: a bzip2 pth", "a.pth", lambda: torch_zip(root(text("w"), TENSOR), bytes(1 << 26), zipfile.ZIP_BZIP2), says="compressed by bzip2"),
        Small("zip: overlapping members", "a.npz", overlapping, says="say different things"),
        Small("zip: many members", "a.npz", lambda: npz(**{f"{number:x}": zeros(1) for number in range(4400)})),
    ]


def headers():
    return {
        "a huge header": npz(zipfile.ZIP_DEFLATED, x=npy("{" + " " * (1 << 27), version=2)),
        "a deep header": npz(x=npy("(" * 9000)),
        "a header of many sizes": npz(x=npy("{'descr': '<f4', 'fortran_order': False, 'shape': (" + "1," * 4900 + "), }", bytes(4))),
        "a long size": npz(x=npy("{'descr': '<f4', 'fortran_order': False, 'shape': (" + "9" * 4000 + ",), }")),
        "a dtype of many": npz(x=npy("{'descr': [" + "('a','<f4')," * 700 + "], 'fortran_order': False, 'shape': (), }", bytes(4))),
    }


def tensors():
    return {
        "deep JSON": b'{"a":' + b"[" * ROOM,
        "deep JSON that ends": b'{"a":' + b"[" * 400_000 + b"]" * 400_000 + b"}",
        "a long number": b'{"a":' + b"9" * ROOM + b"}",
        "many dimensions": json.dumps({"a": {**ENTRY, "shape": [0] * 300_000}}).encode(),
        "many tensors": b"{" + many(lambda n: b'"%x":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},' % n)[:-1] + b"}",
        "many facts": b'{"__metadata__":{' + many(lambda n: b'"%x":"",' % n)[:-1] + b"}}",
        "a fact of deep JSON": json.dumps({"__metadata__": {"segzoo": "[" * 900_000}, "a": ENTRY}).encode(),
        "a fact of long numbers": json.dumps(
            {"__metadata__": {"segzoo": json.dumps({"heads": 2**63, "positions": 2**63, "rows": 1})}, "a": ENTRY}
        ).encode(),
        "a name of many letters": json.dumps({"a" * 900_000: ENTRY}).encode(),
        "empty lists": b'{"a":[' + b"[]," * 300_000 + b"[]]}",
        "empty objects": b'{"a":[' + b"{}," * 300_000 + b"{}]}",
    }


def flax(*entries, number=None):
    """A tree of flax: a map of these entries."""
    return b"\xdf" + struct.pack(">I", len(entries) if number is None else number) + b"".join(entries)


def key(name):
    return b"\xda" + struct.pack(">H", len(name)) + name.encode()


def small(names):
    """Entries of a tree: an array of one byte under each name."""
    content = b"\x93\x91\x01\xa5uint8\xc4\x01\x00"
    return [key(name) + b"\xc7" + struct.pack(">Bb", len(content), 1) + content for name in names]


def trees():
    many = small(f"{number:x}" for number in range(38_000))
    chunks = flax(*small(map(str, range(36_000))))
    models = [key(f"m{number:x}x") + flax(*small("abcdefgh")) for number in range(5000)]
    return {
        "maps within one another": flax(b"\xa1a" + b"\x81\xa1a" * 300_000, number=1),
        "lists within one another": flax(b"\xa1a" + b"\x91" * 900_000, number=1),
        "nothing again and again": flax(b"\xa1a\xdd" + struct.pack(">I", 900_000) + b"\xc0" * 900_000, number=1),
        "empty maps": flax(b"\xa1a\xdd" + struct.pack(">I", 900_000) + b"\x80" * 900_000, number=1),
        "a map that claims four thousand million": flax(*small("a"), number=(1 << 32) - 1),
        "many tensors": flax(*many),
        "many tensors under a long name": flax(key("x" * 900) + flax(*many)),
        "many tensors deep in a tree": flax(b"\xa1d\xdf\x00\x00\x00\x01" * 60 + b"\xa1d" + flax(*many), number=1),
        "many models": flax(*models),
        "a tensor of many chunks": flax(b"\xa1c\x83\xb9__msgpack_chunked_array__\xc3\xa5shape\x81\xa10\xcd\x8c\xa0\xa6chunks" + chunks, number=1),
        "a name of many letters": flax(b"\xdb" + struct.pack(">I", 900_000) + b"x" * 900_000 + b"\xc0", number=1),
        "many axes": flax(b"\xa1a\xc9" + struct.pack(">Ib", 900_006, 1) + b"\x93\xdd" + struct.pack(">I", 900_000) + bytes(900_000), number=1),
        "foreign blocks": flax(*small(f"Transformer/encoderblock_{number}/LayerNorm_0/bias" for number in range(14_000))),
    }


def deep_model(room):
    """A model that is sound: as many blocks as fit, each of width 1. Beyond 512 they are not looked for."""
    shapes = {(1,): b"h\x01", (3, 1): b"h\x02", (3,): b"h\x03", (1, 1): b"h\x04"}
    made = b"".join(tensor(*shape) + b"q" + known[1:] + b"0" for shape, known in shapes.items())
    stem = {"cls_token": (1, 1, 1), "pos_embed": (1, 2, 1), "patch_embed.projection.weight": (1, 3, 1, 1), "patch_embed.projection.bias": (1,)}
    stem |= {"ln1.weight": (1,), "ln1.bias": (1,)}
    block = {f"{layer}.{part}": (1,) for layer in ("ln1", "ln2") for part in ("weight", "bias")}
    block |= {
        "attn.attn.in_proj_weight": (3, 1),
        "attn.attn.in_proj_bias": (3,),
        "attn.attn.out_proj.weight": (1, 1),
        "attn.attn.out_proj.bias": (1,),
    }
    block |= {"ffn.layers.0.0.weight": (1, 1), "ffn.layers.0.0.bias": (1,), "ffn.layers.1.weight": (1, 1), "ffn.layers.1.bias": (1,)}
    blocks = many(lambda n: b"".join(text(f"layers.{n}.{name}") + shapes[shape] for name, shape in block.items()), room)
    return torch_zip(b"\x80\x04" + made + b"}(" + b"".join(text(name) + tensor(*shape) for name, shape in stem.items()) + blocks + b"u.")


def rows():
    """All files, by what is hostile in them."""
    tables = [("pickle", "a.pth", pickles()), ("names", "a.pth", names_of()), ("npy", "a.npz", headers())]
    tables += [("safetensors", "a.safetensors", {what: safetensors(header) for what, header in tensors().items()})]
    tables += [("flax", "a.msgpack", trees())]
    tables += [("config", "a.pth", {what: meta(cfg=config, config=config) for what, config in configs().items()})]
    made = [Small(f"{kind}: {what}", file, lambda data=data: data) for kind, file, table in tables for what, data in table.items()]
    made.append(Small("names: a sound model of too many blocks", "a.pth", lambda: deep_model(ROOM)))
    convert = ("convert", "FILE", "OUT.pth", "--to", "timm")
    made.append(Small("names: a sound model of many blocks", "a.pth", lambda: deep_model(170_000), (convert,), says="read back and compared"))
    return [*made, *zips(), Small("legacy: dicts, all remembered", "a.pth", lambda: legacy(fill(b"}\x94")))]


QUICK = (
    "many tensors under a long name",
    "OrderedDict of the same pairs",
    "integers of one hash",
    "blocks of one tensor under",
    "zip: bzip2",
    "spread again and again",
)


def test_none_costs_much(tmp_path):
    """One of each kind; the others by `-m thorough`."""
    refuse_costly([row for row in rows() if any(word in row.what for word in QUICK)], tmp_path)


@pytest.mark.thorough
def test_none_of_all_costs_much(tmp_path):
    refuse_costly(rows(), tmp_path)


@pytest.mark.slow
def test_100_000_foreign_tensors(tmp_path):
    """7 MB, and no longer than a small file may take."""
    header = {f"layers.{number // 10}.w{number % 10}": ENTRY for number in range(100_000)}
    text = json.dumps(header, separators=(",", ":")).encode()
    refuse_costly([Small("foreign tensors", "a.safetensors", lambda: safetensors(text))], tmp_path, 7_500_000)
