"""Where a file of weights says what no tensor shows: in its metadata, in its `meta`, and in a config beside it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segzoo.conversion.config_json import of_json
from segzoo.conversion.config_openmmlab import of_meta, of_openmmlab
from segzoo.conversion.config_text import read_config
from segzoo.conversion.said import Fact, Said
from segzoo.errors import EnvironmentFault, IntegrityError, NotFoundError, UsageError
from segzoo.formats import Weights
from segzoo.formats.pickled import content
from segzoo.json_in import parse_json, read_json

METADATA_KEY = "segzoo"
_LARGEST = 1 << 22  # bytes of a config; config.json with the names of 21,841 classes has 1 MB
_LONGEST = 1 << 16  # bytes of the facts in a file's own metadata


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a safetensors file written by segzoo records of itself: attention heads (or those of each stage), positions of the grid (or its rows
    and columns), eps of the backbone's layer norms, the side of its windows, its activation. None stands for what a file does not say.
    """

    heads: int | tuple[int, ...] | None = None
    positions: int | tuple[int, int] | None = None
    eps: float | None = None
    window: int | None = None
    activation: str | None = None


def recorded(opened: Weights) -> Recorded:
    """The facts in a file's own metadata. What is malformed there is ignored."""
    try:
        facts = parse_json(opened.metadata.get(METADATA_KEY, "{}"), where=opened.path, limit=_LONGEST)
    except IntegrityError:
        return Recorded()
    if not isinstance(facts, dict):
        return Recorded()
    heads, positions, rows, eps, window, form = (facts.get(name) for name in ("heads", "positions", "rows", "eps", "window", "activation"))
    known = positions if type(positions) is int and positions > 0 else None
    lying = (rows, known // rows) if known and type(rows) is int and rows > 0 and known % rows == 0 else None
    return Recorded(
        _heads(heads),
        lying or known,
        eps if type(eps) is float and 0 < eps < 1 else None,
        window if type(window) is int and window > 0 else None,
        form if isinstance(form, str) and form.isidentifier() else None,
    )


def _heads(said: Any) -> int | tuple[int, ...] | None:
    """A positive number of heads, or one for each stage; None for anything else."""
    numbers = said if isinstance(said, list) and said else [said]
    if not all(type(one) is int and one > 0 for one in numbers):
        return None
    return tuple(numbers) if isinstance(said, list) else numbers[0]


def said_of(opened: Weights) -> tuple[Said, ...]:
    """What is said of a file, the more trustworthy first: by its own metadata, by its `meta`, by config.json beside it."""
    known = recorded(opened)
    facts = {
        f"backbone.{name}": Fact(value, "the file's metadata") for name in ("heads", "eps", "window", "activation") if (value := getattr(known, name))
    }
    return (Said(facts), of_meta(opened.meta), *_of_texts(opened.meta), *_beside(Path(opened.path)))


def _of_texts(meta: Mapping[str, Any]) -> Iterator[Said]:
    """The config that mmengine keeps as text under `cfg`, and mmcv under `config`; or the dict that it was made of."""
    for key in ("cfg", "config"):
        value, source = content(meta.get(key)), f"meta.{key}"
        if isinstance(value, dict):
            yield of_openmmlab(value, source)
        elif isinstance(value, str) and value.strip():
            config = read_config(value)
            yield of_openmmlab(config.values, source, config.bases) if config else Said(notes=(f"{source} is no Python, and is not read",))


def _beside(path: Path) -> Iterator[Said]:
    """config.json in the folder of the weights, as transformers, timm and `segzoo export` write it."""
    config, images = (_json(path.with_name(f"{name}.json")) for name in ("config", "preprocessor_config"))
    if isinstance(config, dict):
        yield of_json(config, "config.json", images)


def _json(path: Path) -> Any:
    """A file of JSON; None where there is none that can be read."""
    try:
        return read_json(path, limit=_LARGEST)
    except (OSError, IntegrityError):
        return None


def said_by(config: Path) -> Said:
    """What a config that the user names says. Raises NotFoundError, UsageError where it is no config, EnvironmentFault."""
    if not config.is_file():
        raise NotFoundError(f"{config}: no such file", hint="--config takes a config of MMSegmentation, or config.json of transformers or timm")
    try:
        with config.open("rb") as file:
            text = file.read(_LARGEST).decode("utf-8")
    except UnicodeDecodeError:
        text = ""
    except OSError as error:
        raise EnvironmentFault(f"{config}: cannot be read: {error.strerror}") from error
    nest = _json(config)
    read = None if isinstance(nest, dict) else read_config(text)
    said = of_json(nest, config.name, _json(config.with_name("preprocessor_config.json"))) if isinstance(nest, dict) else Said()
    if read is not None:
        said = of_openmmlab(read.values, config.name, read.bases)
    if not said.facts:
        raise UsageError(
            f"{config}: expected a config, as Python text or JSON, found nothing that it says of a model" + "".join(f"; {one}" for one in said.notes),
            hint="a config that builds on others must be whole: mmengine writes one into work_dirs, and print_config.py prints it",
        )
    return said
