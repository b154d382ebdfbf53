"""What a rung of the ladder of evidence is given, and what it yields."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from segzoo.delivery import Fetched, Policy
from segzoo.detection import Found
from segzoo.download import fetch
from segzoo.formats import Weights
from segzoo.geometry import Geometry
from segzoo.store import Store
from segzoo.zoo import Artifact, Entry, Zoo

Status = Literal["passed", "failed", "skipped", "n/a"]
RUNGS = ("bytes", "names", "round trip", "numbers", "mIoU")
IMAGES_ON_CPU = 50


@dataclass(frozen=True, slots=True)
class Check:
    """The outcome of one rung. `short` fits a table's cell, `detail` is a sentence, `facts` go into the receipt."""

    rung: str
    status: Status
    short: str
    detail: str
    facts: dict[str, Any] = field(default_factory=dict)
    code: int = 0
    seconds: float = 0.0

    def record(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if name != "short"}


@dataclass(frozen=True)
class Setting:
    """Where and how to verify. `images` None means all; `data` is a folder with the data set, if the user
    has one; `modes` are those in which the mIoU is measured.
    """

    zoo: Zoo
    base: Path
    store: Store
    device: str = "cpu"
    images: int | None = IMAGES_ON_CPU
    data: Path | None = None
    modes: tuple[str, ...] = ("ss",)
    said: Callable[[str, int, int | None], None] = lambda doing, done, whole: None
    policy: Policy | None = None

    def fetch(self, artifact: Artifact) -> Fetched:
        return fetch(artifact, self.store, self.base, lambda done, whole: self.said("fetching", done, whole), policy=self.policy)


class Climb:
    """What is climbed, and what the rungs below have established: a rung sets it, those above read it."""

    fetched: Fetched
    opened: Weights
    found: Found
    geometry: Geometry

    def __init__(self, entry: Entry, setting: Setting):
        self.entry, self.setting = entry, setting


class Skip(Exception):
    """A rung that could not run, and why."""

    def __init__(self, short: str, detail: str):
        super().__init__(detail)
        self.short, self.detail = short, detail
