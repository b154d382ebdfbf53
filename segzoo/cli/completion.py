"""Parameters that the shell completes: names in the zoo, and manifests."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem


def with_files(incomplete: str, items: list[CompletionItem]) -> list[CompletionItem]:
    """The files that the shell finds, and then these. Files come first: click's script for bash forgets what stands before them."""
    return [CompletionItem(incomplete, type="file"), *items]


class ZooName(click.ParamType[str]):
    """A name in the zoo. `kinds` are the sections of the manifest that it may be from; `or_file` allows a file in its place."""

    name = "name"

    def __init__(self, *kinds: str, or_file: bool = False):
        self.kinds, self.or_file = kinds, or_file

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from segzoo.text import brief

        items = [CompletionItem(name, help=brief(title)) for name, title in self._entries(ctx) if name.startswith(incomplete)]
        return with_files(incomplete, items) if self.or_file else items

    def _entries(self, ctx: click.Context) -> list[tuple[str, str]]:
        from segzoo.errors import SegzooError
        from segzoo.zoo.zoo import open_zoo

        try:
            manifest = open_zoo(getattr(ctx.obj, "zoo", ())).manifest
        except SegzooError:  # a completing shell has no place to show an error
            return []
        return [(name, entry.title) for kind in self.kinds for name, entry in getattr(manifest, kind).items()]


class ManifestPath(click.Path):
    """A manifest: one that comes with segzoo, or a file."""

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from segzoo.manifest.merge import PACKAGED

        return with_files(incomplete, [CompletionItem(name) for name in PACKAGED if name.startswith(incomplete)])
