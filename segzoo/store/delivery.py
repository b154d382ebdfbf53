"""The fetching of one artifact: what has arrived, from which address, and how much was spent on it.

Where the full hash is known the content is the key: one address goes on where another broke off. Where it
is not, a file is tied to its address and version (ETag and size), and its hash is pinned when it is whole.
"""

import hashlib
import shutil
import time
from pathlib import Path
from urllib.parse import unquote, urlsplit

from segzoo.errors import EnvironmentFault, IntegrityError, NetworkError, NotFoundError, SegzooError
from segzoo.manifest.artifact import Artifact
from segzoo.store import checksums
from segzoo.store.fetched import Fetched, evidence, misfit
from segzoo.store.http import Answer, Client, Trouble, shown
from segzoo.store.partial import Partial, arrived
from segzoo.store.policy import UNSEEN, Policy, Progress
from segzoo.store.store import Store

_CHUNK = 1 << 20
_LARGEST = 64 << 30  # of a file whose size nobody says


def family_of(store: Store, artifact: Artifact) -> str:
    """What the partial files of an artifact have in common: its content where the hash is known, else its name."""
    expected = store.expected(artifact)
    return expected[:32] if expected else _short(artifact.name)


class Delivery:
    """One artifact on its way. Used as a context: what has arrived when it fails stays for the next."""

    def __init__(self, artifact: Artifact, store: Store, base: Path, said: Progress, policy: Policy, client: Client):
        self.artifact, self.store, self.base, self.said, self.policy = artifact, store, base, said, policy
        self.expected = store.expected(artifact)
        self.family = family_of(store, artifact)
        self.client = client
        self.partial: Partial | None = None
        self.origins: set[str] = set()  # where the bytes in the partial file are from
        self.validators: dict[str, str | None] = {}
        self.no_ranges: set[str] = set()
        self.delivered: set[str] = set()
        self.received = 0
        self.resumed = 0

    def __enter__(self) -> "Delivery":
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._leave(error)

    def _leave(self, error: BaseException | None = None) -> None:
        if self.partial is not None:
            self.partial.close(error)
            self.partial = None

    @property
    def size(self) -> int:
        return self.partial.size if self.partial else 0

    def run(self, addresses: list[str]) -> Fetched:
        """Round after round over the addresses, as long as one of them may deliver yet."""
        patience = self.policy.patience
        failures: dict[str, Trouble] = {}
        left = addresses
        for turn in range(patience.tries):
            for url in left:
                try:
                    fetched = self._visit(url)
                except Trouble as trouble:
                    failures[url] = trouble
                    continue
                told = tuple(f"{shown(other)}: {trouble}" for other, trouble in failures.items() if other != url)
                return Fetched(*fetched, shown(url), told, self.received, self.resumed)
            left = [url for url in left if failures[url].again or (failures[url].lost and url in self.delivered)]
            if not left or self._spent():
                break
            if turn + 1 < patience.tries:
                asked = min((failures[url].wait or 0 for url in left), default=0)
                time.sleep(min(max(asked, patience.pause * 2**turn), patience.wait))
        raise _undelivered(self.artifact, failures)

    def _spent(self) -> bool:
        """Whether several times the file has come over the network already."""
        return self.received > 4 * max(self.artifact.size or _LARGEST, 8 << 20)

    def _visit(self, url: str) -> tuple[Artifact, Path, str, int, str]:
        """All that one address gives while it makes progress."""
        mark, anew = self.size, 0
        while True:
            try:
                if not remote(url):
                    self._copy(url)
                    return self._accept(url, None)
                return self._accept(url, self._receive(url))
            except Trouble as trouble:
                if trouble.wrong and self.origins - {url} and url in self.origins:
                    self._begin_anew(forget=True)
                    mark = 0  # once more, all of it from here: the wrong part may be another's
                elif trouble.wrong:
                    if url in self.origins:
                        self._begin_anew(forget=True)
                    raise
                elif trouble.anew and anew < 2:
                    anew += 1
                    self._begin_anew()
                    self.validators.pop(url, None)
                    self.no_ranges |= set() if trouble.ranges else {url}
                elif self.size < mark + self.policy.patience.progress or not (trouble.again or trouble.lost) or self._spent():
                    raise
                else:
                    mark = self.size

    def _begin_anew(self, forget: bool = False) -> None:
        self.origins.clear()
        self.resumed = 0
        if self.partial is not None and forget:
            self.partial.discard()
        elif self.partial is not None:
            self.partial.reset()

    def _content(self) -> Partial:
        """The partial file of a content whose hash is known, with what is there of it already."""
        if self.partial is None:
            assert self.expected is not None
            self._adopted(Partial(self.store.partials, self.family, "whole"))
        assert self.partial is not None
        return self.partial

    def _adopted(self, fresh: Partial) -> None:
        self._leave()
        self.partial = fresh
        fresh.adopt()
        self.resumed = fresh.adopted
        self.origins = {"an earlier run"} if fresh.adopted else set()

    def _receive(self, url: str) -> Answer | None:
        """What an address has beyond what is here. Returns its first answer; None where nothing was missing."""
        artifact = self.artifact
        if self.expected:
            if self._content().digest.hexdigest() == self.expected:  # all that was missing was the name
                return None
        elif url not in self.origins or self.validators.get(url) is None:
            self._leave()  # without a hash, what is here belongs to another address or to no known version
        probe = not self.expected and self.partial is None and arrived(self.store.partials, self.family)
        answer = self.client.ask(url, 0, 1) if probe and url not in self.no_ranges else self._ask(url)
        try:
            self._check_promise(answer)
            if not self.expected and self.partial is None:
                answer = self._tied(url, answer)
            assert self.partial is not None
            if answer.total is not None and self.size == answer.total:
                answer.response.close()
                self.origins.add(url)
                return answer
            if answer.start != self.size:
                self._begin_anew()
        except BaseException:
            answer.response.close()
            raise
        self.validators[url] = answer.validator
        self.origins.add(url)
        total = artifact.size or answer.total
        for chunk in self.client.stream(url, answer, _piece(total), lambda ahead: self.said(self.size + ahead, total)):
            self.received += len(chunk)
            self.delivered.add(url)
            self._append(chunk)
        return answer

    def _ask(self, url: str) -> Answer:
        start, size = self.size, self.artifact.size
        if url in self.no_ranges:
            return self.client.ask(url)
        several = self.policy.patience.connections > 1 and (size is None or size > self.policy.patience.several)
        return self.client.ask(url, start, start + _piece(size) if several else None, self.validators.get(url))

    def _tied(self, url: str, answer: Answer) -> Answer:
        """The partial file of this version at this address, and the answer from where it ends."""
        version = f"{url}\n{answer.validator}\n{answer.total}" if answer.validator and answer.total else None
        self._adopted(Partial(self.store.partials, self.family, version and _short(version)))
        if self.size == answer.total or (not self.size and answer.stop != 1):
            return answer
        answer.response.close()
        self.validators[url] = answer.validator
        return self._ask(url)

    def _check_promise(self, answer: Answer) -> None:
        size = self.artifact.size
        if size is not None and answer.total is not None and answer.total != size:
            page = "; it is an HTML page" if "html" in answer.headers.get("Content-Type", "") else ""
            raise Trouble(f"expected {size:,} bytes, it promises {answer.total:,}{page}", wrong=True)
        if size is None and answer.total is not None:
            check_space(self.store, answer.total - self.size)

    def _copy(self, url: str) -> None:
        """A local file, from its beginning."""
        path = Path(unquote(urlsplit(url).path)) if url.startswith("file:") else self.base / url
        if self.expected:
            self._content()
            self._begin_anew()
        else:
            self._adopted(Partial(self.store.partials, self.family, None))
        self.origins.add(url)
        try:
            with path.open("rb") as file:
                while chunk := file.read(_CHUNK):
                    self._append(chunk)
        except FileNotFoundError as error:
            raise Trouble("no such file", absent=True) from error
        except OSError as error:
            raise Trouble(f"not readable: {error.strerror}", absent=True) from error
        except ValueError as error:  # a NUL in the name
            raise Trouble(f"no name of a file: {error}", absent=True) from error

    def _append(self, chunk: bytes) -> None:
        assert self.partial is not None
        size = self.artifact.size
        if self.size + len(chunk) > (size or _LARGEST):
            raise Trouble(f"expected {size or _LARGEST:,} bytes, it sends more{_looks(self.partial.head or chunk)}", wrong=True)
        self.partial.append(chunk)
        self.said(self.size, size)

    def _accept(self, url: str, answer: Answer | None) -> tuple[Artifact, Path, str, int, str]:
        """Hold the whole file to all that is known of it, and give it its name."""
        artifact, whole = self.artifact, self.partial
        assert whole is not None
        sha256, size = whole.digest.hexdigest(), whole.size
        third_party = bool(artifact.sha256) and artifact.third_party
        promised = checksums.promised(answer.headers) if answer and not answer.encoded and (third_party or not artifact.sha256) else {}
        differing = checksums.differing(whole.path, promised) if promised else []
        try:
            _compare(artifact, self.expected, self.store, size, sha256, whole.head)
        except Trouble as trouble:
            if promised and not differing and third_party and self.origins == {url}:
                fits = f"{trouble}; but the bytes fit the server's own {' and '.join(promised)}, and the sha256 expected is from a third party"
                raise Trouble(f"{fits}: where you trust the server more, segzoo fetch NAME --pin {sha256}", wrong=True) from trouble
            raise
        if differing:
            raise Trouble(f"the bytes that came do not fit the server's own {' and '.join(differing)}", wrong=True)
        if self.expected is None and not artifact.sha256_prefix:
            self._look(whole.path)
        path = self.store.blob(sha256)
        whole.finish(path)
        if not artifact.sha256:
            self.store.pin(artifact, sha256, size, shown(url))
        return artifact, path, sha256, size, evidence(artifact, self.store.by_hand(artifact), tuple(promised))

    def _look(self, path: Path) -> None:
        """A file that no hash tells from another is not pinned unseen: what is pinned is all that is accepted later."""
        try:
            self.policy.look(self.artifact, path)
        except NotFoundError:  # swept by another process that finished the same content first
            return
        except IntegrityError as error:
            raise Trouble(error.message.removeprefix(f"{path}: "), wrong=True, hint=UNSEEN) from error


def remote(url: str) -> bool:
    return url.startswith(("http://", "https://"))


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _piece(size: int | None) -> int:
    """What one request asks for: small enough that little is lost when a process dies, large enough to be worth a request."""
    return min(max((size or 0) // 512, 1 << 18), 8 << 20) if size else 1 << 20


def _undelivered(artifact: Artifact, failures: dict[str, Trouble]) -> SegzooError:
    """The gravest of what went wrong, with every address tried and why it failed."""
    kind: type[SegzooError] = NotFoundError
    if any(trouble.wrong for trouble in failures.values()):
        kind = IntegrityError
    elif any(not trouble.absent for trouble in failures.values()):
        kind = NetworkError
    tried = "\n".join(f"  {shown(url)}: {trouble}" for url, trouble in failures.items())
    hint = {
        IntegrityError: "the bytes are not those that the manifest names; nothing of them was kept",
        NetworkError: "check the connection and the proxy settings (segzoo doctor tries the hosts), or try again later: what has arrived is kept;"
        " --mirror URL gives another address, segzoo adopt FILE takes a file that you have",
        NotFoundError: "the manifest names a file that is not there",
    }[kind]
    own = next((trouble.hint for trouble in failures.values() if trouble.hint), None)
    return kind(f"{artifact.name}: no address delivered it:\n{tried}", own or hint)


def _compare(artifact: Artifact, expected: str | None, store: Store, size: int, sha256: str, head: bytes) -> None:
    """Raises Trouble where bytes that came are not those of an artifact, or where nothing could tell."""
    if wrong := misfit(artifact, expected, store.by_hand(artifact), size, sha256):
        raise Trouble(f"{wrong}{_looks(head)}", wrong=True, hint=store.way_on(artifact))
    if size == 0:
        raise Trouble("an empty file", wrong=True)
    if expected is None and not artifact.sha256_prefix and (page := _looks(head)):
        raise Trouble(f"no hash to hold it to{page}", wrong=True)


def _looks(head: bytes) -> str:
    return "; it looks like an HTML page" if head.lstrip()[:5].lower() in (b"<!doc", b"<html", b"<head") else ""


def check_space(store: Store, size: int | None) -> None:
    folder = next(path for path in (store.home, *store.home.parents) if path.exists())
    free = shutil.disk_usage(folder).free
    if size is not None and free < size:
        raise EnvironmentFault(f"{store.home}: {free:,} bytes free, {size:,} needed", hint="free some space, or set SEGZOO_HOME")
