"""`segzoo list`: what the zoo holds."""

import click

from segzoo.cli.manifest import Choice


@click.command("list", short_help="List the backbones, models and data sets of the zoo.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def list_(choice: Choice, as_json: bool) -> None:
    """List the backbones, models and data sets of the zoo, with their reported figures.

    A check mark in the last column means that the file is in the store.
    """
    import json

    from rich.table import Table

    from segzoo.cli.output import megabytes, out

    manifest = choice.load()
    zoo, store = manifest.zoo, manifest.store
    rows = []
    for name, backbone in zoo.backbones.items():
        rows.append({"name": name, "kind": "backbone", "title": backbone.title, "artifact": backbone.source})
    for name, model in zoo.models.items():
        figures = {"miou": model.reported.miou, "miou_ms_flip": model.reported.miou_ms_flip}
        rows.append({"name": name, "kind": "model", "title": model.title, "artifact": model.checkpoint, **figures})
    for name, dataset in zoo.datasets.items():
        rows.append({"name": name, "kind": "data set", "title": dataset.title, "artifact": dataset.archive})
    if as_json:
        for row in rows:
            artifact = row.pop("artifact")
            row |= {"file": artifact.name if artifact else None, "size": artifact.size if artifact else None}
            row["in_store"] = artifact is not None and store.find(artifact) is not None
        click.echo(json.dumps(rows, indent=2))
        return
    table = Table(box=None, pad_edge=False)
    for column in ("name", "kind", "title"):
        table.add_column(column, overflow="fold")
    for column in ("mIoU", "ms+flip", "size", "here"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        artifact = row["artifact"]
        figures = [f"{row[figure]:.2f}" if row.get(figure) is not None else "" for figure in ("miou", "miou_ms_flip")]
        size = megabytes(artifact.size) if artifact and artifact.size else ""
        here = "yes" if artifact and store.find(artifact) else ""
        table.add_row(row["name"], row["kind"], row["title"], *figures, size, here)
    out.print(table)
