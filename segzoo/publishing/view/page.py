"""The page itself, in Gradio's own parts. It shows texts as texts: names of files and classes are a stranger's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from segzoo.datasets.classes import Colour
from segzoo.errors import SegzooError
from segzoo.publishing.view.viewer import Shown, Viewer
from segzoo.text import brief, legible
from segzoo.vocabulary import IMAGES

_NOBODY = "no other model"
_EMPTY = "Drop a picture on the left, or several, or a folder of them. Nothing leaves this machine."
_BEYOND = Path(__file__).with_name("page.js")


def theme() -> gr.themes.Base:
    """Gradio's own theme in the system's fonts: others would come from a server."""
    return gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])


def page(viewer: Viewer) -> gr.Blocks:
    """The page for some models. It computes one request at a time."""
    names = [legible(name) for name in viewer.names]

    with gr.Blocks(title="segzoo view", analytics_enabled=False) as made:
        with gr.Row():
            with gr.Column(scale=1, min_width=280):
                files = gr.File(label="Pictures", file_count="multiple", height=180)
                folder = gr.UploadButton("Choose a folder", file_count="directory", size="sm")
                picture = gr.Dropdown([], label="Picture", type="index", interactive=True, visible=False)
                first = gr.Dropdown(names, value=names[0], label="Model", type="index", interactive=True)
                second = gr.Dropdown([_NOBODY, *names], value=_NOBODY, label="Compared with", type="index", interactive=True, visible=len(names) > 1)
            with gr.Column(scale=3, min_width=300):
                said = gr.Textbox(_EMPTY, label="Notes", interactive=False, max_lines=12)
                slider = gr.ImageSlider(format="jpeg", interactive=False, visible=False, max_height=700)
                with gr.Row():
                    saves = [gr.DownloadButton(visible=False, size="sm") for _ in range(2)]
                table = gr.Dataframe(interactive=False, visible=False, max_height=600)
        outputs = [said, slider, *saves, table]

        def listed(paths: list[str] | None) -> Any:
            places = pictures(paths)
            labels = labels_of(places)
            return gr.Dropdown(choices=list(labels), value=labels[0] if labels else None, visible=len(labels) > 1)

        def look(paths: list[str] | None, index: int | None, one: int, other: int, progress: gr.Progress = gr.Progress()) -> list[Any]:  # noqa: B008
            if not (places := pictures(paths)):
                return [f"of {len(paths)} files none is a picture by its name: {', '.join(IMAGES)}" if paths else _EMPTY, *_nothing()]
            path = places[min(index or 0, len(places) - 1)]
            chosen = list(dict.fromkeys([viewer.names[one], *([viewer.names[other - 1]] if other else [])]))
            try:
                shown = viewer.show(path, chosen, lambda doing: progress(0, desc=legible(doing)))
            except SegzooError as error:
                return [_told(path, [error.message, *([f"hint: {error.hint}"] if error.hint else [])]), *_nothing()]
            over = len(paths or []) - len(places)
            passed = [f"{over} of {over + len(places)} files are no pictures by their names, and were passed over"] if over else []
            return [_told(path, [*shown.notes, *passed]), *_parts(shown, chosen, len(names) > 1)]

        made.load(js=_BEYOND.read_text("utf-8"))
        private: dict[str, Any] = {"api_visibility": "private"}
        alone: dict[str, Any] = private | {"concurrency_id": "device", "concurrency_limit": 1, "show_progress_on": [said, slider]}
        folder.upload(lambda paths: paths, folder, files, queue=False, **private)
        changed = files.change(listed, files, picture, show_progress="hidden", trigger_mode="always_last", **private)
        inputs = [files, picture, first, second]
        changed.then(look, inputs, outputs, **alone)
        # what is chosen while a model works is looked at when it has done
        gr.on([picture.input, first.input, second.input], look, inputs, outputs, trigger_mode="always_last", **alone)
    return made


def pictures(paths: Sequence[str] | None) -> list[Path]:
    """The pictures among files, by their names, as `predict` finds them in a folder. A lone file is looked into, whatever its name."""
    places = sorted((Path(path) for path in paths or []), key=lambda path: path.name)
    return places if len(places) == 1 else [path for path in places if path.suffix.lower() in IMAGES and not path.name.startswith(".")]


def labels_of(places: Sequence[Path]) -> list[str]:
    """What pictures are called on the page; those of one name have a number."""
    seen: Counter[str] = Counter()
    labels = []
    for path in places:
        seen[path.name] += 1
        labels.append(brief(path.name) + (f" ({seen[path.name]})" if seen[path.name] > 1 else ""))
    return labels


def _told(path: Path, lines: Sequence[str]) -> str:
    """Lines about a picture. Where its copy lies concerns nobody: it has its name there."""
    return "\n".join(brief(line.replace(str(path), path.name), 2000) for line in lines) or f"{brief(path.name)}: done"


def _nothing() -> list[Any]:
    return [gr.ImageSlider(value=None, visible=False), *(gr.DownloadButton(visible=False) for _ in range(2)), gr.Dataframe(value=None, visible=False)]


def _parts(shown: Shown, chosen: Sequence[str], several: bool) -> list[Any]:
    """The slider, the buttons and the table for what is shown. Of several models on the page the buttons say whose label map they save."""
    names = [brief(name, 60) for name in chosen]
    sides = names if len(names) > 1 else ["picture", names[0]]
    slider = gr.ImageSlider(value=shown.sides, label=" | ".join(sides), visible=True)
    save = "Save the label map of {}" if several else "Save the label map"
    buttons = [gr.DownloadButton(save.format(name), value=str(path), visible=True) for name, path in zip(names, shown.labels, strict=True)]
    buttons += [gr.DownloadButton(visible=False)] * (2 - len(buttons))
    rows = [[_swatch(colour), legible(name), *shares] for colour, name, shares in shown.rows]
    headers = ["", "class", *(["%"] if len(names) == 1 else [f"% {name}" for name in names])]
    table = gr.Dataframe(value={"data": rows, "headers": headers}, datatype=["html", "str", *["number"] * len(names)], visible=True)
    return [slider, *buttons, table]


def _swatch(colour: Colour) -> str:
    return f'<span style="display: inline-block; width: 1.2em; height: 1.2em; background: rgb{tuple(map(int, colour))}"></span>'
