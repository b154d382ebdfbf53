"""Tensors of every kind that torch writes: the same numbers as torch.load gives, or a refusal by name."""

import argparse
import collections

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from support import MINI
from torch._utils import _rebuild_device_tensor_from_cpu_tensor, _rebuild_device_tensor_from_numpy, _rebuild_xla_tensor

from segzoo.conversion.convert import convert
from segzoo.conversion.inspect import inspect
from segzoo.errors import ConversionError, IntegrityError
from segzoo.formats import open_weights

OF_NUMPY = [np._core.multiarray._reconstruct, np.ndarray, np.dtype, np.dtypes.Float32DType, np.dtypes.Int64DType]
"""What torch's safe loader must be told of, for a TPU's tensors."""
ODD = ("uint16", "uint32", "uint64", "complex64", "float8_e4m3fn", "float8_e5m2")


class Rebuilt:
    """What torch.save writes for a tensor of a device, without the device."""

    def __init__(self, how, tensor, dtype):
        self.parts = how, (tensor, dtype, "cpu", False)

    def __reduce__(self):
        return self.parts


class Own(torch.Tensor):
    """A tensor class of somebody's own."""


def saved(path, tensors, zipped=True):
    torch.save({"state_dict": tensors}, path, _use_new_zipfile_serialization=zipped)
    return open_weights(path)


def tagged(tensor):
    tensor.tag = "x"
    return tensor


IMAGINARY = torch.tensor([1 + 2j, 3 - 4j, 0 - 0j]).conj()
PLAIN = torch.tensor([[1.5, -2.0, 0.0], [float("inf"), -0.0, 3e-40]])
KINDS = {
    "the negative of what is stored": IMAGINARY.imag,
    "a negative view": torch._neg_view(PLAIN),
    "a conjugate": IMAGINARY,
    "with attributes": tagged(PLAIN.clone()),
    "a parameter with attributes": tagged(torch.nn.Parameter(PLAIN.clone())),
    "a buffer": torch.nn.Buffer(PLAIN.clone()),
    "transposed": PLAIN.T,
    "expanded": PLAIN[0].expand(4, 3),
    "expanded from one number": torch.tensor(7.0).expand(2, 5),
    "the negative of an expanded one": torch._neg_view(PLAIN[:, :1].expand(2, 4)),
    "windows that overlap": PLAIN.flatten().unfold(0, 4, 1),
    **{dtype: torch.ones(3, dtype=torch.float32).to(getattr(torch, dtype)) for dtype in ODD},
    "a device's": Rebuilt(_rebuild_device_tensor_from_cpu_tensor, PLAIN, torch.float32),
    "a device's, by numpy": Rebuilt(_rebuild_device_tensor_from_numpy, PLAIN.numpy(), torch.float32),
    "a device's, by numpy, transposed": Rebuilt(_rebuild_device_tensor_from_numpy, PLAIN.numpy().T, torch.float32),
    "a TPU's of int64": Rebuilt(_rebuild_xla_tensor, np.arange(6).reshape(2, 3), torch.int64),
    "a TPU's of bfloat16": Rebuilt(_rebuild_xla_tensor, PLAIN.bfloat16().float().numpy(), torch.bfloat16),
}


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_numbers_that_torch_gives(kind, zipped, tmp_path):
    if not zipped and kind in ODD[:3] + ODD[4:]:
        pytest.skip("the format before zip has no such numbers")
    found = saved(tmp_path / "a.pth", {"x": KINDS[kind]}, zipped)["x"]
    with torch.serialization.safe_globals(OF_NUMPY):
        expected = torch.load(tmp_path / "a.pth", weights_only=True)["state_dict"]["x"].resolve_conj().resolve_neg().detach()
    assert found.shape == tuple(expected.shape)
    assert str(expected.dtype) == f"torch.{found.dtype.name}"
    if expected.dtype.itemsize == 1 or "uint" in str(expected.dtype) or expected.dtype == torch.bfloat16:
        assert found.tobytes() == bytes(expected.contiguous().view(torch.uint8).flatten().tolist())
    else:
        assert found.tobytes() == expected.numpy().tobytes()


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_numpy_arrays_of_every_pickle_protocol(protocol, tmp_path):
    array = np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3))
    torch.save({"state_dict": {"x": Rebuilt(_rebuild_xla_tensor, array, torch.float32)}}, tmp_path / "a.pth", pickle_protocol=protocol)
    assert open_weights(tmp_path / "a.pth")["x"].tolist() == array.tolist()


STRANGE = {
    "a quantised tensor": lambda: torch.quantize_per_tensor(torch.ones(2, 3), 0.1, 0, torch.qint8),
    "a sparse tensor": lambda: torch.eye(2, 3).to_sparse(),
    "a sparse tensor by rows": lambda: torch.eye(2, 3).to_sparse_csr(),
    "a tensor of the meta device": lambda: torch.empty(2, 3, device="meta"),
    "a tensor of class": lambda: torch.ones(2, 3).as_subclass(Own),
    "numbers of torch.float4_e2m1fn_x2": lambda: torch.zeros(2, 3, dtype=torch.uint8).view(torch.float4_e2m1fn_x2),
}


@pytest.mark.filterwarnings("ignore")  # torch's own, of prototypes
@pytest.mark.parametrize("kind", STRANGE)
def test_a_strange_tensor_is_named_and_never_read(kind, tmp_path):
    opened = saved(tmp_path / "a.pth", {"x": STRANGE[kind](), "y": PLAIN})
    assert opened.specs["x"].shape == (2, 3)
    with pytest.raises(ConversionError, match=f"tensor 'x': {kind.removesuffix(' by rows')}.*cannot tell the numbers"):
        opened["x"]
    assert opened["y"].tolist() == PLAIN.tolist()


@pytest.mark.filterwarnings("ignore")
def test_a_nested_tensor_is_named_too(tmp_path):
    opened = saved(tmp_path / "a.pth", {"x": torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])})
    assert "a nested tensor" in opened.strange["x"]


@pytest.mark.filterwarnings("ignore")
def test_a_model_with_a_strange_weight_is_refused_and_one_beside_it_dropped(tmp_path):
    state = torch.load(next(MINI.glob("segmenter_mini_mask-*.pth")), weights_only=True)["state_dict"]
    name = "backbone.layers.0.ffn.layers.1.weight"
    saved(tmp_path / "a.pth", {**state, name: torch.quantize_per_tensor(state[name], 0.1, 0, torch.qint8)})
    with pytest.raises(ConversionError, match=f"{name}: a quantised tensor, expected plain numbers"):
        convert(tmp_path / "a.pth", tmp_path / "b.safetensors")
    saved(tmp_path / "a.pth", {**state, "scales": STRANGE["a quantised tensor"](), "loss.phase": torch.ones(2, dtype=torch.complex64)})
    seen = inspect(tmp_path / "a.pth")
    assert seen.dtypes == {"float32": len(state), "qint8": 1, "complex64": 1}
    assert "scales: a quantised tensor, of which segzoo cannot tell the numbers" in seen.notes
    convert(tmp_path / "a.pth", tmp_path / "b.safetensors", drop=["scales", "loss.*"], force_drop=True)
    assert set(open_weights(tmp_path / "b.safetensors")) == set(state)


class Called:
    """A pickle of one call with these arguments."""

    def __init__(self, *args):
        self.args = args

    def __reduce__(self):
        return self.args[0], self.args[1:]


@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        (Called(torch._utils._rebuild_tensor_v2, 0, 0), "arguments, which segzoo does not know"),
        (Called(torch._utils._rebuild_parameter, PLAIN, False), "arguments, which segzoo does not know"),
        (Called(torch._utils._rebuild_tensor_v2, PLAIN.untyped_storage(), 0, (1,), (1,), False, {}, {"transposed": True}), "segzoo does not know"),
        (Called(torch._utils._rebuild_xla_tensor, [1.0], torch.float32, "xla:0", False), "no numpy array of its dtype"),
        (Called(torch._utils._rebuild_xla_tensor, np.ones(2), torch.float32, "xla:0", False), "no numpy array of its dtype"),
        (Called(torch._utils._rebuild_xla_tensor, np.ones(2, ">f4"), torch.float32, "xla:0", False), "no numpy array of its dtype"),
        (Called(torch._utils._rebuild_device_tensor_from_cpu_tensor, PLAIN, torch.float16, "xla:0", False), "another dtype"),
    ],
)
def test_no_argument_is_passed_over(call, complaint, tmp_path):
    torch.save({"state_dict": {"x": call}}, tmp_path / "a.pth")
    with pytest.raises(IntegrityError, match=complaint):
        open_weights(tmp_path / "a.pth")


@pytest.mark.parametrize("kind", [lambda state: collections.defaultdict(None, state), collections.Counter, collections.OrderedDict])
@pytest.mark.parametrize("nest", [lambda state: state, lambda state: {"state_dict": state}, lambda state: {"net": {"params": state}}])
def test_a_mapping_of_another_class(kind, nest, tmp_path):
    torch.save(nest(kind({"x": PLAIN})), tmp_path / "a.pth")
    assert open_weights(tmp_path / "a.pth")["x"].tolist() == PLAIN.tolist()


class Config(dict):
    """A dict of somebody's own class, as many configs are."""


def test_a_dict_of_somebodys_own_class(tmp_path):
    torch.save({"epoch": 1, "net": Config(x=PLAIN), "args": argparse.Namespace(x=PLAIN)}, tmp_path / "a.pth")
    assert list(open_weights(tmp_path / "a.pth")) == ["x"]


@pytest.mark.parametrize(
    ("names", "bare", "note"),
    [
        (["backbone._orig_mod.a", "head.b"], ["backbone.a", "head.b"], "'_orig_mod.', by torch.compile, left out of 1 names"),
        (["_orig_mod.module.a", "_orig_mod.module.b"], ["a", "b"], "'_orig_mod.', by torch.compile, left out of 2 names"),
        (["a._fsdp_wrapped_module.b", "c"], ["a.b", "c"], "'_fsdp_wrapped_module.', by FSDP, left out of 1 names"),
        (["a.module.b", "c"], ["a.b", "c"], "'module.', by DataParallel, DDP and averages, left out of 1 names"),
        (["a._orig_mod.b", "a.b"], ["a._orig_mod.b", "a.b"], None),
        (["module", "a"], ["module", "a"], None),
    ],
)
def test_the_words_of_wrappers_are_left_out_of_names(names, bare, note, tmp_path):
    save_file({name: torch.full((2,), float(index)) for index, name in enumerate(names)}, tmp_path / "a.safetensors")
    opened = open_weights(tmp_path / "a.safetensors")
    order = sorted(range(len(names)), key=lambda index: names[index])
    assert {name: float(array[0]) for name, array in opened.items()} == {bare[index]: float(index) for index in order}
    assert (note in opened.notes) if note else not opened.notes


@pytest.mark.parametrize("dtype", ODD)
def test_safetensors_of_these_dtypes(dtype, tmp_path):
    tensor = torch.ones(3).to(getattr(torch, dtype))
    save_file({"x": tensor}, tmp_path / "a.safetensors")
    found = open_weights(tmp_path / "a.safetensors")["x"]
    assert found.dtype.name == dtype
    assert found.tobytes() == bytes(tensor.view(torch.uint8).tolist())


def test_safetensors_of_numbers_in_less_than_a_byte(tmp_path):
    """The library of 2026 writes none from torch; the format has them."""
    header = b'{"x":{"dtype":"F4","shape":[2,4],"data_offsets":[0,4]},"y":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}} '
    header += b" " * (-len(header) % 8)
    (tmp_path / "a.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(4) + np.float32(1.5).tobytes())
    opened = open_weights(tmp_path / "a.safetensors")
    assert opened["y"].tolist() == [1.5]
    with pytest.raises(ConversionError, match="tensor 'x': numbers of 4 bits, of which"):
        opened["x"]
