"""The real mmseg on mmcv-lite, which lacks mmcv's compiled operations: a stand-in for them, of which a Segmenter uses none."""

import importlib.machinery
import sys
import types


class _Absent(types.ModuleType):
    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *arguments: None


def install() -> None:
    """To be called before mmseg is imported: `mmcv.ops` looks for the names at once."""
    absent = _Absent("mmcv._ext")
    absent.__spec__ = importlib.machinery.ModuleSpec("mmcv._ext", None)
    sys.modules["mmcv._ext"] = absent
