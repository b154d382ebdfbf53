"""How a folder that nobody has described arranges its images and label maps, by what is in it.

The names of the files pair them up, and their pixels say which of two is the label map. Of names only those of splits are understood.
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path, PurePosixPath

import numpy as np

from segzoo.datasets.decode import LOSSY
from segzoo.datasets.listing import SUFFIXES, lines_of, walked
from segzoo.datasets.picture_file import opened, reading
from segzoo.errors import EnvironmentFault

_SPLITS = ("val", "validation", "valid", "dev", "test", "testing", "eval", "train", "training", "trainval")  # the first is evaluated
_DEEPEST = 3  # folders below the folder
_TREES, _ENDS, _LOOKED_AT, _MOST_COLOURS = 60, 12, 5, 1024
_PIXELS = 1 << 22  # of a picture that are looked at
_FEW = 64  # names by which two folders are compared first

Keys = Mapping[str, str]
"""Files of a tree by what is left of their path without its end."""


@dataclass(frozen=True)
class Arrangement:
    """A folder's arrangement: settings for the loader `folders`, and the splits. The first split is for evaluation. `colours` says that the
    label maps are pictures in colours.

    `rivals` are endings of other label maps of the same images.
    """

    settings: Mapping[str, str]
    splits: tuple[str, ...]
    colours: bool
    rivals: tuple[str, ...]


@dataclass(frozen=True)
class _Pairing:
    """Two folders, and how names end in them; None for any suffix. `pairs` are the names that both have, `unpaired` images without label."""

    images: str
    labels: str
    image_end: str | None
    label_end: str | None
    pairs: Mapping[str, tuple[str, str]]
    unpaired: int


@dataclass(frozen=True)
class _Look:
    """What the pixels of a picture look like. `colours` counts different ones; a picture that cannot be read has none."""

    lossy: bool
    coloured: bool
    colours: int


def arranged(folder: Path) -> Arrangement:
    """How a folder is arranged. Raises EnvironmentFault where no images and label maps of the same names are found."""
    files = [path.relative_to(folder).as_posix() for path in walked(folder) if path.suffix.lower() in SUFFIXES]
    if not files:
        raise EnvironmentFault(f"{folder}: no images below it", hint=f"images end in {', '.join(SUFFIXES)}")
    look = cache(lambda file: _look(folder / file))
    found: list[tuple[tuple[float, ...], _Pairing]] = []
    for one in sorted(_pairings(files), key=lambda one: -len(one.pairs)):
        if found and len(one.pairs) < len(found[0][1].pairs):
            break
        shown = _shown_by_pixels(look, one)
        if shown is not None:
            plain = (one.image_end is None, one.label_end is None, -len(f"{one.image_end}{one.label_end}"))
            found.append(((shown[0], -one.unpaired, *shown[1:], *plain), one))
    if not found:
        hint = "images and labels lie in two folders under the same names, or beside each other under names that end differently"
        raise EnvironmentFault(f"{folder}: no images with label maps of the same names below it, among {len(files)} pictures", hint)
    chosen = max(found, key=lambda ranked: ranked[0])[1]
    same = {one.label_end for _, one in found if (one.images, one.labels, one.pairs.keys()) == (chosen.images, chosen.labels, chosen.pairs.keys())}
    mine = {name for _, name in chosen.pairs.values()}
    rivals = sorted(end for end in same if end is not None and not any(name.endswith(end) for name in mine))
    settings, splits = _splits(folder, chosen)
    return Arrangement(settings, splits, look(min(mine)).coloured, tuple(rivals))


def _pairings(files: Sequence[str]) -> Iterator[_Pairing]:
    """Every two folders, or one and itself, in which files of the same names lie."""
    trees: dict[str, list[str]] = defaultdict(list)
    for file in files:
        for depth in range(min(file.count("/"), _DEEPEST) + 1):
            trees["/".join(file.split("/")[:depth])].append(file)
    largest = sorted(trees, key=lambda tree: (-len(trees[tree]), tree))[:_TREES]
    keyed = {(tree, end): keys for tree in largest for end, keys in _keys(trees[tree], tree)}
    first = {place: frozenset(list(keys)[:_FEW]) for place, keys in keyed.items()}
    for one, other in product(keyed, keyed):
        if one != other and (first[one] & keyed[other].keys() or first[other] & keyed[one].keys()):
            images = {key: file for key, file in keyed[one].items() if not _belongs(file, other, one)}
            labels = {key: file for key, file in keyed[other].items() if not _belongs(file, one, other)}
            pairs = {key: (images[key], labels[key]) for key in images.keys() & labels.keys() if images[key] != labels[key]}
            apart = one[0] != other[0] or other[1] is not None  # beside each other, an ending must tell them apart
            if apart and len(pairs) >= 0.9 * len(labels) and pairs:
                yield _Pairing(one[0], other[0], one[1], other[1], pairs, len(images) - len(pairs))


def _keys(files: Sequence[str], tree: str) -> Iterator[tuple[str | None, Keys]]:
    """The files of a tree by their keys, for each way in which names may end: any suffix, or an ending that many have."""
    inner = {file: file[len(tree) + 1 :] if tree else file for file in files}
    plain = {PurePosixPath(name).with_suffix("").as_posix(): file for file, name in inner.items()}
    if len(plain) == len(files):
        yield None, plain
    ends = Counter(end for name in inner.values() for end in _ends(PurePosixPath(name).name))
    for end, _ in ends.most_common(_ENDS):
        yield end, {name.removesuffix(end): file for file, name in inner.items() if name.endswith(end) and not f"/{name}".endswith(f"/{end}")}


def _ends(name: str) -> Iterator[str]:
    """How a name ends: its suffix, and this with one to three words before it. A number alone is no word: it tells pictures apart."""
    stem, dot, suffix = name.rpartition(".")
    yield dot + suffix
    cuts = [place for place, character in enumerate(stem) if character in "_-." and place > 0 and re.search("[^\\W\\d_]", stem[place:])]
    for place in cuts[::-1][:3]:
        yield name[place:]


def _belongs(file: str, other: tuple[str, str | None], mine: tuple[str, str | None]) -> bool:
    """Whether a file of `mine` (tree, ending) is rather one of the other: that lies in it, or is the same tree with a longer ending."""
    (tree, end), (own, ending) = other, mine
    if tree != own:
        return (not own or tree.startswith(f"{own}/")) and file.startswith(f"{tree}/")
    return end is not None and file.endswith(end) and (ending is None or end.endswith(ending))


def _look(path: Path) -> _Look:
    try:
        with reading(path), opened(path) as image:
            step = math.ceil(math.sqrt(image.width * image.height / _PIXELS))
            pixels = np.asarray(image)[::step, ::step]
            flat = pixels.reshape(-1, pixels.shape[2]) if pixels.ndim == 3 else pixels.reshape(-1, 1)
            packed = (flat.astype(np.int64) << np.arange(0, 16 * flat.shape[1], 16)).sum(1)
            return _Look(image.format in LOSSY, image.mode in ("RGB", "RGBA"), len(np.unique(packed)))
    except EnvironmentFault:
        return _Look(True, False, 0)


def _shown_by_pixels(look: Callable[[str], _Look], one: _Pairing) -> tuple[float, float, float] | None:
    """How well a pairing looks like images with label maps, the better the larger: many colours there, one channel and few values here.

    None if the label maps do not look like label maps, or the images do.
    """
    chosen = [one.pairs[key] for key in sorted(one.pairs)]
    some = [(look(image), look(label)) for image, label in chosen[:: max(len(chosen) // _LOOKED_AT, 1)][:_LOOKED_AT]]
    looks = [(image, label) for image, label in some if image.colours and label.colours]
    if not looks:
        return None
    colours = [float(np.mean([each.colours for each in side])) for side in zip(*looks, strict=True)]
    if any(label.lossy or label.colours > _MOST_COLOURS for _, label in looks):
        return None
    told = colours[0] > colours[1] or (colours[0] == colours[1] and all(image.coloured and not label.coloured for image, label in looks))
    if not told and not all(image.lossy for image, _ in looks):
        return None
    return int(math.log2(max(colours[0], 1))), -sum(label.coloured for _, label in looks), -colours[1]


def _splits(folder: Path, one: _Pairing) -> tuple[dict[str, str], tuple[str, ...]]:
    """The settings, and the splits: folders that are called as splits are, or lists of names."""
    images, labels = one.images.split("/"), one.labels.split("/")
    shared = [part for part in images if part in _SPLITS and part in labels]
    if shared:
        images, labels = ([("{split}" if part == shared[0] else part) for part in parts] for parts in (images, labels))
        beside = ["/".join(parts) for parts in (images, labels)]
        splits = [split for split in _SPLITS if all((folder / part.replace("{split}", split)).is_dir() for part in beside)]
    else:
        splits = [split for split in _SPLITS if any(key.startswith(f"{split}/") for key in one.pairs)]
        if splits and all(key.split("/")[0] in splits for key in one.pairs):
            images, labels = [*filter(None, images), "{split}"], [*filter(None, labels), "{split}"]
        else:
            splits = []
    settings = {"images": "/".join(filter(None, images)) or "."}
    if one.labels != one.images:
        settings["labels"] = "/".join(filter(None, labels)) or "."
    settings |= {name: end for name, end in (("image_suffix", one.image_end), ("label_suffix", one.label_end)) if end is not None}
    if not splits and one.unpaired and (lists := _lists(folder, one)):
        place, names = lists
        settings["list"], splits = place, names
    return settings, tuple(splits) or ("all",)


def _lists(folder: Path, one: _Pairing) -> tuple[str, list[str]] | None:
    """The folder of files that list names with label maps, as `list` takes it, and the splits that they are for."""
    by_folder: dict[str, list[str]] = defaultdict(list)
    for path in walked(folder):
        if path.suffix == ".txt":
            try:
                names = lines_of(path, "a list of names")
            except EnvironmentFault:
                continue  # it is no list
            if names and all(name in one.pairs or PurePosixPath(name).with_suffix("").as_posix() in one.pairs for name in names):
                by_folder[path.parent.relative_to(folder).as_posix()].append(path.stem)
    if not by_folder:
        return None
    place, stems = max(by_folder.items(), key=lambda found: (len(found[1]), found[0]))
    return f"{place}/{{split}}.txt".removeprefix("./"), sorted(stems, key=lambda stem: (_SPLITS.index(stem) if stem in _SPLITS else 99, stem))
