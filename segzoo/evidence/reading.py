"""A receipt as it is read: within limits, and held to its schema field by field. A file may be a stranger's."""

import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from segzoo.errors import IntegrityError, NotFoundError
from segzoo.evidence.record import Receipt
from segzoo.json_in import read_json
from segzoo.manifest.strict_yaml import dotted, excerpt
from segzoo.vocabulary import LARGEST_RECEIPT, RECEIPT, RUNGS

EDITED = "it was edited or cut short; segzoo verify NAME makes a new one"


def read_receipt(path: Path, *, unfinished: bool = False) -> dict[str, Any]:
    """The receipt in a file, every fact of the type and in the range that `record` gives it. It may still contradict itself: see `recheck`.

    An `unfinished` one may have the lower rungs only. Raises NotFoundError where there is none, and IntegrityError, which names the file,
    the field, what was expected and what was found.
    """
    try:
        plain = read_json(path, limit=LARGEST_RECEIPT, hint=EDITED)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFoundError(f"{path}: no such receipt", hint="segzoo verify NAME writes one") from error
    except OSError as error:
        raise IntegrityError(f"{path}: not readable: {error.strerror}", hint=EDITED) from error
    if not isinstance(plain, dict) or plain.get("schema") != RECEIPT:
        raise IntegrityError(f"{path}: not a receipt of this version: expected schema {RECEIPT}", hint="segzoo verify NAME writes a new one")
    try:
        receipt = Receipt.model_validate_json(json.dumps(plain, ensure_ascii=False).encode())
    except UnicodeEncodeError as error:
        raise IntegrityError(f"{path}: expected texts in Unicode, found half of a surrogate pair", hint=EDITED) from error
    except ValidationError as error:
        raise IntegrityError(f"{path}: {_fault(error)}", hint=EDITED) from error
    rungs = tuple(check.rung for check in receipt.checks)
    if rungs != (RUNGS[: len(rungs)] if unfinished else RUNGS):
        raise IntegrityError(f"{path}: its rungs are {', '.join(rungs) or 'none'}, expected {', '.join(RUNGS)}", hint=EDITED)
    return plain


def _fault(invalid: ValidationError) -> str:
    """The first fault: the path to the field, what was expected, what was found."""
    first = invalid.errors(include_url=False)[0]
    where, found, kind = first["loc"], first["input"], first["type"]
    rung = where[:1] == ("checks",) and len(where) > 2  # pydantic names the rung after its number
    place = dotted(tuple(part for part in (*where[:2], *where[3 if rung else 2 :]) if not str(part).startswith("[")))
    if kind == "missing":
        return f"{place}: expected this field, found none"
    if kind == "extra_forbidden":
        return f"{place}: a field that no receipt has"
    if kind.startswith("union_tag"):
        return f"{place}.rung: expected one of {', '.join(RUNGS)}"
    said = first["msg"].removeprefix("Value error, ").replace("Input should be", "expected")
    return f"{place}: {said}" + (f", found {excerpt(repr(found))}" if isinstance(found, str | int | float | None) else "")
