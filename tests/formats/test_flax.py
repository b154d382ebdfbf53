"""Files of flax: what flax 0.12.8 and optax write is read as flax reads it, and damage is refused."""

import json
import re
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from click.testing import CliRunner
from support import GOLDEN, arrays, same, tensors_of, without

from segzoo.cli import main
from segzoo.conversion.compare import compare
from segzoo.conversion.convert import convert
from segzoo.conversion.inspect import inspect
from segzoo.errors import ConversionError, IntegrityError, UsageError
from segzoo.formats import open_weights, writer
from segzoo.formats.arrays import dtype_of

FLAX = GOLDEN / "flax"
PARAMS = {name.removeprefix("params/"): array for name, array in arrays(FLAX / "params.npz").items()}
CHUNKED = "__msgpack_chunked_array__"


def prefixed(tensors, prefix="params/"):
    return {f"{prefix}{name}": array for name, array in tensors.items()}


def values():
    """What flax's own reader makes of values.msgpack and chunked.msgpack."""
    with np.load(FLAX / "values.npz") as opened:
        for line in (FLAX / "values.txt").read_text().splitlines():
            name, dtype, shape = line.split(" ", 2)
            yield name, opened[name].view(dtype_of(dtype)).reshape(json.loads(shape))


def test_every_value_that_flax_writes():
    """Every dtype, scalars, lists, numbers for keys, arrays in chunks, long ones, and what is no tensor."""
    expected = dict(values())
    opened = open_weights(FLAX / "values.msgpack")
    assert opened.strange == {"a/int4": "numbers of 4 bits"}
    with pytest.raises(ConversionError, match="numbers of 4 bits"):
        opened["a/int4"]
    found = tensors_of(FLAX / "chunked.msgpack") | {name: opened[name] for name in opened if name != "a/int4"}
    assert same(found, {name: one for name, one in expected.items() if name != "a/int4"})
    assert opened.specs["a/int4"].shape == (1, 6)
    assert opened.notes == ("left out, being no tensors: p/bytes, p/complex, p/float, p/int, p/large, p/none and 2 more",)
    for name in ("a/many", "a/nothing", "c/chunked", "s/half"):
        assert (opened if name in opened else open_weights(FLAX / "chunked.msgpack")).crc(name) == zlib.crc32(expected[name].tobytes())


@pytest.mark.parametrize(
    ("file", "place", "note"),
    [
        ("train_state", "", "tensors of the optimiser and its run left out: opt_state"),
        ("run", "0", "tensors of the optimiser and its run left out: 1"),
        ("optimizer", "optimizer/target", "tensors of the optimiser and its run left out: optimizer/state"),
        ("variables", "", None),
    ],
)
def test_the_model_of_a_training_run(file, place, note):
    opened = open_weights(FLAX / f"{file}.msgpack")
    assert same(opened, PARAMS if place else prefixed(PARAMS))
    assert opened.place == place
    assert (note is None) == (not opened.notes)
    assert note is None or any(one.endswith(note) for one in opened.notes)


@pytest.mark.parametrize(
    ("prefix", "beside", "aside"),
    [
        (
            "params/",
            {"opt/0/mu/": PARAMS, "opt/0/": {"count": np.array(7)}, "chrono/": {"accum_train_time": np.array(1.5)}},
            "chrono, opt",
        ),  # big_vision
        ("opt/target/", {"opt/state/param_states/": PARAMS, "opt/state/": {"step": np.array(7)}}, "opt/state"),
        ("params/", {"opt_state/1/0/trace/": PARAMS, "": {"step": np.array(7), "rng": np.zeros(2, "u4")}}, "opt_state, rng, step"),
        ("0/params/", {"1/0/nu/": PARAMS, "": {"2": np.array(7)}}, "1, 2"),
    ],
)
def test_an_npz_of_a_training_run(prefix, beside, aside, tmp_path):
    """Trees whose paths are joined with `/`, as big_vision and vit_jax flatten them."""
    others = {f"{start}{name}": array for start, tensors in beside.items() for name, array in tensors.items()}
    np.savez(tmp_path / "run.npz", **prefixed(PARAMS, prefix), **others)
    opened = open_weights(tmp_path / "run.npz")
    assert same(opened, prefixed(PARAMS, prefix.removeprefix("0/")))
    assert opened.notes[0] == f"{len(others)} tensors of the optimiser and its run left out: {aside}"
    assert compare(opened, open_weights(FLAX / "params.npz")).same


@pytest.mark.parametrize("names", [("0/", "1/"), ("params/", "target/"), ("params/", "state/"), ("params/", "ema/")])
def test_a_copy_that_no_word_tells_to_be_the_optimisers_is_not_left_out(names, tmp_path):
    np.savez(tmp_path / "a.npz", **prefixed(PARAMS, names[0]), **prefixed(PARAMS, names[1]))
    with pytest.raises(ConversionError, match=r"2 models|nearest to layout|in no layout"):
        convert(tmp_path / "a.npz", tmp_path / "a.pth", to="timm")


def test_averages_beside_the_model(tmp_path):
    """One of two models is taken where the caller names it; an optimiser's state can be had too."""
    file = FLAX / "averaged.msgpack"
    with pytest.raises(ConversionError, match=r"2 models: .*'ema_params' \(40 tensors\)") as caught:
        open_weights(file)
    assert "--at params" in caught.value.hint
    assert "--at ema_params" in caught.value.hint
    assert same(open_weights(file, "ema_params"), arrays(FLAX / "averaged.npz"))
    assert same(open_weights(file, "params"), PARAMS)
    assert open_weights(file, "opt_state/0/mu").specs.keys() == PARAMS.keys()
    with pytest.raises(ConversionError, match="2 models"):
        open_weights(file, "ema")


@pytest.mark.parametrize("file", ["variables", "train_state", "run", "optimizer"])
def test_a_conversion_is_that_of_the_same_tensors_as_npz(file, tmp_path):
    """The names go to `augreg` as those of an npz made from the same tree do."""
    assert inspect(FLAX / f"{file}.msgpack").layout == "augreg"
    convert(FLAX / f"{file}.msgpack", tmp_path / "a.pth", to="timm")
    convert(FLAX / "params.npz", tmp_path / "b.pth", to="timm")
    assert (tmp_path / "a.pth").read_bytes() == (tmp_path / "b.pth").read_bytes()
    assert compare(open_weights(FLAX / f"{file}.msgpack"), open_weights(FLAX / "params.npz")).same


def test_a_file_of_ones_own_is_verified():
    """All rungs of a backbone, the numbers in torch against JAX among them."""
    done = CliRunner().invoke(main, ["--zoo", "mini", "verify", str(FLAX / "run.msgpack"), "--json"])
    (result,) = json.loads(done.stdout)["result"]
    assert [one["status"] for one in result["checks"]] == ["passed"] * 4 + ["n/a"]
    assert result["name"] == "run"


def test_bfloat16(tmp_path):
    convert(FLAX / "bfloat16.msgpack", tmp_path / "a.safetensors", to="augreg")
    found = tensors_of(tmp_path / "a.safetensors")
    assert {array.dtype.name for array in found.values()} == {"bfloat16"}
    assert same(tensors_of(FLAX / "bfloat16.msgpack"), {name: array.astype(dtype_of("bfloat16")) for name, array in PARAMS.items()})


def test_it_is_known_by_its_bytes_and_not_written(tmp_path):
    path = tmp_path / "checkpoint_7"  # as flax.training.checkpoints calls it
    path.write_bytes((FLAX / "run.msgpack").read_bytes())
    assert open_weights(path).format == "msgpack"
    with pytest.raises(UsageError, match="flax's msgpack is read, and not written") as caught:
        convert(path, tmp_path / "a.msgpack", to="timm")
    assert caught.value.hint == "name the target with one of .npz, .pth, .pt, .safetensors"
    with pytest.raises(UsageError):
        writer(tmp_path / "a.msgpack")
    (tmp_path / "a.pth").write_bytes(path.read_bytes())
    with pytest.raises(UsageError, match="exists already, and is another file"):
        convert(path, tmp_path / "a.pth", to="timm")


def test_a_folder_of_transformers(tmp_path):
    """The file of a model that has no other, and the last choice where there are others."""
    (tmp_path / "flax_model.msgpack").write_bytes((FLAX / "variables.msgpack").read_bytes())
    (tmp_path / "config.json").write_text("{}")
    assert open_weights(tmp_path).path.name == "flax_model.msgpack"


@pytest.mark.parametrize("file", ["hf_classifier", "hf_pooler", "hf_dinov2", "hf_clip", "hf_beit"])
def test_transformers_flax_model(file, tmp_path):
    """What transformers 4.57.1's own loader makes of its flax model in torch, bit for bit, but for what stands beside the model."""
    source = FLAX / f"{file}.msgpack"
    assert inspect(source).layout == "hf"
    convert(source, tmp_path / "a.safetensors", to="hf", heads=2)
    outer = re.compile(r"^(vit|dinov2|beit)\.")
    theirs = without(arrays(FLAX / f"{file}.npz"), r"^text_|^logit_scale|mask_token|position_ids$|position_index$")
    found = {outer.sub("", name): one for name, one in tensors_of(tmp_path / "a.safetensors").items()}
    assert same(found, {outer.sub("", name): one for name, one in theirs.items()})


def packed(value):
    """The value in msgpack, each length in the widest form. Bytes stand for themselves."""
    match value:
        case dict():
            return b"\xdf" + struct.pack(">I", len(value)) + b"".join(packed(key) + packed(one) for key, one in value.items())
        case list():
            return b"\xdd" + struct.pack(">I", len(value)) + b"".join(map(packed, value))
        case str():
            return b"\xdb" + struct.pack(">I", len(value.encode())) + value.encode()
        case bool():
            return b"\xc3" if value else b"\xc2"
        case int():
            return b"\xd3" + struct.pack(">q", value)
    return value


def binary(content):
    return b"\xc6" + struct.pack(">I", len(content)) + content


def ext(content, code=1):
    return b"\xc9" + struct.pack(">Ib", len(content), code) + content


def array(shape=(2,), dtype="float32", content=bytes(8), code=1):
    return ext(packed([packed(list(shape)), packed(dtype), binary(content)]), code)


PIECE = array()


def chunks(shape=(4,), first=PIECE, second=PIECE, flag=True, **more):
    return packed({CHUNKED: flag, "shape": {str(axis): size for axis, size in enumerate(shape)}, "chunks": {"0": first, "1": second}, **more})


def nested(depth):
    return (b"\x81\xa1a" * depth) + array()


WHOLE = packed({"a": array(), "b": {"c": chunks(), "d": array((), "int32", bytes(4), 3)}})


def test_the_widest_forms_are_read(tmp_path):
    (tmp_path / "a").write_bytes(WHOLE)
    assert {name: str(spec) for name, spec in open_weights(tmp_path / "a").specs.items()} == {
        "a": "float32[2]",
        "b/c": "float32[4]",
        "b/d": "int32[]",
    }


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (packed({"a": array()}) + b"\xc0", "1 bytes more than its tree has"),
        (packed({"a": array()})[:-1], "cut short"),
        (packed({"a": b"\xc9\xff\xff\xff\xff\x01"}), "cut short"),
        (packed({"a": b"\xc6\xff\xff\xff\xff"}), "cut short"),
        (b"\xdf\xff\xff\xff\xff" + packed("a") + array(), "cut short"),
        (packed({"a": ext(array()[6:] + b"\xc0")}), "whose content has"),
        (packed({"a": ext(array()[6:-1]), "b": array()}), "whose content has"),
        (nested(100_000), "more than 64 maps within one another"),
        (packed({"a": b"\x91" * 100_000}), "more than 64 maps within one another"),
        (packed({"a": b"\xdd" + struct.pack(">I", 300_000) + b"\xc0" * 300_000}), "more than 262144 values"),
        (b"\x82\xa1a" + array() + b"\xa1a" + array(), "'a' is there twice"),
        (b"\x82\xa10" + array() + b"\x00" + array(), "'0' is there twice"),
        (packed({"a/b": array(), "a": {"b": array()}}), "'a/b' is there twice"),
        (b"\x82\xa1a" + array() + b"\xc0" + array(), "a key that is no text"),
        (packed({"a": {"k" * 5000: array()}}), "a key of 5000 bytes"),
        (packed({"a": {"k" * 1500: array()}}), "a tensor has a name of 1502 characters"),
        (b"\x82\xa1a" + array() + b"\xa2\xff\xfe" + array(), "codec"),
        (packed({"a": array(dtype="float31")}), "a dtype that segzoo does not read"),
        (packed({"a": array(dtype="object")}), "a dtype that segzoo does not read"),
        (packed({"a": array(dtype="str96", content=bytes(24))}), "a dtype that segzoo does not read"),
        (packed({"a": array(dtype="f" * 100)}), "a dtype that segzoo does not read"),
        (packed({"a": array(dtype=packed(4))}), "a dtype that segzoo does not read"),
        (packed({"a": array((-2,))}), "a size that is no whole number"),
        (packed({"a": array((-1,))}), "a size that is no whole number"),
        (packed({"a": array((True, 2))}), "a size that is no whole number"),
        (packed({"a": array((3,))}), "12 bytes by its shape"),
        (packed({"a": array((2**62, 2**62))}), "by its shape"),
        (packed({"a": array((1,) * 33)}), "more than 32 axes"),
        (packed({"a": array(code=3)}), "a scalar with a shape"),
        (packed({"a": array(code=7)}), "an extension of type 7"),
        (packed({"a": array(code=-1)}), "an extension of type -1"),
        (packed({"a": ext(packed([1, 2, 3]), 2)}), "no two numbers"),
        (packed({"a": ext(packed([]))}), "without shape, dtype and bytes"),
        (packed({"a": ext(packed([packed([2]), "float32", 8]))}), "none are there"),
        (packed({"a": b"\xc1"}), "begins no value of msgpack"),
        (packed({"a": chunks(shape=(5,))}), "do not make"),
        (packed({"a": chunks(shape=(-4,))}), "a size that is no whole number"),
        (packed({"a": chunks(second=array(dtype="int32"))}), "do not make"),
        (packed({"a": chunks(second=array((1, 2)))}), "no arrays of one axis"),
        (packed({"a": chunks(second=chunks())}), "no arrays of one axis"),
        (packed({"a": chunks(flag=False)}), "without shape and chunks"),
        (packed({"a": chunks(more=1)}), "without shape and chunks"),
        (packed({"a": {CHUNKED: True, "shape": {"0": 2}, "chunks": {}}}), "no arrays of one axis"),
        (packed({"a": {CHUNKED: True, "shape": {"0": 2}, "chunks": {"1": array()}}}), "not numbered from 0"),
        (packed({"a": "x", "b": {}}), "no tensors in it; at its top: a, b"),
    ],
)
def test_a_tree_that_is_not_true(content, complaint, tmp_path):
    (tmp_path / "a.msgpack").write_bytes(content)
    with pytest.raises(IntegrityError, match=complaint) as caught:
        open_weights(tmp_path / "a.msgpack")
    assert str(tmp_path / "a.msgpack") in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    "head", [b"\x81", b"\xde\x00", b"\x81\xd9", b"\x81\xa0\xc0", b"\x80", b"\x81\xa2\x00\x01\xc0", "\u0790\u07b1".encode() * 9, b"\xc7\x01\x01a"]
)
def test_what_begins_like_no_tree_of_names(head, tmp_path):
    (tmp_path / "a").write_bytes(head)
    with pytest.raises(IntegrityError, match=r"found (no weights file|a pickle)"):
        open_weights(tmp_path / "a")


def test_parts_of_one_model_that_are_alike_are_no_two_models(tmp_path):
    """Blocks have numbers, and two small towers beside a large part are parts of it."""
    tower = {f"w{index}x": array() for index in range(8)}
    (tmp_path / "a").write_bytes(packed({"one": tower, "two": tower, "rest": {f"v{index}x": array() for index in range(40)}}))
    assert len(open_weights(tmp_path / "a")) == 56
    (tmp_path / "b").write_bytes(packed({"one": tower, "two": tower}))
    with pytest.raises(ConversionError, match=r"2 models: 'one' \(8 tensors\), 'two' \(8 tensors\)"):
        open_weights(tmp_path / "b")


def test_opening_reads_no_numbers(tmp_path):
    """A file of 3 GB that is a hole on the disk opens at once, and one tensor is read without the others."""
    path, length = tmp_path / "large.msgpack", 3 << 28
    before = (
        packed([packed([length // 4]), packed("float32")]).replace(struct.pack(">I", 2), struct.pack(">I", 3), 1)
        + b"\xc6"
        + struct.pack(">I", length)
    )
    with path.open("wb") as file:
        file.write(b"\x85")
        for name in "abcd":
            file.write(packed(name) + b"\xc9" + struct.pack(">Ib", len(before) + length, 1) + before)
            file.seek(length, 1)
        file.write(packed("w") + array())
    tracemalloc.start()
    opened = open_weights(path)
    assert opened["w"].tolist() == [0, 0]
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()
    assert sum(spec.nbytes for spec in opened.specs.values()) == 4 * length + 8
