"""The manifests: the shipped one against typed figures, the schema, and what is refused with line and field."""

import json
import re
from dataclasses import replace

import jsonschema
import pytest
import yaml
from pydantic import ValidationError
from support import GOLDEN

from segzoo.conversion.plan import plan
from segzoo.errors import NotFoundError, UsageError
from segzoo.layouts import NAMES
from segzoo.manifest.artifact import Artifact
from segzoo.manifest.document import examine, load_manifest, packaged, schema
from segzoo.manifest.entries import geometry_of
from segzoo.spec import Spec

SHIPPED = load_manifest(packaged("zoo.yaml"))
SCHEMA = json.loads(packaged("zoo.schema.json").read_text())
# mIoU, ms+flip, images/s, training GB, crop, stride: MMSegmentation's configs/segmenter/README.md and configs, typed by hand; the last is that of
# 0.30.0's segmenter.yml, which 1.x does not list
REPORTED = {
    "vit-t-mask": (39.99, 40.83, 27.98, 1.21, 512, 480, "ffcf7509"),
    "vit-s-linear": (45.75, 46.82, 28.07, 1.78, 512, 480, "39658c46"),
    "vit-s-mask": (46.19, 47.85, 24.80, 2.03, 512, 480, "511bb103"),
    "vit-b-mask": (49.60, 51.07, 13.20, 4.20, 512, 480, "bc533b08"),
    "vit-l-mask": (52.16, 53.65, 2.62, 16.56, 640, 608, "7ef345be"),
    "vit-l-mask-202206": (51.65, 53.58, 3.03, 16.99, 640, 608, "4783a347"),
}
# width, depth, heads, mlp; size in bytes; first eight digits of the source's and the published file's hash
BACKBONES = {
    "vit-t": (192, 12, 3, 768, 23226422, "4b99893d", "cce8c795"),
    "vit-s": (384, 12, 6, 1536, 88851254, "9e415522", "410f6037"),
    "vit-b": (768, 12, 12, 3072, 347502902, None, "96dfe169"),
    "vit-l": (1024, 24, 16, 4096, 1218991142, "8700cf38", "d4efb41d"),
}
# folder of the checkpoint, mIoU at a single and at several scales, images/s; short side, window: the authors' README, and
# the settings of their programs (`eval/miou.py`: stride = window - 32, `data/base.py`: 255 x the statistics, rounded)
OFFICIAL = {
    "seg-t-mask": ("ade20k/seg_tiny_mask", 38.1, 38.8, 52.4, 512, 512),
    "seg-s-mask": ("ade20k/seg_small_mask", 45.3, 46.9, 34.8, 512, 512),
    "seg-b-mask": ("ade20k/seg_base_mask", 48.5, 50.0, 24.1, 512, 512),
    "seg-b8-linear": ("ade20k/seg_base_patch8", 49.5, 50.5, 4.2, 512, 512),
    "seg-l-mask": ("ade20k/seg_large_mask_640", 51.8, 53.6, None, 640, 640),
    "seg-b-deit-linear": ("ade20k/seg_base_deit_linear", 47.1, 48.1, 27.3, 512, 512),
    "seg-b-deit-mask": ("ade20k/seg_base_deit_mask", 48.7, 50.1, 24.1, 512, 512),
    "seg-l-pascal": ("pascal_context/seg_large_mask", 58.1, 59.0, None, 520, 480),
    "seg-l-cityscapes": ("cityscapes/seg_large_mask", 79.1, 81.3, None, 1024, 768),
}
# millions of parameters in the authors' table: encoder, its classifier and the decoder
PARAMETERS = {
    "seg-t-mask": 7, "seg-s-mask": 27, "seg-b-mask": 106, "seg-b8-linear": 89, "seg-l-mask": 334, "seg-b-deit-linear": 87,
    "seg-b-deit-mask": 106, "seg-l-pascal": 334, "seg-l-cityscapes": 322,
}  # fmt: skip
PAGE = "https://github.com/open-mmlab/mmsegmentation/blob/main/configs/segmenter"
HOSTS = ["download.openmmlab.com", "mmassets.onedl.ai", "openmmlab.oss-cn-hangzhou.aliyuncs.com", "openmmlab.oss-accelerate.aliyuncs.com"]


def test_the_shipped_zoo_is_mmsegmentations_page():
    """The rows of UPerNet and its kin stand between; tests/models/test_transformers.py holds them to the facts."""
    assert [name for name, entry in SHIPPED.entries.items() if getattr(entry, "head", None) is None or entry.head.named in ("mask", "linear")] == [
        *BACKBONES,
        *REPORTED,
        *OFFICIAL,
    ]
    for name in REPORTED:
        model = SHIPPED.models[name]
        reported, protocol = model.reported, model.protocol
        found = (reported.miou, reported.miou_ms_flip, reported.fps, reported.train_memory_gb, protocol.crop, protocol.stride)
        assert (*found, model.checkpoint.sha256_prefix) == REPORTED[name]
        assert (protocol.dataset, protocol.by, reported.device, reported.decimals) == ("ade20k", "mmseg", "V100", 2)
        assert protocol.mean == protocol.std == (127.5, 127.5, 127.5)
        assert (model.backbone.patch, model.backbone.image, model.backbone.eps) == (16, protocol.crop, 1e-6)
        assert model.head.kind == name.split("-")[2]
        assert model.head.classes == 150
        if model.head.kind == "mask":
            assert (model.head.depth, model.head.heads, model.head.mlp, model.head.eps) == (2, model.backbone.heads, 4 * model.backbone.width, 1e-5)
        assert model.pretrained == name[:5]
        sizes = SHIPPED.backbones[model.pretrained].geometry
        assert all(getattr(sizes, side) == getattr(model.backbone, side) for side in ("width", "depth", "heads", "mlp", "patch"))
        assert protocol.scale == (4 * protocol.crop, protocol.crop)
        assert protocol.published_scale == ((2048, 640) if name.startswith("vit-l-mask") else None)
        listed = name != "vit-l-mask-202206"
        assert reported.source == (f"{PAGE}/README.md" if listed else f"{PAGE.replace('main', 'v0.30.0')}/segmenter.yml")
        config = f"segmenter_{model.pretrained}_{'fcn' if model.head.kind == 'linear' else 'mask'}_8xb1-160k_ade20k-512x512.py"
        assert model.config == f"{PAGE}/{config}"
        assert model.log == (re.sub(r"-[0-9a-f]{8}\.pth$", ".log.json", model.checkpoint.urls[0].url) if listed else None)


def test_the_shipped_backbones():
    assert list(SHIPPED.backbones) == list(BACKBONES)
    for name, backbone in SHIPPED.backbones.items():
        width, depth, heads, mlp, size, digits, published = BACKBONES[name]
        sizes = backbone.geometry
        assert (sizes.width, sizes.depth, sizes.heads, sizes.mlp, sizes.patch, sizes.grid, sizes.classes) == (width, depth, heads, mlp, 16, 24, 1000)
        assert backbone.source.size == size
        assert (backbone.source.sha256 or "")[:8] == (digits or "")
        assert backbone.source.provenance
        assert backbone.published.sha256_prefix == published
        assert backbone.file == backbone.published.name.split("_2022")[0] + ".pth"
        assert backbone.source.urls[0].url == f"https://storage.googleapis.com/vit_models/augreg/{backbone.source.name}"


@pytest.mark.parametrize(
    "artifact", [SHIPPED.models[name].checkpoint for name in REPORTED] + [b.published for b in SHIPPED.backbones.values()], ids=lambda a: a.name
)
def test_openmmlab_files_have_four_addresses_in_order(artifact):
    assert [re.match(r"https://([^/]+)/", mirror.url)[1] for mirror in artifact.urls] == HOSTS
    assert len({mirror.url.split("/", 3)[3] for mirror in artifact.urls}) == 1
    assert all(mirror.url.endswith(f"/{artifact.name}") for mirror in artifact.urls)
    assert [mirror.unverified is not None for mirror in artifact.urls] == [False, True, True, True]
    assert artifact.name.endswith(f"-{artifact.sha256_prefix}.pth")
    assert artifact.sha256 is None


PUBLISHED = json.loads((GOLDEN / "published_shapes.json").read_text())


@pytest.mark.parametrize("name", [name for name in REPORTED if name in PUBLISHED])  # test_transformers has the other
def test_a_models_geometry_is_that_of_mmsegs_own_state_dict(name):
    model = SHIPPED.models[name]
    shapes = {**PUBLISHED[name], "backbone.patch_embed.projection.bias": [model.backbone.width]}  # which 1.2.2 leaves out by default
    measured = plan({key: Spec(tuple(shape), "float32") for key, shape in shapes.items()}, "mmseg", heads=model.backbone.heads).geometry
    measured = replace(measured, decoder=replace(measured.decoder, heads=getattr(model.head, "heads", None)))
    assert measured == geometry_of(model)


@pytest.mark.parametrize("name", OFFICIAL)
def test_the_authors_own_models(name):
    model = SHIPPED.models[name]
    folder, miou, several, fps, short, window = OFFICIAL[name]
    reported, protocol, dataset = model.reported, model.protocol, SHIPPED.datasets[model.protocol.dataset]
    assert (reported.miou, reported.miou_ms_flip, reported.fps, reported.decimals) == (miou, several, fps, 1)
    assert model.checkpoint.urls[0].url == f"https://www.rocq.inria.fr/cluster-willow/rstrudel/segmenter/checkpoints/{folder}/checkpoint.pth"
    assert model.checkpoint.layout == "segmenter"
    assert dataset.loader.replace("-", "_") == folder.split("/")[0]
    ratio = {"ade20k": 4, "pascal-context": 8, "cityscapes": 2}[dataset.loader]
    assert (protocol.by, protocol.scale, protocol.crop, protocol.stride) == ("rstrudel", (ratio * short, short), window, window - 32)
    assert model.backbone.image == window
    deit = ((123.68, 116.28, 103.53), (58.4, 57.12, 57.38))
    assert (protocol.mean, protocol.std) == (deit if "deit" in name else ((127.5,) * 3, (127.5,) * 3))
    assert (model.backbone.eps, model.backbone.classes) == (1e-5, 1000)
    if model.head.kind == "mask":
        assert (model.head.heads, model.head.mlp, model.head.eps) == (model.backbone.width // 64, 4 * model.backbone.width, 1e-5)


@pytest.mark.parametrize("name", OFFICIAL)
def test_as_many_parameters_as_the_authors_say(name):
    """Their counts leave no other width, depth or number of decoder blocks."""
    model = SHIPPED.models[name]
    side, head = model.backbone, model.head
    block = 4 * side.width**2 + 2 * side.width * side.mlp + 9 * side.width + side.mlp
    encoder = side.depth * block + 3 * side.patch**2 * side.width + (side.image // side.patch) ** 2 * side.width
    decoder = (head.depth or 0) * block + 3 * side.width**2 if head.kind == "mask" else side.width * head.classes
    assert abs((encoder + decoder + 1000 * side.width) / 1e6 - PARAMETERS[name]) < 3


@pytest.mark.parametrize(("name", "published"), [("vit-t", "Ti_16"), ("vit-s", "S_16"), ("vit-b", "B_16"), ("vit-l", "L_16")])
def test_a_backbones_geometry_is_that_of_its_augreg_file(name, published):
    specs = {key: Spec(tuple(shape), "float32") for key, shape in PUBLISHED[published].items()}
    assert plan(specs, "mmseg").geometry == geometry_of(SHIPPED.backbones[name])
    assert abs(SHIPPED.backbones[name].source.size - sum(spec.nbytes for spec in specs.values())) < 250_000  # zip and npy headers


def test_the_shipped_data_set():
    ade = SHIPPED.datasets["ade20k"]
    assert (ade.images, ade.archive.size, ade.archive.sha256[:8]) == (2000, 967382037, "7ff1be44")
    assert len(ade.classes) == 150
    pascal, city = SHIPPED.datasets["pascal-context"], SHIPPED.datasets["cityscapes"]
    assert (pascal.images, pascal.other_splits, len(pascal.classes)) == (5105, {"train": 4998}, 60)
    assert (city.images, city.other_splits, len(city.classes)) == (500, {"train": 2975}, 19)
    assert list(pascal.classes)[:3] == ["background", "aeroplane", "bag"]
    assert list(city.classes)[-2:] == ["motorcycle", "bicycle"]
    assert list(ade.classes)[:3] == ["wall", "building", "sky"]
    assert ade.classes["wall"] == (120, 120, 120)
    assert len(set(ade.classes.values())) == 149
    assert ade.classes["road"] == ade.classes["skyscraper"]  # the only two of one colour
    assert ade.licence


@pytest.mark.parametrize("name", ["zoo.yaml", "mini/zoo.yaml"])
def test_manifests_fit_the_published_schema(name):
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    plain = yaml.safe_load(packaged(name).read_text())
    jsonschema.validate(plain, SCHEMA)
    assert set(load_manifest(packaged(name)).models) == set(plain["models"])
    plain["models"][next(iter(plain["models"]))]["reported"]["mIoU"] = 50.0
    with pytest.raises(jsonschema.ValidationError, match="'mIoU' was unexpected"):
        jsonschema.validate(plain, SCHEMA)


def test_the_published_schema_is_current():
    """If not: python -c "import json, segzoo.manifest.document as zoo; print(json.dumps(zoo.schema(), indent=2))" > segzoo/zoo.schema.json"""
    assert schema() == SCHEMA


VALID = """\
version: 1
datasets:
  tiny:
    title: A tiny set
    loader: ade20k
    root: tiny
    split: validation
    images: 2
    label_rule: as ADE20K
    path: tiny
    classes: {sky: [1, 2, 3], sea: [4, 5, 6]}
models:
  one:
    title: A model
    checkpoint:
      name: one.pth
      size: 100
      sha256: "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
      urls:
        - one.pth
    backbone: {width: 4, depth: 1, heads: 1, mlp: 8, patch: 2, image: 8, eps: 1.0e-6}
    head: {kind: linear, classes: 2}
    protocol: {dataset: tiny, scale: [16, 8], crop: 8, stride: 6, mean: 127.5, std: 127.5}
    reported: {miou: 50.0, source: here}
"""
HASH = '"' + "a" * 64 + '"'
# what is replaced, by what, the line of the complaint, what it says
FAULTS = {
    "duplicate key": ("      size: 100", "      size: 100\n      size: 100", 18, "models.one.checkpoint.size: this key is there twice"),
    "anchor": ("title: A model", "title: &a A model", 14, "anchors and aliases"),
    "alias": ("root: tiny", "root: *t", 6, "anchors and aliases"),
    "unknown field": (
        "      size: 100",
        "      length: 100",
        17,
        "models.one.checkpoint.length: no field 'length' here; there are name, layout, dtype, size",
    ),
    "a hash that is an integer": (
        f"sha256: {HASH}",
        "sha256_prefix: 39658046",
        18,
        "models.one.checkpoint.sha256_prefix: Input should be a valid string",
    ),
    "a hash that is octal": (f"sha256: {HASH}", "sha256_prefix: 01234567", 18, "models.one.checkpoint.sha256_prefix: YAML reads 01234567 as int"),
    "a short hash": (HASH, '"aaaa"', 18, "models.one.checkpoint.sha256: expected 64 digits from 0-9a-f, in lower case, found 'aaaa'"),
    "a short prefix": (
        f"sha256: {HASH}",
        'sha256_prefix: "aaaa"',
        18,
        "models.one.checkpoint.sha256_prefix: expected 8 digits from 0-9a-f, in lower case",
    ),
    "an upper-case hash": (HASH, HASH.upper(), 18, "models.one.checkpoint.sha256: expected 64 digits from 0-9a-f, in lower case"),
    "a hash and another prefix": (
        f"sha256: {HASH}",
        f'sha256: {HASH}\n      sha256_prefix: "bbbbbbbb"',
        15,
        "models.one.checkpoint: sha256 does not begin",
    ),
    "a name with a path": ("name: one.pth", "name: ../one.pth", 16, "models.one.checkpoint.name: a name must not have path parts"),
    "a name that is a drive": ("name: one.pth", "name: 'c:one.pth'", 16, "models.one.checkpoint.name: a name must not have path parts"),
    "a name with an escape code": ("name: one.pth", 'name: "one\\e[2J.pth"', 16, "models.one.checkpoint.name: a name needs printable"),
    "an empty name": ("name: one.pth", 'name: ""', 16, "models.one.checkpoint.name: a name needs printable characters"),
    "a title with an escape code": ("title: A model", 'title: "A\\e[31m model"', 14, "models.one.title: must not have control characters"),
    "an absolute address": ("        - one.pth", "        - /etc/passwd", 20, "models.one.checkpoint.urls.0.url: must be a path inside"),
    "an address that climbs": ("        - one.pth", "        - a/../../one.pth", 20, "models.one.checkpoint.urls.0.url: must be a path inside"),
    "an address by ftp": ("        - one.pth", "        - ftp://host/one.pth", 20, "models.one.checkpoint.urls.0.url: must be http, https or file"),
    "no address": ("urls:\n        - one.pth", "urls: []", 19, "models.one.checkpoint.urls: Tuple should have at least 1 item"),
    "a root that climbs": ("root: tiny", "root: ../tiny", 6, "datasets.tiny.root: must be a path inside"),
    "an octal number": ("images: 2", "images: 02", 8, "datasets.tiny.images: YAML reads 02 as int"),
    "a sexagesimal number": ("images: 2", "images: 1:30", 8, "datasets.tiny.images: YAML reads 1:30 as int"),
    "yes as a boolean": ("title: A model", "title: yes", 14, "models.one.title: YAML reads yes as bool; quote it"),
    "a date": ("title: A model", "title: 2021-05-05", 14, "models.one.title: YAML reads 2021-05-05 as timestamp"),
    "a number for a text": ("title: A model", "title: 12", 14, "models.one.title: Input should be a valid string, found 12"),
    "a text for a number": ("images: 2", 'images: "2"', 8, "datasets.tiny.images: Input should be a valid integer"),
    "a negative size": ("size: 100", "size: -1", 17, "models.one.checkpoint.size: Input should be greater than 0"),
    "not finite": ("mean: 127.5", "mean: .nan", 23, "models.one.protocol.mean: YAML reads .nan as float"),
    "over 100 percent": ("miou: 50.0", "miou: 150.0", 24, "models.one.reported.miou"),
    "an unknown data set": ("dataset: tiny", "dataset: tony", 23, "models.one.protocol.dataset: no data set 'tony'"),
    "another number of classes": ("kind: linear, classes: 2", "kind: linear, classes: 3", 22, "models.one.head.classes: 3"),
    "one name for two things": ("  one:\n", "  tiny:\n", 13, "models.tiny: this name stands for two things"),
    "half a mask head": ("kind: linear", "kind: mask", 22, "models.one.head.depth: the field 'depth' is missing"),
    "image and patch": ("image: 8", "image: 9", 21, "models.one.backbone: image is no multiple of patch"),
    "heads and width": ("width: 4, depth: 1, heads: 1", "width: 4, depth: 1, heads: 3", 21, "models.one.backbone: heads do not divide width"),
    "gaps between windows": ("stride: 6", "stride: 9", 23, "models.one.protocol: stride is larger than crop"),
    "no deviation": ("std: 127.5", "std: 0.0", 23, "models.one.protocol.std: must be greater than 0"),
    "a colour out of range": ("sky: [1, 2, 3]", "sky: [1, 2, 300]", 11, "datasets.tiny.classes.sky.2: Input should be less than or equal to 255"),
    "a colour of two": ("sky: [1, 2, 3]", "sky: [1, 2]", 11, "datasets.tiny.classes.sky.2: a value is missing: found only 2"),
    "an endless number": ("size: 100", f"size: {'9' * 5000}", 17, "models.one.checkpoint.size: YAML reads 999"),
    "an infinite number": ("mean: 127.5", "mean: 1.0e+999", 23, "models.one.protocol.mean: YAML reads 1.0e+999 as float"),
    "a key with an escape code": ("  one:\n", '  "o\\e[2Jne":\n', 13, "models.'o\\x1b[2Jne'"),
    "a tag on an escape code": ("size: 100", 'size: !!int "\\e[2J"', 17, "YAML reads '\\x1b[2J' as int"),
    "a raw control character": ("title: A model", "title: A \x1b model", 14, "not YAML: a control character"),
    "an empty address": ("        - one.pth", '        - ""', 20, "must name a file"),
    "the folder as an address": ("        - one.pth", "        - .", 20, "must name a file"),
    "an empty root": ("root: tiny", 'root: ""', 6, "datasets.tiny.root: must be a path inside"),
    "a name with a stream": ("name: one.pth", "name: 'one.pth:x'", 16, "must not have path parts"),
    "a name with a space at its end": ("name: one.pth", "name: 'one.pth '", 16, "no space around it"),
    "a very long name": ("name: one.pth", f"name: {'n' * 300}", 16, "at most 200 bytes"),
    "a version that is true": ("version: 1", "version: true", 1, "version: must be the number 1"),
    "a version that is a float": ("version: 1", "version: 1.0", 1, "version: must be the number 1"),
    "an upper-case key": ("  one:\n", "  One:\n", 13, "models.One: expected a name of at most 64 characters from a-z0-9._-, in lower case"),
    "a key that is a number": ("  one:\n", "  1:\n", 13, "models: a key must be a text"),
    "nesting of 20": ("title: A model", f"title: {'[' * 17}{']' * 17}", 14, "models.one.title: Input should be a valid string"),
    "nesting of 21": ("title: A model", f"title: {'[' * 18}{']' * 18}", 14, "nested more than 20 deep"),
    "another version": ("version: 1", "version: 2", 1, "version: Input should be 1"),
    "no version": ("version: 1\n", "", 1, "version: the field 'version' is missing"),
    "no YAML": ("version: 1", "version: [1", 2, "not YAML"),
    "a code point that there is not": ("title: A model", 'title: "\\UFFFFFFFF"', 14, "not YAML"),
    "an endless version of YAML": ("version: 1", f"%YAML 1.{'9' * 5000}\n---\nversion: 1", 1, "not YAML"),
    "not a mapping": (VALID, "- version\n", 1, "expected a mapping"),
    "empty": (VALID, "", 1, "expected a mapping"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_told_with_line_and_field(fault, tmp_path):
    old, new, line, said = FAULTS[fault]
    path = tmp_path / "zoo.yaml"
    path.write_text(VALID)
    load_manifest(path)
    assert VALID.count(old) == 1
    path.write_text(VALID.replace(old, new))
    with pytest.raises(UsageError) as error:
        load_manifest(path)
    assert error.value.message.startswith(f"{path}:{line}: " if line else f"{path}: ")
    assert said in error.value.message
    assert "\x1b" not in error.value.message


# what is replaced, by what, where the only complaint is and what it says, and what it says to do
MENDED = {
    "a field misspelt": ("    checkpoint:", "    checkpont:", "models.one.checkpont: no field 'checkpont' here; did you mean checkpoint?", None),
    "a section misspelt": ("datasets:\n", "datasest:\n", "datasest: no field 'datasest' here; did you mean datasets?", None),
    "upper case": ("{miou:", "{mIoU:", "models.one.reported.mIoU: no field 'mIoU' here; did you mean miou?", None),
    "an address's field": (
        "        - one.pth", "        - {ulr: one.pth}", "models.one.checkpoint.urls.0.ulr: no field 'ulr' here; did you mean url?", None,
    ),
    "a field of an entry that is called as a field": (
        "  one:\n    title:", "  head:\n    tilte:", "models.head.tilte: no field 'tilte' here; did you mean title?", None,
    ),
    "a field that is there already": (
        "head: {", "head: {klasses: 2, ", "models.one.head.klasses: no field 'klasses' here; there are kind, classes", None,
    ),
    "no field": ("    title: A model\n", "", "models.one.title: the field 'title' is missing", None),
    "YAML's trap": (
        "eps: 1.0e-6", "eps: 1e-6", "models.one.backbone.eps: Input should be a valid number, found '1e-6'",
        "YAML takes 1e-6 for a text: write 1.0e-6",
    ),
    "the same for all channels": (
        "mean: 127.5", "mean: 1.275e2", "models.one.protocol.mean: Input should be a valid tuple, found '1.275e2'",
        "YAML takes 1.275e2 for a text: write 127.5",
    ),
    "no number": ("eps: 1.0e-6", "eps: tiny", "models.one.backbone.eps: Input should be a valid number, found 'tiny'", None),
    "a number that is infinite": ("eps: 1.0e-6", "eps: 1e999", "models.one.backbone.eps: Input should be a valid number, found '1e999'", None),
}  # fmt: skip
ELSEWHERE = "verify and report take a folder elsewhere with --data DIR; or put a symbolic link to it beside the manifest"
for outside in ("/data/tiny", "../tiny"):
    said = f"datasets.tiny.path: must be a path inside the folder it is relative to, found '{outside}'"
    MENDED[outside] = ("    path: tiny", f"    path: {outside}", said, ELSEWHERE)


@pytest.mark.parametrize("fault", MENDED)
def test_a_fault_is_told_once_in_words_and_with_what_to_do(fault, tmp_path):
    old, new, said, hint = MENDED[fault]
    path = tmp_path / "zoo.yaml"
    assert VALID.count(old) == 1
    path.write_text(VALID.replace(old, new))
    (complaint,) = examine(path).complaints
    assert (f"{complaint.field}: {complaint.message}", complaint.hint) == (said, hint)


def test_a_misspelt_field_explains_no_other_that_is_missing(tmp_path):
    path = tmp_path / "zoo.yaml"
    path.write_text(VALID.replace("    checkpoint:", "    checkpont:").replace("    title: A model\n", ""))
    assert [one.field for one in examine(path).complaints] == ["models.one.title", "models.one.checkpont"]


def test_a_manifest_that_is_not_there_or_no_text(tmp_path):
    with pytest.raises(NotFoundError, match="no such manifest"):
        load_manifest(tmp_path / "none.yaml")
    (tmp_path / "zoo.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="not readable as text"):
        load_manifest(tmp_path / "zoo.yaml")
    with pytest.raises(UsageError, match="is a folder") as error:
        load_manifest(tmp_path)
    assert error.value.hint == f"the manifest in it is {tmp_path / 'zoo.yaml'}"
    (tmp_path / "zoo.yaml").unlink()
    with pytest.raises(UsageError, match="is a folder") as error:
        load_manifest(tmp_path)
    assert error.value.hint == "name the file in it"


@pytest.mark.parametrize("layout", NAMES)
def test_a_manifest_may_name_every_layout(layout):
    assert Artifact(name="a.npz", layout=layout, urls=("a.npz",)).layout == layout


def test_a_layout_that_there_is_not_is_named_with_those_that_there_are():
    with pytest.raises(ValidationError, match=r"Input should be 'augreg', .* or 'mae'"):
        Artifact(name="a.npz", layout="nope", urls=("a.npz",))
