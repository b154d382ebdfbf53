"""`segzoo inspect` and `segzoo diff`: what is in a file of weights, and whether two hold the same."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from segzoo.cli.completion import ZooName
from segzoo.cli.options import Choice, config_option, network_options
from segzoo.errors import ConversionError

if TYPE_CHECKING:
    from segzoo.formats import Weights

_WEIGHTS = ZooName("backbones", "models", or_file=True)


@click.command(short_help="Show what is in a file of weights.")
@click.argument("source", metavar="FILE|NAME", type=_WEIGHTS)
@click.option("--at", metavar="NAME", help="Model to show of a file that holds several, such as teacher or model_ema.")
@click.option("--keys", is_flag=True, help="List every tensor with its dtype and shape.")
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@network_options
@click.pass_obj
def inspect(choice: Choice, source: str, at: str | None, keys: bool, config: Path | None, as_json: bool) -> None:
    """Show format, layout, geometry and dtypes of a file of weights, from its headers only; nothing in it is run.

    What the file says of itself is shown too: its training config, its classes. A file in no layout that segzoo knows
    is shown all the same, and exits 0; in JSON its layout is then null, and trouble and hint say why and what to do.

    NAME is a name in the zoo; its file is fetched if it is not here.

    \b
    Examples:
      segzoo inspect checkpoint.pth
      segzoo inspect vit-b-mask --keys
    """
    from dataclasses import asdict

    from segzoo.cli.sources import weights
    from segzoo.cli.terminal.answer import show_json
    from segzoo.cli.terminal.show import megabytes, show
    from segzoo.conversion.inspect import inspect as look
    from segzoo.conversion.said import shown
    from segzoo.formats import naming
    from segzoo.text import brief

    path = weights(choice, source)
    with naming(path, source):
        found = look(path, at, config)
    if as_json:
        facts = {"path": str(found.path), "format": found.format, "size": found.size, "layout": found.layout, "sections": found.sections}
        facts |= {"geometry": asdict(found.geometry) if found.geometry else None, "parameters": found.parameters, "dtypes": found.dtypes}
        facts["said"] = {name: {"value": fact.value, "source": fact.source} for name, fact in found.said.facts.items()}
        facts |= {"trouble": found.trouble, "hint": found.hint, "notes": [*found.notes, *found.said.notes, *found.said.unlike]}
        facts["metadata"] = dict(found.metadata)
        facts |= {"tensors": {name: {"dtype": spec.dtype, "shape": list(spec.shape)} for name, spec in found.specs.items()}} if keys else {}
        show_json(facts)
        return
    rows = [] if str(found.path) == source else [("file", str(found.path))]
    rows += [("format", f"{found.format}, {megabytes(found.size)}"), ("layout", found.layout or "none that segzoo knows")]
    rows += [("sections", ", ".join(found.sections))] if found.sections else []
    rows += [("geometry", str(found.geometry))] if found.geometry else []
    rows += [("tensors", f"{len(found.specs)}, {found.parameters:,} parameters, {', '.join(f'{n} {dtype}' for dtype, n in found.dtypes.items())}")]
    rows += [("trouble", found.trouble)] if found.trouble else []
    rows += [("says", f"{name} {shown(fact.value)} ({fact.source})") for name, fact in found.said.facts.items()]
    rows += [("note", note) for note in (*found.notes, *found.said.notes, *found.said.unlike)]
    rows += [(f"meta {brief(name, 60)}", brief(value)) for name, value in found.metadata.items()]
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        show(f"{name:<{width}}  {value}")
    if keys:
        named = {brief(name): spec for name, spec in found.specs.items()}
        widest = max(map(len, named), default=0)
        for name, spec in named.items():
            show(f"{name:<{widest}}  {spec}")
    if found.hint:
        show(f"hint: {found.hint}")


@click.command(short_help="Compare two files of weights, across layouts and formats.")
@click.argument("left", metavar="A", type=_WEIGHTS)
@click.argument("right", metavar="B", type=_WEIGHTS)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@network_options
@click.pass_obj
def diff(choice: Choice, left: str, right: str, as_json: bool) -> None:
    """Compare two files of weights, tensor by tensor, bit for bit; B is read in the layout of A.

    A and B are files, or names in the zoo, whose files are fetched if they are not here.

    Says 'same weights' and exits 0 if every tensor that both layouts can hold is equal; exits 5
    if anything differs.

    \b
    Examples:
      segzoo diff Ti_16-i21k-...-res_384.npz vit_tiny_p16_384.pth
      segzoo diff vit-t pretrain/vit_tiny_p16_384.pth
    """
    from dataclasses import asdict

    from segzoo.cli.terminal.answer import show_json
    from segzoo.cli.terminal.show import show
    from segzoo.conversion.compare import compare
    from segzoo.text import brief

    found = compare(_opened(choice, left), _opened(choice, right))
    verdict = "same weights" if found.same else "different weights"
    missing = len(found.only_left) + len(found.only_right)
    said = f"{verdict}: {found.equal} tensors equal bit for bit, {len(found.unequal)} differ, {missing} on one side only"
    errors = [] if found.same else [ConversionError(said)]
    code = 0 if found.same else ConversionError.exit_code
    if as_json:
        unequal = [{**asdict(one), "largest": one.largest if one.largest == one.largest else None} for one in found.unequal]
        show_json({**asdict(found), "unequal": unequal, "same": found.same}, *errors)
        raise SystemExit(code)
    for side, names in (("A", found.only_left), ("B", found.only_right)):
        for name in names:
            show(f"only in {side}: {brief(name)}")
    for one in found.unequal:
        at = f", at most {one.largest:.3g} apart, at {list(one.place)}" if one.largest == one.largest else ""
        show(f"differs: {brief(one.key)}: {one.why}{at}")
    if found.beyond:
        show(f"not compared, in a section that the other layout has not: {', '.join(map(brief, found.beyond))}")
    show(said)
    raise SystemExit(code)


def _opened(choice: Choice, source: str) -> Weights:
    from segzoo.cli.sources import weights
    from segzoo.formats import naming, open_weights

    path = weights(choice, source)
    with naming(path, source):
        return open_weights(path)
