"""`segzoo fetch`: verified downloads into the store."""

from typing import Any

import click

from segzoo.cli.failure import show_error
from segzoo.cli.manifest import Choice
from segzoo.errors import EnvironmentFault, SegzooError


@click.command(short_help="Download weights and verify them by hash.")
@click.argument("names", nargs=-1, metavar="NAME...")
@click.option("--all", "every", is_flag=True, help="Every backbone and model of the zoo.")
@click.option("--json", "as_json", is_flag=True, help="Print what was fetched as JSON.")
@click.pass_obj
def fetch(choice: Choice, names: tuple[str, ...], every: bool, as_json: bool) -> None:
    """Download backbones, models or data sets by name, and verify them by hash while they arrive.

    A backbone is its AugReg npz; MMSegmentation's own converted file goes by its file name, and is
    compared with our conversion by verify once it is here.

    Mirrors are tried in order. A file appears in the store ($SEGZOO_HOME, else ~/.cache/segzoo) only
    when its size and hash are right. Where only the eight hex digits of a file name are known, they
    are checked and the full hash of the first download is pinned in segzoo.lock: from then on nothing
    else is accepted. What cannot be had does not keep the rest from being fetched.

    \b
    Examples:
      segzoo fetch vit-t vit-t-mask
      segzoo --zoo mini fetch --all
    """
    import json

    from segzoo.cli.output import byte_progress, megabytes, on_terminal, show, tell
    from segzoo.download import fetch as fetch_artifact

    manifest = choice.load()
    zoo = manifest.zoo
    weights = {name: entry.artifact for name, entry in zoo.entries.items()}
    others = {name: dataset.archive for name, dataset in zoo.datasets.items() if dataset.archive}
    others |= {backbone.published.name: backbone.published for backbone in zoo.backbones.values() if backbone.published}
    results: list[dict[str, Any]] = []
    codes = []
    for name, artifact in manifest.chosen(names, every, weights if every else {**weights, **others}).items():
        try:
            with byte_progress(artifact.name) as said:
                fetched = fetch_artifact(artifact, manifest.store, manifest.base, said)
        except EnvironmentFault:
            raise  # a full disk is full for the next one too
        except SegzooError as error:
            codes.append(error.exit_code)
            results.append({"name": name, "error": error.message})
            show_error(error)
            continue
        for failure in fetched.failures:
            tell(f"{name}: passed over {failure}", style="yellow")
        results.append({"name": name, "path": str(fetched.path), "sha256": fetched.sha256, "size": fetched.size})
        results[-1] |= {"evidence": fetched.evidence, "url": fetched.url, "cached": fetched.cached}
        if not as_json:
            how = "here already" if fetched.cached else "fetched"
            show(f"{name}: {how}, {megabytes(fetched.size)}, {fetched.evidence}")
            show(f"  {fetched.path}")
    if as_json:
        click.echo(json.dumps(results, indent=2))
    if codes:
        raise SystemExit(min(codes))
    first = next((result["name"] for result in results if result["name"] in zoo.entries), None)
    if first and not as_json and on_terminal():
        zoo_option = f"--zoo {choice.zoo} " if choice.zoo else ""
        tell(f"next: segzoo {zoo_option}verify {first}", style="dim")
