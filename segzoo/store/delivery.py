"""One artifact from its addresses: which of them is asked, how often, and what a failure means for what has arrived."""

import time
from collections.abc import Sequence
from urllib.parse import urlsplit

from segzoo.errors import IntegrityError, NetworkError, NotFoundError, SegzooError
from segzoo.manifest.artifact import Artifact
from segzoo.store.acceptance import accept
from segzoo.store.arrival import Address, Arrival, Order, remote
from segzoo.store.fetched import Fetched
from segzoo.store.partial import Partial
from segzoo.store.trouble import Kind, Trouble, without_passwords

_RESTART = {Kind.CHANGED, Kind.NO_RANGES}  # what has arrived is of no use here: from the start, at once
_NEXT_ROUND = {Kind.LATER, Kind.STALLED} | _RESTART  # may deliver in another round
_BROKEN_OFF = {Kind.LOST} | _NEXT_ROUND  # goes on at once, if it has made progress
_MOST_RESTARTS = 2  # at one address, in one round
_MOST_STALLS = 2  # of one address, one after the other, with no progress between


def deliver(order: Order, urls: Sequence[str]) -> Fetched:
    """Get an artifact into the store, in rounds over its addresses, while one of them may deliver yet.

    Raises IntegrityError, NetworkError or NotFoundError where none delivers; EnvironmentFault.
    """
    known = {url: Address(url) for url in urls}
    left = [known[url] for url in urls]
    patience = order.policy.patience
    with Arrival(order) as arrival:
        for turn in range(patience.tries):
            for number, address in enumerate(left):
                arrival.begin_turn(len(left) - number)
                try:
                    whole, checksums = _visit(order, arrival, address)
                except Trouble as trouble:
                    address.trouble = trouble
                    continue
                failures = tuple(_failure(other) for other in known.values() if other.trouble and other is not address)
                return _keep(order, whole, address.url, checksums, failures, arrival.received)
            left = [address for address in left if _worth_a_round(address)]
            if not left or arrival.spent:
                break
            if turn + 1 < patience.tries:
                asked = min(address.trouble.wait for address in left if address.trouble)
                time.sleep(min(max(asked, patience.pause * 2**turn), patience.wait, arrival.left))
    raise _undelivered(order.artifact, list(known.values()))


def _visit(order: Order, arrival: Arrival, address: Address) -> tuple[Partial, tuple[str, ...]]:
    """Get the whole right file from one address, asked again at once as long as that helps. Raises Trouble where it does not.

    Returns the file, and the names of the server's checksums that it fits.
    """
    mark, restarts = arrival.size, 0
    while True:
        try:
            whole, answer = arrival.take(address)
            return whole, accept(order.artifact, order.expectation, whole, address.url, answer, order.policy.look)
        except Trouble as trouble:
            gained = arrival.size >= mark + order.policy.patience.progress
            if trouble.kind is Kind.STALLED:
                address.stalls = 1 if gained else address.stalls + 1
            if trouble.kind is Kind.WRONG:
                origins = arrival.origins
                if address.url in origins:
                    arrival.discard()
                if address.url not in origins or len(origins) == 1:
                    raise
                mark = 0  # the wrong part may be from another address: once more, all of it from here
            elif trouble.kind in _RESTART and restarts < _MOST_RESTARTS:
                restarts += 1
                arrival.begin_anew()
                address.validator = None
                address.ranges = address.ranges and trouble.kind is Kind.CHANGED
            elif trouble.kind in _BROKEN_OFF and gained and not arrival.turn_over:
                mark = arrival.size
            else:
                raise


def _worth_a_round(address: Address) -> bool:
    """Whether a failed address may deliver later. One that never had a connection will not; one that lost it may."""
    kind = address.trouble and address.trouble.kind
    if kind is Kind.STALLED and address.stalls >= _MOST_STALLS:
        return False
    return kind in _NEXT_ROUND or (kind is Kind.LOST and address.delivered)


def _keep(order: Order, whole: Partial, url: str, checksums: tuple[str, ...], failures: tuple[str, ...], received: int) -> Fetched:
    """Give the whole file its name in the store, and pin its hash where the manifest has none."""
    artifact, source, sha256, size = order.artifact, without_passwords(url), whole.digest.hexdigest(), whole.size
    path = order.store.blob(sha256)
    whole.finish(path)
    if not artifact.sha256:
        order.store.pin(artifact, sha256, size, source)
    return Fetched(artifact, path, sha256, size, order.expectation.evidence(checksums), source, failures, received, whole.resumed)


def _failure(address: Address) -> str:
    return f"{without_passwords(address.url)}: {address.trouble}"


def _undelivered(artifact: Artifact, addresses: Sequence[Address]) -> SegzooError:
    """The gravest of what went wrong, with every address tried and why it failed."""
    troubles = [address.trouble for address in addresses if address.trouble]
    kind: type[SegzooError] = NotFoundError
    if any(trouble.kind is Kind.WRONG for trouble in troubles):
        kind = IntegrityError
    elif any(trouble.kind is not Kind.ABSENT for trouble in troubles):
        kind = NetworkError
    hint = {
        IntegrityError: "the bytes are not those that the manifest names; nothing of them was kept",
        NetworkError: "check the connection and the proxy settings (segzoo doctor tries the hosts), or try again later: what has arrived is kept;"
        " --mirror URL gives another address, segzoo store add FILE takes a file that you have",
        NotFoundError: "the manifest names a file that is not there",
    }[kind]
    own = next((trouble.hint for trouble in troubles if trouble.hint), None)
    causes: dict[str, dict[str, None]] = {}
    for address in addresses:
        causes.setdefault(str(address.trouble), {})[_place(address.url)] = None
    below = [f"  {_failure(address)}" for address in addresses]
    return kind(f"{artifact.name}: no address delivered it:", own or hint, below=below, causes=causes)


def _place(url: str) -> str:
    """The host of an address; of a file the path."""
    return urlsplit(without_passwords(url)).netloc if remote(url) else url
