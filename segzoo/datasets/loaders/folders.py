"""Images and label maps in folders as their owner arranges them: two folders, or one, with any names below and any endings."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from segzoo.datasets.listing import SUFFIXES, lines_of, walked
from segzoo.datasets.sample import AS_IT_IS, Sample
from segzoo.errors import EnvironmentFault
from segzoo.text import legible


def folders(
    folder: Path,
    split: str,
    *,
    images: str,
    labels: str | None = None,
    image_suffix: str | None = None,
    label_suffix: str | None = None,
    list: str | None = None,
) -> tuple[Sample, ...]:
    """The images below `images`, each with the label map of its name below `labels`, or beside it where there is no such folder.

    `{split}` in a path stands for the split. A suffix is how names end: `_rgb.tif`, `_mask.png`. Without one it is any suffix of
    images. `list` is a file that names the images of the split, one a line, with or without their suffix. Raises EnvironmentFault.
    """
    for one in (image_suffix, label_suffix):
        if one and "/" in one:  # it would lead to another folder
            raise EnvironmentFault(f"suffix {one!r}: expected how the name of a file ends", hint="`images` and `labels` name the folders")
    begin, other = (folder / one.replace("{split}", split) for one in (images, labels or images))
    maps: ByKey = _by_key(_below(other, begin), other, label_suffix)
    pictures: ByKey = _by_key(_below(begin, other), begin, image_suffix)
    if labels is None:  # the label maps lie among the images
        of_labels = {path for paths in maps.values() for path in paths}
        pictures = {key: left for key, paths in pictures.items() if (left := [path for path in paths if path not in of_labels])}
    if not pictures:
        raise EnvironmentFault(f"{begin}: expected images *{image_suffix or ', *'.join(SUFFIXES)}, found none")
    if list is None:
        _refuse_lonely(maps, pictures)
    else:
        pictures = _listed(folder / list.replace("{split}", split), begin, pictures, image_suffix)
    found = []
    for key, paths in sorted(pictures.items()):
        image = _only(paths, "images", key, "image_suffix")
        label = _only(maps[key], "label maps", key, "label_suffix") if key in maps else other / f"{key}{label_suffix or '.png'}"
        found.append(Sample(image.relative_to(begin).as_posix(), image, label, AS_IT_IS))
    return tuple(found)


ByKey = Mapping[str, Sequence[Path]]
"""The files below a folder by the part of their path that an image and its label map share."""


def _below(folder: Path, without: Path) -> list[Path]:
    """The files below a folder, but for those of another folder that lies in it."""
    inside = without != folder and without.is_relative_to(folder)
    return [path for path in walked(folder) if not (inside and path.is_relative_to(without))]


def _by_key(paths: Sequence[Path], begin: Path, suffix: str | None) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = defaultdict(lambda: [])
    for path in paths:
        end = suffix if suffix is not None else path.suffix
        if path.name.endswith(end) and (suffix is not None or end.lower() in SUFFIXES):
            found[path.relative_to(begin).as_posix().removesuffix(end)].append(path)
    return dict(found)


def _only(paths: Sequence[Path], what: str, key: str, field: str) -> Path:
    if len(paths) > 1:
        names = " and ".join(sorted(path.name for path in paths))
        raise EnvironmentFault(f"{paths[0].parent}: two {what} are called {PurePosixPath(key).name}: {names}", hint=f"say which with `{field}`")
    return paths[0]


def _refuse_lonely(maps: ByKey, pictures: ByKey) -> None:
    if lonely := sorted(maps.keys() - pictures.keys()):
        hint = "`image_suffix` and `label_suffix` in the manifest say how the names end; a `list` names the images that belong to the split"
        raise EnvironmentFault(f"images are missing for {len(lonely)} labels, the first {maps[lonely[0]][0]}", hint)


def _listed(file: Path, begin: Path, pictures: ByKey, suffix: str | None) -> ByKey:
    """The images that a list names."""
    by_name = {path.relative_to(begin).as_posix(): key for key, paths in pictures.items() for path in paths}
    names = lines_of(file, "the list of the split")
    keys = [by_name.get(name) or (name if name in pictures else None) for name in names]
    if lost := [name for name, key in zip(names, keys, strict=True) if key is None]:
        hint = f"a line is the path of an image below {begin}" + (f"; only names that end in {suffix} are images" if suffix else "")
        raise EnvironmentFault(f"{len(lost)} images of {file.name} are not there, the first {legible(lost[0])}", hint=hint)
    for key, times in Counter(map(str, keys)).items():
        if times > 1:
            raise EnvironmentFault(f"{file}: {legible(key)} is listed twice")
    return {str(key): pictures[str(key)] for key in keys}
