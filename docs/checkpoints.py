"""Writes docs/checkpoints.md: every transformer checkpoint of MMSegmentation, and what segzoo does with it. `python docs/checkpoints.py`.

The rows are those of its metafiles (tests/data/transformers/facts.json.gz). What stands in them is asked of zoo.yaml, of the layouts' tables and of
the manifests of tiny models that tests hold to the real mmseg, so a new row, table or golden shows here without a change.
"""

import gzip
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from segzoo.conversion.detect import detect
from segzoo.conversion.fit import refusal
from segzoo.layouts import FAMILIES, HEADS, LAYOUTS
from segzoo.manifest.document import load_manifest, packaged
from segzoo.manifest.entries import Model, geometry_of
from segzoo.publishing.export.forms import takes
from segzoo.spec import Spec
from segzoo.vocabulary import FORMS

PAGE = Path(__file__).with_suffix(".md")
DATA = Path(__file__).parent.parent / "tests" / "data" / "transformers"
HEAD = """# MMSegmentation's transformer checkpoints

Every transformer checkpoint that MMSegmentation 1.2.2 or 0.30.0 publishes: {} files, {} of them in the zoo. Figures are mIoU in per cent,
single scale and ms+flip, as published. *Read* is the layout of the file; *written* are the layouts that `segzoo convert` can write it in,
whole or its backbone, and back. *Exported* are the forms of `segzoo export`. *Golden* names the tiny model of the same kind, made by the
real MMSegmentation 1.2.2, to whose scores the tests hold segzoo. Where no tiny model has just this backbone, neck and head, those that
share them are named.

<!-- written by `python docs/checkpoints.py`; a test holds it to the zoo, the layouts and the tests -->

"""
COLUMNS = ("name", "file", "backbone", "head", "data", "images", "mIoU", "ms+flip", "read", "written", "exported", "golden")


def read(name: str) -> Any:
    return json.loads(gzip.decompress((DATA / name).read_bytes()))


SHIPPED = load_manifest(packaged("zoo.yaml")).models
FACTS = read("facts.json.gz")
GOLDEN = {**load_manifest(packaged("mini/zoo.yaml")).models, **load_manifest(DATA / "zoo.yaml").models}


def parts(model: Model) -> tuple[dict[str, Any], dict[str, Any]]:
    """What makes the backbone's kind of a model, and what makes that of its neck and head."""
    backbone, head = model.backbone, model.head
    kind = {side: getattr(backbone, side, None) for side in ("named", "variant", "window", "final_norm", "class_token")}
    return kind, {"head": head.named, "convs": getattr(head, "convs", None), "neck": model.neck.named if model.neck else None}


def goldens(model: Model) -> list[str]:
    """The tiny models of this kind, else those that share the backbone or the head."""
    mine = parts(model)
    exact = [name for name, tiny in GOLDEN.items() if parts(tiny) == mine]
    if exact:
        return exact
    same_family = [name for name, tiny in GOLDEN.items() if parts(tiny)[0]["named"] == mine[0]["named"]]
    return [name for name in same_family if mine[0] == parts(GOLDEN[name])[0]] + [name for name in same_family if mine[1] == parts(GOLDEN[name])[1]]


def written(model: Model, tensors: dict[str, Any]) -> list[str]:
    """The layouts other than its own that have a place for the file."""
    specs = {key: Spec(tuple(shape), dtype) for key, (shape, dtype) in tensors.items()}
    found = detect(specs, positions=getattr(geometry_of(model), "positions", None))
    return [name for name, layout in LAYOUTS[found.layout.family.name].items() if name != found.layout.name and not refusal(found, layout)]


def images(crop: Sequence[int] | None, stride: Sequence[int] | None) -> str:
    """How the model sees an image."""
    return f"slide {sides(crop)}/{sides(stride)}" if crop and stride else "whole"


def sides(size: Sequence[int]) -> str:
    return str(size[0]) if size[0] == size[1] else f"{size[0]}x{size[1]}"


def percent(figure: float | None) -> str:
    return "" if figure is None else f"{figure:.2f}"


def held(name: str, model: Model, fact: dict[str, Any], tensors: dict[str, Any]) -> tuple[str, ...]:
    """The row of a model."""
    family, reported = FAMILIES[model.backbone.named], model.reported
    backbone = f"{family.title}, {family.summary(geometry_of(model))}"
    figures = [percent(reported.of(mode) if reported else None) for mode in ("ss", "ms+flip")]
    tables = (str(model.checkpoint.layout), ", ".join(written(model, tensors)), ", ".join(form for form in FORMS if takes(form, model)))
    of_its_kind = ", ".join(f"`{golden}`" for golden in goldens(model))
    seen = (backbone, HEADS[model.head.named].title, fact["dataset"], images(*model.protocol.windows))
    return (f"`{name}`", f"`{model.checkpoint.name}`", *seen, *figures, *tables, of_its_kind)


def rows() -> Iterator[tuple[str, ...]]:
    """A row for each file, in the order of the metafiles; two where the zoo has two models with one file."""
    keys = read("keys.json.gz")
    for fact in FACTS:
        file = fact["checkpoint"]["name"]
        yield from (held(name, model, fact, keys[file]) for name, model in SHIPPED.items() if model.checkpoint.name == file)


def page() -> str:
    files = {fact["checkpoint"]["name"] for fact in FACTS}
    head = HEAD.format(len(files), len(files & {model.checkpoint.name for model in SHIPPED.values()}))
    return head + "".join(f"| {' | '.join(line)} |\n" for line in [COLUMNS, ("---",) * len(COLUMNS), *rows()])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
