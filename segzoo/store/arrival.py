"""The bytes of one artifact as they come: the partial file, and what each address adds to it.

Where the full hash is known, one address goes on where another broke off: the hash will show whether the parts belong together.
Where it is not known, a partial file belongs to one address and one version there (ETag and size).
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from segzoo.manifest.artifact import Artifact, local
from segzoo.regular import NotRegular, chunks, open_named, size_of
from segzoo.store.acceptance import looks_like_page
from segzoo.store.expectation import Expectation
from segzoo.store.http import Answer, Client
from segzoo.store.partial import Partial, arrived
from segzoo.store.pieces import stream
from segzoo.store.policy import Policy
from segzoo.store.store import Progress, Store
from segzoo.store.trouble import Kind, Trouble

_LARGEST = 64 << 30  # of a file whose size nobody says
_UNNAMED = 1 << 30  # bytes that a file whose size the manifest does not name has time for


def remote(url: str) -> bool:
    return url.startswith(("http://", "https://"))


def short_digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def family_of(artifact: Artifact, expectation: Expectation) -> str:
    """How the names of an artifact's partial files begin: with its hash where that is known, else with a digest of its name."""
    return expectation.sha256[:32] if expectation.sha256 else short_digest(artifact.name)


@dataclass(frozen=True)
class Order:
    """What is wanted, where it is to go, and how it may come. `base` is the folder that relative addresses start from."""

    artifact: Artifact
    expectation: Expectation
    store: Store
    base: Path
    said: Progress
    policy: Policy
    client: Client

    @property
    def family(self) -> str:
        return family_of(self.artifact, self.expectation)


@dataclass
class Address:
    """An address, and what has been learned of it."""

    url: str
    ranges: bool = True  # whether it may be asked for a part
    validator: str | None = None  # the version that it has
    delivered: bool = False  # whether bytes have come from it
    stalls: int = 0  # how often it has stalled without progress
    trouble: Trouble | None = None  # how it failed last


class Arrival:
    """The partial file of an order. Used as a context: what has arrived when it fails stays for the next run."""

    def __init__(self, order: Order):
        self.order = order
        self.partial: Partial | None = None
        self.received = 0  # over the network, in all
        self.begun = monotonic()
        self.until = self.turn = self.begun + order.policy.patience.allowed(order.artifact.size or _UNNAMED)

    def __enter__(self) -> "Arrival":
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._leave(error)

    @property
    def size(self) -> int:
        return self.partial.size if self.partial else 0

    @property
    def origins(self) -> set[str]:
        """The addresses that the bytes so far are from."""
        return self.partial.origins if self.partial else set()

    @property
    def spent(self) -> bool:
        """Whether several times the file has come over the network already, or its time is over."""
        return self.received > 4 * max(self.order.artifact.size or _LARGEST, 8 << 20) or not self.left

    @property
    def left(self) -> float:
        """The seconds that are left for the file."""
        return max(self.until - monotonic(), 0)

    @property
    def turn_over(self) -> bool:
        """Whether the address that is asked now has had its share."""
        return self.spent or monotonic() > self.turn

    def begin_turn(self, addresses: int) -> None:
        """Give the next of so many addresses its share of the time that is left: one that crawls leaves enough for the others."""
        self.turn = monotonic() + self.left / addresses

    def begin_anew(self) -> None:
        if self.partial is not None:
            self.partial.reset()

    def discard(self) -> None:
        """Begin anew, also without what other processes left."""
        if self.partial is not None:
            self.partial.discard()

    def take(self, address: Address) -> tuple[Partial, Answer | None]:
        """Get all that is missing from an address. Returns the file, and the first answer where there was one.

        Raises Trouble, EnvironmentFault.
        """
        answer = None
        if not remote(address.url):
            self._copy(address.url)
        elif not self._complete():
            answer = self._receive(address)
        assert self.partial is not None
        return self.partial, answer

    def _leave(self, error: BaseException | None = None) -> None:
        if self.partial is not None:
            self.partial.close(error)
            self.partial = None

    def _open(self, key: str | None) -> Partial:
        """A new partial file, with what an earlier run left of this version."""
        fresh = Partial(self.order.store.partials, self.order.family, key)
        self._leave()
        self.partial = fresh
        fresh.resume()
        return fresh

    def _of_content(self) -> Partial:
        """The one partial file of a content whose hash is known."""
        return self.partial or self._open("whole")

    def _complete(self) -> bool:
        """Whether only the name is missing: a process may die between the last byte and the renaming."""
        sha256 = self.order.expectation.sha256
        return sha256 is not None and self._of_content().digest.hexdigest() == sha256

    def _copy(self, url: str) -> None:
        """Read a local file, from its beginning."""
        path = local(url, self.order.base)
        try:
            with open_named(path) as file:
                self._check_size(size_of(file), file.peek(64))
                partial = self._of_content() if self.order.expectation.sha256 else self._open(None)
                partial.reset()
                partial.origins.add(url)
                for chunk in chunks(file):
                    self._append(partial, chunk)
        except FileNotFoundError as error:
            raise Trouble(Kind.ABSENT, "no such file") from error
        except NotRegular as error:
            raise Trouble(Kind.ABSENT, str(error.strerror)) from error
        except OSError as error:
            raise Trouble(Kind.ABSENT, f"not readable: {error.strerror}") from error
        except ValueError as error:  # a NUL in the name
            raise Trouble(Kind.ABSENT, f"no name of a file: {error}") from error

    def _check_size(self, found: int, head: bytes) -> None:
        """Refuse a local file of another size than the manifest's before anything is copied, and one for which there is no room."""
        size = self.order.artifact.size
        if found != (found if size is None else size) or found > _LARGEST:
            raise Trouble(Kind.WRONG, f"expected {size or _LARGEST:,} bytes, found {found:,}{looks_like_page(head)}")
        if size is None:
            self.order.store.require_space(found)

    def _receive(self, address: Address) -> Answer:
        """Get what an address has beyond what is here. Returns its first answer."""
        partial, answer = self._begin(address)
        partial.origins.add(address.url)
        if partial.size == answer.total:
            answer.response.close()
            return answer
        total = self.order.artifact.size or answer.total

        def meanwhile(ahead: int) -> None:
            self._keep_time()
            self.order.said(partial.size + ahead, total)

        if self.order.artifact.size is None and answer.total is not None:
            self.turn = min(self.turn, monotonic() + self.order.policy.patience.allowed(answer.total))
        for chunk in stream(self.order.client, address.url, answer, _piece_size(total), meanwhile):
            self.received += len(chunk)
            address.delivered = True
            self._append(partial, chunk)
            if self._fits():
                break
            self._keep_time()
        return answer

    def _fits(self) -> bool:
        """Whether size and hash are right already: then nothing that the server may still say matters."""
        assert self.partial is not None
        expected, size, sha256 = self.order.expectation, self.partial.size, self.partial.digest.hexdigest()
        return expected.misfit(size, sha256) is None and (expected.sha256 is not None or (expected.prefix is not None and expected.size is not None))

    def _keep_time(self) -> None:
        """Raises Trouble where the time of the file, or the share of this address in it, is over."""
        if (now := monotonic()) > min(self.turn, self.until):
            raise Trouble(
                Kind.LATER, f"not whole after {now - self.begun:,.0f} s", hint="--deadline SECONDS allows more time; what has arrived is kept"
            )

    def _begin(self, address: Address) -> tuple[Partial, Answer]:
        """The partial file that an address can go on with, and its answer from where that ends."""
        hashed = self.order.expectation.sha256 is not None
        if not hashed and (address.url not in self.origins or address.validator is None):
            self._leave()  # what is here belongs to another address, or to no known version
        left = not hashed and self.partial is None and arrived(self.order.store.partials, self.order.family) > 0
        answer = self.order.client.ask(address.url, 0, 1) if left and address.ranges else self._ask(address)
        try:
            self._check_promise(answer)
            if self.partial is None:
                answer = self._open_version(address, answer)
            assert self.partial is not None
            if answer.start != self.size and answer.total != self.size:
                self.partial.reset()
        except BaseException:
            answer.response.close()
            raise
        address.validator = answer.validator
        return self.partial, answer

    def _ask(self, address: Address) -> Answer:
        """Ask an address for what is missing: for all of it, or for a first piece where several connections get the rest."""
        client, patience, size = self.order.client, self.order.policy.patience, self.order.artifact.size
        if not address.ranges:
            return client.ask(address.url)
        several = patience.connections > 1 and (size is None or size > patience.several)
        return client.ask(address.url, self.size, self.size + _piece_size(size) if several else None, address.validator)

    def _open_version(self, address: Address, answer: Answer) -> Answer:
        """Open the partial file of the version that an answer is of. Returns the answer from where that file ends."""
        version = f"{address.url}\n{answer.validator}\n{answer.total}" if answer.validator and answer.total else None
        partial = self._open(version and short_digest(version))
        probed = answer.stop == 1
        if partial.size == answer.total or not (partial.size or probed):
            return answer
        answer.response.close()
        address.validator = answer.validator
        return self._ask(address)

    def _check_promise(self, answer: Answer) -> None:
        """Refuse another size than the manifest's before anything is read, and a file for which there is no room."""
        size = self.order.artifact.size
        if size is None and answer.encoded:
            raise Trouble(Kind.REFUSED, "it compresses the file, which was not asked for, and the manifest does not say how large the file is")
        if size is not None and answer.total is not None and answer.total != size:
            page = "; it is an HTML page" if "html" in answer.headers.get("Content-Type", "") else ""
            raise Trouble(Kind.WRONG, f"expected {size:,} bytes, it promises {answer.total:,}{page}")
        if size is None and answer.total is not None:
            self.order.store.require_space(answer.total - self.size)

    def _append(self, partial: Partial, chunk: bytes) -> None:
        size = self.order.artifact.size
        room = (size or _LARGEST) - partial.size
        partial.append(chunk[:room])
        if len(chunk) > room and not self._fits():
            raise Trouble(Kind.WRONG, f"expected {size or _LARGEST:,} bytes, it sends more{looks_like_page(partial.head)}")
        self.order.said(partial.size, size)


def _piece_size(size: int | None) -> int:
    """What one request asks for: small enough that a process that dies loses little, large enough to be worth a request."""
    return min(max((size or 0) // 512, 1 << 18), 8 << 20) if size else 1 << 20
