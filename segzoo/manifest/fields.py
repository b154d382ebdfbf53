"""What a single value of a manifest may be: no path out of its folder, no control characters, no half hashes."""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

_LONGEST_NAME = 200
_LARGEST_SIDE = 1 << 16
_SHA256, _PREFIX, _IDENTIFIER = r"^[0-9a-f]{64}$", r"^[0-9a-f]{8}$", r"^[a-z0-9][a-z0-9._-]{0,63}$"
WORDS = {  # the patterns in words for people
    _SHA256: "64 digits from 0-9a-f, in lower case",
    _PREFIX: "8 digits from 0-9a-f, in lower case",
    _IDENTIFIER: "a name of at most 64 characters from a-z0-9._-, in lower case, the first from a-z0-9",
}


def _plain_name(name: str) -> str:
    if not name.isprintable() or not name.strip():
        raise ValueError("a name needs printable characters, and no control characters")
    if "/" in name or "\\" in name or ":" in name or name in (".", ".."):
        raise ValueError("a name must not have path parts")
    if len(name.encode()) > _LONGEST_NAME or name != name.strip() or name.endswith("."):
        raise ValueError(f"a name has at most {_LONGEST_NAME} bytes, no space around it and no dot at its end")
    return name


def _inside(path: str) -> str:
    if not path.isprintable() or not path or path.startswith(("/", "\\", "~")) or ".." in re.split(r"[/\\]", path) or re.match(r"[A-Za-z]:", path):
        raise ValueError("must be a path inside the folder it is relative to")
    return path


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("must not have control characters")
    return text


def _channels(value: Any) -> Any:
    return (value,) * 3 if isinstance(value, int | float) else tuple(value) if isinstance(value, list) else value  # JSON has lists


def _positive(values: tuple[float, ...]) -> tuple[float, ...]:
    if min(values) <= 0:
        raise ValueError("must be greater than 0")
    return values


def _url(url: str) -> str:
    """An address: http(s), file:, or a path relative to the manifest's folder."""
    if re.match(r"https?://[^/\s]+/", url) or url.startswith("file:"):
        return _printable(url)
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", url):
        raise ValueError("must be http, https or file, or a path relative to this file")
    if url in ("", "."):
        raise ValueError("must name a file")
    return _inside(url)


def alternatives(words: Iterable[str]) -> str:
    """The words in quotes, as a list to choose from: 'a', 'b' or 'c'."""
    *others, last = map(repr, words)
    return f"{', '.join(others)} or {last}" if others else last


@dataclass(frozen=True, eq=False)
class OneOf:
    """A word of a closed set: a registry, or a part of the vocabulary. A word added to the set is in the schema too."""

    among: Collection[str]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self._checked, serialization=core_schema.to_string_ser_schema())

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        words = list(self.among)
        return {"enum": words, "type": "string"} if len(words) > 1 else {"const": words[0], "type": "string"}

    def _checked(self, value: object) -> object:
        if not isinstance(value, str) or value not in self.among:
            raise PydanticCustomError("literal_error", "Input should be {expected}", {"expected": alternatives(self.among)})
        return value


@dataclass(frozen=True, eq=False)
class Sides:
    """A number of pixels, or two: height and width. null stands for none. What was written stays as it is."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self._checked)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        one = {"exclusiveMinimum": 0, "maximum": _LARGEST_SIDE, "type": "integer"}
        return {"anyOf": [one, {"type": "array", "items": one, "minItems": 2, "maxItems": 2}, {"type": "null"}]}

    def _checked(self, value: object) -> object:
        sides = value if isinstance(value, tuple | list) and len(value) == 2 else (value, value)
        if value is not None and not all(type(side) is int and 0 < side <= _LARGEST_SIDE for side in sides):
            raise PydanticCustomError("sides", f"Input should be a whole number from 1 to {_LARGEST_SIDE}, height and width, or null")
        return value


FileName = Annotated[str, AfterValidator(_plain_name)]
Folder = Annotated[str, AfterValidator(_inside)]
Text = Annotated[str, AfterValidator(_printable)]
Url = Annotated[str, AfterValidator(_url)]
Sha256 = Annotated[str, Field(pattern=_SHA256)]
Prefix = Annotated[str, Field(pattern=_PREFIX)]
Count = Annotated[int, Field(gt=0, le=10**9)]
Bytes = Annotated[int, Field(gt=0, le=1 << 53)]
Side = Annotated[int, Field(gt=0, le=_LARGEST_SIDE)]  # of an image, a tensor, a grid
Layers = Annotated[int, Field(gt=0, le=1000)]  # each has tensors of its own
Index = Annotated[int, Field(ge=0, lt=1000)]  # of a layer
Positive = Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)]
Colour = Annotated[int, Field(ge=0, le=255)]
Share = Annotated[float, Field(gt=0, lt=1)]
Percent = Annotated[float, Field(ge=0, le=100)]
Level = Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)]  # of a pixel, or of a score
Channels = Annotated[tuple[Level, ...], Field(min_length=1), BeforeValidator(_channels, json_schema_input_type=Level | tuple[Level, ...])]
Deviations = Annotated[Channels, AfterValidator(_positive)]
Identifier = Annotated[str, Field(pattern=_IDENTIFIER)]
Pair = tuple[Side, Side]
