"""`segzoo view`: a page of this machine to drop pictures on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from segzoo.cli.completion import ZooName
from segzoo.cli.options import Choice, config_option
from segzoo.errors import Interrupted
from segzoo.vocabulary import MODES, PRECISIONS


@click.command(short_help="Open a page to drop pictures on; compare models, save label maps.")
@click.argument("models", nargs=-1, metavar="[MODEL]...", type=ZooName("models", or_file=True))
@click.option("--port", type=click.IntRange(1, 65535), help="Port of the page; where it is taken, the next free one.  [default: 7860]")
@click.option("--no-open", is_flag=True, help="Open no browser.")
@click.option("--like", metavar="NAME", type=ZooName("models"), help="The model of the zoo that your own files are like.")
@config_option
@click.option("--mode", type=click.Choice(MODES), default="ss", show_default=True, help="How pictures are evaluated.")
@click.option("--device", help="cpu, cuda, cuda:N or mps.  [default: a GPU if there is one]")
@click.option("--precision", type=click.Choice(PRECISIONS), default="fp32", show_default=True, help="What the network computes in.")
@click.option("--json", "as_json", is_flag=True, help="Print the address and the models as JSON.")
@click.pass_obj
def view(
    choice: Choice,
    models: tuple[str, ...],
    port: int | None,
    no_open: bool,
    like: str | None,
    config: Path | None,
    mode: str,
    device: str | None,
    precision: str,
    as_json: bool,
) -> None:
    """Open a page in the browser, to drop pictures on, or a folder of them: each is shown tinted by class, with the share of each class.
    There one switches between models, compares two with a slider, and saves the label map that `predict` would write.

    MODEL is a name in the zoo or a checkpoint of your own, as for `predict`. Without one, the page has all models of the zoo that have
    been fetched. A model is loaded when it is first used. Nothing is fetched, and nothing is sent: the page is at 127.0.0.1, what is dropped
    stays in a private folder that is deleted at the end, and no connection leaves this machine. Ctrl-C ends it.

    \b
    Examples:
      segzoo fetch vit-b-mask && segzoo view vit-b-mask
      segzoo view vit-b-mask work_dirs/latest.pth --config my_config.py
      segzoo --zoo mini view
    """
    import webbrowser

    from segzoo.cli.terminal.answer import show_json
    from segzoo.cli.terminal.show import show, tell
    from segzoo.evaluation.device import best_device
    from segzoo.evaluation.precision import device_of, dtype_of
    from segzoo.extras import require
    from segzoo.publishing.view.address import PORT, has_display, listening, remote, tunnel
    from segzoo.publishing.view.guard import private_folder

    require("torch", "PIL", "gradio")
    from segzoo.publishing.view.serve import serve
    from segzoo.publishing.view.viewer import Viewer, chosen

    zoo = replace(choice, offline=True).open()
    names = chosen(models, zoo, like, config)
    dtype_of(precision, at := device_of(device or best_device()))
    with listening(wanted := port or PORT) as opened, private_folder() as folder:
        found = opened.getsockname()[1]
        address = f"http://127.0.0.1:{found}"
        if found != wanted:
            tell(f"port {wanted} is taken: the page is at {found}")
        if remote():
            tell(f"where your browser is, type: {tunnel(found)}")
        if as_json:
            show_json({"address": address, "models": names, "device": str(at)})
        else:
            show(address)
        tell(f"{', '.join(names)} on {at}; Ctrl-C ends it")
        if has_display() and not no_open:
            webbrowser.open(address)
        viewer = Viewer(names, zoo, folder, at, like=like, config=config, mode=mode, precision=precision)
        try:
            serve(viewer, opened)
        except KeyboardInterrupt:
            if as_json:  # its one answer has been given
                raise SystemExit(Interrupted.exit_code) from None
            raise
