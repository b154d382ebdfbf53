"""One artifact to a verified path: from the store, or from the first address that delivers the right bytes."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from queue import SimpleQueue

from filelock import Timeout

from segzoo.atomic import sweep_once
from segzoo.errors import EnvironmentFault, IntegrityError, NotFoundError, SegzooError
from segzoo.manifest.artifact import Artifact
from segzoo.store.arrival import Order, family_of, remote
from segzoo.store.delivery import deliver
from segzoo.store.expectation import Expectation
from segzoo.store.fetched import Fetched
from segzoo.store.guard import file_lock
from segzoo.store.hashing import digest_of
from segzoo.store.http import Client
from segzoo.store.partial import arrived
from segzoo.store.policy import Policy
from segzoo.store.store import Progress, Store

_AT_ONCE = 8
_LONGEST_WAIT = 600  # seconds for another process that is fetching the same


def fetch(
    artifact: Artifact, store: Store, base: Path, progress: Progress | None = None, *, policy: Policy | None = None, client: Client | None = None
) -> Fetched:
    """The artifact in the store, fetched if it is not there or has changed on disk.

    `base` is the folder that relative addresses start from. `progress` gets (bytes done, bytes in all or
    None). What has arrived when it fails or is interrupted stays, and the next call goes on from there.
    `client` shares connections between several calls.

    Raises IntegrityError (an address delivered wrong bytes and none the right ones; or no full hash is
    known and the policy wants one), NetworkError, NotFoundError (local files only, and none is there;
    or not in the store, and offline), EnvironmentFault (disk, permission).
    """
    policy, said = policy or Policy(), progress or (lambda done, size: None)
    if artifact.shards:
        return _with_shards(artifact, store, base, said, policy, client)
    expectation = store.expectation(artifact)
    if artifact.sha256 is None:  # so its pin stands beside a manifest, where a killed run may have left something
        sweep_once(store.lock.parent)
    if policy.require_hashes and expectation.sha256 is None:
        raise IntegrityError(
            f"{artifact.name}: no full sha256 is known of it, and one is required", hint="pin one with: segzoo fetch NAME --pin SHA256"
        )
    if here := _from_store(artifact, expectation, store):
        return here
    urls = _addresses(artifact, policy)
    store.require_space(artifact.size)
    with _alone(store, artifact, expectation, said):
        if expectation.sha256 is None:  # another process may have pinned it while this one waited
            expectation = store.expectation(artifact)
        if here := _from_store(artifact, expectation, store):
            return here
        with nullcontext(client) if client else policy.client() as shared:
            return deliver(Order(artifact, expectation, store, base, said, policy, shared), urls)


def _with_shards(artifact: Artifact, store: Store, base: Path, said: Progress, policy: Policy, client: Client | None) -> Fetched:
    """An index and its shards, each fetched as a file of its own, and all of them in one folder."""
    parts: list[Fetched] = []
    for one in (artifact.model_copy(update={"shards": ()}), *artifact.shards):
        before = sum(part.size for part in parts)

        def heard(done: int, size: int | None, before: int = before) -> None:
            said(before + done, artifact.joint_size)

        parts.append(fetch(one, store, base, heard, policy=policy, client=client))
    url = next((part.url for part in parts if part.url), None)
    failures = tuple(failure for part in parts for failure in part.failures)
    received, resumed = (sum(getattr(part, what) for part in parts) for what in ("received", "resumed"))
    path, sha256, size = store.together(artifact.name, artifact.hashes), str(artifact.joint_sha256), sum(part.size for part in parts)
    return Fetched(artifact, path, sha256, size, parts[0].evidence, url, failures, received, resumed)


def _addresses(artifact: Artifact, policy: Policy) -> list[str]:
    """Where to ask, in order: the user's mirrors, then the manifest's addresses. Raises NotFoundError where offline leaves none."""
    urls = [f"{prefix.rstrip('/')}/{artifact.name}" for prefix in policy.mirrors] + [mirror.url for mirror in artifact.urls]
    if policy.offline:
        urls = [url for url in urls if not remote(url)]
        if not urls:
            raise NotFoundError(
                f"{artifact.name}: not in the store, and not fetched: offline", hint="fetch it once with a connection, or segzoo store add it"
            )
    return urls


def fetch_many(
    artifacts: Mapping[str, Artifact], store: Store, base: Path, progress: Callable[[str, int, int | None], None], *, policy: Policy | None = None
) -> Iterator[tuple[str, Fetched | SegzooError]]:
    """Several artifacts at once, each as it comes or fails. `progress` gets (name, bytes done, bytes in all or None)."""
    policy = policy or Policy()
    client = policy.client()
    waiting: SimpleQueue[str | None] = SimpleQueue()
    done: SimpleQueue[tuple[str, Fetched | BaseException]] = SimpleQueue()

    def work() -> None:
        while (name := waiting.get()) is not None:
            try:
                said = partial(progress, name)
                done.put((name, fetch(artifacts[name], store, base, said, policy=policy, client=client)))
            except BaseException as error:
                done.put((name, error))

    for name in artifacts:
        waiting.put(name)
    for _ in range(min(_AT_ONCE, len(artifacts))):  # daemons: Ctrl-C need not wait for a server
        threading.Thread(target=work, daemon=True).start()
        waiting.put(None)
    with client:
        for _ in artifacts:
            name, outcome = done.get()
            if not isinstance(outcome, Fetched | SegzooError) or isinstance(outcome, EnvironmentFault):
                raise outcome  # a full disk is full for the next one too
            yield name, outcome


def _from_store(artifact: Artifact, expectation: Expectation, store: Store) -> Fetched | None:
    """The artifact, if the store has it and its bytes are still right. A blob that has changed is removed."""
    if (path := store.stored(expectation.sha256)) is None:
        return None
    with store.readable():
        sha256, size = digest_of(path, links=False)
        if sha256 == path.name:
            return Fetched(artifact, path, sha256, size, expectation.evidence(), None)
        store.remove(path.name, f"changed on disk, its sha256 is now {sha256}; it ")
    return None


@contextmanager
def _alone(store: Store, artifact: Artifact, expectation: Expectation, said: Progress) -> Iterator[None]:
    """Wait for a process that fetches the same, and show its progress. Where locks do not work, both fetch it, which costs only time."""
    lock, until = None, time.monotonic() + _LONGEST_WAIT
    with suppress(OSError):
        (store.home / "locks").mkdir(parents=True, exist_ok=True)
        lock = file_lock(store.home / "locks" / f"{artifact.name}.lock")
        while lock and not lock.is_locked and time.monotonic() < until:
            with suppress(Timeout):
                lock.acquire(timeout=0.5, poll_interval=0.1)
                continue
            said(arrived(store.partials, family_of(artifact, expectation)), artifact.size)
    try:
        yield
    finally:
        if lock:
            lock.release()
