"""Which extra brings which library that not every installation has, and the error where one is missing."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from importlib.util import find_spec
from typing import NamedTuple, ParamSpec, TypeVar

from segzoo.errors import EnvironmentFault

P = ParamSpec("P")
T = TypeVar("T")


class Extra(NamedTuple):
    """What people call a library, and the extra that brings it."""

    title: str
    extra: str


LIBRARIES = {
    "torch": Extra("torch", "eval"),
    "PIL": Extra("Pillow", "eval"),
    "jax": Extra("jax", "jax"),
    "transformers": Extra("transformers", "peers"),
    "matplotlib": Extra("matplotlib", "report"),
    "jinja2": Extra("jinja2", "report"),
    "fontTools": Extra("fonttools", "report"),
    "duckdb": Extra("duckdb", "scale"),
    "ray": Extra("ray", "scale"),
    "fsspec": Extra("fsspec", "scale"),
    "onnx": Extra("onnx", "export"),
    "onnxscript": Extra("onnxscript", "export"),
    "onnxruntime": Extra("onnxruntime", "export"),
    "gradio": Extra("Gradio", "view"),
}
"""By the name that is imported."""


def installed(library: str) -> bool:
    """Whether a library is here. It is not imported."""
    try:
        return find_spec(library) is not None
    except ImportError:
        return False


def lacking(*libraries: str) -> EnvironmentFault | None:
    """The error for those of some libraries that are not installed; None if all are here."""
    missing = [LIBRARIES[library] for library in libraries if not installed(library)]
    if not missing:
        return None
    titles, extras = [one.title for one in missing], dict.fromkeys(one.extra for one in missing)
    if not extras.keys().isdisjoint(("export", "view")):  # they bring the other
        extras.pop("eval", None)
    return EnvironmentFault(f"{' and '.join(titles)} {'is' if len(missing) == 1 else 'are'} not installed", hint=install(*extras))


def require(*libraries: str) -> None:
    """Raises EnvironmentFault for libraries that are not installed."""
    if fault := lacking(*libraries):
        raise fault


def install(*extras: str) -> str:
    """The line to type for some extras."""
    return f"pip install 'segzoo[{','.join(extras)}]'"


def missing(error: ImportError) -> EnvironmentFault | None:
    """The error that a failed import of another project's library means to the user; None where the import is a bug of segzoo."""
    library = (error.name or "").partition(".")[0]
    if library not in LIBRARIES:  # who blocks an import may not say of what
        library = next((one for one in LIBRARIES if f"'{one}'" in str(error)), library)
    if not library or library == "segzoo":
        return None
    known = LIBRARIES.get(library)
    way = install(known.extra) if known else "segzoo doctor says what is missing"
    title = known.title if known else library
    if isinstance(error, ModuleNotFoundError):
        fault = EnvironmentFault(f"{title} is not installed", hint=way)
    else:
        fault = EnvironmentFault(f"{title} cannot be loaded: {error}", hint=f"{way} --force-reinstall" if known else way)
    return fault.with_traceback(error.__traceback__)


def named(function: Callable[P, T]) -> Callable[P, T]:
    """The function; where it lacks a library, it raises EnvironmentFault with the line to type."""

    @wraps(function)
    def call(*arguments: P.args, **options: P.kwargs) -> T:
        try:
            return function(*arguments, **options)
        except ImportError as error:
            if fault := missing(error):
                raise fault from error
            raise

    return call
