"""File to file: the peers' tensors in every format, the report, and what is refused without a trace."""

import errno
import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from support import GOLDEN, TAME, same, specs_of

from segzoo import convert
from segzoo.conversion.inspect import inspect
from segzoo.errors import ConversionError, EnvironmentFault, SegzooError, UsageError
from segzoo.formats import open_weights, writer
from segzoo.formats.arrays import tensor_digest

VITJAX2MMSEG = ["L_16-i21k-mini24-res_96", "mini12-i21k-prelogits", "mini12-res_96"]


@pytest.mark.parametrize("name", VITJAX2MMSEG)
def test_a_pth_is_the_state_dict_that_vitjax2mmseg_writes(name, tmp_path):
    report = convert(GOLDEN / "mmseg" / "convert" / f"{name}.npz", tmp_path / "new" / "out.pth")
    mine = torch.load(tmp_path / "new" / "out.pth", weights_only=True)
    theirs = torch.load(GOLDEN / "mmseg" / "convert" / f"{name}.mmseg.pth", weights_only=True)
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[key], theirs[key]) and mine[key].is_contiguous() for key in theirs)
    assert report.geometry.depth == (24 if "mini24" in name else 12)
    assert [drop.section for drop in report.dropped] == (["pre_logits", "classifier"] if "prelogits" in name else ["classifier"])


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".safetensors", ".npz"])
@pytest.mark.parametrize(("to", "oracle"), [("timm", "timm_state_dict"), ("mmseg", "mmseg_backbone_state_dict")])
def test_every_format_holds_the_same_tensors(suffix, to, oracle, tmp_path):
    report = convert(TAME, tmp_path / f"out{suffix}", to=to)
    opened = open_weights(tmp_path / f"out{suffix}")
    expected = dict(np.load(GOLDEN / "augreg" / f"mini.tame.{oracle}.npz"))
    assert same(dict(opened), expected)
    assert convert(TAME, tmp_path / f"again{suffix}", to=to, digests=True).digests == {name: tensor_digest(array) for name, array in expected.items()}
    assert report.read == 56


def test_safetensors_remembers_the_heads(tmp_path):
    convert(TAME, tmp_path / "a.safetensors", to="timm")
    convert(tmp_path / "a.safetensors", tmp_path / "back.npz", to="augreg")
    assert same(dict(np.load(tmp_path / "back.npz")), dict(np.load(TAME)))
    convert(TAME, tmp_path / "a.pth", to="timm")
    with pytest.raises(ConversionError, match=r"a\.pth: layout 'augreg' shows the attention heads"):
        convert(tmp_path / "a.pth", tmp_path / "b.npz", to="augreg")


def test_the_same_input_gives_the_same_bytes_under_any_name(tmp_path):
    for name in ("a.pth", "b.pth"):
        convert(TAME, tmp_path / name)
    assert (tmp_path / "a.pth").read_bytes() == (tmp_path / "b.pth").read_bytes()


def test_an_eps_that_no_tensor_shows_is_said(tmp_path):
    report = convert(GOLDEN / "segmenter" / "mask.pth", tmp_path / "a.pth")
    said = "layer norms have eps 1e-05 in segmenter and by default 1e-06 in mmseg, and no tensor shows it: build the model with eps 1e-05, unless"
    assert any(note.startswith(said) for note in report.notes)
    assert "tensors found under 'model'" in report.notes
    assert convert(TAME, tmp_path / "b.pth").notes == ()


def test_numbers_that_are_not_finite_are_moved_and_said(tmp_path):
    tensors = dict(np.load(TAME))
    tensors["cls"][0, 0, 3] = np.nan
    np.savez(tmp_path / "nan.npz", **tensors)
    report = convert(tmp_path / "nan.npz", tmp_path / "out.pth")
    assert report.not_finite == ("cls_token",)
    tensors["cls"][:] = np.finfo(np.float32).max  # finite, though its sum is not
    np.savez(tmp_path / "large.npz", **tensors)
    assert convert(tmp_path / "large.npz", tmp_path / "large.pth").not_finite == ()
    assert np.isnan(open_weights(tmp_path / "out.pth")["cls_token"][0, 0, 3])


def test_a_disk_that_does_not_keep_what_was_written_is_an_error(tmp_path, monkeypatch):
    """The file is brought to the disk while it is read back; what goes wrong there is said, and nothing is left."""

    def broken(descriptor):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("segzoo.conversion.write.os.fsync", broken)
    with pytest.raises(EnvironmentFault, match=r"out\.pth: not written: Input/output error"):
        convert(TAME, tmp_path / "out.pth")
    assert not list(tmp_path.iterdir())


def test_a_target_that_another_run_replaces_by_the_same_while_it_is_compared_stays(tmp_path):
    convert(TAME, tmp_path / "out.pth")
    other = tmp_path / "other.pth"
    other.write_bytes((tmp_path / "out.pth").read_bytes())

    def replace_it(doing, done, whole):
        if other.exists():
            other.replace(tmp_path / "out.pth")

    assert convert(TAME, tmp_path / "out.pth", progress=replace_it).already


def test_an_existing_target_is_kept_unless_forced(tmp_path):
    target = tmp_path / "out.pth"
    target.write_bytes(b"mine")
    with pytest.raises(UsageError, match="exists already"):
        convert(TAME, target)
    assert target.read_bytes() == b"mine"
    (tmp_path / "bad.npz").write_bytes(b"PK\x03\x04nonsense")
    with pytest.raises(SegzooError):
        convert(tmp_path / "bad.npz", target, force=True)
    assert target.read_bytes() == b"mine"
    convert(TAME, target, force=True)
    assert len(open_weights(target)) == 42


@pytest.mark.parametrize("suffix", [".pth", ".npz", ".safetensors"])
def test_a_target_that_holds_what_would_be_written_stays(suffix, tmp_path):
    """So a command that was killed after its last step can be run again."""
    target = tmp_path / f"out{suffix}"
    first = convert(TAME, target, digests=True)
    before = (target.read_bytes(), target.stat().st_mtime_ns)
    again = convert(TAME, target, digests=True)
    assert (target.read_bytes(), target.stat().st_mtime_ns) == before
    assert (first.already, again.already) == (False, True)
    assert replace(again, already=False, seconds=0) == replace(first, seconds=0)
    assert not convert(TAME, target, force=True).already


def changed(path, name, change):
    tensors = dict(open_weights(path))
    tensors[name] = change(tensors[name])
    return tensors


OTHERS = {
    "a bit": lambda path: changed(path, "cls_token", lambda one: np.copysign(one, -1) if (one == 0).any() else -one),
    "a shape": lambda path: changed(path, "cls_token", lambda one: one[0]),
    "a dtype": lambda path: changed(path, "cls_token", lambda one: one.astype(np.float64)),
    "a name more": lambda path: dict(open_weights(path)) | {"more": np.zeros(1)},
    "a name less": lambda path: {name: one for name, one in open_weights(path).items() if name != "cls_token"},
}


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("suffix", [".pth", ".npz", ".safetensors"])
def test_a_target_that_differs_is_another_file(suffix, other, tmp_path):
    target = tmp_path / f"out{suffix}"
    convert(TAME, target)
    opened = open_weights(target)
    tensors = {name: np.array(one) for name, one in OTHERS[other](target).items()}  # a copy: the file they are read from is written anew
    with target.open("wb") as file:
        writer(target)(file, specs_of(tensors), tensors.items(), opened.metadata)
    kept = target.read_bytes()
    with pytest.raises(UsageError, match="exists already, and is another file"):
        convert(TAME, target)
    assert target.read_bytes() == kept


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda tensors: {"state_dict": tensors},
        lambda tensors: {"state_dict": tensors, "meta": {"epoch": 3}},
        lambda tensors: {"model": tensors, "optimizer": {"lr": 1.0}},
        lambda tensors: {**tensors, "epoch": 3},
    ],
)
def test_a_checkpoint_with_the_same_tensors_and_more_is_another_file(wrapped, tmp_path):
    convert(TAME, tmp_path / "out.pth")
    torch.save(wrapped(torch.load(tmp_path / "out.pth", weights_only=True)), tmp_path / "out.pth")
    with pytest.raises(UsageError, match="exists already, and is another file"):
        convert(TAME, tmp_path / "out.pth")


def test_the_metadata_of_a_target_counts(tmp_path):
    target = tmp_path / "out.safetensors"
    convert(TAME, target)
    tensors = {name: np.ascontiguousarray(one) for name, one in open_weights(target).items()}
    save_file(tensors, target, {"format": "pt"})
    with pytest.raises(UsageError, match="exists already, and is another file"):
        convert(TAME, target)
    convert(TAME, tmp_path / "a.pth")
    (tmp_path / "b.npz").write_bytes((tmp_path / "a.pth").read_bytes())  # the suffix says another format
    with pytest.raises(UsageError, match="exists already, and is another file"):
        convert(TAME, tmp_path / "b.npz")


@pytest.mark.parametrize(("name", "said"), [("out.ckpt", "unknown suffix '.ckpt'"), ("out", "unknown suffix ''"), ("folder.pth", "is a folder")])
def test_a_bad_target_is_refused_first(name, said, tmp_path):
    (tmp_path / "folder.pth").mkdir()
    with pytest.raises(UsageError, match=said):
        convert(TAME, tmp_path / name, force=True)


def test_the_source_is_never_the_target(tmp_path):
    source = tmp_path / "a.npz"
    source.write_bytes(TAME.read_bytes())
    (tmp_path / "link.npz").symlink_to(source)
    for target in (source, tmp_path / "link.npz"):
        with pytest.raises(UsageError, match="the same file"):
            convert(source, target, force=True)
    assert source.read_bytes() == TAME.read_bytes()


def test_the_way_from_npz_to_pth_imports_no_torch(tmp_path):
    code = "import sys, segzoo; segzoo.convert(*sys.argv[1:]); print([m for m in ('torch', 'jax', 'pydantic') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code, TAME, tmp_path / "a.pth"], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.replace("'", '"')) == []


def test_the_eps_is_carried_along_where_a_file_can_say_it(tmp_path):
    first = convert(TAME, tmp_path / "a.safetensors", to="hf")
    assert first.notes == (
        "layer norms have eps 1e-06 in augreg and by default 1e-12 in hf, and no tensor shows it: build the model with eps 1e-06, "
        "unless this file was converted from another layout",
    )
    assert convert(tmp_path / "a.safetensors", tmp_path / "b.safetensors", to="timm").notes == ()
    again = convert(tmp_path / "b.safetensors", tmp_path / "c.pth", to="segmenter")
    assert again.notes == ("layer norms have eps 1e-06, in segmenter by default 1e-05: build the model with eps 1e-06",)


def test_heads_against_what_the_file_records(tmp_path):
    convert(TAME, tmp_path / "a.safetensors", to="timm")
    with pytest.raises(ConversionError, match=r"a\.safetensors: the file itself records 4 heads, but 2 were given"):
        convert(tmp_path / "a.safetensors", tmp_path / "b.npz", to="augreg", heads=2)


@pytest.mark.parametrize(
    "metadata", ["[" * 100_000, '{"heads": true}', '{"heads": 0}', '{"heads": "4"}', "[1]", "3", '{"positions": -1, "eps": 7, "heads": null}']
)
def test_metadata_that_is_none_of_ours_counts_for_nothing(metadata, tmp_path):
    tensors = {key: np.ascontiguousarray(array) for key, array in np.load(GOLDEN / "augreg" / "mini.tame.timm_state_dict.npz").items()}
    save_file(tensors, tmp_path / "a.safetensors", {"segzoo": metadata})
    assert inspect(tmp_path / "a.safetensors").geometry.heads is None
    convert(tmp_path / "a.safetensors", tmp_path / "b.pth")


@pytest.mark.parametrize(
    "options",
    [{"to": "nope"}, {"source_layout": "nope"}, {"resample": "nope"}, {"dtype": "float8"}, {"grid": (-2, 3)}, {"grid": (2,)}, {"drop": "classifier"}],
)
def test_options_that_are_none(options, tmp_path):
    with pytest.raises(UsageError):
        convert(TAME, tmp_path / "a.pth", **options)
    assert not list(tmp_path.iterdir())


def test_a_link_to_nowhere_is_not_replaced_unasked(tmp_path):
    (tmp_path / "a.pth").symlink_to("nowhere")
    with pytest.raises(UsageError, match="exists already"):
        convert(TAME, tmp_path / "a.pth")
    assert (tmp_path / "a.pth").is_symlink()


@pytest.fixture
def tables(tmp_path):
    """timm files of a class token and a table of so many entries."""

    def write(entries):
        tensors = dict(np.load(GOLDEN / "augreg" / "mini.tame.timm_state_dict.npz"))
        tensors["pos_embed"] = np.arange(entries * 64, dtype=np.float32).reshape(1, entries, 64)
        np.savez(tmp_path / "a.npz", **tensors)
        return tmp_path / "a.npz"

    return write


@pytest.mark.parametrize(("entries", "positions"), [(16, 15), (24, 24), (24, 23), (289, 288)])
def test_a_table_that_does_not_say_what_it_holds(entries, positions, tables, tmp_path):
    """16 = 4 x 4, or 3 x 5 and the class token; 24 = 4 x 6, or 23 and the class token: the user is asked, or told how it was read."""
    source = tables(entries)
    square = entries in (16, 289)
    assert any(f"pos_embed has {entries} entries: read as" in note for note in inspect(source).notes)
    with pytest.raises(ConversionError, match="--positions" if not square else "positions for the patches only"):
        convert(source, tmp_path / "b.npz", to="mmseg")
    if positions == entries:
        with pytest.raises(ConversionError, match="positions for the patches only"):
            convert(source, tmp_path / "b.npz", to="mmseg", positions=positions)
        convert(source, tmp_path / "b.npz", to="bigvision", positions=positions, heads=4)
        assert np.array_equal(np.load(tmp_path / "b.npz")["params/pos_embedding"], np.load(source)["pos_embed"])
        return
    convert(source, tmp_path / "b.npz", to="mmseg", positions=positions)
    assert np.array_equal(np.load(tmp_path / "b.npz")["pos_embed"], np.load(source)["pos_embed"])
    assert convert(source, tmp_path / "c.safetensors", to="timm", positions=positions).made.positions == positions
    convert(tmp_path / "c.safetensors", tmp_path / "d.npz", to="mmseg")  # the file says it itself


def test_a_grid_that_was_asked_for_is_read_again_as_it_is(tmp_path):
    convert(TAME, tmp_path / "a.safetensors", to="timm", grid=(3, 5))
    convert(tmp_path / "a.safetensors", tmp_path / "b.pth", to="mmseg")
    assert torch.load(tmp_path / "b.pth", weights_only=True)["pos_embed"].shape == (1, 16, 64)


def test_the_image_model_of_an_image_and_text_model(tmp_path):
    tensors = dict(np.load(GOLDEN / "bigvision" / "map_scan_img.npz"))
    beside = {
        "params/txt/Encoder_0/encoder_norm/scale": np.ones(4, np.float32),
        "params/t": np.ones(1, np.float32),
        "params/b": np.ones(1, np.float32),
    }
    np.savez(tmp_path / "siglip.npz", **tensors, **beside)
    report = convert(tmp_path / "siglip.npz", tmp_path / "a.npz", to="timm")
    assert [(drop.section, set(drop.keys)) for drop in report.dropped] == [("text model", set(beside))]
    assert same(dict(np.load(tmp_path / "a.npz")), dict(np.load(GOLDEN / "bigvision" / "map.timm_state_dict.npz")))
    np.savez(tmp_path / "other.npz", **tensors, **{"params/other": np.ones(1)})
    with pytest.raises(ConversionError, match="unexpected 1: params/other"):
        convert(tmp_path / "other.npz", tmp_path / "b.npz", to="timm")


def test_a_prefix_before_all_names_is_removed_and_said(tmp_path):
    tensors = {f"student.{key}": array for key, array in np.load(GOLDEN / "augreg" / "mini.tame.timm_state_dict.npz").items()}
    np.savez(tmp_path / "a.npz", **tensors)
    report = convert(tmp_path / "a.npz", tmp_path / "b.npz", to="timm")
    assert report.notes == ("all names are those of timm after 'student.'",)
    assert inspect(tmp_path / "a.npz").notes == report.notes
    assert same({f"student.{key}": array for key, array in np.load(tmp_path / "b.npz").items()}, tensors)
