"""A file for a manifest, hashed where it lies or as it comes; and the manifest with new entries, which is loaded before it counts."""

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from segzoo.atomic import replacing
from segzoo.errors import SegzooError, UsageError
from segzoo.manifest.document import Manifest, examine
from segzoo.manifest.merge import Part, merged
from segzoo.manifest.spelling import inserted

Said = Callable[[int, int | None], None]


@dataclass(frozen=True)
class Addition:
    """One entry to be put into a section of a manifest, in plain form, with the comments above its fields."""

    section: str
    name: str
    plain: Mapping[str, Any]
    notes: Mapping[str, str]


def refuse_taken(path: Path, manifest: Manifest, names: Iterable[str]) -> None:
    """Raises UsageError for a name that the manifest has already."""
    for name in names:
        if name in manifest.entries or name in manifest.datasets:
            raise UsageError(f"{path}: it has a '{name}' already", hint="give the new one another name: --name NAME")


def put(path: Path, additions: Sequence[Addition], others: Sequence[Part] = ()) -> None:
    """Put entries into a manifest's text and nothing else: comments and layout stay. What comes of it is loaded as a manifest
    and compared with what was wanted, and only then takes the file's place. `others` are those that it is used with.

    Raises UsageError where the manifest is wrong before or would be after, NotFoundError; the file is then as it was.
    """
    before = examine(path)
    if before.manifest is None:
        raise before.complaints[0].error
    content = path.read_bytes()
    text = content.decode("utf-8")
    wanted = before.manifest.model_dump(exclude_unset=True)
    refuse_taken(path, before.manifest, (one.name for one in additions))
    for one in additions:
        try:
            text = inserted(text, one.section, one.name, one.plain, one.notes)
        except UsageError as error:
            raise UsageError(f"{path}: {error.message}", error.hint) from error
    target = path.resolve()  # a link stays a link
    with replacing(target) as part:
        part.write_text(text, encoding="utf-8", newline="")
        try:
            after = examine(part)
            made = Part(str(path), True, replace(after, path=path))
            merged([made, *others])
        except SegzooError as error:
            raise UsageError(str(error.message).replace(str(part), str(path)), error.hint) from error
        _compare(made, wanted, additions, path)
        if path.read_bytes() != content:
            raise UsageError(f"{path}: somebody else has changed it meanwhile; it is left as it is", hint="run the command again")
        mode = target.stat().st_mode
    target.chmod(mode)


def _compare(made: Part, wanted: dict[str, Any], additions: Sequence[Addition], path: Path) -> None:
    """Whether what is in the file now is what was there and what was to be added."""
    found = made.manifest.model_dump(exclude_unset=True)
    new = {(one.section, one.name): found.get(one.section, {}).pop(one.name, None) for one in additions}
    found = {section: entries for section, entries in found.items() if entries != {}}
    wanted = {section: entries for section, entries in wanted.items() if entries != {}}
    if found != wanted or None in new.values():
        hint = "paste what segzoo manifest add prints without --to"
        raise UsageError(f"{path}: it is written in a way that nothing can be put into; it is left as it is", hint)


def copied(name: str, dataset: Any, origin: str) -> Addition:
    """A data set of another manifest for one of one's own: all but the folder that it has beside that manifest."""
    plain = dataset.model_dump(mode="json", exclude_unset=True, exclude={"path"})
    if archive := plain.get("archive"):
        archive["urls"] = [url["url"] if set(url) == {"url"} else url for url in archive["urls"]]
    notes = {"title": f"copied from the zoo '{origin}'"}
    notes |= {"classes": "path: the folder that it is in, relative to this file; or give --data DIR"} if "archive" not in plain else {}
    return Addition("datasets", name, plain, notes)


def copy_schema(folder: Path, schema: Path) -> bool:
    """Put the published schema beside a manifest, for editors; False where there is one already."""
    target = folder / schema.name
    if target.exists():
        return False
    with replacing(target) as part:
        shutil.copyfile(schema, part)
    return True
