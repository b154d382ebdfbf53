"""A clean environment for every test."""

import atexit
import os
import shutil
import signal
import tempfile

import pytest
from support import MINI

from segzoo.manifest.document import Manifest, load_manifest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # a process a core runs the tests: more threads would wait for each other
if "PYTEST_XDIST_WORKER" not in os.environ:  # what JAX compiles for one process serves them all
    os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="segzoo-jax-")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
    atexit.register(shutil.rmtree, os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it for what it starts with "&", and so would our children


@pytest.fixture(autouse=True)
def _clean(monkeypatch, tmp_path_factory):
    """A store of one's own, and nothing of the caller's environment that changes output or network."""
    monkeypatch.setenv("SEGZOO_HOME", str(tmp_path_factory.mktemp("home")))
    for name in ("XDG_CACHE_HOME", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "FORCE_COLOR", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name in ("RECEIPTS", "ZOO", "OFFLINE", "MIRROR", "DEADLINE", "NETRC"):
        monkeypatch.delenv(f"SEGZOO_{name}", raising=False)


@pytest.fixture(scope="session")
def mini_zoo() -> Manifest:
    return load_manifest(MINI / "zoo.yaml")
