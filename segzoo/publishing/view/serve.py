"""The page as a program that answers a browser, until Ctrl-C."""

from __future__ import annotations

import logging
import socket
from types import FrameType
from typing import Any

import gradio as gr
import uvicorn
from fastapi import FastAPI

from segzoo.publishing.view.guard import guarded, stay_here
from segzoo.publishing.view.page import page, theme
from segzoo.publishing.view.viewer import Viewer

_LARGEST = "1gb"  # of a file that is dropped
_GRACE = 1  # seconds that a request in work has at the end


class _Server(uvicorn.Server):  # type: ignore[misc]  # which the gate does not have
    """A server that ends without a word of the requests that it cuts off: a page that is still open always has one."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        super().handle_exit(sig, frame)


def application(viewer: Viewer) -> Any:
    """The page as an ASGI application: no API, no documentation of one, no history, no links elsewhere, and for its own browser only."""
    made = page(viewer)
    made.has_launched = True  # said by Gradio's own `launch`, not by `mount_gradio_app`; without it a request may name any file here as dropped
    outer = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    hidden = {"docs_url": None, "redoc_url": None, "openapi_url": None}
    options: dict[str, Any] = {"footer_links": [], "run_history": False, "ssr_mode": False, "pwa": False, "mcp_server": False, "app_kwargs": hidden}
    gr.mount_gradio_app(outer, made, "/", server_name="127.0.0.1", theme=theme(), max_file_size=_LARGEST, **options)
    return guarded(outer)


def serve(viewer: Viewer, opened: socket.socket) -> None:
    """Answer requests at a listening socket until a signal ends it, which is then raised anew. No connection goes out from now on."""
    stay_here()
    config = uvicorn.Config(application(viewer), log_level="error", access_log=False, timeout_graceful_shutdown=_GRACE, server_header=False)
    _Server(config).run(sockets=[opened])
