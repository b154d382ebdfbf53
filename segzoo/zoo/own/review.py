"""What the author of a valid manifest should look at.

That is files that are missing or differ, artifacts without a hash, data sets that differ from their description, figures on
another scale, and files that share a name.
"""

from collections.abc import Iterator

from segzoo.errors import EnvironmentFault
from segzoo.manifest.artifact import Artifact, local
from segzoo.manifest.document import Complaint, Manifest
from segzoo.manifest.entries import FIGURES, Dataset, Protocol, Reported
from segzoo.manifest.merge import Merged, ZooPart
from segzoo.manifest.strict_yaml import Where
from segzoo.store.store import Store

Placed = tuple[Where, Artifact]


def placed(manifest: Manifest) -> Iterator[Placed]:
    """Every artifact of a zoo, with its place in the manifest."""
    for name, dataset in manifest.datasets.items():
        if dataset.archive:
            yield ("datasets", name, "archive"), dataset.archive
    for name, backbone in manifest.backbones.items():
        yield ("backbones", name, "source"), backbone.source
        if backbone.published:
            yield ("backbones", name, "published"), backbone.published
    for name, model in manifest.models.items():
        yield ("models", name, "checkpoint"), model.checkpoint
        for index, equivalent in enumerate(model.equivalents):
            yield ("models", name, "equivalents", index), equivalent
        if model.witness:
            yield ("models", name, "witness", "picture"), model.witness.picture
        if model.counts:
            yield ("models", name, "counts", "file"), model.counts.file


def review(part: ZooPart, whole: Merged, store: Store) -> Iterator[Complaint]:
    """Complaints about one of the manifests in use; `whole` is all of them as one. Nothing is fetched, hashed or decoded."""
    yield from _files(part, store)
    for name, dataset in part.manifest.datasets.items():
        yield from _dataset(part, name, dataset, whole.manifest.datasets[name])
    for name, model in part.manifest.models.items():
        yield from _pixels(part, name, model.protocol)
        if model.reported:
            yield from _figures(part, name, model.reported)
    yield from _twins(part, whole)


def _files(part: ZooPart, store: Store) -> Iterator[Complaint]:
    """Artifacts without a hash, and files beside the manifest that are missing or have another size."""
    there = list(placed(part.manifest))
    for (where, artifact), expectation in zip(there, store.expectations(artifact for _, artifact in there), strict=True):
        if not expectation.has_hash:
            hint = f"segzoo manifest lock {part.given} pins it in {store.lock.name}"
            yield part.source.at(where, f"{artifact.name}: no hash is known, so the first file that arrives is accepted", hint)
        for index, mirror in enumerate(artifact.urls):
            if mirror.relative or mirror.url.startswith("file:"):
                path = local(mirror.url, part.folder)
                at: Where = (*where, "urls", index)
                if not path.is_file():
                    yield part.source.at(at, f"{mirror.url}: no such file")
                elif artifact.size is not None and (size := path.stat().st_size) != artifact.size:
                    yield part.source.at(at, f"{mirror.url}: {size:,} bytes, the manifest says {artifact.size:,}")


def _dataset(part: ZooPart, name: str, dataset: Dataset, used: Dataset) -> Iterator[Complaint]:
    """A data set that cannot be found, or whose images and labels do not pair up in the stated number.

    `used` is the data set of this name in the manifests as one: an earlier manifest may have it too.
    """
    if dataset.path is None:
        if not (used.path or used.archive or used.home):
            hint = "give its folder relative to the manifest (path), the file to download (archive), or the page where people get it (home)"
            said = "nothing says where it is: only --data DIR of verify and report can name it"
            yield part.source.at(("datasets", name), said, hint)
    elif not (folder := part.folder / dataset.path).is_dir():
        yield part.source.at(("datasets", name, "path"), f"{dataset.path}: no such folder")
    else:
        from segzoo.datasets.pairs import samples

        try:
            samples(dataset.loads, folder, dataset.split, dataset.images)
        except EnvironmentFault as fault:
            yield part.source.at(("datasets", name, "path"), fault.message, fault.hint)


def _pixels(part: ZooPart, name: str, protocol: Protocol) -> Iterator[Complaint]:
    """A mean or deviation for pixels from 0 to 1, as other programs use. A mean of 0 and a deviation of 1 change nothing and are allowed."""
    for field, values, small in (("mean", protocol.mean, 0 < max(protocol.mean) <= 1), ("std", protocol.std, max(protocol.std) < 1)):
        if small:
            said = f"{', '.join(map(str, values))}: as if for pixels from 0 to 1, but here they are from 0 to 255"
            yield part.source.at(("models", name, "protocol", field), said, "multiply mean and std by 255")


def _figures(part: ZooPart, name: str, reported: Reported) -> Iterator[Complaint]:
    """Figures that look like fractions, and a source that nobody can look up."""
    for field in FIGURES.values():
        if (value := getattr(reported, field)) is not None and value <= 1:
            yield part.source.at(("models", name, "reported", field), f"{value}: it looks like a fraction, but figures are in percent")
    source = reported.source
    if not source.startswith(("http://", "https://", "file:")) and not (part.folder / source).exists():
        yield part.source.at(("models", name, "reported", "source"), f"{source}: neither an address nor a file, so nobody can look the figure up")


def _twins(part: ZooPart, whole: Merged) -> Iterator[Complaint]:
    """Different files with the same name. Pins and copies are kept by that name."""
    first: dict[str, Placed] = {}
    for where, artifact in placed(whole.manifest):
        place, other = first.setdefault(artifact.name, (where, artifact))
        differ = any(getattr(artifact, field) != getattr(other, field) for field in ("size", "sha256", "sha256_prefix"))
        if differ and whole.origins[str(where[1])] is part:
            said = f"{artifact.name}: {place[0]}.{place[1]} has another file of this name, and pins and copies are kept by name"
            yield part.source.at((*where, "name"), said, "give one of them another name: its address may end differently")
