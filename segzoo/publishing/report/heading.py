"""What stands above a report: its title, a note, and who made it."""

import subprocess
from dataclasses import dataclass

_SECONDS = 5


@dataclass(frozen=True)
class Heading:
    """`note` has a paragraph for each line. Without an `author` none is named."""

    title: str
    note: tuple[str, ...] = ()
    author: str = ""


def heading(label: str, title: str | None = None, note: str | None = None) -> Heading:
    """The heading of a report on the zoo `label`. The author is the `user.name` of git's config; without git, or a name in it, nobody."""
    lines = tuple(line.strip() for line in (note or "").splitlines() if line.strip())
    return Heading((title or "").strip() or f"segzoo report: {label}", lines, _author())


def _author() -> str:
    try:
        done = subprocess.run(["git", "config", "--get", "user.name"], capture_output=True, timeout=_SECONDS)  # noqa: S607
    except (OSError, subprocess.SubprocessError):  # no git here, or one that does not answer: a report needs none
        return ""
    return done.stdout.decode(errors="backslashreplace").strip() if done.returncode == 0 else ""
