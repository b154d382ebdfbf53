"""How new entries get into a manifest file: the new text is loaded and compared before it replaces the old one."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from segzoo.atomic import replacing, sweep_once
from segzoo.errors import SegzooError, UsageError
from segzoo.manifest.document import examine
from segzoo.manifest.merge import ZooPart, merged
from segzoo.manifest.spelling import inserted


@dataclass(frozen=True)
class Addition:
    """A new entry for a section of a manifest, in plain form. `notes` are the comments above its fields."""

    section: str
    name: str
    plain: Mapping[str, Any]
    notes: Mapping[str, str]


def put(path: Path, additions: Sequence[Addition], others: Sequence[ZooPart] = ()) -> None:
    """Put entries into a manifest's text; its comments and layout stay. The new text is loaded as a manifest and compared with the
    old entries and the new ones. Only then it replaces the file. `others` are the manifests that are used together with this one.
    Without additions the file stays as it is.

    Raises UsageError where the manifest is wrong before or after the change, and NotFoundError; the file is then unchanged.
    """
    before = examine(path)
    if before.manifest is None:
        raise before.complaints[0].error
    content = path.read_bytes()
    text = content.decode("utf-8")
    wanted = before.manifest.model_dump(exclude_unset=True)
    for one in additions:
        if one.name in before.manifest.entries or one.name in before.manifest.datasets:
            raise UsageError(f"{path}: it has a '{one.name}' already", hint="run the command again, or give another name: --name NAME")
        try:
            text = inserted(text, one.section, one.name, one.plain, one.notes)
        except UsageError as error:
            raise UsageError(f"{path}: {error.message}", error.hint) from error
    target = path.resolve()  # a symbolic link stays one
    if not additions:
        sweep_once(target.parent)
        return
    with replacing(target) as part:
        part.write_text(text, encoding="utf-8", newline="")
        try:
            after = examine(part)
            made = ZooPart(str(path), True, replace(after, path=path))
            merged([made, *others])
        except SegzooError as error:
            raise UsageError(str(error.message).replace(str(part), str(path)), error.hint) from error
        _compare(made, wanted, additions, path)
        if path.read_bytes() != content:
            raise UsageError(f"{path}: somebody else has changed it meanwhile; the file is unchanged by this command", hint="run the command again")
        mode = target.stat().st_mode
    target.chmod(mode)


def _compare(made: ZooPart, wanted: dict[str, Any], additions: Sequence[Addition], path: Path) -> None:
    """Raises UsageError unless the new file holds the `wanted` old entries and the additions, and nothing else."""
    found = made.manifest.model_dump(exclude_unset=True)
    new = {(one.section, one.name): found.get(one.section, {}).pop(one.name, None) for one in additions}
    found = {section: entries for section, entries in found.items() if entries != {}}
    wanted = {section: entries for section, entries in wanted.items() if entries != {}}
    if found != wanted or None in new.values():
        hint = "paste what segzoo manifest add prints without --to"
        raise UsageError(f"{path}: no entry can be added to a file that is written in this way; the file is unchanged", hint)


def copied(name: str, dataset: Any, origin: str) -> Addition:
    """A data set of another manifest, as an addition to one's own. Its path is left out, since it is relative to the other manifest."""
    plain = dataset.model_dump(mode="json", exclude_unset=True, exclude={"path"})
    if archive := plain.get("archive"):
        archive["urls"] = [url["url"] if set(url) == {"url"} else url for url in archive["urls"]]
    notes = {"title": f"copied from the zoo '{origin}'"}
    notes |= {"classes": "path: its folder, relative to this file; or give --data DIR"} if "archive" not in plain else {}
    return Addition("datasets", name, plain, notes)


def copy_schema(folder: Path, schema: Path) -> bool:
    """Put the published schema beside a manifest, for editors. Returns False where a schema is there already."""
    target = folder / schema.name
    if target.exists():
        return False
    with replacing(target) as part:
        shutil.copyfile(schema, part)
    return True
