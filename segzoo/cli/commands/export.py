"""`segzoo export`: an entry of the zoo as a folder for another library."""

from __future__ import annotations

from pathlib import Path

import click

from segzoo.cli.completion import ZooName
from segzoo.cli.options import Choice, config_option, network_options
from segzoo.cli.output import OutputFolder
from segzoo.vocabulary import FORMS


@click.command(short_help="Write a folder that transformers, timm, ONNX Runtime or plain torch loads.")
@click.argument("name", metavar="NAME", type=ZooName("backbones", "models", or_file=True))
@click.option("-o", "--output", required=True, type=OutputFolder(), metavar="DIR", help="The folder to write; it must not exist yet.")
@click.option("--as", "form", required=True, type=click.Choice(FORMS), help="The library that is to load it.")
@click.option("--like", metavar="NAME", type=ZooName("backbones", "models"), help="The entry of the zoo that your own file is like.")
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print the files with their hashes as JSON.")
@network_options
@click.pass_obj
def export(choice: Choice, name: str, output: Path, form: str, like: str | None, config: Path | None, as_json: bool) -> None:
    """Write a backbone or model as a folder that another library loads as it is, with a model card.

    \b
    hf           transformers: ViTForImageClassification, ViTModel, or
                 UperNetForSemanticSegmentation on Swin and ConvNeXt
    timm         timm.create_model("local-dir:DIR", pretrained=True)
    safetensors  plain torch: weights, config, a loader that needs no segzoo
    onnx         ONNX Runtime: any batch and image size

    Other segmentation models can be written as safetensors and onnx only: transformers and timm have no class for
    them. NAME may also be a file of your own, in any layout. The card (README.md) says where the weights are from, what was done
    to them, and what segzoo verify has proved of them on this machine. The folder appears whole or not at all.

    \b
    Examples:
      segzoo export vit-b -o vit-b-hf/ --as hf
      segzoo export vit-b-mask -o vit-b-mask-onnx/ --as onnx
    """
    from dataclasses import asdict

    from segzoo.cli.terminal.answer import show_json
    from segzoo.cli.terminal.progress import byte_progress
    from segzoo.cli.terminal.show import megabytes, show, tell
    from segzoo.publishing.export.export import publish

    with byte_progress(name) as said:
        made = publish(name, output, form, choice.open(), like, said, tell, config)
    if as_json:
        facts = asdict(made)
        show_json({"as": facts.pop("form"), **facts, "folder": str(made.folder)})
    else:
        for file in made.files:
            show(f"{output / file.name}  {megabytes(file.size)}")
    if made.like not in (None, name):
        tell(f"{name}: taken for {made.like}, whose geometry it has")
    for section in made.left_out:
        tell(f"left out: {section}, for which the form '{form}' has no place")
    if made.verified is None:
        tell(f"not verified yet, as its card says: {made.verify}", style="yellow")
    elif not made.verified:
        tell("its receipt says that a rung failed, and so does its card", style="yellow")
