"""`segzoo store bundle` and `load`: the store's files in one archive, for machines without a network."""

from pathlib import Path

import click

from segzoo.cli.completion import ZooName
from segzoo.cli.options import Choice


@click.command(short_help="Write an archive, for machines without a network.")
@click.argument("target", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False))
@click.argument("names", nargs=-1, metavar="NAME...", type=ZooName("backbones", "models", "datasets"))
@click.option("--all", "every", is_flag=True, help="Every backbone and model of the zoo.")
@click.option("--force", is_flag=True, help="Replace FILE if it is another file.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def bundle(choice: Choice, target: Path, names: tuple[str, ...], every: bool, force: bool, as_json: bool) -> None:
    """Write an archive of the files that the store has for these names, and of their pinned hashes.

    A FILE that is this archive already stays as it is.

    \b
    Examples:
      segzoo store bundle zoo.tar vit-t vit-t-mask
      segzoo store bundle zoo.tar --all
    """
    from segzoo.cli.terminal.answer import show_json
    from segzoo.cli.terminal.progress import byte_progress
    from segzoo.cli.terminal.show import counted, megabytes, show
    from segzoo.store.bundle import create_bundle
    from segzoo.zoo.names import resolve

    zoo = choice.open()
    artifacts = zoo.manifest.artifacts
    chosen = resolve(zoo, names, every, {name: artifacts[name] for name in zoo.manifest.entries} if every else artifacts)
    with byte_progress(target.name) as said:
        count, already = create_bundle(target, [file for one in chosen.values() for file in one.files], zoo.store, said, force)
    if as_json:
        show_json({"bundle": str(target), "files": count, "size": target.stat().st_size, "already": already})
    elif already:
        show(f"{target} is there already, with the same {counted(count, 'file')}; it stays as it is")
    else:
        show(f"{target}: {counted(count, 'file')}, {megabytes(target.stat().st_size)}")


@click.command(short_help="Put an archive's files into the store.")
@click.argument("source", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def load(choice: Choice, source: Path, as_json: bool) -> None:
    """Put an archive's files into the store. Each file is hashed, and refused if its hash is not the one in its name."""
    from segzoo.cli.terminal.answer import show_json
    from segzoo.cli.terminal.progress import byte_progress
    from segzoo.cli.terminal.show import counted, show
    from segzoo.store.bundle import load_bundle

    zoo = choice.open()
    with byte_progress(source.name) as said:
        loaded = load_bundle(source, zoo.manifest.artifacts.values(), zoo.store, said)
    if as_json:
        show_json({"bundle": str(source), "files": len(loaded), "sha256": loaded})
    else:
        show(f"{source}: {counted(len(loaded), 'file')} put into {zoo.store.home}")
