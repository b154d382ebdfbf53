"""The rung that costs no download: has each file the bytes that its plan expects? A bucket's listing says so, else the address itself is asked."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from segzoo.errors import IntegrityError, NetworkError, NotFoundError, SegzooError
from segzoo.manifest.artifact import local
from segzoo.scale.lanes import MOST
from segzoo.scale.plan import Item, Plan
from segzoo.store.arrival import remote
from segzoo.store.http import Client
from segzoo.store.policy import Policy
from segzoo.store.trouble import Kind, Trouble

_TRIES = 3


@dataclass(frozen=True, slots=True)
class Size:
    """The bytes of a file as its host says; None with the `error` that says why not. An item of unknown size has no error."""

    item: Item
    found: int | None
    error: SegzooError | None = None


def sizes(plan: Plan, policy: Policy) -> Iterator[Size]:
    """The size of each file of a plan, in the order in which hosts answer. At most 16 connections are open. Not one byte of a body is read."""
    with policy.client() as client, ThreadPoolExecutor(MOST) as pool:
        stop = threading.Event()
        asked = [pool.submit(_size, item, client, policy, stop) for item in plan.items if item.entry is None]
        try:
            for one in as_completed(asked):
                yield one.result()
        finally:
            stop.set()


def _size(item: Item, client: Client, policy: Policy, stop: threading.Event) -> Size:
    if (listed := item.facts.get("listed_size")) is not None:
        return _judged(item, int(listed), "the listing")
    error: SegzooError = NotFoundError(f"{item.file}: no address")
    for url in (*(f"{prefix.rstrip('/')}/{item.file}" for prefix in policy.mirrors), *item.urls):
        if not remote(url):
            path = local(url, Path("/"))
            return _judged(item, path.stat().st_size, url) if path.is_file() else Size(item, None, NotFoundError(f"{path}: no such file"))
        for _ in range(_TRIES):
            if stop.is_set():
                break
            try:
                found = client.size(url)
            except Trouble as trouble:
                kind = NotFoundError if trouble.kind is Kind.ABSENT else NetworkError
                error = kind(f"{url}: {trouble}")
                if trouble.kind is Kind.LATER:
                    continue
                break
            if found is None:
                error = NetworkError(f"{url}: does not say how large it is")
                break
            return _judged(item, found, url)
    return Size(item, None, error)


def _judged(item: Item, found: int, where: str) -> Size:
    if not item.sizes or found in item.sizes:
        return Size(item, found)
    must = " or ".join(f"{size:,}" for size in item.sizes)
    return Size(item, found, IntegrityError(f"{item.file}: {found:,} bytes at {where}, its row means {must}"))
