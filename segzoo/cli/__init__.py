"""The command line. A command parses, calls and prints; other rooms do the work, and are imported when there is work.

Only this room knows click and rich, and only this room turns errors into exit codes.
"""

from __future__ import annotations

import click

from segzoo.cli.completion import ManifestPath
from segzoo.cli.guarded import Guarded
from segzoo.cli.options import Choice

EPILOG = """\b
Exit codes: 0 ok, 1 a bug, 2 usage, 3 network, 4 integrity (hash, damaged or
unsafe file), 5 conversion (names, shapes, numbers), 6 accuracy (mIoU),
7 not found, 8 environment (disk, permission, data set, missing extra),
130 interrupted.

\b
Start here:
  segzoo --zoo mini verify --all     prove the embedded mini zoo, offline
  segzoo list                        what the shipped zoo holds
"""


@click.group(cls=Guarded, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--zoo",
    type=ManifestPath(),
    multiple=True,
    metavar="PATH|mini|shipped",
    envvar="SEGZOO_ZOO",
    help="Manifest to use: a zoo.yaml, 'mini' for the embedded one, or 'shipped', the default. May be given several times; where two "
    "manifests use the same name, the earlier manifest wins. SEGZOO_ZOO, a list like PATH, stands for it.",
)
@click.option("-q", "--quiet", is_flag=True, help="Results and errors only: no progress.")
@click.option("-v", "--verbose", count=True, help="Say more; -vv shows tracebacks.")
@click.version_option(package_name="segzoo")
@click.pass_context
def main(ctx: click.Context, zoo: tuple[str, ...], quiet: bool, verbose: int) -> None:
    """Turn published ViT weights into segmentation models one can trust.

    segzoo fetches weights by content, converts them by a table that reads both ways, and proves the
    result by bytes, by numbers and by mIoU.
    """
    ctx.obj = Choice(zoo)
