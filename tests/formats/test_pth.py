"""`.pth`: every form that checkpoints come in is read, no code in them runs, and torch reads ours."""

import contextlib
import io
import os
import pickle
import struct
import subprocess
import sys
import tracemalloc
import zipfile
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support import GOLDEN, same, specs_of

from segzoo.conversion.inspect import inspect
from segzoo.errors import ConversionError, IntegrityError
from segzoo.formats import open_weights
from segzoo.formats.pth import write
from segzoo.formats.source import Source
from segzoo.manifest.artifact import Artifact
from segzoo.store.policy import opens

PTH = GOLDEN / "pth"
LEGACY = [0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}]


def golden(stem):
    with np.load(PTH / f"{stem}.npz") as loaded:
        return dict(loaded)


def numpy_of(tensor):
    tensor = tensor.detach()
    return tensor.view(torch.int16).numpy().view(ml_dtypes.bfloat16) if tensor.dtype == torch.bfloat16 else tensor.numpy()


def read(path):
    opened = open_weights(path)
    return {name: np.array(opened[name]) for name in opened}


NESTED = "tensors found under 'state_dict'"
SCALARS = "not called, though its pickle would: _codecs.encode, numpy._core.multiarray.scalar, numpy.dtype"
HISTORY = (
    "not called, though its pickle would: __builtin__.getattr, _codecs.encode, mmengine.logging.history_buffer.HistoryBuffer, "
    "numpy._core.multiarray._reconstruct, numpy._core.multiarray.scalar, numpy.dtype"
)


@pytest.mark.parametrize(
    ("form", "tensors", "notes", "torch_reads"),
    [
        ("v0_zip_numpy_meta", "tensors", (NESTED, SCALARS), False),
        ("v0_legacy_numpy_meta", "tensors", (NESTED, SCALARS), False),
        ("v1_train_history_buffer", "tensors", (NESTED, HISTORY), False),
        ("ddp_prefix", "tensors", ("'module.', by DataParallel, DDP and averages, left out of 4 names",), True),
        ("rstrudel_style", "tensors_rstrudel", ("tensors found under 'model'",), True),
        ("half_legacy", "tensors_half", (), True),
        ("views_zip", "views", (), True),
        ("views_legacy", "views", (), True),
    ],
)
def test_every_form_is_read(form, tensors, notes, torch_reads):
    opened = open_weights(PTH / f"{form}.pth")
    assert opened.notes == notes
    assert opened.specs == specs_of(golden(tensors))
    assert same(opened, golden(tensors))
    if torch_reads:
        loaded = torch.load(PTH / f"{form}.pth", weights_only=True)
        assert same(opened, {name.removeprefix("module."): numpy_of(tensor) for name, tensor in loaded.get("model", loaded).items()})


def test_bfloat16_is_read():
    opened = open_weights(PTH / "bfloat16.pth")
    assert same(opened, {name: numpy_of(tensor) for name, tensor in torch.load(PTH / "bfloat16.pth", weights_only=True).items()})
    assert opened["backbone.cls_token"].dtype == ml_dtypes.bfloat16
    for name, wide in golden("tensors_bfloat16_as_float32").items():
        assert np.array_equal(opened[name].astype(wide.dtype), wide)


@pytest.mark.parametrize("form", ["v0_zip_numpy_meta", "v0_legacy_numpy_meta", "v1_train_history_buffer"])
def test_plain_facts_of_meta_are_kept(form):
    metadata = open_weights(PTH / f"{form}.pth").metadata
    assert (metadata["mmseg_version"], metadata["iter"], metadata["config"]) == ("0.20.2", "160000", "# text")


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    ("nest", "names", "notes"),
    [
        (lambda state: state, ["a", "b"], ()),
        (lambda state: {"epoch": 3, "model_state_dict": state}, ["a", "b"], ("tensors found under 'model_state_dict'",)),
        (lambda state: {"state_dict_ema": state}, ["a", "b"], ("tensors found under 'state_dict_ema'",)),
        (
            lambda state: {"model": {"c": state["a"]}, "state_dict": state},
            ["a", "b"],
            ("tensors found under 'state_dict'", "1 tensor under 'model' passed over"),
        ),
        (
            lambda state: {"state_dict": state, "optimizer": {"m": {"c": state["a"]}}, "state_dict_ema": {"x": {"c": state["a"]}}},
            ["a", "b"],
            ("tensors found under 'state_dict'", "1 tensor under 'optimizer.m', 1 under 'state_dict_ema.x' passed over"),
        ),
        (lambda state: {"net": {"params": state}}, ["a", "b"], ("tensors found under 'net.params'",)),
        (lambda state: {"a": {"b": {"c": {"d": state}}}}, ["a", "b"], ("tensors found under 'a.b.c.d'",)),
        (lambda state: {"model": {"encoder": state}, "state_dict": {}}, ["a", "b"], ("tensors found under 'model.encoder'",)),
        (lambda state: {"generator": state, "step": 3}, ["a", "b"], ("tensors found under 'generator'",)),
        (lambda state: {"net": state, "optimizer": {"state": {0: {"exp_avg": state["a"]}}}}, ["a", "b"], ("tensors found under 'net'",)),
        (lambda state: (state, {"state": {0: {"exp_avg": state["a"]}}}, 3), ["a", "b"], ("tensors found under '0'",)),
        (lambda state: {"net\n\x1b": state}, ["a", "b"], (r"tensors found under 'net\n\x1b'",)),
        (lambda state: state | {"step": 3, "lr": [0.1]}, ["a", "b"], ("left out, being no tensors: lr, step",)),
        (
            lambda state: {"module.a": state["a"], "b": state["b"]},
            ["a", "b"],
            ("'module.', by DataParallel, DDP and averages, left out of 1 names",),
        ),
        (
            lambda state: {"model": {f"module.{name}": tensor for name, tensor in state.items()}},
            ["a", "b"],
            ("tensors found under 'model'", "'module.', by DataParallel, DDP and averages, left out of 2 names"),
        ),
        (lambda state: {"a": torch.nn.Parameter(state["a"]), "b": state["b"]}, ["a", "b"], ()),
    ],
)
def test_where_tensors_were_found_is_said(nest, names, notes, zipped, tmp_path):
    state = {"a": torch.arange(3.0), "b": torch.arange(6).reshape(2, 3).T}
    torch.save(nest(state), tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    opened = open_weights(tmp_path / "a.pth")
    assert (list(opened), opened.notes) == (names, notes)
    assert same(dict(zip("ab", opened.values(), strict=True)), {name: tensor.numpy() for name, tensor in state.items()})


NOTHING = "no tensors found by name in this checkpoint; at its top: "


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ({}, f"{NOTHING}no keys"),
        ({"epoch": 3, "lr": 0.1}, f"{NOTHING}epoch, lr"),
        ({"state_dict": {}}, f"{NOTHING}state_dict"),
        ({"a" * 99: 1, ("b",): 2, 7: 3, "c\n": 4} | dict.fromkeys("defgh"), rf"{NOTHING}a{{57}}\.\.\., a tuple, 7, c\\n, d, e and 3 more$"),
        ({"a": {"b": {"c": {"d": {"e": {"x": torch.zeros(2)}}}}}}, f"{NOTHING}a"),
        ([1], f"{NOTHING}0"),
        (3, f"{NOTHING}no keys"),
    ],
)
@pytest.mark.parametrize("zipped", [True, False])
def test_files_without_a_state_dict(content, complaint, zipped, tmp_path):
    torch.save(content, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(IntegrityError, match=rf"a\.pth: .*{complaint}"):
        open_weights(tmp_path / "a.pth")


ONE = {"x": torch.zeros(2)}
PLAIN = "takes one of them out"
NAMES = "torch.save a dict that gives each tensor its name"


@pytest.mark.parametrize(
    ("content", "complaint", "hint"),
    [
        ({"a": ONE, "b": ONE | {"y": torch.zeros(3)}}, "1 tensor under 'a', 2 under 'b'; which is meant cannot be known", PLAIN),
        ({"a": ONE, "b": ONE}, "1 tensor under 'a', 1 under 'b'; which", PLAIN),
        ({"a": {"net": ONE, "loss": ONE["x"]}}, r"1 tensor under 'a', 1 under 'a\.net'; which", PLAIN),
        ({str(number): dict(ONE) for number in range(9)}, "1 tensor under '0', 1 under '1'.*, 1 under '5' and 3 more; which", PLAIN),
        ({"state_dict": ONE, "ema_state_dict": ONE}, "2 models: 1 tensor under 'state_dict', 1 under 'ema_state_dict'; which", PLAIN),
        ({"model": ONE, "model_ema": {"module.x": torch.ones(2)}}, "2 models: 1 tensor under 'model', 1 under 'model_ema'; which", PLAIN),
        ([torch.zeros(2)] * 3, "expected names with tensors, found a list of 3 tensors without names", NAMES),
        ((torch.zeros(2), 3), "expected names with tensors, found a tuple of 1 tensor without names", NAMES),
        (torch.zeros(2), "expected names with tensors, found a tensor without a name", NAMES),
    ],
)
@pytest.mark.parametrize("zipped", [True, False])
def test_tensors_of_which_it_cannot_be_known_what_they_are(content, complaint, hint, zipped, tmp_path):
    """The bytes are sound, so it is no fault of the file's; but what is to be held to a manifest has failed all the same."""
    torch.save(content, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(ConversionError, match=rf"a\.pth: {complaint}") as caught:
        open_weights(tmp_path / "a.pth")
    assert hint in caught.value.hint
    with pytest.raises(IntegrityError, match=rf"a\.pth: {complaint}"):
        opens(Artifact(name="a.pth", urls=("a.pth",)), tmp_path / "a.pth")


def test_a_whole_module_is_refused_by_its_class():
    with pytest.raises(IntegrityError, match=r"whole_module\.pth: holds a pickled torch\.nn\.modules\.linear\.Linear") as caught:
        open_weights(PTH / "whole_module.pth")
    assert "module.state_dict()" in caught.value.hint


class Calls:
    """Unpickled, it calls `function`."""

    def __init__(self, function, *arguments):
        self.reduced = function, arguments

    def __reduce__(self):
        return self.reduced


ATTACKS = {
    "touch": lambda marker: Calls(Path.touch, marker),
    "system": lambda marker: Calls(os.system, f"touch {marker}"),
    "open": lambda marker: Calls(open, str(marker), "w"),
    "exec": lambda marker: Calls(exec, f"open({str(marker)!r}, 'w').close()"),
    "mkdir": lambda marker: Calls(os.mkdir, str(marker)),
}
PLACES = {
    "meta": lambda attack: {"meta": {"x": attack}, "state_dict": {"a": torch.arange(3.0)}},
    "state": lambda attack: {"a": torch.arange(3.0), "x": attack},
    "key": lambda attack: {"meta": {(attack,): 1}, "state_dict": {"a": torch.arange(3.0)}},
    "root": lambda attack: attack,
}


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_no_code_runs(attack, place, zipped, tmp_path):
    path, marker = tmp_path / "a.pth", tmp_path / "marker"
    torch.save(PLACES[place](ATTACKS[attack](marker)), path, _use_new_zipfile_serialization=zipped)
    if place == "root":
        with pytest.raises(IntegrityError, match="holds a pickled"):
            open_weights(path)
    else:
        assert {name: array.tolist() for name, array in read(path).items()} == {"a": [0, 1, 2]}
        assert any(note.startswith("not called, though its pickle would: ") for note in open_weights(path).notes)
    assert not marker.exists()
    pickle.loads(pickle.dumps(ATTACKS[attack](marker)))
    assert marker.exists()  # the attack was a real one


class Reference:
    """What a torch pickle keeps outside itself: a persistent id."""

    def __init__(self, *identity):
        self.identity = identity


def storage(key="0", kind=torch.FloatStorage, size=6, *view):
    return Reference("storage", kind, key, "cpu", size, *view)


def tensor(offset=0, shape=(2, 3), strides=(3, 1), of=None):
    return Calls(torch._utils._rebuild_tensor_v2, of or storage(), offset, shape, strides, False, {})


def pickled(content):
    class Pickler(pickle.Pickler):
        def persistent_id(self, thing):
            return thing.identity if isinstance(thing, Reference) else None

    file = io.BytesIO()
    Pickler(file, 2).dump(content)
    return file.getvalue()


NUMBERS = np.arange(6, dtype="<f4").tobytes()


def zip_file(path, data_pkl, **members):
    """A torch zip by hand; a member that is None is left out."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in {"data.pkl": data_pkl, "byteorder": b"little", "data/0": NUMBERS, "version": b"3\n", **members}.items():
            if content is not None:
                archive.writestr(f"archive/{name}", content)
    return path


def legacy_file(path, root, keys=("0",), blocks=((6, NUMBERS),), head=LEGACY):
    parts = [*(pickle.dumps(part, 2) for part in head), root, pickle.dumps(list(keys), 2)]
    path.write_bytes(b"".join(parts) + b"".join(struct.pack("<q", count) + data for count, data in blocks))
    return path


@pytest.mark.parametrize("write_file", [zip_file, legacy_file])
@pytest.mark.parametrize(
    ("broken", "complaint"),
    [
        (tensor(), None),
        (tensor(offset=1), "reaches beyond its storage of 6"),
        (tensor(shape=(3, 3)), "reaches beyond its storage of 6"),
        (tensor(strides=(4, 1)), "reaches beyond its storage of 6"),
        (tensor(shape=(7,), strides=(1,)), "reaches beyond its storage of 6"),
        (tensor(shape=(2**40,), strides=(1,)), "reaches beyond its storage of 6"),
        (tensor(shape=(2**40,), strides=(0,)), "claims tensors of 4398046511104 bytes"),
        (tensor(shape=(2**62, 2**62, 2**62), strides=(0, 0, 0)), "claims tensors of"),
        (tensor(shape=(3, 2**40), strides=(1, 0)), "claims tensors of"),
        (tensor(offset=6, shape=(), strides=()), "reaches beyond its storage of 6"),
        (tensor(offset=-1), "its description is damaged"),
        (tensor(offset=3, strides=(-3, 1)), "its description is damaged"),
        (tensor(shape=(-2, -3)), "its description is damaged"),
        (tensor(shape=(2.0, 3)), "its description is damaged"),
        (tensor(shape=(True, 3)), "its description is damaged"),
        (tensor(offset="0"), "its description is damaged"),
        (tensor(of=[1, 2, 3]), "its description is damaged|a storage belongs to no tensor"),
        (tensor(shape=(6,)), "1 sizes and 2 strides"),
        (tensor(shape=(1,) * 40, strides=(1,) * 40), "40 sizes and 40 strides"),
        (tensor(shape=(10**5000,), strides=(1,)), "damaged"),
        (tensor(shape=(0, 2**70)), "damaged"),
        (tensor(shape=(1,), strides=(2**70,)), "damaged"),
        (tensor(shape=6), "damaged"),
        (tensor(of=storage("0", torch.FloatStorage, 7)), "its storage holds 24 bytes, 28 were promised"),
        (tensor(of=storage("0", torch.FloatStorage, 2**60), offset=2**50), "its storage holds 24 bytes"),
        (tensor(of=storage("0", torch.FloatStorage, -6)), "reaches beyond"),
        (tensor(of=storage("0", torch.FloatStorage, "6")), "the description of a storage is damaged"),
        (tensor(of=storage(("0",))), "the description of a storage is damaged"),
        (tensor(of=storage("0", torch.FloatStorage, 6, ("0", -4, 6))), "the description of a storage is damaged"),
        (tensor(of=storage("0", torch.FloatStorage, 6, ("0", 2, 6))), "its storage holds 24 bytes"),
        (tensor(of=Reference("module", 1)), "damaged"),
        (tensor(of=storage("0", dict)), "a storage of type __builtin__.dict"),
    ],
)
def test_a_tensor_that_is_not_in_its_storage(broken, complaint, write_file, tmp_path):
    path = write_file(tmp_path / "a.pth", pickled({"x": broken}))
    if complaint is None:
        assert read(path)["x"].tolist() == [[0, 1, 2], [3, 4, 5]]
    else:
        with pytest.raises(IntegrityError, match=rf"a\.pth: .*({complaint})"):
            read(path)


def test_storages_that_are_views_of_another(tmp_path):
    """As torch wrote them before 0.4: the id ends with (key, begin, size) of the part that is meant."""
    parts = {name: tensor(0, (2,), (1,), storage("0", torch.FloatStorage, 6, (name, begin, 2))) for name, begin in (("a", 0), ("b", 2), ("c", 4))}
    path = legacy_file(tmp_path / "a.pth", pickled(parts))
    assert {name: array.tolist() for name, array in read(path).items()} == {"a": [0, 1], "b": [2, 3], "c": [4, 5]}
    assert same(open_weights(path), {name: numpy_of(part) for name, part in torch.load(path, weights_only=True).items()})


GOOD = pickled({"x": tensor()})


@pytest.mark.parametrize(
    ("members", "complaint"),
    [
        ({"data/0": None}, "tensor 'x': its storage '0' is not in the file"),
        ({"data/0": NUMBERS[:-1]}, "tensor 'x': its storage holds 23 bytes, 24 were promised"),
        ({"byteorder": b"big"}, "big-endian"),
        ({"byteorder": b"little" * 3}, "big-endian"),
        ({"constants.pkl": GOOD}, "a TorchScript program, not a checkpoint"),
        ({"data.pkl": b""}, "damaged pickle"),
        ({"data.pkl": GOOD[:-1]}, "damaged pickle"),
    ],
)
def test_a_zip_that_is_no_sound_checkpoint(members, complaint, tmp_path):
    with pytest.raises(IntegrityError, match=rf"a\.pth: .*{complaint}"):
        read(zip_file(tmp_path / "a.pth", members.pop("data.pkl", GOOD), **members))


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("name", ["data.pkl", "data/0", "version"])
def test_a_member_that_is_there_twice(name, tmp_path):
    path = zip_file(tmp_path / "a.pth", GOOD)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(f"archive/{name}", NUMBERS[::-1])
    with pytest.raises(IntegrityError, match="is there twice; which one is meant"):
        open_weights(path)


def flipped(path, begin, end, step):
    """The file with one bit flipped, at each place in turn."""
    whole = path.read_bytes()
    for place in range(begin, end, step):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :])
        yield place
    path.write_bytes(whole)


def test_a_flipped_bit_in_any_storage_is_seen(tmp_path):
    """Also where a tensor is a part of its storage, and the flipped bit is outside the part."""
    block = torch.randn(500)
    torch.save({"a": torch.randn(300), "part": block[100:200], "column": torch.randn(20, 30).T[::2]}, tmp_path / "a.pth")
    with zipfile.ZipFile(tmp_path / "a.pth") as archive:
        spans = [(info.header_offset, info.file_size) for info in archive.infolist() if "/data/" in info.filename]
    tried = 0
    for begin, size in spans:
        for _ in flipped(tmp_path / "a.pth", begin + 200, begin + size - 8, 61):
            with pytest.raises(IntegrityError, match=r"member 'a/data/\d' does not have the checksum|say different things|is not where"):
                read(tmp_path / "a.pth")
            tried += 1
    assert tried > 60
    assert read(tmp_path / "a.pth")["part"].shape == (100,)


def test_a_flipped_bit_in_the_pickle_is_seen(tmp_path):
    torch.save({"a": torch.randn(3)}, tmp_path / "a.pth")
    with zipfile.ZipFile(tmp_path / "a.pth") as archive:
        info = archive.getinfo("a/data.pkl")
    for _ in flipped(tmp_path / "a.pth", info.header_offset + 64, info.header_offset + 64 + info.file_size, 1):
        with pytest.raises(IntegrityError, match=r"a\.pth: "):
            read(tmp_path / "a.pth")


def test_a_storage_that_tensors_share_is_checked_once(tmp_path, monkeypatch):
    block = torch.randn(1000)
    torch.save({f"x{place}": block[place : place + 10] for place in range(50)}, tmp_path / "a.pth")
    opened, seen = open_weights(tmp_path / "a.pth"), []
    monkeypatch.setattr(Source, "crc", lambda self, begin, length, crc=Source.crc: seen.append(length) or crc(self, begin, length))
    assert [opened[name].shape for name in opened] == [(10,)] * 50
    assert seen == [4000]


UNCHECKED = "no checksums in it: torch was told to leave them out, so a flipped bit would not show"


def test_a_zip_without_checksums_is_read_and_said(tmp_path):
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({"a": torch.arange(3.0), "none": torch.zeros(0)}, tmp_path / "a.pth")
    finally:
        torch.serialization.set_crc32_options(True)
    opened = open_weights(tmp_path / "a.pth")
    assert opened.notes == (UNCHECKED,)
    assert opened["a"].tolist() == [0, 1, 2]
    assert inspect(tmp_path / "a.pth").notes[0] == UNCHECKED
    torch.save({"a": torch.arange(3.0)}, tmp_path / "b.pth")
    assert open_weights(tmp_path / "b.pth").notes == ()


@pytest.mark.parametrize("write_file", [zip_file, legacy_file])
@pytest.mark.parametrize(
    "content",
    [
        {0: tensor(), "0": tensor()},
        {"state_dict": {0: tensor(), "0": tensor()}},
        {True: tensor(), "True": tensor()},
        {-1: tensor(), "-1": tensor()},
        {"a": tensor(), 1.5: tensor()},
        {"a": tensor(), b"b": tensor()},
        {"a": tensor(), ("b", 1): tensor()},
        {"a": tensor(), None: tensor()},
        {"a": tensor(), 10**30: tensor()},
    ],
    ids=lambda content: ascii([*content, *(inner for one in content.values() if isinstance(one, dict) for inner in one)]),
)
def test_a_tensor_that_would_be_lost_by_its_key(content, write_file, tmp_path):
    with pytest.raises(IntegrityError, match=r"is there twice, as a text and as a number|a tensor under a key that is no name") as caught:
        open_weights(write_file(tmp_path / "a.pth", pickled(content)))
    assert caught.value.hint.startswith("load it with torch and torch.save")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (b"X\x01\0\0\0a", b"X\x01\0\0\0a"),
        (b"K\x01", b"K\x01"),
        (b"K\x01", b"\x88"),
        (b"K\x01", b"G?\xf0\0\0\0\0\0\0"),
        (b"\x88", b"G?\xf0\0\0\0\0\0\0"),
        (b"C\x01a", b"C\x01a"),
        (b"N", b"N"),
    ],
)
@pytest.mark.parametrize("ends", [b"u", b"s", b"args"])
def test_a_key_that_is_there_twice(one, other, ends, tmp_path):
    """In one go, one after the other, or as the pairs that an OrderedDict is made of."""
    pickles = {
        b"u": b"\x80\x04}(" + one + b"N" + other + b"Nu.",
        b"s": b"\x80\x04}" + one + b"Ns" + other + b"Ns.",
        b"args": b"\x80\x04ccollections\nOrderedDict\n](" + one + b"N\x86" + other + b"N\x86e\x85R.",
    }
    with pytest.raises(IntegrityError, match=r"a dict has the key .* twice; which value is meant cannot be known"):
        open_weights(zip_file(tmp_path / "a.pth", pickles[ends]))


def test_two_places_of_one_name(tmp_path):
    path = zip_file(tmp_path / "a.pth", pickled({"a": {"b": {"w": tensor()}}, "a.b": {"w": tensor(), "v": tensor()}}))
    with pytest.raises(ConversionError, match=r"2 places are called 'a\.b'"):
        open_weights(path, "a.b")


def test_members_that_share_bytes(tmp_path):
    """A stored member whose bytes are a whole zip: the directory lists what is inside it too."""
    inner = zip_file(tmp_path / "inner.pth", GOOD).read_bytes()
    with zipfile.ZipFile(tmp_path / "a.pth", "w") as archive:
        archive.writestr("whole", inner)
        start = archive.getinfo("whole").header_offset + 30 + len("whole")
        with zipfile.ZipFile(io.BytesIO(inner)) as within:
            for info in within.infolist():
                info.header_offset += start
                archive.filelist.append(info)
        archive._didModify = True
    with pytest.raises(IntegrityError, match=r"member 'whole': reaches into the next member"):
        open_weights(tmp_path / "a.pth")


@pytest.mark.parametrize(("name", "complaint"), [("data.pkl", "data.pkl' is compressed"), ("data/0", "member 'archive/data/0' is compressed")])
def test_a_member_that_is_compressed(name, complaint, tmp_path):
    path = zip_file(tmp_path / "a.pth", GOOD, **({"data/0": None} if name == "data/0" else {}))
    if name == "data.pkl":
        path.unlink()
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(f"archive/{name}", GOOD if name == "data.pkl" else NUMBERS, zipfile.ZIP_DEFLATED)
    with pytest.raises(IntegrityError, match=complaint):
        open_weights(path)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"head": [LEGACY[0], 1002, LEGACY[2]]}, "a protocol other than 1001"),
        ({"head": [LEGACY[0], 1001, {"little_endian": False}]}, "big-endian"),
        ({"head": [LEGACY[0], 1001, [1]]}, "big-endian"),
        ({"keys": ("1",)}, "a storage belongs to no tensor"),
        ({"keys": (0,)}, "a storage belongs to no tensor"),
        ({"keys": ()}, "its storage '0' is not in the file"),
        ({"blocks": ((7, NUMBERS),)}, "cut short: .* reach to byte"),
        ({"blocks": ((2**62, NUMBERS),)}, "cut short: .* reach to byte"),
        ({"blocks": ((-1, NUMBERS),)}, "cut short: .* reach to byte"),
        ({"blocks": ((5, NUMBERS),)}, "its storage holds 20 bytes, 24 were promised"),
        ({"blocks": ()}, "cut short"),
    ],
)
def test_a_legacy_file_that_is_no_sound_checkpoint(change, complaint, tmp_path):
    with pytest.raises(IntegrityError, match=rf"a\.pth: .*{complaint}"):
        read(legacy_file(tmp_path / "a.pth", GOOD, **change))


def test_a_legacy_file_that_ends_as_a_zip_is_what_torch_takes_it_for(tmp_path):
    other = zip_file(tmp_path / "other.pth", GOOD, **{"data/0": NUMBERS[::-1]})
    path = legacy_file(tmp_path / "a.pth", pickled({"x": tensor(of=storage("0", torch.FloatStorage, 6, None))}))
    path.write_bytes(path.read_bytes() + other.read_bytes())
    assert zipfile.is_zipfile(path)
    assert same(open_weights(path), {"x": torch.load(path, weights_only=True)["x"].numpy()})


TEBI = struct.pack("<Q", 2**40)


@pytest.mark.parametrize("write_file", [zip_file, legacy_file])
@pytest.mark.parametrize(
    "bomb",
    [
        b"\x80\x02Nr\xff\xff\xff\x7f.",  # LONG_BINPUT: nine bytes for which the C unpickler takes gigabytes
        b"\x80\x04\x8d" + TEBI + b"x.",  # BINUNICODE8
        b"\x80\x04\x8e" + TEBI + b"x.",  # BINBYTES8
        b"\x80\x05\x96" + TEBI + b"x.",  # BYTEARRAY8
        b"\x80\x04\x95" + TEBI + b"N.",  # FRAME
        b"\x80\x02X\xff\xff\xff\xffx.",  # BINUNICODE
        b"\x80\x02T\xff\xff\xff\x7fx.",  # BINSTRING
        b"\x80\x03B\xff\xff\xff\xffx.",  # BINBYTES
        b"\x80\x02\x8b\xff\xff\xff\x7fx.",  # LONG4
        b"I" + b"9" * 5000 + b"\n.",  # INT in decimals
        b"\x80\x02})" + b"2\x86" * 60 + b"Ns.",  # a dict's key of 2**60 leaves, which hashing would visit
        b"\x80\x02)" + b"\x85" * 10_000 + b")R.",  # a call of something nested so deep that saying it would not end well
        b"\x80\x02)" + b"2\x86" * 60 + b")R.",  # and as wide as the key
        b"\x80\x02)" + b"2\x86" * 60 + b"Q.",  # a storage's description
        b"\x80\x02" + b"(" * 10_000 + b".",
    ],
)
def test_a_claimed_size_allocates_nothing(bomb, write_file, tmp_path):
    path = write_file(tmp_path / "a.pth", bomb)
    tracemalloc.start()
    try:
        with pytest.raises(IntegrityError, match=r"a\.pth: "):
            read(path)
        assert tracemalloc.get_traced_memory()[1] < 6 * 2**20
    finally:
        tracemalloc.stop()


def repeated(depth, width):
    """Dicts that hold the next one under many keys: a walk along every path would take width ** depth steps."""
    inner = {"x": 1}
    for _ in range(depth):
        inner = {f"k{place}": inner for place in range(width)}
    return inner


@pytest.mark.parametrize(
    "content",
    [
        {"w": tensor(), ("long" * 10_000,) * 10_000: 1},
        {"state_dict": {"w": tensor(), ("long" * 10_000,) * 10_000: 1}},
        {"state_dict": {"w": tensor()}, "meta": {("long" * 10_000,) * 10_000: 1}},
        {"net": {"w": tensor()}, "more": repeated(4, 1000)},
    ],
    ids=["a key", "a nested key", "a key of meta", "dicts"],
)
def test_what_a_pickle_repeats_is_not_written_out(content, tmp_path):
    path = zip_file(tmp_path / "a.pth", pickled(content))
    tracemalloc.start()
    try:
        assert read(path)["w"].shape == (2, 3)
        assert tracemalloc.get_traced_memory()[1] < 6 * 2**20
    finally:
        tracemalloc.stop()


def test_a_dict_within_itself(tmp_path):
    content = {"net": {"w": tensor()}}
    content["net"]["again"] = content
    with pytest.raises(ConversionError, match=r"1 tensor under 'net', 1 under 'net\.again\.net'; which"):
        open_weights(zip_file(tmp_path / "a.pth", pickled({"epoch": 1} | content)))


def test_a_compressed_bomb_beside_the_tensors(tmp_path):
    path = zip_file(tmp_path / "a.pth", GOOD, byteorder=None)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/byteorder", bytes(2**26))
    tracemalloc.start()
    try:
        with pytest.raises(IntegrityError, match="big-endian"):
            open_weights(path)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("opcodes", "complaint"),
    [
        (b"ios\nsystem\n.", "INST"),
        (b"(cos\nsystem\no.", "OBJ"),
        (b"\x80\x02\x82\x01.", "EXT1"),
        (b"Pid\n.", "PERSID"),
        (b"\x80\x05\x97.", "NEXT_BUFFER"),
    ],
)
def test_opcodes_that_no_checkpoint_needs(opcodes, complaint, tmp_path):
    with pytest.raises(IntegrityError, match=f"the pickle uses {complaint}, which no checkpoint needs"):
        open_weights(zip_file(tmp_path / "a.pth", opcodes))


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("pth")


def parts(path):
    with zipfile.ZipFile(path) as archive:
        return {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}


ZIPPED = parts(PTH / "v1_train_history_buffer.pth")


@settings(max_examples=300, derandomize=True, deadline=None)
@given(position=st.integers(0, len(ZIPPED["data.pkl"]) - 1), change=st.integers(1, 255), more=st.binary(max_size=3))
def test_a_damaged_pickle_never_raises_anything_but_ours(position, change, more, scratch):
    """Zipped anew, so that no checksum stands between."""
    damaged = bytearray(ZIPPED["data.pkl"])
    damaged[position] ^= change
    damaged[position + 1 : position + 1] = more
    path = zip_file(scratch / "a.pth", bytes(damaged), **{name: content for name, content in ZIPPED.items() if name != "data.pkl"})
    with contextlib.suppress(IntegrityError, ConversionError):
        read(path)


SHAPES = {"scalar": (), "vector": (5,), "matrix": (3, 4), "kernel": (2, 3, 2, 2), "empty": (0,), "hollow": (2, 0, 3)}
KINDS = ["float64", "float32", "float16", ml_dtypes.bfloat16, "int64", "int32", "int16", "int8", "uint8", "bool"]
TENSORS = {
    f"{np.dtype(kind)}.{name}": (np.arange(np.prod(shape, dtype=int)) + 1).astype(kind).reshape(shape)
    for kind in KINDS
    for name, shape in SHAPES.items()
} | {"transposed": np.arange(6.0).reshape(2, 3).T, "zürich \u2713": np.arange(3)}


@pytest.fixture(scope="module")
def ours(scratch):
    with (scratch / "ours.pth").open("wb") as file:
        write(file, specs_of(TENSORS), TENSORS.items(), {"left": "out"})
    return scratch / "ours.pth"


@pytest.mark.parametrize("mmap", [False, True])
def test_torch_reads_ours(mmap, ours):
    loaded = torch.load(ours, weights_only=True, mmap=mmap)
    assert list(loaded) == list(TENSORS)
    assert all(tensor.is_contiguous() and not tensor.requires_grad for tensor in loaded.values())
    assert same({name: numpy_of(tensor) for name, tensor in loaded.items()}, TENSORS)


def test_every_storage_lies_on_a_multiple_of_64_bytes(ours):
    reader = torch._C.PyTorchFileReader(str(ours))
    assert [reader.get_record_offset(f"data/{index}") % 64 for index in range(len(TENSORS))] == [0] * len(TENSORS)


def test_torch_saves_again_what_it_read(ours, tmp_path):
    torch.save(torch.load(ours, weights_only=True), tmp_path / "again.pth")
    assert same(open_weights(tmp_path / "again.pth"), TENSORS)


@pytest.mark.parametrize("kind", ["uint16", "complex64"])
def test_a_dtype_that_it_cannot_hold(kind, tmp_path):
    tensors = {"x": np.zeros(3, kind)}
    with (tmp_path / "a.pth").open("wb") as file, pytest.raises(ConversionError, match=rf"x: a \.pth cannot hold dtype {kind}"):
        write(file, specs_of(tensors), tensors.items(), {})


COPIES = """
import sys
from pathlib import Path
from segzoo.formats import open_weights, writer
opened, target = open_weights(sys.argv[1]), Path(sys.argv[2])
with target.open("wb") as file:
    writer(target)(file, opened.specs, opened.items(), {})
print("torch" in sys.modules)
"""


@pytest.mark.parametrize("form", ["v0_zip_numpy_meta", "v0_legacy_numpy_meta"])
def test_reading_and_writing_need_no_torch(form, tmp_path):
    command = [sys.executable, "-c", COPIES, PTH / f"{form}.pth", tmp_path / "copy.pth"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "False\n"
    assert same(open_weights(tmp_path / "copy.pth"), golden("tensors"))
