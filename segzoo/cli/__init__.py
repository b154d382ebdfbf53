"""The command line. A command parses, calls and prints; other rooms do the work, and are imported when there is work.

Only this room knows click and rich, and only this room turns errors into exit codes.
"""

from __future__ import annotations

import click

from segzoo.cli.guarded import Guarded
from segzoo.cli.options import program_options

EPILOG = """\b
Exit codes: 0 ok, 1 a bug, 2 usage, 3 network, 4 integrity (hash, damaged or
unsafe file), 5 conversion (names, shapes, numbers), 6 accuracy (mIoU),
7 not found, 8 environment (disk, permission, data set, missing extra),
9 stalled, 130 interrupted.

\b
Start here:
  segzoo --zoo mini verify --all     prove the embedded mini zoo, offline
  segzoo list                        what the shipped zoo holds
"""


@click.group(cls=Guarded, params=program_options(hidden=False), epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="segzoo")
def main() -> None:
    """Turn published ViT weights into segmentation models one can trust.

    segzoo fetches weights by content, converts them by a table that reads both ways, and proves the
    result by bytes, by numbers and by mIoU.

    --zoo, -q and -v may stand behind the command too. With --json every command prints one JSON object.
    """
