"""What a YAML file says, read without YAML's surprises, with the line of every value.

It is read from PyYAML's node tree. PyYAML would accept these in silence, and here they are refused: duplicate
keys, anchors and aliases, octal and sexagesimal numbers, `no` as a boolean, deep nesting.
"""

import re
from pathlib import Path
from typing import Any

import yaml

from segzoo.errors import NotFoundError, UsageError
from segzoo.regular import NotRegular, open_regular

Where = tuple[str | int, ...]
Lines = dict[Where, int]
_MOST_NESTING = 20
_KEYED_BY_NUMBER = ("labels", "values")  # the one field whose keys are numbers


def read_yaml(path: Path) -> tuple[dict[str, Any], Lines]:
    """The mapping in a file, as dicts, tuples and scalars, and the line of each of its fields.

    Raises UsageError with `file:line` and field, or NotFoundError.
    """
    try:
        with open_regular(path) as file:
            text = file.read().decode("utf-8")
    except FileNotFoundError as error:
        raise NotFoundError(f"{path}: no such manifest") from error
    except NotRegular as error:
        usual = path / "zoo.yaml"
        hint = f"the manifest in it is {usual}" if usual.is_file() else "name the file in it"
        raise UsageError(f"{path}: is {error.what}", hint if path.is_dir() else "save it as a file first") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not readable as text: {error}") from error
    lines: Lines = {}
    try:
        _refuse_aliases(path, text)
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.reader.ReaderError as error:
        raise UsageError(f"{path}:{text.count(chr(10), 0, error.position) + 1}: not YAML: a control character") from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise UsageError(f"{path}:{line}: not YAML: {error.problem}") from error
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # the latter two come from numbers that PyYAML trusts
        raise UsageError(f"{path}: not YAML: {error}") from error
    if not isinstance(node, yaml.MappingNode):
        raise UsageError(f"{path}:1: expected a mapping with 'version', 'datasets', 'backbones' and 'models'")
    return _construct(path, node, (), lines), lines


def _refuse_aliases(path: Path, text: str) -> None:
    """Raises UsageError for aliases, which can explode, and for deep nesting, which overflows the stack. No tree is built before."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        line = event.start_mark.line + 1 if event.start_mark else 1
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise UsageError(f"{path}:{line}: anchors and aliases are not used in a manifest; write the value out")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _MOST_NESTING:
            raise UsageError(f"{path}:{line}: nested more than {_MOST_NESTING} deep")


def _construct(path: Path, node: yaml.Node, where: Where, lines: Lines) -> Any:
    lines.setdefault(where, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        mapping: dict[str | int, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            key = _key(path, key_node, where)
            if key in mapping:
                raise UsageError(f"{path}:{line}: {dotted((*where, key))}: this key is there twice")
            lines[(*where, key)] = line
            mapping[key] = _construct(path, value_node, (*where, key), lines)
        return mapping
    if isinstance(node, yaml.SequenceNode):
        return tuple(_construct(path, item, (*where, index), lines) for index, item in enumerate(node.value))
    return _scalar(path, node, where)


def _key(path: Path, node: yaml.Node, where: Where) -> str | int:
    if isinstance(node, yaml.ScalarNode) and node.tag.endswith(":str"):
        return str(node.value)
    if where[-2:] == _KEYED_BY_NUMBER and isinstance(node, yaml.ScalarNode) and node.tag.endswith(":int"):
        return int(_scalar(path, node, where))
    raise UsageError(f"{path}:{node.start_mark.line + 1}: {dotted(where)}: a key must be a text; quote it if it is one")


def _scalar(path: Path, node: yaml.Node, where: Where) -> Any:
    kind, text = node.tag.removeprefix("tag:yaml.org,2002:"), node.value
    match kind:
        case "str":
            return text
        case "null":
            return None
        case "bool" if text.lower() in ("true", "false"):
            return text.lower() == "true"
        case "int" if re.fullmatch(r"-?(0|[1-9][0-9]{0,18})", text):
            return int(text)
        case "float" if re.fullmatch(r"-?[0-9]{1,17}\.[0-9]{0,17}(e[-+]?[0-9]{1,2})?", text):
            return float(text)
    raise UsageError(f"{path}:{node.start_mark.line + 1}: {dotted(where)}: YAML reads {excerpt(text)} as {kind}; quote it if it is a text")


def dotted(where: Where) -> str:
    return ".".join(excerpt(str(part)) for part in where) or "the top level"


def excerpt(text: str) -> str:
    """A text of the file for a message: control characters are escaped, and a long text is cut to 100 characters."""
    plain = text if text.isprintable() else ascii(text)
    return plain if len(plain) <= 100 else f"{plain[:97]}..."
