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
"""


@click.group(cls=Guarded, params=program_options(hidden=False), epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="segzoo")
def main() -> None:
    """Turn ViT weights, published or your own, into segmentation models one can trust.

    \b
    I want a published model:
      segzoo list --data ade20k --sort miou
      segzoo predict seg-b-mask photo.jpg -o pictures
      segzoo verify seg-b-mask --data ADEChallengeData2016
      segzoo --zoo mini verify --all           try it: a tiny zoo, offline

    \b
    I have my own checkpoint and pictures:
      segzoo inspect checkpoint.pth
      segzoo predict checkpoint.pth photos -o pictures
      segzoo verify checkpoint.pth --data my-data-set
      segzoo report -o page

    \b
    I need another layout:
      segzoo convert checkpoint.pth model.safetensors --to timm
      segzoo export checkpoint.pth --as hf -o model
      segzoo diff checkpoint.pth model.safetensors

    --zoo, -q and -v may stand behind the command too. With --json every command prints one JSON object.
    """
