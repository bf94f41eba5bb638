"""Take apart: a video, its reconstruction and each latent alone, playing in step."""

from collections.abc import Sequence

import gradio as gr

from app.examples import Example
from app.parts import Apart, take_apart
from app.tabs.source import Source, required
from app.tabs.work import PROGRESS, QUIET, Desk, tracked
from autoencoder.trained.changes import Change
from autoencoder.trained.panels import PANELS
from data.video.frames import VideoInfo

INTRODUCTION = """
The model writes a video as two small sets of numbers: **structure** holds what stays, **dynamics** what moves. Here is
what it makes of both together, and of each alone. Click on an example, or drop a video of your own.
"""


def add(desk: Desk, examples: Sequence[Example]) -> None:
    moments = desk.models.autoencoder.typed_config.dynamics_shape[1]
    gr.Markdown(INTRODUCTION, elem_classes="lead")
    with gr.Row():
        with gr.Column(scale=2, min_width=280):
            source = Source(desk, "A video of your own", examples)
        with gr.Column(scale=5, min_width=320):
            gr.HTML(captions(PANELS))
            video = gr.Video(show_label=False, autoplay=True, loop=True, buttons=["download"], elem_classes="strip")
            figures = gr.HTML()
            gr.Markdown("### Change the latents", elem_classes="heading")
            with gr.Row():
                structure = gr.Slider(0, 2, 1, step=0.1, label="Strength of structure")
                dynamics = gr.Slider(0, 2, 1, step=0.1, label="Strength of dynamics")
            with gr.Row():
                frozen = gr.Checkbox(label="Freeze dynamics at one moment")
                moment = gr.Slider(1, moments, 1, step=1, label="Frame of each window", visible=False)

    def work(
        info: VideoInfo | None,
        structure: float,
        dynamics: float,
        frozen: bool,
        moment: int,
        progress: gr.Progress = PROGRESS,
    ) -> tuple[str, str]:
        info, change = required(info), Change(structure, dynamics, moment - 1 if frozen else None)
        out = desk.place / "taken-apart.mp4"
        found = take_apart(desk.models, info, change, out, tracked(progress))
        return str(out), told(found, desk.models.autoencoder.typed_config.rate, info.fps)

    inputs, outputs = [source.info, structure, dynamics, frozen, moment], [video, figures]
    frozen.change(lambda on: gr.update(visible=on), [frozen], [moment], **QUIET)
    for event in (*source.chosen(), structure.release, dynamics.release, moment.release, frozen.input):
        desk.job(event, work, inputs, outputs)


def captions(names: Sequence[str]) -> str:
    """Names above the panels of a video, one each."""
    return f'<div class="columns captions">{"".join(f"<span>{name}</span>" for name in names)}</div>'


def told(found: Apart, rate: float, fps: float) -> str:
    """The figures in tiles."""
    tiles = (
        (f"{found.psnr:.1f} dB", "PSNR", "of the reconstruction, mean over frames"),
        (f"{found.ssim:.3f}", "SSIM", "1 is equal"),
        (f"{rate:.2%}", "rate", "latent numbers for each number of pixels"),
        (size(found.latent_bytes), "latents", f"two bytes a number; {found.frames} frames, {found.fps:g} a second"),
        (size(found.file_bytes), "the file", f"at its own size, {fps:.4g} frames a second"),
    )
    rows = (f"<li><strong>{value}</strong><span>{name}</span><small>{what}</small></li>" for value, name, what in tiles)
    return f'<ul class="tiles">{"".join(rows)}</ul>'


def size(count: int) -> str:
    """`12345` to `12.3 kB`."""
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.1f} kB"
