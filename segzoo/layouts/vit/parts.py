"""Rules that the tables of several libraries share, under other names."""

from segzoo.layouts.rule import Rule

_GATED = ("blocks.{i}.gate", "blocks.{i}.fc1")


def stems(table: str, cls: Rule, dist: Rule | None, reg: Rule | None, patch: tuple[Rule, ...]) -> dict[str, tuple[Rule, ...]]:
    """The sections of all stems, by what has a position. `table` is the name of the position table. A library that knows no distillation token, or
    no registers, has no rule for them.
    """
    made = {
        "stem": (cls, Rule(table, ("pos.cls", "pos.grid"), "1 1+n d"), *patch),
        "stem without class position": (Rule(table, ("pos.grid",), "1 n d"), *patch),
        "class token": (cls,),
    }
    if dist:
        made["distilled stem"] = (cls, dist, Rule(table, ("pos.cls", "pos.dist", "pos.grid"), "1 1+1+n d"), *patch)
    if reg:
        made["stem with register positions"] = (cls, Rule(table, ("pos.cls", "pos.reg", "pos.grid"), "1 1+reg+n d"), *patch)
        made["stem with register positions and no class token"] = (Rule(table, ("pos.reg", "pos.grid"), "1 reg+n d"), *patch)
        made["register tokens"] = (reg,)
    return made


def packed(key: str) -> tuple[Rule, ...]:
    """The first layer of a gated MLP with gate and value in one matrix, the gate first."""
    return (
        Rule(f"{key}.weight", tuple(f"{one}.weight" for one in _GATED), "(s m) d -> s m d"),
        Rule(f"{key}.bias", tuple(f"{one}.bias" for one in _GATED), "(s m) -> s m"),
    )
