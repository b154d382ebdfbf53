"""A group that still takes the names that its commands had earlier. Help, completion and the documentation show the names of today."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import click

WORDS = "segzoo: what was typed, in the names of today"


class Aliased(click.Group):
    """A group whose `earlier` names stand for one word or several of today."""

    def __init__(self, *arguments: Any, earlier: Mapping[str, tuple[str, ...]] | None = None, **options: Any):
        super().__init__(*arguments, **options)
        self.earlier = earlier or {}

    def of_today(self, words: Iterable[str]) -> list[str]:
        """The words behind the group, the first in its name of today."""
        words = list(words)
        return [*self.earlier.get(words[0], words[:1]), *words[1:]] if words else []

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        ctx.meta.setdefault(WORDS, words := self.of_today(args))
        return super().resolve_command(ctx, words)
