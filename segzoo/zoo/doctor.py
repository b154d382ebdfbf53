"""Whether this machine has what segzoo needs, and what to do where it lacks something.

Each finding is yielded as soon as it is made, since the last ones wait for the network.
"""

import importlib.metadata
import os
import platform
import shlex
import shutil
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from packaging.requirements import Requirement

from segzoo.atomic import abandoned, part_file
from segzoo.errors import SegzooError
from segzoo.extras import install, installed
from segzoo.store.http import Client, Patience
from segzoo.store.leftovers import leftovers
from segzoo.store.proxy import fault_of
from segzoo.store.store import receipts
from segzoo.store.trouble import Trouble, without_passwords
from segzoo.zoo.zoo import Zoo

_ROOM = 5 << 30  # bytes: room for the largest files twice
_EXTRAS = {"eval": "the numbers and mIoU rungs, predict", "jax": "the numbers rung", "report": "reports", "export": "export --as onnx"}
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
_CERTIFICATES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One finding. `missing` means that some commands cannot run and others can; `wrong` means that it must be mended."""

    what: str
    status: Literal["ok", "missing", "wrong"]
    detail: str
    fix: str | None = None


def diagnose(zoo: Zoo) -> Iterator[Diagnosis]:
    """All findings, in the order of need: Python, packages, device, store, network."""
    yield Diagnosis("python", "ok", f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    yield from _packages()
    yield _device()
    yield from _store(zoo)
    yield _left_over(Path.cwd())
    yield _proxies()
    yield _certificates()
    if zoo.offline:
        yield Diagnosis("network", "ok", "offline, as asked: no address was tried")
    else:
        yield from _addresses(zoo)


def _packages() -> Iterator[Diagnosis]:
    """The packages that every command needs, then those of each extra."""
    required = [Requirement(line) for line in importlib.metadata.requires("segzoo") or ()]
    for extra, purpose in {"": "", **_EXTRAS}.items():
        mine = [one for one in required if (one.marker.evaluate({"extra": extra}) if one.marker else not extra)]
        found = {one.name: _version(one.name) for one in mine}
        lacking = [str(one).split(";")[0] for one in mine if (version := found[one.name]) is None or version not in one.specifier]
        name = f"extra {extra}" if extra else "packages"
        if lacking:
            fix = install(extra) if extra else "pip install --force-reinstall segzoo"
            yield Diagnosis(name, "missing" if extra else "wrong", f"not here: {', '.join(lacking)}" + (f" ({purpose})" if extra else ""), fix)
        else:
            yield Diagnosis(name, "ok", ", ".join(f"{package} {version}" for package, version in found.items()))


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _device() -> Diagnosis:
    if _version("torch") is None or not installed("torch"):
        return Diagnosis("device", "missing", "no torch, so no device to evaluate on", install("eval"))
    import torch

    build = f"torch {torch.__version__}, " + (f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built without CUDA")
    if torch.cuda.is_available():
        cards = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
        return Diagnosis("device", "ok", f"{build}; " + ", ".join(f"{card.name}, {card.total_memory / 1e9:.0f} GB" for card in cards))
    if torch.backends.mps.is_available():
        return Diagnosis("device", "ok", f"{build}; Apple's GPU")
    threads = f"CPU, {torch.get_num_threads()} threads"
    if torch.version.cuda:
        fix = "nvidia-smi shows whether the driver is there and new enough"
        return Diagnosis("device", "missing", f"{build}, but it finds no GPU; {threads}", fix)
    if shutil.which("nvidia-smi"):
        return Diagnosis("device", "missing", f"{build}, but this machine has NVIDIA's driver; {threads}", "https://pytorch.org/get-started/locally/")
    return Diagnosis("device", "ok", f"{build}; {threads}")


def _store(zoo: Zoo) -> Iterator[Diagnosis]:
    """Whether the store can be written, and how much room its disk has."""
    home = zoo.store.home
    try:
        with part_file(home, "doctor"):
            pass
        held = sum(size for _, size in zoo.store.files())
    except SegzooError as error:
        only_read = home not in receipts().parents  # receipts go elsewhere, so what is in the store can be used
        yield Diagnosis("store", "missing" if only_read else "wrong", error.message, "set SEGZOO_HOME to a folder that can be written")
        return
    free = shutil.disk_usage(home).free
    said = f"{home}: {f'{held / 1e6:,.1f} MB' if held else 'nothing'} in it, {free / 1e9:.1f} GB free"
    if left := leftovers(zoo.store):
        said += f"; {len(left)} unfinished or left by killed runs, {sum(left.values()) / 1e6:,.1f} MB: segzoo store prune removes them"
    if free < _ROOM:
        yield Diagnosis("store", "missing", f"{said}: too little for the largest files", "segzoo store prune; or set SEGZOO_HOME to a larger disk")
    else:
        yield Diagnosis("store", "ok", said)


def _left_over(folder: Path) -> Diagnosis:
    """What killed commands left in the working folder."""
    left = [part.name for part in abandoned(folder)]
    if not left:
        return Diagnosis("working folder", "ok", f"{folder}: nothing left over of a command that was killed")
    said = f"{folder}: left over of commands that were killed: {', '.join(left)}"
    both = " ".join(shlex.quote(name) for part in left for name in (part, f"{part.removesuffix('.part')}.held"))
    return Diagnosis("working folder", "missing", said, f"the next command that writes there removes it; or rm -rf {both}")


def _proxies() -> Diagnosis:
    """The proxies that the environment names, without their passwords, and whether they can be used as they are written."""
    spellings = [spelling for name in _PROXIES for spelling in (name, name.lower())]
    said = _named(spellings) or "none"
    for name in spellings:
        if not name.lower().startswith("no_") and (wrong := fault_of(os.environ.get(name, ""))):
            return Diagnosis("proxies", "wrong", f"{said}; {name}: {wrong[0]}", wrong[1])
    return Diagnosis("proxies", "ok", said)


def _certificates() -> Diagnosis:
    said = _named(_CERTIFICATES)
    if lost := [name for name in _CERTIFICATES if (path := os.environ.get(name)) and not Path(path).exists()]:
        return Diagnosis("certificates", "wrong", f"{said}: no such file", f"unset {lost[0]}, or let it name a file of certificates")
    return Diagnosis("certificates", "ok", said or "the system's trust store")


def _named(variables: Iterable[str]) -> str:
    return ", ".join(f"{name}={without_passwords(value)}" for name in variables if (value := os.environ.get(name)))


def _addresses(zoo: Zoo) -> Iterator[Diagnosis]:
    """Whether each host of the zoo answers. It is asked for the first byte of one file."""
    first: dict[str, str] = {}
    for artifact in zoo.manifest.artifacts.values():
        for mirror in artifact.urls:
            if mirror.url.startswith(("http://", "https://")):
                first.setdefault(urlsplit(mirror.url).netloc, mirror.url)
    first |= {urlsplit(url).netloc: url for url in zoo.mirrors}
    if not first:
        yield Diagnosis("network", "ok", "this zoo has no addresses on the network")
    away = 0
    with Client(Patience(connect=5, head=5), zoo.netrc) as client, ThreadPoolExecutor(8) as pool:
        for host, reason in zip(first, pool.map(lambda url: _reason(client, url), first.values()), strict=True):
            away += reason is not None
            if reason is None:
                yield Diagnosis("network", "ok", f"{host} answers")
            else:
                yield Diagnosis("network", "missing", f"{host}: {reason}", "--mirror URL names another; segzoo store bundle carries files")
    if first and away == len(first):  # one silent host is not this machine's fault; if all are silent, it is
        yield Diagnosis(
            "network", "wrong", "no host of the zoo answers", "check the connection and the proxies; or work without a network: --offline"
        )


def _reason(client: Client, url: str) -> str | None:
    """Why an address does not give its first byte; None where it does."""
    try:
        client.ask(url, 0, 1).response.close()
    except Trouble as trouble:
        return str(trouble)
    return None
