"""What the author of a manifest should look at, beside what is wrong with it: files that are missing or differ, hashes that nobody knows."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from segzoo.merging import Merged, Part
from segzoo.store import Store
from segzoo.strict_yaml import Where
from segzoo.zoo import Artifact, Complaint, Zoo

Placed = tuple[Where, Artifact]


def placed(zoo: Zoo) -> Iterator[Placed]:
    """Every artifact of a zoo, and where it stands in the manifest."""
    for name, dataset in zoo.datasets.items():
        if dataset.archive:
            yield ("datasets", name, "archive"), dataset.archive
    for name, backbone in zoo.backbones.items():
        yield ("backbones", name, "source"), backbone.source
        if backbone.published:
            yield ("backbones", name, "published"), backbone.published
    for name, model in zoo.models.items():
        yield ("models", name, "checkpoint"), model.checkpoint
        if model.counts:
            yield ("models", name, "counts", "file"), model.counts.file


def review(part: Part, whole: Merged, store: Store) -> Iterator[Complaint]:
    """What to look at in one of the manifests in use; `whole` is all of them together. Nothing is fetched and nothing hashed."""
    for where, artifact in placed(part.zoo):
        if store.expected(artifact) is None and not artifact.sha256_prefix:
            hint = f"segzoo manifest lock {part.given} pins it in {store.lock.name}"
            yield part.source.at(where, f"{artifact.name}: no hash is known, so the first file that comes is taken for it", hint)
        for index, mirror in enumerate(artifact.urls):
            if mirror.relative or mirror.url.startswith("file:"):
                path = part.folder / mirror.url if mirror.relative else Path(unquote(urlsplit(mirror.url).path))
                at: Where = (*where, "urls", index)
                if not path.is_file():
                    yield part.source.at(at, f"{mirror.url}: no such file")
                elif artifact.size is not None and (size := path.stat().st_size) != artifact.size:
                    yield part.source.at(at, f"{mirror.url}: {size:,} bytes, the manifest says {artifact.size:,}")
    for name, dataset in part.zoo.datasets.items():
        if dataset.path is not None and not (part.folder / dataset.path).is_dir():
            yield part.source.at(("datasets", name, "path"), f"{dataset.path}: no such folder")
    for name, model in part.zoo.models.items():
        source = model.reported.source if model.reported else "https://"
        if not source.startswith(("http://", "https://", "file:")) and not (part.folder / source).exists():
            yield part.source.at(("models", name, "reported", "source"), f"{source}: neither an address nor a file, so nobody can look the figure up")
    yield from _twins(part, whole)


def _twins(part: Part, whole: Merged) -> Iterator[Complaint]:
    """Different files under one name: pins and copies go by it."""
    first: dict[str, Placed] = {}
    for where, artifact in placed(whole.zoo):
        known, other = first.setdefault(artifact.name, (where, artifact))
        differ = any(getattr(artifact, field) != getattr(other, field) for field in ("size", "sha256", "sha256_prefix"))
        if differ and whole.origins[str(where[1])] is part:
            said = f"{artifact.name}: {known[0]}.{known[1]} has another file of this name, and pins and copies go by it"
            yield part.source.at((*where, "name"), said, "call one of them by another name: the address need not end in it")
