"""What a file of weights, or a config beside it, says of its model: facts in a manifest's words, each with the place where it stands."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Fact:
    """A value, and where it stands, in words."""

    value: Any
    source: str


@dataclass(frozen=True)
class Said:
    """Facts by the field of a manifest that they fill, such as `backbone.heads` or `protocol.scale`.

    `notes` say what stands there and could not be read. `unlike` says what the model's program does and segzoo does not: figures of
    such a model would be wrong.
    """

    facts: Mapping[str, Fact] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    unlike: tuple[str, ...] = ()

    def get(self, name: str) -> Any:
        """The value of a fact; None where nothing is said."""
        return self.facts[name].value if name in self.facts else None

    def __contains__(self, name: str) -> bool:
        return name in self.facts

    def over(self, other: "Said") -> "Said":
        """These facts, and those of another source where these say nothing. Where the two differ, a note says so."""
        apart = [
            f"{name}: {shown(mine.value)} in {mine.source}, but {shown(theirs.value)} in {theirs.source}: the first is used"
            for name, mine in self.facts.items()
            if (theirs := other.facts.get(name)) and plain(theirs.value) != plain(mine.value)
        ]
        return Said({**other.facts, **self.facts}, (*self.notes, *other.notes, *apart), (*self.unlike, *other.unlike))

    def without(self, names: set[str], *notes: str) -> "Said":
        """The same without some facts, and with notes on why."""
        return Said({name: fact for name, fact in self.facts.items() if name not in names}, (*self.notes, *notes), self.unlike)

    def starting(self, section: str) -> dict[str, Any]:
        """The values of a section's facts, by their names in it."""
        return {name.removeprefix(f"{section}."): fact.value for name, fact in self.facts.items() if name.startswith(f"{section}.")}


def plain(value: Any) -> Any:
    """A value in a form that can be compared: lists are tuples, whole numbers are floats."""
    if isinstance(value, list | tuple):
        return tuple(map(plain, value))
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def shown(value: Any) -> str:
    """A value for people: long lists are cut short."""
    if isinstance(value, list | tuple):
        most = value if len(value) <= 4 else value[:3]
        return f"({', '.join(map(shown, most))}{', ...' if len(most) < len(value) else ''})"
    return f"{value:g}" if isinstance(value, float) else "none" if value is None else str(value)
