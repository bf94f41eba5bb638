"""The page: a head, the four tabs, and the server that keeps it on this machine."""

from collections.abc import Sequence
from html import escape
from pathlib import Path

import gradio as gr
from starlette.middleware import Middleware

from app.examples import Example
from app.offline import StaysHere
from app.tabs import generate, look_inside, swap, take_apart
from app.tabs.work import Desk
from app.theme import STYLE, theme
from app.uploads import LIMITS
from app.weights import Models
from runtime.errors import UserError

SWEEP, KEPT = 60, 3600  # seconds: how often files are looked through, and how old they may get
WAITING = 20  # jobs in the queue at most


def build(models: Models, examples: Sequence[Example], place: Path) -> gr.Blocks:
    """The page of these models, which writes what it makes to `place`."""
    desk = Desk(models, place)
    with gr.Blocks(title=f"{models.name} · VidTwin", analytics_enabled=False, delete_cache=(SWEEP, KEPT)) as page:
        gr.HTML(masthead(models))
        with gr.Tabs():
            with gr.Tab("Take apart"):
                take_apart.add(desk, examples)
            with gr.Tab("Swap"):
                swap.add(desk, examples)
            with gr.Tab("Generate"):
                generate.add(desk)
            with gr.Tab("Look inside"):
                look_inside.add(desk, examples)
    return page.queue(max_size=WAITING, default_concurrency_limit=1)


def masthead(models: Models) -> str:
    size = models.autoencoder.typed_config
    clip = f"A clip of {size.frames} frames of {size.height}×{size.width} pixels at {models.fps:g} a second"
    return (
        f'<header class="masthead"><p class="kind">VidTwin</p><h1>{escape(models.name)}</h1>'
        f"<p>{clip}, as {size.latent_values} numbers: {size.rate:.2%} of its pixel values.</p></header>"
    )


def serve(page: gr.Blocks, host: str, port: int | None) -> str:
    """Start the server and return the page's address. Nothing is asked of any other machine.

    Raises `UserError` where it cannot listen.
    """
    looks = {"theme": theme(), "css": STYLE, "footer_links": []}
    left_out = dict.fromkeys(("share", "inbrowser", "run_history", "ssr_mode", "mcp_server", "pwa"), False)
    settings = {"max_file_size": LIMITS.size, "app_kwargs": {"middleware": [Middleware(StaysHere)]}}
    try:
        _, address, _ = page.launch(
            server_name=host, server_port=port, quiet=True, prevent_thread_lock=True, **looks, **left_out, **settings
        )
    except OSError as error:
        where = host if port is None else f"{host}:{port}"
        raise UserError(f"cannot listen at {where} ({error}); give another --port or --host") from error
    return address
