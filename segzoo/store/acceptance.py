"""What a whole file is compared with before it gets its name in the store."""

from collections.abc import Iterable
from pathlib import Path

from segzoo.errors import IntegrityError, NotFoundError
from segzoo.manifest.artifact import Artifact
from segzoo.store import checksums
from segzoo.store.expectation import Expectation
from segzoo.store.http import Answer
from segzoo.store.partial import Partial
from segzoo.store.policy import UNSEEN, Look
from segzoo.store.trouble import Kind, Trouble


def accept(artifact: Artifact, expectation: Expectation, whole: Partial, url: str, answer: Answer | None, look: Look) -> tuple[str, ...]:
    """Compare a whole file with all that is known of it. Returns the names of the server's checksums that it fits.

    `answer` is what the server at `url` said; None where no server was asked. Raises Trouble of the kind WRONG.
    """
    promised = _promised(artifact, answer)
    differing = checksums.differing(whole.path, promised) if promised else []
    if wrong := expectation.misfit(whole.size, whole.digest.hexdigest()):
        wrong += looks_like_page(whole.head)
        if _of_third_party(artifact) and promised and not differing and whole.origins == {url}:
            raise _hash_in_doubt(wrong, whole, promised)
        raise Trouble(Kind.WRONG, wrong, hint=expectation.way_on)
    if whole.size == 0:
        raise Trouble(Kind.WRONG, "an empty file")
    if not expectation.has_hash and (page := looks_like_page(whole.head)):
        raise Trouble(Kind.WRONG, f"no hash to hold it to{page}")
    if differing:
        raise Trouble(Kind.WRONG, f"the bytes that came do not fit the server's own {' and '.join(differing)}")
    if not expectation.has_hash:
        _open_as(artifact, whole.path, look)
    return tuple(promised)


def looks_like_page(head: bytes) -> str:
    """What to add to a message about bytes that begin so."""
    return "; it looks like an HTML page" if head.lstrip()[:5].lower() in (b"<!doc", b"<html", b"<head") else ""


def _of_third_party(artifact: Artifact) -> bool:
    return artifact.sha256 is not None and artifact.third_party


def _promised(artifact: Artifact, answer: Answer | None) -> dict[str, int]:
    """The server's own checksums. The publisher's full sha256 makes them needless."""
    needless = artifact.sha256 is not None and not _of_third_party(artifact)
    return checksums.promised(answer.headers) if answer and not answer.encoded and not needless else {}


def _hash_in_doubt(wrong: str, whole: Partial, promised: Iterable[str]) -> Trouble:
    """The file fits what its server says of it, but not the sha256 of a third party: either may be wrong."""
    fits = f"{wrong}; but the bytes fit the server's own {' and '.join(promised)}, and the expected sha256 is from a third party"
    way_on = "if you trust the server more, put the sha256 that was found into the manifest, or into one of your own in front of it"
    return Trouble(Kind.WRONG, fits, hint=way_on)


def _open_as(artifact: Artifact, path: Path, look: Look) -> None:
    """A file that no hash tells from another must open as the artifact: what is pinned now is all that is accepted later."""
    try:
        look(artifact, path)
    except NotFoundError:  # removed by another process that finished the same content first
        return
    except IntegrityError as error:
        raise Trouble(Kind.WRONG, error.message.removeprefix(f"{path}: "), hint=UNSEEN) from error
