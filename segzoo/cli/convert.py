"""`segzoo convert`: one file of weights to another layout or format."""

from pathlib import Path

import click

from segzoo.cli.manifest import Choice
from segzoo.errors import NotFoundError
from segzoo.layouts import LAYOUTS


@click.command(short_help="Convert weights to another layout or file format.")
@click.argument("source", metavar="SRC")
@click.argument("target", metavar="DST", type=click.Path(path_type=Path))
@click.option("--to", type=click.Choice(list(LAYOUTS)), default="mmseg", show_default=True, help="Layout to write.")
@click.option("--from", "source_layout", type=click.Choice(list(LAYOUTS)), help="Layout of SRC.  [default: detected]")
@click.option("--drop", multiple=True, metavar="SECTION", help="Leave out a section, such as classifier; may be given again.")
@click.option("--prefix", help="Prefix of the target's names, such as 'backbone.'.")
@click.option("--heads", type=click.IntRange(min=1), help="Attention heads, where the target shows them and the source does not.")
@click.option("--force", is_flag=True, help="Replace DST if it exists.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON, with the digest of every tensor.")
@click.pass_obj
def convert(
    choice: Choice,
    source: str,
    target: Path,
    to: str,
    source_layout: str | None,
    drop: tuple[str, ...],
    prefix: str | None,
    heads: int | None,
    force: bool,
    as_json: bool,
) -> None:
    """Convert the weights in SRC, a file or a name in the zoo, and write them to DST.

    What SRC is, is read from its content. The format of DST follows its suffix: .pth (a bare state
    dict, as MMSegmentation reads it), .safetensors or .npz. Numbers are moved, never computed; what
    the target layout cannot hold is dropped by name. DST is read back and compared before it appears.

    \b
    Examples:
      segzoo convert Ti_16-i21k-...-res_384.npz pretrain/vit_tiny_p16_384.pth
      segzoo convert vit-t vit_tiny.safetensors --to timm
    """
    import json
    import os

    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # nothing is multiplied here; a thread a core costs more than a small file

    from segzoo.cli.output import byte_progress, megabytes, on_terminal, show, tell
    from segzoo.conversion import convert as convert_file

    path = Path(source)
    if not path.exists():
        path, heads = _from_zoo(choice, source, heads)
    with byte_progress(target.name) as said:
        report = convert_file(
            path,
            target,
            to=to,
            source_layout=source_layout,
            heads=heads,
            drop=drop,
            prefix=prefix,
            force=force,
            progress=lambda _, done: said(done, None),
        )
    if as_json:
        dropped = [{"section": drop.section, "reason": drop.reason, "tensors": drop.keys} for drop in report.dropped]
        facts = {"source": source, "target": str(target), "from": report.source_layout, "to": report.target_layout, "dropped": dropped}
        click.echo(json.dumps({**facts, "geometry": str(report.geometry), "digests": report.digests, "seconds": round(report.seconds, 3)}, indent=2))
        return
    lines = [f"read     {source}: {report.source_layout}, {report.read} tensors, {megabytes(report.bytes_read)}", f"         {report.geometry}"]
    lines += [f"         {note}" for note in report.notes]
    lines += [f"dropped  {drop.section}: {', '.join(drop.keys)}\n         {drop.reason}" for drop in report.dropped]
    lines += [f"wrote    {target}: {report.target_layout}, {len(report.digests)} tensors, {megabytes(report.bytes_written)}"]
    lines += [f"         read back and compared, {report.seconds:.2f} s in all"]
    for line in lines:
        show(line)
    if report.not_finite:
        tell(f"warning: not finite: {', '.join(report.not_finite)}", style="yellow")
    if to == "mmseg" and report.geometry.decoder is None and on_terminal():
        tell("note: mmseg 1.2 needs patch_bias=True in the backbone's config, or it drops the patch bias", style="dim")


def _from_zoo(choice: Choice, name: str, heads: int | None) -> tuple[Path, int | None]:
    """The file behind a name in the zoo, fetched if need be, and the heads that the manifest knows."""
    from segzoo.cli.output import byte_progress
    from segzoo.download import fetch

    looks_like_a_path = "/" in name or Path(name).suffix in (".npz", ".pth", ".pt", ".safetensors")
    if looks_like_a_path:
        raise NotFoundError(f"{name}: no such file")
    manifest = choice.load()
    entry = manifest.chosen([name], False, manifest.zoo.entries)[name]
    with byte_progress(entry.artifact.name) as said:
        path = fetch(entry.artifact, manifest.store, manifest.base, said).path
    return path, heads if heads is not None else entry.geometry.heads
