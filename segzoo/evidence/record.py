"""The schema of a receipt."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from segzoo.manifest.fields import OneOf
from segzoo.vocabulary import RECEIPT, RUNGS, STATUSES


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class CheckRecord(_Record):
    """One rung: what came of it, in a word, in a sentence and in figures; `basis` is what that depends on."""

    rung: Annotated[str, OneOf(RUNGS)]
    status: Annotated[str, OneOf(STATUSES)]
    short: str
    detail: str
    facts: dict[str, Any]
    basis: dict[str, Any]
    code: int
    seconds: float
    time: str | None = None


class Receipt(_Record):
    """What was proved of one entry of a zoo, with which versions, when, on what kind of machine."""

    schema_: Annotated[str, OneOf((RECEIPT,))] = Field(alias="schema")
    name: str
    title: str
    passed: bool
    checks: tuple[CheckRecord, ...]
    time: str
    versions: dict[str, str | None]
    machine: str


def schema() -> dict[str, Any]:
    """The JSON Schema of a receipt, which `receipt.schema.json` holds."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Receipt.model_json_schema()}
