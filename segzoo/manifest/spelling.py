"""How a person would write an entry, and where in a manifest's text it goes. The rest of the text stays as it is."""

import re
from collections.abc import Mapping
from typing import Any

import yaml

from segzoo.errors import UsageError
from segzoo.text import legible

_WIDEST = 110  # columns: a longer mapping is spread over lines
_AFTER_A_LINE = r"(?<=\n)|(?<=\r)(?!\n)|(?<=[\x85\u2028\u2029])"  # as YAML counts lines
AFTER = ""  # the key of the note below an entry


def spelt(plain: Mapping[str, Any], indent: int = 0, notes: Mapping[str, str] | None = None) -> list[str]:
    """A mapping as lines of YAML. Short mappings and lists take one line. `notes` are comments above fields."""
    margin = " " * indent
    notes = notes or {}
    lines = []
    for key, value in plain.items():
        lines += [f"{margin}# {legible(notes[key])}"] if key in notes else []
        head = f"{margin}{_scalar(key)}:"
        if not isinstance(value, Mapping | list | tuple):
            lines.append(f"{head} {_scalar(value)}")
        elif len(flow := f"{head} {_flow(value)}") <= _WIDEST:
            lines.append(flow)
        elif isinstance(value, Mapping):
            lines += [head, *spelt(value, indent + 2)]
        else:
            lines += [head, *(f"{margin}  - {_flow(one) if isinstance(one, Mapping) else _scalar(one)}" for one in value)]
    return [*lines, f"{margin}# {legible(notes[AFTER])}"] if AFTER in notes else lines


def _flow(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_scalar(key)}: {_flow(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_flow, value))}]"
    return _scalar(value, flow=True)


def number(value: float) -> str:
    """A number in the form that YAML 1.1 reads as one: with a dot, and with a sign in the exponent."""
    mantissa, _, exponent = repr(value).partition("e")
    mantissa += "" if "." in mantissa else ".0"
    return f"{mantissa}e{int(exponent):+d}" if exponent else mantissa


def _scalar(value: Any, flow: bool = False) -> str:
    if isinstance(value, float):
        return number(value)
    if isinstance(value, str) and re.fullmatch("[0-9a-f]{8}|[0-9a-f]{64}", value):
        return f'"{value}"'  # a hash is always quoted, since some hashes look like numbers
    plain = yaml.safe_dump([value] if flow else value, default_flow_style=flow, allow_unicode=True, width=1 << 30).strip()
    return plain[1:-1] if flow else plain.removesuffix("\n...")


def inserted(text: str, section: str, name: str, plain: Mapping[str, Any], notes: Mapping[str, str] | None = None) -> str:
    """The manifest's text with one more entry, at the end of its section. A missing section is added at the end of the text.

    Raises UsageError where the section is written in braces, since an entry cannot be added there.
    """
    ending = "\r\n" if "\r\n" in text else "\n"
    lines = re.split(_AFTER_A_LINE, text)
    position, margin, before = _make_room(lines, text, section, ending)
    if not lines[position - 1].endswith(("\n", "\r")):
        lines[position - 1] += ending
    entry = [f"{' ' * margin}{_scalar(name)}:", *spelt(plain, margin + 2, notes)]
    below = ending if "".join(lines[position : position + 1]).strip() else ""
    return "".join([*lines[:position], before, *(f"{line}{ending}" for line in entry), below, *lines[position:]])


def _make_room(lines: list[str], text: str, section: str, ending: str) -> tuple[int, int, str]:
    """The position of a new entry of a section, its indentation, and the text before it.

    Changes the lines where needed: a missing section is added, an empty one loses its braces.
    """
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    assert isinstance(root, yaml.MappingNode)  # the caller has read it as a manifest
    value = next((value for key, value in root.value if key.value == section), None)
    if value is None:
        lines[:] = [line for line in lines if line]
        lines[-1] += "" if lines[-1].endswith(("\n", "\r")) else ending
        lines += [ending] if lines[-1].strip() else []
        lines += [f"{section}:{ending}"]
        return len(lines), 2, ""
    if not value.value and value.start_mark.line == value.end_mark.line:  # {}
        line, start, end = value.start_mark.line, value.start_mark.column, value.end_mark.column
        lines[line] = f"{lines[line][:start].rstrip()}{lines[line][end:]}"
        return line + 1, 2, ""
    if isinstance(value, yaml.MappingNode) and not value.flow_style:
        margin = value.start_mark.column
        return _behind_comments(lines, _end(value), margin), margin, ending
    raise UsageError(f"line {value.start_mark.line + 1}: {section} is written in braces", hint="write it as a block, one name on each line")


def _end(node: yaml.Node) -> int:
    """The number of the line after a node. PyYAML's own end mark of a block would lie behind the comments that follow it."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _end(last[1] if isinstance(node, yaml.MappingNode) else last)
    assert node.end_mark is not None
    return int(node.end_mark.line) + (1 if node.end_mark.column else 0)


def _behind_comments(lines: list[str], position: int, margin: int) -> int:
    """The line after the comments that are indented deeper than the names of entries. They belong to the last entry."""
    for line in range(position, len(lines)):
        if lines[line].strip():
            if not re.match(rf" {{{margin + 1},}}#", lines[line]):
                break
            position = line + 1
    return position
