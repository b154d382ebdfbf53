"""What is wrong with the fields of a record, in words for people.

The faults are those that pydantic finds. A fault that another fault explains is left out.
"""

import difflib
import math
from collections.abc import Container, Iterator, Mapping
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from segzoo.manifest.built import Tagged
from segzoo.manifest.fields import WORDS
from segzoo.manifest.spelling import number
from segzoo.manifest.strict_yaml import Where, excerpt

_MOST = 1000
Fault = tuple[Where, str, str | None]


def faults(invalid: ValidationError, root: type[BaseModel], written: Container[Where]) -> Iterator[Fault]:
    """Each fault of a record of type `root`: its place, a message, a hint. `written` are the fields that the file has.

    Of more faults than anybody reads only the first are told.
    """
    found = invalid.errors(include_url=False)
    errors = [_untagged(error) for error in found[:_MOST]]
    meant = {error["loc"]: _meant(error["loc"], root, written) for error in errors if error["type"] == "extra_forbidden"}
    explained = {(*where[:-1], name) for where, name in meant.items() if name}
    for error in errors:
        where = error["loc"]
        if where in meant:
            yield _place(where), _unknown(where, meant[where], root), None
        elif where not in explained and not _shortened(error):
            yield _place(where), _message(error), _hint(error)
    if len(found) > _MOST:
        yield (), f"{len(found) - _MOST:,} faults more, which are not told", None


def _untagged(error: Mapping[str, Any]) -> Mapping[str, Any]:
    """The error of a record of unknown kind, moved to the field that should name the kind; any other error unchanged."""
    if error["type"] != "no_such_kind":
        return error
    tag, found = error["ctx"]["tag"], error["input"]
    moved = {**error, "loc": (*error["loc"], tag)}
    if isinstance(found, dict) and tag not in found:
        return {**moved, "type": "missing"}
    return {**moved, "input": found.get(tag) if isinstance(found, dict) else found}


def _place(where: Where) -> Where:
    """The place of a fault as people see it, without pydantic's marks for kinds of records and for keys."""
    return tuple(part for part in where if not str(part).startswith("["))


def _meant(where: Where, root: type[BaseModel], written: Container[Where]) -> str | None:
    """The missing field whose name is most like an unknown one."""
    lacking = [name for name in _fields(_record(where, root)) if (*_place(where)[:-1], name) not in written]
    return next(iter(difflib.get_close_matches(str(where[-1]).lower(), lacking, n=1)), None)


def _unknown(where: Where, meant: str | None, root: type[BaseModel]) -> str:
    guess = f"did you mean {meant}?" if meant else f"there are {', '.join(_fields(_record(where, root)))}"
    return f"no field '{excerpt(str(where[-1]))}' here; {guess}"


def _fields(record: type[BaseModel]) -> list[str]:
    """The fields of a record as a manifest spells them."""
    return [field.alias or name for name, field in record.model_fields.items()]


def _record(where: Where, root: type[BaseModel]) -> type[BaseModel]:
    """The record that a field belongs to. The second part of `where`, an entry's name, is skipped: it may equal a field's."""
    record = root
    kinds: Mapping[str, type[BaseModel]] = {}
    for part in (*where[:1], *where[2:-1]):
        if part in kinds:
            record = kinds[str(part)]
        elif part in record.model_fields:
            field = record.model_fields[str(part)]
            kinds = next((one.records() for one in field.metadata if isinstance(one, Tagged)), {})
            alone = next(iter(kinds.values())) if len(kinds) == 1 else None
            record = alone or next(_records(field.annotation), record)
    return record


def _records(kind: Any) -> Iterator[type[BaseModel]]:
    """The records in a type, such as those of a union."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        yield kind
    for part in get_args(kind):
        yield from _records(part)


def _shortened(error: Mapping[str, Any]) -> bool:
    """Whether a list is too short only because some of its values are wrong. Each of those has its own fault."""
    return error["type"] == "too_short" and len(error["input"]) > error["ctx"]["actual_length"]


def _message(error: Mapping[str, Any]) -> str:
    found, name = error["input"], error["loc"][-1] if error["loc"] else ""
    match error["type"]:
        case "missing":
            return f"the field '{name}' is missing" if isinstance(name, str) else f"a value is missing: found only {len(found)}"
        case "string_pattern_mismatch":
            said = f"expected {WORDS[error['ctx']['pattern']]}"
        case _:
            said = error["msg"].removeprefix("Value error, ")
    return said + (f", found {excerpt(repr(found))}" if isinstance(found, str | int | float | bool) else "")


def _hint(error: Mapping[str, Any]) -> str | None:
    kind, where, found = error["type"], error["loc"], error["input"]
    if kind == "string_type" and isinstance(found, int | float):
        return f"quote it: {'a hash' if 'sha256' in str(where[-1]) else 'it'} must be a text"
    if kind in ("float_type", "tuple_type") and isinstance(found, str) and (spelt := _number(found)):
        return f"YAML takes {found} for a text: write {spelt}"
    if kind == "value_error" and where[0] == "datasets" and where[-1] == "path":
        return "verify and report take a folder elsewhere with --data DIR; or put a symbolic link to it beside the manifest"
    return None


def _number(text: str) -> str | None:
    """A number as YAML 1.1 spells it; None where the text is not a number."""
    try:
        value = float(text)
    except ValueError:
        return None
    return number(value) if math.isfinite(value) else None
