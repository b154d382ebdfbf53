"""A clean environment for every test, and the things that many of them start from."""

import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # a process a core runs the tests: more threads would wait for each other

import numpy as np
import pytest

from segzoo.geometry import Spec
from segzoo.zoo import Zoo, load, packaged

GOLDEN = Path(__file__).parent / "data"
MINI = packaged("mini/zoo.yaml").parent
TAME = MINI / "mini.tame.npz"


@pytest.fixture(autouse=True)
def _clean(monkeypatch, tmp_path_factory):
    """A store of one's own, and nothing of the caller's environment that changes output or network."""
    monkeypatch.setenv("SEGZOO_HOME", str(tmp_path_factory.mktemp("home")))
    for name in ("XDG_CACHE_HOME", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def mini_zoo() -> Zoo:
    return load(MINI / "zoo.yaml")


def specs_of(tensors) -> dict[str, Spec]:
    return {name: Spec(array.shape, array.dtype.name) for name, array in tensors.items()}


def same(mine, theirs) -> bool:
    """Same names, dtypes, shapes and numbers."""
    return mine.keys() == theirs.keys() and all(
        mine[name].dtype == theirs[name].dtype and np.array_equal(mine[name], theirs[name]) for name in theirs
    )
