"""The Python file of an exported model: the classes of its own networks, cut out of `segzoo.models`, and a function that loads it.

The file is what segzoo itself runs, so that it cannot differ from it. It needs torch and safetensors only.
"""

import ast
import inspect
import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from segzoo.models import segmentor
from segzoo.models.segmentor import Segmenter

_ROOM = "segzoo.models"
_ERRORS = "segzoo.errors"
_PARTS = ("backbone", "neck", "decode_head")
_HEADER = '''"""The model of this folder in plain torch: built from config.json, its weights loaded strictly. Needs torch and safetensors.

    model = load()  # or load("path/to/folder")
    out = model(image)  # (b, channels, H, W) float32, normalised as config.json says

{what} From segzoo, Apache-2.0.
"""
'''
_MODEL = "The model gives class scores (b, classes, H, W)."
_BACKBONE = "A backbone gives features (b, width, H/patch, W/patch)."


def load(folder: str | Path | None = None) -> nn.Module:
    """The model in a folder, this file's own if none is named: float32, on the CPU, ready to run."""
    from safetensors.torch import load_file

    folder = Path(folder or Path(__file__).parent)
    network = json.loads((folder / "config.json").read_text(encoding="utf-8"))["network"]
    with torch.device("meta"):
        parts = {name: CLASSES[part["class"]](**part["arguments"]) for name, part in network.items()}
        model = Segmenter(parts["backbone"], parts.get("neck"), parts["decode_head"]) if "decode_head" in parts else parts["backbone"]
    tensors = load_file(folder / "model.safetensors")  # copied below: sums over memory that is not aligned come in another order
    tensors = {name: one.clone() for name, one in tensors.items()}
    model.load_state_dict({name: one.float() if one.is_floating_point() else one for name, one in tensors.items()}, strict=True, assign=True)
    return model.eval().requires_grad_(False)


CLASSES: dict[str, type[nn.Module]] = {}


def parts_of(model: nn.Module) -> dict[str, nn.Module]:
    """The networks of a model by their names in it: backbone, neck if there is one, and head; of a backbone alone itself."""
    if not isinstance(model, Segmenter):
        return {"backbone": model}
    return {name: part for name in _PARTS if (part := getattr(model, name)) is not None}


def described(model: nn.Module) -> dict[str, dict[str, Any]]:
    """The networks of a model, for a config: the class of each and the arguments that it was made of."""
    return {name: {"class": type(part).__name__, "arguments": part.arguments} for name, part in parts_of(model).items()}


def source(model: nn.Module) -> str:
    """The text of a Python file that builds the model of a config made by `described`, and loads its weights."""
    parts = parts_of(model)
    text = _Text()
    for one in model.modules():
        if not type(one).__module__.startswith("torch."):
            text.take(sys.modules[type(one).__module__], type(one).__name__)
    if "decode_head" in parts:
        text.take(segmentor, Segmenter.__name__)
    names = sorted({type(part).__name__ for part in parts.values()})
    text.pieces["CLASSES"] = f"CLASSES: dict[str, type[nn.Module]] = {{{', '.join(f'{name!r}: {name}' for name in names)}}}".replace("'", '"')
    text.take(sys.modules[__name__], load.__name__)
    if "decode_head" not in parts:
        text.pieces["load"] = text.pieces["load"].replace(
            'Segmenter(parts["backbone"], parts.get("neck"), parts["decode_head"]) if "decode_head" in parts else parts["backbone"]',
            'parts["backbone"]',
        )
    return text.whole(_HEADER.format(what=_MODEL if "decode_head" in parts else _BACKBONE))


@dataclass
class _Text:
    """The pieces of a file, each after those that it uses, and what they import."""

    pieces: dict[str, str] = field(default_factory=dict)
    imports: set[tuple[str, str | None, str | None]] = field(default_factory=set)
    errors: set[str] = field(default_factory=set)
    of: dict[str, str] = field(default_factory=dict)

    def take(self, module: ModuleType, name: str) -> None:
        """Take what has this name at the top of a module of segzoo, and all that it uses. Two of the same name would be a fault of segzoo."""
        if name in self.pieces:
            if self.of.get(name, module.__name__) != module.__name__:
                raise ValueError(f"{name} is in {self.of[name]} and in {module.__name__}")
            return
        text = inspect.getsource(module)
        tree = ast.parse(text)
        node = next(one for one in tree.body if name in _names(one))
        self.of[name] = module.__name__
        for used in _used(node):
            if used != name:
                self._follow(module, tree, used)
        self.pieces[name] = "\n".join(text.splitlines()[_first(node) - 1 : node.end_lineno])

    def _follow(self, module: ModuleType, tree: ast.Module, used: str) -> None:
        """Take what a name stands for in a module: something of its own, or an import."""
        for one in tree.body:
            if isinstance(one, ast.ImportFrom | ast.Import):
                for alias in one.names:
                    if (alias.asname or alias.name) == used:
                        self._import(one, alias)
            elif used in _names(one) and not (module is sys.modules[__name__] and used == "CLASSES"):
                self.take(module, used)

    def _import(self, statement: ast.ImportFrom | ast.Import, alias: ast.alias) -> None:
        if isinstance(statement, ast.Import):
            self.imports.add((alias.name, None, alias.asname))
        elif statement.module == _ERRORS:
            self.errors.add(alias.name)
        elif str(statement.module).startswith(_ROOM):
            self.take(sys.modules[str(statement.module)], alias.name)
        else:
            self.imports.add((str(statement.module), alias.name, alias.asname))

    def whole(self, header: str) -> str:
        """The file."""
        errors = "".join(f"{name} = ValueError\n" for name in sorted(self.errors))
        classes = [text if text.startswith(("class", "def", "@")) else f"{text}" for text in self.pieces.values()]
        return "\n".join([header, *self._imports(), errors]) + "\n" + "\n\n\n".join(classes) + "\n"

    def _imports(self) -> Iterator[str]:
        """Import statements: the standard library, then the others."""
        grouped: dict[str, set[str]] = {}
        plain = []
        for module, name, asname in self.imports:
            if name is None:
                plain.append((module, f"import {module} as {asname}" if asname else f"import {module}"))
            else:
                grouped.setdefault(module, set()).add(f"{name} as {asname}" if asname else name)
        lines = plain + [(module, f"from {module} import {', '.join(sorted(names))}") for module, names in grouped.items()]
        for standard in (True, False):
            yield from (line for module, line in sorted(lines) if (module.split(".")[0] in sys.stdlib_module_names) is standard)
            yield ""


def _names(node: ast.stmt) -> set[str]:
    """The names that a statement at the top of a module gives."""
    if isinstance(node, ast.ClassDef | ast.FunctionDef):
        return {node.name}
    targets: Iterable[ast.expr] = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return {one.id for one in targets if isinstance(one, ast.Name)}


def _used(node: ast.stmt) -> list[str]:
    """The names that a statement uses, each once, in their order."""
    return list(dict.fromkeys(one.id for one in ast.walk(node) if isinstance(one, ast.Name)))


def _first(node: ast.stmt) -> int:
    decorators = getattr(node, "decorator_list", [])
    return min([node.lineno, *(one.lineno for one in decorators)])
