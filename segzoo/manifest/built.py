"""The records of a manifest that differ by family, by neck or by head, built from the registries.

A new family, neck or head brings its own dataclass of sizes, and needs no change here.
"""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from inspect import cleandoc
from typing import Any, ClassVar, Literal, get_type_hints

from pydantic import GetCoreSchemaHandler, create_model, model_validator
from pydantic_core import CoreSchema, core_schema

from segzoo.layouts import FAMILIES, HEADS, NECKS
from segzoo.manifest.artifact import Record
from segzoo.manifest.fields import Index, Layers, Pair, Positive, Side, Text, alternatives

_OF = {
    int: Side,
    float: Positive,
    bool: bool,
    str: Text,
    str | None: Text | None,
    int | None: Side | None,
    float | None: Positive | None,
    tuple[int, ...]: tuple[Side, ...],
    tuple[int, ...] | None: tuple[Index, ...] | None,
    tuple[float, ...]: tuple[Positive, ...],
    tuple[str, ...]: tuple[Text, ...],
    int | tuple[int, int]: Side | Pair,
}
"""The manifest's type for each type of a dataclass field: numbers are greater than 0, but for indices, and none so large that a table of it
fills the memory.
"""
_LAYERS = {
    **dict.fromkeys(("depth", "layers", "pixel_layers"), Layers),
    **dict.fromkeys(("depths", "units"), tuple[Layers, ...]),
}
"""The manifest's types for the fields that count layers."""


class Built(Record):
    """A record with the fields of a dataclass. `facts` is that dataclass; it checks that the fields fit together."""

    made_of: ClassVar[type]
    named: ClassVar[str]

    @property
    def facts(self) -> Any:
        return self.made_of(**{one.name: getattr(self, one.name) for one in fields(self.made_of)})

    @model_validator(mode="after")
    def _fits(self) -> "Built":
        _ = self.facts
        return self


def _built(of: type, tag: str | None, named: str) -> type[Built]:
    """The record of a dataclass. `tag` is the field that tells it from the other records."""
    kinds = get_type_hints(of)
    given: dict[str, Any] = {tag: (Literal[named], ...)} if tag else {}
    given |= {one.name: (_LAYERS.get(one.name) or _OF[kinds[one.name]], ... if one.default is MISSING else one.default) for one in fields(of)}
    record = create_model(of.__name__, __base__=Built, __doc__=cleandoc(of.__doc__ or ""), **given)
    record.made_of, record.named = of, named
    return record


@dataclass(frozen=True, eq=False)
class Tagged:
    """One of several records, told apart by the field `tag`. The `default` record does not have that field. A single record needs no tag."""

    tag: str
    of: Callable[[], Mapping[str, type]]
    default: str | None = None

    def records(self) -> dict[str, type[Built]]:
        return {self.label(name): _built(of, None if name == self.default else self.tag, name) for name, of in self.of().items()}

    def label(self, name: object) -> str:
        """The text by which pydantic names a choice in the location of an error."""
        return f"[{self.tag}={name}]"

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        records = self.records()
        if list(records) == [self.label(self.default)]:
            return handler.generate_schema(records[self.label(self.default)])
        return core_schema.tagged_union_schema(
            {label: handler.generate_schema(record) for label, record in records.items()},
            discriminator=self._label_of,
            custom_error_type="no_such_kind",
            custom_error_message=f"Input should be {alternatives(self.of())}",
            custom_error_context={"tag": self.tag},
        )

    def _label_of(self, value: Any) -> str:
        if isinstance(value, Built):
            return self.label(value.named)
        return self.label(value.get(self.tag, self.default) if isinstance(value, dict) else None)


SIZES = Tagged("family", lambda: {name: family.sizes for name, family in FAMILIES.items()}, default="vit")
BACKBONE = Tagged("family", lambda: {name: family.backbone for name, family in FAMILIES.items()}, default="vit")
NECK = Tagged("kind", lambda: {name: neck.record for name, neck in NECKS.items()})
HEAD = Tagged("kind", lambda: {name: head.record for name, head in HEADS.items()})
