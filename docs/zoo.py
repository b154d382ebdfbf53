"""Writes docs/zoo.md, every model of the shipped zoo, and the table of methods in README.md. `python docs/zoo.py` after a change of zoo.yaml."""

import re
from pathlib import Path

from segzoo.layouts import FAMILIES
from segzoo.manifest.document import load_manifest, packaged
from segzoo.manifest.entries import FIGURES, Model

PAGE, README = Path(__file__).with_suffix(".md"), Path(__file__).parent.parent / "README.md"
SHIPPED = load_manifest(packaged("zoo.yaml"))
HEAD = """# The zoo

Every model of the shipped [zoo.yaml](../zoo.yaml), which says where each figure is from and what each file is checked against.
`segzoo list` shows the same, with sizes and what is already here; `segzoo info NAME` shows all that is known of one. Figures are mIoU in
per cent, at a single scale and at several scales with flip, as MMSegmentation and the authors of Segmenter and SegFormer
published them. Two more are those of images whose sides were brought up to multiples of 32 (`verify --mode ss-32`).

<!-- written by `python docs/zoo.py`; a test holds it to zoo.yaml -->
"""
MARKS = ("<!-- methods: written by `python docs/zoo.py` -->\n", "<!-- end of methods -->\n")


def method(model: Model) -> str:
    """What a model's title begins with: the name of its method, for Segmenter's own checkpoints that of their authors."""
    return "Segmenter, its authors' own" if model.protocol.by == "rstrudel" else re.split("[ ,]", model.title)[0]


def methods() -> dict[str, dict[str, Model]]:
    """Each method's models by name, in the order of zoo.yaml."""
    groups: dict[str, dict[str, Model]] = {}
    for name, model in SHIPPED.models.items():
        groups.setdefault(method(model), {})[name] = model
    return groups


def data_of(model: Model) -> str:
    return re.split(",| scene", str(SHIPPED.datasets[model.protocol.dataset].title))[0]


def figures(model: Model, modes: list[str]) -> str:
    """The figures of these modes, with the digits that were published."""
    assert model.reported is not None
    each = (model.reported.of(mode) for mode in modes)
    return " | ".join("" if one is None else f"{one:.{model.reported.decimals}f}" for one in each)


def page() -> str:
    text = HEAD
    for title, models in methods().items():
        measured = {mode for mode in FIGURES for model in models.values() if model.reported and model.reported.of(mode) is not None}
        modes = [mode for mode in FIGURES if mode in {"ss", "ms+flip", *measured}]
        named = " | ".join("mIoU" if mode == "ss" else mode for mode in modes)
        text += f"\n## {title}\n\n| name | what it is | data | {named} |\n|---|---|---|{'---|' * len(modes)}\n"
        text += "".join(f"| `{name}` | {model.title} | {data_of(model)} | {figures(model, modes)} |\n" for name, model in models.items())
    text += "\n## Backbones\n\n| name | what it is |\n|---|---|\n"
    return text + "".join(f"| `{name}` | {backbone.title} |\n" for name, backbone in SHIPPED.backbones.items())


def table() -> str:
    """One line a method: how many models, on what, the best figure on ADE20K, and that model's name."""
    lines = ["| method | backbones | data | models | best mIoU on ADE20K |", "|---|---|---|---|---|"]
    for title, models in methods().items():
        backbones = ", ".join(dict.fromkeys(FAMILIES[model.backbone.named].title for model in models.values()))
        on_ade = [(model.reported.miou, name) for name, model in models.items() if model.reported and model.protocol.dataset == "ade20k"]
        _, name = max(on_ade)
        data = ", ".join(dict.fromkeys(map(data_of, models.values())))
        lines.append(f"| {title} | {backbones} | {data} | {len(models)} | {figures(models[name], ['ss'])} `{name}` |")
    return "\n".join(lines) + "\n"


def readme() -> str:
    """README.md with its table as it must be now."""
    before, rest = README.read_text(encoding="utf-8").split(MARKS[0])
    return before + MARKS[0] + table() + MARKS[1] + rest.split(MARKS[1])[1]


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    README.write_text(readme(), encoding="utf-8")
