"""The folder that a command writes in."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from segzoo.atomic import in_the_way

_OF_FILES = (".npz", ".pth", ".pt", ".safetensors", ".msgpack", ".onnx", ".png", ".jpg", ".html", ".md", ".json")


class OutputFolder(click.Path):
    """A folder to write in. It is made when something is written; what cannot be a folder, or has a file's suffix, is refused at once."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        try:
            file = in_the_way(path)
        except OSError as error:
            self.fail(f"{value}: {error.strerror}", param, ctx)
        if file:
            self.fail(f"a folder is needed to write in; {file} is a file", param, ctx)
        if path.suffix.lower() in _OF_FILES and not path.is_dir():
            self.fail(f"a folder is needed to write in, and '{value}' is called as a file is", param, ctx)
        return path
