"""What is wrong with the fields of a record, in words for people: what pydantic finds, less what another fault explains."""

import difflib
import math
from collections.abc import Container, Iterator, Mapping
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from segzoo.manifest.built import Tagged
from segzoo.manifest.fields import WORDS
from segzoo.manifest.spelling import number
from segzoo.manifest.strict_yaml import Where, shown

Fault = tuple[Where, str, str | None]


def faults(invalid: ValidationError, root: type[BaseModel], written: Container[Where]) -> Iterator[Fault]:
    """Where each fault of a `root` is, what it is, and what to do about it; `written` are the fields that are there."""
    errors = [_untagged(error) for error in invalid.errors()]
    meant = {error["loc"]: _meant(error["loc"], root, written) for error in errors if error["type"] == "extra_forbidden"}
    explained = {(*where[:-1], name) for where, name in meant.items() if name}
    for error in errors:
        where = error["loc"]
        if where in meant:
            yield _shown(where), _unknown(where, meant[where], root), None
        elif where not in explained and not _shortened(error):
            yield _shown(where), _message(error), _hint(error)


def _untagged(error: Mapping[str, Any]) -> Mapping[str, Any]:
    """The error of a record of which nothing tells the kind, as one of the field that should."""
    if error["type"] != "no_such_kind":
        return error
    tag, found = error["ctx"]["tag"], error["input"]
    place = {**error, "loc": (*error["loc"], tag)}
    if isinstance(found, dict) and tag not in found:
        return {**place, "type": "missing"}
    return {**place, "input": found.get(tag) if isinstance(found, dict) else found}


def _shown(where: Where) -> Where:
    """Where a fault is, without what tells kinds of records and keys apart."""
    return tuple(part for part in where if not str(part).startswith("["))


def _meant(where: Where, root: type[BaseModel], written: Container[Where]) -> str | None:
    """The field that is not there and is spelt most like an unknown one."""
    lacking = [name for name in _record(where, root).model_fields if (*_shown(where)[:-1], name) not in written]
    return next(iter(difflib.get_close_matches(str(where[-1]).lower(), lacking, n=1)), None)


def _unknown(where: Where, meant: str | None, root: type[BaseModel]) -> str:
    guess = f"did you mean {meant}?" if meant else f"there are {', '.join(_record(where, root).model_fields)}"
    return f"no field '{shown(str(where[-1]))}' here; {guess}"


def _record(where: Where, root: type[BaseModel]) -> type[BaseModel]:
    """The record that a field belongs to. The second part is the name of an entry, which may be that of a field too."""
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
    """The records that a type is made of."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        yield kind
    for part in get_args(kind):
        yield from _records(part)


def _shortened(error: Mapping[str, Any]) -> bool:
    """Whether a list is too short only because its values are wrong, which is said of each."""
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
    return said + (f", found {found!r}" if isinstance(found, str | int | float | bool) else "")


def _hint(error: Mapping[str, Any]) -> str | None:
    kind, where, found = error["type"], error["loc"], error["input"]
    if kind == "string_type" and isinstance(found, int | float):
        return "quote it: a hash must be a text"
    if kind in ("float_type", "tuple_type") and isinstance(found, str) and (spelt := _number(found)):
        return f"YAML takes {found} for a text: write {spelt}"
    if kind == "value_error" and where[0] == "datasets" and where[-1] == "path":
        return "--data DIR of verify and report names a folder elsewhere; or let a symbolic link beside the manifest lead there"
    return None


def _number(text: str) -> str | None:
    """A number as YAML has it; None where the text is none."""
    try:
        value = float(text)
    except ValueError:
        return None
    return number(value) if math.isfinite(value) else None
