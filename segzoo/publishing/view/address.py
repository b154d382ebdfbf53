"""Where the page is: a port of this machine, and how a browser gets there."""

from __future__ import annotations

import getpass
import os
import socket
import sys

from segzoo.errors import EnvironmentFault
from segzoo.text import quoted

PORT = 7860  # where Gradio's pages mostly are
_TRIED = 100  # ports


def listening(port: int) -> socket.socket:
    """A socket that listens at 127.0.0.1, at this port or the first free one after it. Raises EnvironmentFault where a hundred are taken."""
    ports = range(port, min(port + _TRIED, 1 << 16))
    for one in ports:
        opened = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if sys.platform != "win32":  # a page that has just ended leaves its port in TIME_WAIT; Windows would share a port that is taken
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            opened.bind(("127.0.0.1", one))
            opened.listen()
        except OSError:
            opened.close()
        else:
            return opened
    raise EnvironmentFault(f"no port of 127.0.0.1 from {ports[0]} to {ports[-1]} is free", hint="choose another one with --port")


def remote() -> bool:
    """Whether the person sits at another machine, and came here by ssh."""
    return "SSH_CONNECTION" in os.environ


def tunnel(port: int) -> str:
    """The line to type on the machine where the browser is, for a person who came by ssh."""
    _, _, here, at = (os.environ["SSH_CONNECTION"].split() + [""] * 4)[:4]
    way = f"-p {at} " if at not in ("", "22") else ""
    return f"ssh {way}-L {port}:127.0.0.1:{port} {quoted(f'{getpass.getuser()}@{here or socket.gethostname()}')}"


def has_display() -> bool:
    """Whether a browser can show itself to the person here."""
    return not remote() and (sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")))
