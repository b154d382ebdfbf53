"""What a YAML file says, read without YAML's surprises, with the line of every value.

It is read from the events of PyYAML's parser, the one in C where PyYAML has it. PyYAML would accept these in silence, and here they are
refused: duplicate keys, anchors and aliases, tags, octal and sexagesimal numbers, `no` as a boolean, deep nesting.
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from yaml.resolver import Resolver

from segzoo.errors import NotFoundError, UsageError
from segzoo.regular import NotRegular, open_regular

Where = tuple[str | int, ...]
Lines = dict[Where, int]
_LARGEST = 1 << 23  # bytes; an entry takes 200 to 1000
_MOST_NESTING = 20
_KEYED_BY_NUMBER = ("labels", "values")  # the one field whose keys are numbers
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_RESOLVER: Any = Resolver()
_MARK = "\ufeff"
_TAG = "tag:yaml.org,2002:"


def read_yaml(path: Path) -> tuple[dict[str, Any], Lines]:
    """The mapping in a file, as dicts, tuples and scalars, and the line of each of its fields.

    Raises UsageError with `file:line` and field, or NotFoundError.
    """
    text = _text(path)
    lines: Lines = {}
    if (place := text.find(_MARK)) >= 0:  # within a text PyYAML's two parsers take it for different things
        raise UsageError(f"{path}:{text.count(chr(10), 0, place) + 1}: not YAML: a byte order mark within the text")
    try:
        value = _document(path, _events(path, text), lines)
    except yaml.reader.ReaderError as error:
        raise UsageError(f"{path}:{text.count(chr(10), 0, error.position) + 1}: not YAML: a control character") from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise UsageError(f"{path}:{line}: not YAML: {error.problem}") from error
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # the latter two come from numbers that PyYAML trusts
        raise UsageError(f"{path}: not YAML: {error}") from error
    if not isinstance(value, dict):
        raise UsageError(f"{path}:1: expected a mapping with 'version', 'datasets', 'backbones', 'models' and 'releases'")
    return value, lines


def _events(path: Path, text: str) -> Iterator[yaml.Event]:
    """The events of the one document in a text. Raises UsageError for what a manifest does not use; nothing was built before."""
    depth = documents = 0
    for event in yaml.parse(text, Loader=_LOADER):
        if isinstance(event, yaml.ScalarEvent) and not event.anchor:  # nearly all events are, and nothing else is to be asked of them
            yield event
            continue
        line = _line(event)
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise UsageError(f"{path}:{line}: anchors and aliases are not used in a manifest; write the value out")
        if isinstance(event, yaml.CollectionStartEvent) and event.tag not in (None, "!", f"{_TAG}map", f"{_TAG}seq"):
            raise UsageError(f"{path}:{line}: tags are not used in a manifest, found {excerpt(event.tag)}")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        documents += isinstance(event, yaml.DocumentStartEvent)
        if depth > _MOST_NESTING:
            raise UsageError(f"{path}:{line}: nested more than {_MOST_NESTING} deep")
        if documents > 1:
            raise UsageError(f"{path}:{line}: a second document begins; a manifest is one")
        if isinstance(event, yaml.NodeEvent | yaml.CollectionEndEvent):
            yield event


def _document(path: Path, events: Iterator[yaml.Event], lines: Lines) -> Any:
    """The value that the events describe; None for an empty document. The rest of the events is read too, since it may be wrong."""
    first, value = next(events, None), None
    if first is not None:
        lines[()] = _line(first)
        value = _construct(path, first, events, (), lines)
    for _ in events:
        pass
    return value


def _construct(path: Path, event: yaml.Event, events: Iterator[yaml.Event], where: Where, lines: Lines) -> Any:
    if isinstance(event, yaml.MappingStartEvent):
        mapping: dict[str | int, Any] = {}
        while not isinstance(key_event := next(events), yaml.MappingEndEvent):
            key = _key(path, key_event, where)
            if key in mapping:
                raise UsageError(f"{path}:{_line(key_event)}: {dotted((*where, key))}: this key is there twice")
            lines[(*where, key)] = _line(key_event)
            mapping[key] = _construct(path, next(events), events, (*where, key), lines)
        return mapping
    if isinstance(event, yaml.SequenceStartEvent):
        values: list[Any] = []
        while not isinstance(item := next(events), yaml.SequenceEndEvent):
            place = (*where, len(values))
            lines[place] = _line(item)
            values.append(_construct(path, item, events, place, lines))
        return tuple(values)
    return _scalar(path, event, where)


def _line(event: yaml.Event) -> int:
    return int(event.start_mark.line) + 1 if event.start_mark else 1


def _key(path: Path, event: Any, where: Where) -> str | int:
    kind = _kind(event) if isinstance(event, yaml.ScalarEvent) else None
    if kind == "str":
        return str(event.value)
    if where[-2:] == _KEYED_BY_NUMBER and kind == "int":
        return int(_scalar(path, event, where))
    raise UsageError(f"{path}:{_line(event)}: {dotted(where)}: a key must be a text; quote it if it is one")


def _kind(event: Any) -> str:
    """The type that YAML takes a scalar for."""
    tag = event.tag if event.tag not in (None, "!") else _resolved(event.value, event.implicit)
    return tag.removeprefix(_TAG)


@lru_cache(4096)
def _resolved(value: str, implicit: tuple[bool, bool]) -> str:
    return str(_RESOLVER.resolve(yaml.ScalarNode, value, implicit))


def _scalar(path: Path, event: Any, where: Where) -> Any:
    kind, text = _kind(event), event.value
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
    raise UsageError(f"{path}:{_line(event)}: {dotted(where)}: YAML reads {excerpt(text)} as {kind}; quote it if it is a text")


def dotted(where: Where) -> str:
    return ".".join(excerpt(str(part)) for part in where) or "the top level"


def excerpt(text: str) -> str:
    """A text of the file for a message: control characters are escaped, and a long text is cut to 100 characters."""
    plain = text if text.isprintable() else ascii(text)
    return plain if len(plain) <= 100 else f"{plain[:97]}..."


def _text(path: Path) -> str:
    """The text of a manifest. No more than the limit is read, whatever the path leads to."""
    try:
        with open_regular(path) as file:
            content = file.read(_LARGEST + 1)
        if len(content) > _LARGEST:
            raise UsageError(f"{path}: expected a manifest of at most {_LARGEST:,} bytes", hint="several manifests are used as one: --zoo A --zoo B")
        return content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except FileNotFoundError as error:
        raise NotFoundError(f"{path}: no such manifest") from error
    except NotRegular as error:
        usual = path / "zoo.yaml"
        hint = f"the manifest in it is {usual}" if usual.is_file() else "name the file in it"
        raise UsageError(f"{path}: is {error.what}", hint if path.is_dir() else "save it as a file first") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not readable as text: {error}") from error
