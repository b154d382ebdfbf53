"""Files of one's own: what they say of themselves outranks the zoo's model of the same sizes, and every assumption is said."""

import hashlib
import json
import re
import shutil

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from support import GOLDEN, MINI

import segzoo
from segzoo.cli import main
from segzoo.datasets.classes import colour
from segzoo.datasets.decode import read_image
from segzoo.errors import ConversionError, UsageError
from segzoo.evaluation.counts import Counts
from segzoo.evaluation.evaluator import Evaluator
from segzoo.store.store import home
from segzoo.zoo.loading import loaded
from segzoo.zoo.zoo import open_zoo

LINEAR, MASK = (next(MINI.glob(f"segmenter_mini_{head}-*.pth")) for head in ("linear", "mask"))
IMAGES = MINI / "ade_mini" / "images" / "validation"
FIRST = IMAGES / "ADE_val_00000001.jpg"
GIVEN = json.loads((GOLDEN / "binary_head.json").read_text())["config"]


def own(folder, source=LINEAR, classes=None, **meta):
    """A checkpoint made of one of the mini zoo's, with another meta, and with another number of classes."""
    whole = torch.load(source, weights_only=True)
    if classes is not None:
        state = whole["state_dict"]
        for name in [name for name in state if re.search("conv_seg|cls_emb|mask_norm", name)]:
            axis = 1 if "cls_emb" in name else 0
            state[name] = state[name].repeat_interleave(-(-classes // 8), axis).narrow(axis, 0, classes).clone()
    whole["meta"] = meta
    torch.save(whole, folder / "own.pth")
    return folder / "own.pth"


def run(*arguments, zoo="mini"):
    return CliRunner().invoke(main, ["--zoo", zoo, *map(str, arguments)])


def pixels(model, image):
    at = Evaluator(model.module, model.protocol, len(model.classes), torch.device("cpu"))
    return np.bincount(at.label_map(read_image(image)).ravel(), minlength=8).tolist()


@pytest.mark.parametrize("how", ["in the file", "beside it"])
def test_the_files_own_config_is_followed(how, tmp_path):
    """Pixels by the real mmseg 1.2.2 with that config, in the text that mmengine writes: 4 heads, another mean, windows of 64 x 48."""
    (tmp_path / "given.py").write_text(GIVEN["text"])
    path = own(tmp_path, **({"cfg": GIVEN["text"]} if how == "in the file" else {}))
    model = loaded(path, open_zoo("mini"), config=None if how == "in the file" else tmp_path / "given.py")
    for name, expected in GIVEN["pixels"].items():
        assert pixels(model, IMAGES / name) == expected
    assert expected != pixels(loaded(own(tmp_path), open_zoo("mini")), IMAGES / name)
    source = "meta.cfg" if how == "in the file" else "given.py"
    assert f"backbone.heads: 4 by {source}: model.backbone.num_heads, but 2 in mini-linear: the file's own is used" in model.apart
    assert any(note == f"protocol: by is assumed: as in mini-linear; scale, crop, stride, mean and std as {source} says" for note in model.assumed)


def test_no_model_of_the_zoo_is_needed_where_the_file_says_all(tmp_path):
    model = loaded(own(tmp_path, cfg=GIVEN["text"], CLASSES=tuple("abcdefgh")), open_zoo("shipped"))
    assert (model.like, model.apart) == (None, ())
    assert list(model.classes) == list("abcdefgh")
    assert pixels(model, FIRST) == GIVEN["pixels"][FIRST.name]
    with pytest.raises(UsageError, match="its file does not say, and it is like no model of this zoo") as raised:
        loaded(own(tmp_path), open_zoo("shipped"))
    assert "--config FILE" in raised.value.hint


@pytest.mark.parametrize("key", ["CLASSES", "dataset_meta"])
def test_classes_are_called_as_the_file_calls_them(key, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names, palette = list("abcdefgh"), [[index, 2 * index, 3 * index] for index in range(8)]
    meta = {"CLASSES": names, "PALETTE": palette} if key == "CLASSES" else {key: {"classes": names, "palette": palette}}
    path = own(tmp_path, MASK, **meta)
    done = run("predict", path, FIRST, "-o", "out", "--json")
    (record,) = json.loads(done.stdout)["result"]
    assert set(record["shares"]) <= set(names)
    assert any("the file's own are used" in note for note in record["assumed"][str(path)])
    assert "(a, b, c, ...) by meta" in done.stderr
    assert Image.open("out/ADE_val_00000001.labels.png").getpalette()[:24] == [value for row in palette for value in row]
    added = run("manifest", "add", path, "--to", "own.yaml")
    assert added.exit_code == 0, added.stderr
    assert run("predict", "own", FIRST, "-o", "again", zoo="own.yaml").stdout == run("predict", path, FIRST, "-o", "out").stdout
    facts = json.loads(run("inspect", path, "--json").stdout)["result"]["said"]
    assert facts["classes"]["value"] == names


@pytest.mark.parametrize("source", [LINEAR, MASK])
@pytest.mark.parametrize("classes", [2, 19, 300])
def test_any_number_of_classes(classes, source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = own(tmp_path, source, classes)
    model = loaded(path, open_zoo("mini"))
    assert list(model.classes) == [f"class {index}" for index in range(classes)]
    assert len(set(model.classes.values())) == classes
    assert "classes: nothing names them, so they are numbered" in model.assumed
    name = f"mini-{'linear' if source is LINEAR else 'mask'}"
    assert loaded(path, open_zoo("mini"), like=name).like == name
    with pytest.raises(ConversionError, match="not like mini-"):
        loaded(path, open_zoo("mini"), like="mini-mask" if source is LINEAR else "mini-linear")
    done = run("manifest", "add", path, "--to", "own.yaml")
    assert done.exit_code == 0, done.stderr
    checked = run("verify", "own", "--json", zoo="own.yaml")
    (receipt,) = json.loads(checked.stdout)["result"]
    assert [check["short"] for check in receipt["checks"]][-1] == "no data"
    assert "names no data set" in receipt["checks"][-1]["detail"]


def test_names_for_another_number_of_classes_are_not_used(tmp_path):
    model = loaded(own(tmp_path, classes=3, CLASSES=("a", "b")), open_zoo("mini"))
    assert list(model.classes) == ["class 0", "class 1", "class 2"]
    assert "classes: meta: CLASSES names 2, but the head has 3: the names are not used" in model.apart


def test_made_up_colours_differ():
    assert len({colour(index) for index in range(70000)}) == 70000


def test_what_segzoo_does_otherwise_is_refused(tmp_path):
    text = GIVEN["text"].replace("bgr_to_rgb=True", "bgr_to_rgb=False")
    assert text != GIVEN["text"]
    done = run("predict", own(tmp_path, cfg=text), FIRST)
    assert (done.exit_code, "feeds blue before red" in done.stderr) == (5, True)


def test_what_does_not_fit_together_is_refused(tmp_path):
    text = GIVEN["text"].replace("        48,\n        32,\n", "        480,\n        320,\n")
    assert text != GIVEN["text"]
    done = run("predict", own(tmp_path, cfg=text), FIRST)
    assert (done.exit_code, "stride is larger than crop" in done.stderr) == (2, True)


def test_an_entry_whose_file_says_otherwise(tmp_path, monkeypatch):
    """The manifest is what the user says. The difference is said, by predict and in the receipt."""
    monkeypatch.chdir(tmp_path)
    own(tmp_path, cfg=GIVEN["text"])
    assert run("manifest", "add", "own.pth", "--to", "own.yaml").exit_code == 0
    text = (tmp_path / "own.yaml").read_text()
    (tmp_path / "own.yaml").write_text(text.replace("heads: 4", "heads: 2"))
    said = "backbone.heads: 2 in the manifest, which is used, but 4 by meta.cfg: model.backbone.num_heads"
    assert said in run("predict", "own", FIRST, zoo="own.yaml").stderr
    (receipt,) = json.loads(run("verify", "own", "--json", zoo="own.yaml").stdout)["result"]
    assert said in receipt["checks"][1]["facts"]["apart"]


# verify FILE --data DIR


def test_a_file_is_verified_on_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = own(tmp_path, CLASSES=tuple("abcdefgh"))
    done = run("verify", path, "--data", MINI / "ade_mini", "--images", "all", "--device", "cpu", "--json")
    assert done.exit_code == 0, done.stderr
    (receipt,) = json.loads(done.stdout)["result"]
    assert receipt["name"] == "own"
    facts = receipt["checks"][4]["facts"]
    assert facts["modes"]["ss"]["measured"]["mIoU"] == 86.71  # by mmseg's own test loop
    assert list(facts["modes"]["ss"]["per_class"]) == list("abcdefgh")
    assumed = receipt["checks"][1]["facts"]["assumed"]
    assert "data: read as ade20k, split validation, 40 images; in its labels 0 is no class" in assumed
    assert any(note.startswith("backbone: heads and eps are assumed: as in mini-linear") for note in assumed)


SHADES = np.array([[9, 200, 40 + 20 * index] for index in range(8)], np.uint8)
WRITTEN = {
    "from one": (lambda raw: raw, {}, "from 1, ignore [0]"),
    "from zero": (lambda raw: np.where(raw == 0, 255, raw - 1).astype(np.uint8), {}, "from 0, ignore [255]"),
    "as the file says": (lambda raw: raw, {"reduce_zero_label": True}, "from 1, ignore [0]"),
    "colours": (lambda raw: np.concatenate([[[0, 0, 0]], SHADES]).astype(np.uint8)[raw], {"palette": SHADES.tolist()}, "colours true"),
}


@pytest.mark.parametrize("case", WRITTEN)
def test_a_file_is_verified_on_folders_of_any_names(case, tmp_path, monkeypatch):
    """The mini zoo's labels written in other ways, in other folders: mmseg's own figure for five images comes out of each."""
    monkeypatch.chdir(tmp_path)
    write, meta, rule = WRITTEN[case]
    for part in ("photos", "truth"):
        (tmp_path / "mine" / part).mkdir(parents=True)
    chosen = sorted(IMAGES.iterdir())[:5]
    for image in chosen:
        shutil.copy(image, tmp_path / "mine" / "photos")
        raw = np.array(Image.open(IMAGES.parents[1] / "annotations" / "validation" / f"{image.stem}.png"))
        Image.fromarray(write(raw)).save(tmp_path / "mine" / "truth" / f"{image.stem}.png")
    path = own(tmp_path, dataset_meta={"classes": tuple("abcdefgh"), **meta})
    done = run("verify", path, "--data", "mine", "--images", "all", "--device", "cpu", "--json")
    if case == "colours":  # black is no class of the file's
        assert done.exit_code == 8
        assert "#000000" in done.stdout
        return
    assert done.exit_code == 0, done.stderr
    facts = json.loads(done.stdout)["result"][0]["checks"][4]["facts"]
    stored = json.loads((MINI / "expected" / "metrics.json").read_text())["linear/ss"]["per_image"]
    for image in chosen:
        counts = Counts.from_sparse(facts["modes"]["ss"]["per_image"][image.name], 8)
        for kind in ("intersect", "pred", "label"):
            assert getattr(counts, kind).tolist() == [int(value) for value in stored[image.name][kind]]
    assert "labels in truth, 5 of split " in done.stderr
    assert rule in done.stderr


def test_a_report_shows_the_receipt_of_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = own(tmp_path, CLASSES=tuple("abcdefgh"))
    assert run("verify", path, "--data", MINI / "ade_mini", "--images", "2", "--device", "cpu").exit_code == 0
    done = run("report", path, "--data", MINI / "ade_mini", "--device", "cpu")
    assert done.exit_code == 0, done.stderr
    assert re.search(r"^own: measured \d\d\.\d\d$", done.stdout, re.MULTILINE)
    assert list((tmp_path / "report" / "pictures").glob("own-best-*.jpg"))
    page = (tmp_path / "report" / "report.md").read_text()
    (again,) = re.findall(r"^segzoo --zoo mini verify own\.pth --data ade_mini --again --images 2 --mode ss .*$", page, re.MULTILINE)
    (tmp_path / "ade_mini").symlink_to(MINI / "ade_mini")
    assert run(*again.split()[3:]).exit_code == 0


def test_a_file_that_the_zoo_knows_is_called_by_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "copy.pth").write_bytes(LINEAR.read_bytes())
    done = run("verify", "copy.pth", "--data", MINI, "--images", "2", "--device", "cpu", "--json")
    (receipt,) = json.loads(done.stdout)["result"]
    assert receipt["name"] == "mini-linear"
    assert receipt["checks"][4]["facts"]["modes"]["ss"]["stored_counts"]["equal"] is True
    assert "copy.pth is mini-linear by its sha256" in done.stderr


@pytest.mark.parametrize(
    ("data", "meta", "code", "said"),
    [
        ("empty", {}, 8, "no images below it"),
        ("nowhere", {}, 8, "no such folder"),
        (MINI / "ade_mini", {"dataset_meta": {"classes": tuple("abcdefgh"), "reduce_zero_label": False}}, 8, "0 is a class by meta"),
    ],
)
def test_a_folder_that_cannot_be_used(data, meta, code, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    meta = meta or {"CLASSES": tuple("abcdefgh")}
    done = run("verify", own(tmp_path, **meta), "--data", data)
    assert (done.exit_code, said in done.stderr) == (code, True), done.stderr


def test_a_config_is_for_a_file_of_ones_own(tmp_path):
    (tmp_path / "given.py").write_text(GIVEN["text"])
    for command in (
        ("predict", "--config", tmp_path / "given.py", "mini-linear", FIRST),
        ("verify", "mini-linear", "--config", tmp_path / "given.py"),
    ):
        done = run(*command)
        assert (done.exit_code, "--config" in done.stderr) == (2, True)


def other_channels(folder, channels):
    """The mini linear Segmenter for grey pictures, or with a fourth channel that it ignores: what it sees in RGB is what it must see in these."""
    path = own(folder)
    whole = torch.load(path, weights_only=True)
    name = "backbone.patch_embed.projection.weight"
    weight = whole["state_dict"][name]
    whole["state_dict"][name] = weight.sum(1, keepdim=True) if channels == 1 else torch.cat([weight, torch.zeros_like(weight[:, :1])], 1)
    text = re.sub(r"mean=\[.*?\]", f"mean={[127.5] * channels}", GIVEN["text"], flags=re.S)
    text = re.sub(r"std=\[.*?\]", f"std={[127.5] * channels}", text, flags=re.S)
    whole["meta"] = {"cfg": text, "CLASSES": tuple("abcdefgh")}
    torch.save(whole, path)
    return path


@pytest.mark.parametrize("channels", [1, 4])
def test_pictures_of_other_channels_are_fed_as_they_are_stored(channels, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pixels = np.array(Image.open(FIRST).convert("L" if channels == 1 else "RGBA"))
    picture = tmp_path / ("grey.png" if channels == 1 else "bands.tif")
    Image.fromarray(pixels).save(picture)
    Image.fromarray(pixels).convert("RGB").save(tmp_path / "rgb.png")
    path = other_channels(tmp_path, channels)
    done = run("predict", path, picture, "-o", "out", "--device", "cpu")
    assert done.exit_code == 0, done.stderr
    (tmp_path / "plain").mkdir()
    text = re.sub(r"(mean|std)=\[.*?\]", r"\1=[127.5, 127.5, 127.5]", GIVEN["text"], flags=re.S)
    plain = own(tmp_path / "plain", cfg=text, CLASSES=tuple("abcdefgh"))
    assert run("predict", plain, "rgb.png", "-o", "out", "--device", "cpu").exit_code == 0
    mine, theirs = (np.array(Image.open(tmp_path / "out" / f"{stem}.labels.png")) for stem in (picture.stem, "rgb"))
    assert (mine != theirs).mean() < 1e-3  # the convolution adds up in another order
    assert len(np.unique(theirs)) > 1
    model = segzoo.load(path, zoo="mini")
    assert np.array_equal(model.predict([picture])[0].labels, mine)
    assert np.array_equal(model.predict([pixels.reshape(*pixels.shape[:2], channels)])[0].labels, mine)


@pytest.mark.parametrize(
    ("channels", "picture", "said"), [(1, "rgb.png", "RGB, 3 bands; the model takes 1"), (4, "grey.png", "L, 1 band; the model takes 4")]
)
def test_what_cannot_be_fed_is_said(channels, picture, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.open(FIRST).convert("L" if "grey" in picture else "RGB").save(tmp_path / picture)
    done = run("predict", other_channels(tmp_path, channels), picture, "-o", "out", "--device", "cpu")
    assert done.exit_code == 8
    assert said in done.stderr
    assert "hint: give it pictures of just" in done.stderr


def test_mean_and_std_of_another_number_of_channels_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = other_channels(tmp_path, 4)
    whole = torch.load(path, weights_only=True)
    whole["meta"]["cfg"] = GIVEN["text"]
    torch.save(whole, path)
    Image.open(FIRST).convert("RGBA").save(tmp_path / "bands.tif")
    done = run("predict", path, "bands.tif", "-o", "out", "--device", "cpu")
    assert (done.exit_code, "the model takes 4 channels, and the protocol has mean and std of 3" in done.stderr) == (8, True)


def test_a_config_is_given_in_python_and_to_export(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "given.py").write_text(GIVEN["text"])
    path = own(tmp_path, CLASSES=tuple("abcdefgh"))
    model = segzoo.load(path, zoo="mini", config="given.py")
    assert (model.protocol.windows, model.backbone.layers[0].attn["attn"].heads) == (((64, 48), (48, 32)), 4)
    assert list(model.predict([FIRST])[0].classes) == list("abcdefgh")
    found = segzoo.predict(path, FIRST, zoo="mini", config="given.py", device="cpu")
    assert np.bincount(found.labels.ravel(), minlength=8).tolist() == GIVEN["pixels"][FIRST.name]
    done = run("export", path, "-o", "out", "--as", "safetensors", "--config", "given.py")
    assert done.exit_code == 0, done.stderr
    assert "taken for None" not in done.stderr
    told = json.loads((tmp_path / "out" / "config.json").read_text())
    assert told["network"]["backbone"]["arguments"]["heads"] == 4
    assert (told["mean"], [one["name"] for one in told["classes"]]) == ([123.675, 116.28, 103.53], list("abcdefgh"))
    assert told["protocol"]["crop"] == [64, 48]


# what a student found


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """Five pictures with labels from zero, in folders of one's own, and a file that knows its classes and colours."""
    monkeypatch.chdir(tmp_path)
    for part in ("photos", "truth"):
        (tmp_path / "mine" / part).mkdir(parents=True)
    for image in sorted(IMAGES.iterdir())[:5]:
        shutil.copy(image, tmp_path / "mine" / "photos")
        raw = np.array(Image.open(IMAGES.parents[1] / "annotations" / "validation" / f"{image.stem}.png"))
        Image.fromarray(np.where(raw == 0, 255, raw - 1).astype(np.uint8)).save(tmp_path / "mine" / "truth" / f"{image.stem}.png")
    return own(tmp_path, dataset_meta={"classes": tuple("abcdefgh"), "palette": SHADES.tolist()})


def verified(*arguments):
    done = run("verify", *arguments, "--device", "cpu", "--images", "all")
    assert done.exit_code == 0, done.stdout + done.stderr
    return done


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def stored(name="own"):
    return json.loads((home() / "receipts" / "mini" / f"{name}.json").read_text())


def test_a_run_without_data_leaves_the_figure_of_a_run_with_data(mine):
    verified(mine, "--data", "mine")
    before = stored()
    assert "own: the receipt stays as it was, since it has the mIoU of 5 images" in verified(mine).stdout
    assert stored() == before


def test_two_files_of_one_name_have_two_receipts(mine, tmp_path):
    verified(mine, "--data", "mine")
    (tmp_path / "other").mkdir()
    other = own(tmp_path / "other", dataset_meta={"classes": tuple("hgfedcba")})
    verified(other, "--data", "mine")
    assert stored()["checks"][0]["facts"]["sha256"] == sha256(mine)
    assert stored(f"own-{sha256(other)[:8]}")["checks"][0]["facts"]["sha256"] == sha256(other)


def test_a_report_never_shows_one_data_set_under_the_figures_of_another(mine, tmp_path):
    verified(mine, "--data", "mine")
    shutil.copytree("mine", "moved")
    for path in sorted((tmp_path / "moved" / "truth").iterdir()):
        Image.fromarray(np.rot90(np.array(Image.open(path)), 2)).save(path)
    done = run("report", mine, "--data", "moved", "--device", "cpu")
    assert "is another data set than the receipt's" in done.stderr
    assert not list((tmp_path / "report" / "pictures").glob("own-best-*"))


def test_an_entry_without_a_data_set_is_measured_on_a_folder(mine, tmp_path):
    assert run("manifest", "add", mine, "--to", "own.yaml").exit_code == 0
    done = run("verify", "own", "--data", "mine", "--images", "all", "--device", "cpu", "--json", zoo="own.yaml")
    assert done.exit_code == 0, done.stderr
    assert list(json.loads(done.stdout)["result"][0]["checks"][4]["facts"]["modes"]) == ["ss"]


@pytest.mark.parametrize("what", ["names", "colours"])
def test_classes_in_another_order_are_refused(what, mine, tmp_path):
    colours = SHADES[::-1] if what == "colours" else np.arange(24).reshape(8, 3)
    names = "hgfedcba" if what == "names" else [f"class {index}" for index in range(8)]
    classes = {name: list(map(int, colour)) for name, colour in zip(names, colours, strict=True)}
    dataset = {"title": "x", "loader": "ade20k", "root": "x", "path": "x", "split": "validation", "images": 5, "classes": classes}
    (tmp_path / "nz.yaml").write_text(json.dumps({"version": 1, "datasets": {"scenes": dataset}}))
    done = run("manifest", "add", mine, "--to", "nz.yaml", "--dataset", "scenes", "--zoo", "mini", zoo="nz.yaml")
    assert (done.exit_code, f"its classes are those of scenes in another order, by their {what}" in done.stderr) == (2, True), done.stderr


@pytest.mark.parametrize("values", [(0, 128, 255), (3, 7, 255)])
def test_values_that_nobody_explains_are_refused(values, mine, tmp_path):
    for path in sorted((tmp_path / "mine" / "truth").iterdir()):
        Image.fromarray(np.array(values, np.uint8)[np.array(Image.open(path)) % 3]).save(path)
    two = own(tmp_path, classes=2, dataset_meta={"classes": ("a", "b")})
    done = run("verify", two, "--data", "mine", "--images", "all", "--device", "cpu")
    assert (done.exit_code, "nothing says which of them is class 0" in done.stderr) == (8, True), done.stderr


@pytest.mark.parametrize("where", ["mine/photos", "pictures"])
def test_pictures_without_label_maps_are_no_data_set(where, mine, tmp_path):
    (tmp_path / "pictures").mkdir()
    for number in range(4):
        shutil.copy(FIRST, tmp_path / "pictures" / f"photo_0{number}.jpg")
        Image.new("P", (20, 20), number).save(tmp_path / "pictures" / f"photo_1{number}.png")
    for command in (("verify", mine, "--data", where), ("data", "check", where)):
        done = run(*command)
        assert (done.exit_code, "no images with label maps of the same names below it" in done.stderr) == (8, True), done.stderr


def test_labels_beside_their_images(mine, tmp_path):
    (tmp_path / "flat").mkdir()
    for image in sorted((tmp_path / "mine" / "photos").iterdir()):
        shutil.copy(image, tmp_path / "flat")
        shutil.copy(tmp_path / "mine" / "truth" / f"{image.stem}.png", tmp_path / "flat" / f"{image.stem}_mask.png")
    assert "labels in ., 5 of split" in verified(mine, "--data", "flat").stderr


def test_a_square_is_assumed_aloud_unless_the_file_says_how_its_positions_lie(tmp_path, monkeypatch):
    """Of 64 positions: 8 x 8 is assumed; a config says so, or that they are 4 x 16."""
    monkeypatch.chdir(tmp_path)
    said = "64 positions are taken for 8 x 8"
    assert said in run("predict", own(tmp_path), FIRST, "-o", "out", "--device", "cpu").stderr
    assert said not in run("predict", own(tmp_path, cfg=GIVEN["text"]), FIRST, "-o", "out", "--device", "cpu").stderr
    wide = re.sub(r"img_size=\[.*?\]", "img_size=[32, 128]", GIVEN["text"], flags=re.S)
    path = own(tmp_path, cfg=wide)
    assert said not in run("predict", path, FIRST, "-o", "out", "--device", "cpu").stderr
    assert segzoo.load(path, zoo="mini").backbone.grid == (4, 16)
    done = run("export", path, "-o", "wide", "--as", "safetensors")
    told = json.loads((tmp_path / "wide" / "config.json").read_text())
    assert told["network"]["backbone"]["arguments"]["grid"] == [4, 16], done.stderr


def test_the_card_of_a_model_with_one_output_has_the_threshold(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = own(tmp_path, classes=1, dataset_meta={"classes": ("background", "sky")})
    done = run("export", path, "-o", "out", "--as", "safetensors", "--like", "mini-linear")
    assert done.exit_code == 0, done.stderr
    card = (tmp_path / "out" / "README.md").read_text()
    assert "labels = scores[:, 0] > -0.84729786" in card  # log(0.3 / 0.7)
    assert "arg" not in card.split("## Input and output")[1].split("##")[0]
    assert json.loads((tmp_path / "out" / "config.json").read_text())["protocol"]["threshold"] == 0.3
