"""`segzoo info`: everything the zoo says about one entry."""

from collections.abc import Iterator, Mapping
from typing import Any

import click

from segzoo.cli.completion import ZooName
from segzoo.cli.options import Choice

_NO_WEIGHTS = {"archive": {"dtype"}, "counts": {"file": {"dtype"}}, "witness": {"picture": {"dtype"}}}  # files that have no tensors


@click.command(short_help="Show everything the zoo says about one entry.")
@click.argument("name", metavar="NAME", type=ZooName("backbones", "models", "datasets"))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def info(choice: Choice, name: str, as_json: bool) -> None:
    """Show everything the zoo says about one backbone, model or data set: licence, files, hashes, geometry, protocol, figures."""
    from segzoo.cli.terminal.answer import show_json
    from segzoo.cli.terminal.show import megabytes, show
    from segzoo.zoo.likely_size import likely_size
    from segzoo.zoo.names import resolve_one

    zoo = choice.open()
    manifest = zoo.manifest
    among: dict[str, Any] = {**manifest.entries, **manifest.datasets}
    entry = resolve_one(zoo, name, among)
    facts = entry.model_dump(mode="json", by_alias=True, exclude_none=True, exclude=_NO_WEIGHTS)
    pin = zoo.store.pinned(entry.artifact.name) if entry.artifact else None
    unknown = name in manifest.entries and entry.artifact.joint_size is None and not (pin and pin.get("size"))
    estimate = likely_size(manifest.entries[name]) if unknown else None
    if as_json:
        show_json({"name": name, **facts, "estimated_size": estimate})
        return
    if "classes" in facts and isinstance(facts["classes"], Mapping):
        facts["classes"] = ", ".join(facts["classes"])
    rows = list(_flat({"title": entry.title, "licence": "not known", **facts}))
    width = max(len(key) for key, _ in rows)
    show(name, style="bold")
    for key, value in rows:
        show(f"{key:<{width}}  {value}")
    if estimate is not None:
        show(f"{'size':<{width}}  about {megabytes(estimate)}: its tensors, by the sizes above; the file is a little larger")
    if pin:
        show(f"{'pinned':<{width}}  {pin['sha256']}, in {zoo.store.lock}")
    where = zoo.store.find(entry.artifact) if entry.artifact else None
    show(f"{'in the store':<{width}}  {where or 'no'}")


def _flat(facts: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in facts.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        elif key == "urls":
            for mirror in value:
                yield f"{prefix}url", mirror["url"] + (f"  (unverified: {mirror['unverified']})" if "unverified" in mirror else "")
        elif value == []:
            continue
        elif isinstance(value, list) and isinstance(value[0], Mapping):
            for index, one in enumerate(value):
                yield from _flat(one, f"{prefix}{key}.{index}.")
        elif isinstance(value, list):
            yield f"{prefix}{key}", (" x " if len(value) == 2 and all(isinstance(one, int) for one in value) else ", ").join(map(str, value))
        else:
            yield f"{prefix}{key}", str(value)
