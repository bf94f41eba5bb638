"""Look inside: the latents of one clip as pictures, and what linear probes read off them."""

from collections.abc import Sequence
from html import escape

import gradio as gr
import torch

from app.examples import Example
from app.maps import draw_dynamics, draw_structure
from app.readings import table, true_cells
from app.tabs.source import Source, required
from app.tabs.work import PROGRESS, Desk, tracked
from app.weights import Models
from autoencoder.trained.windows import middle_window
from data.clips import choose_window
from data.latents import TwinLatents
from data.synthetic.factors import Factors
from data.video.frames import VideoInfo
from eval.twins.reader import Reader, fit_reader, has_probes, load_reader
from runtime.errors import UserError
from runtime.progress import Track

INTRODUCTION = """
The numbers themselves, of the window in the middle of a video: orange above zero, blue below. Click on
an example, or drop a video of your own.
"""


class Probes:
    """The reader that came with the weights, or of their run, fitted when it is first asked for."""

    def __init__(self, models: Models) -> None:
        self.models = models
        self.reader: Reader | None = None

    def __call__(self, track: Track) -> Reader:
        """Raises `UserError` that says why there is none."""
        if self.reader is None:
            self.reader = self._found(track)
        return self.reader

    def _found(self, track: Track) -> Reader:
        models = self.models
        if has_probes(models.folder):
            return load_reader(models.folder, models.autoencoder)
        if models.run is None or not (models.run / "config.yaml").is_file():
            raise UserError("these weights came without any, and without their run, to fit them on")
        return fit_reader(models.run, models.autoencoder, track)


def add(desk: Desk, examples: Sequence[Example]) -> None:
    probes, known = Probes(desk.models), {example.info.path: example.factors for example in examples}
    gr.Markdown(INTRODUCTION, elem_classes="lead")
    with gr.Row():
        with gr.Column(scale=2, min_width=280):
            source = Source(desk, "A video of your own", examples)
        with gr.Column(scale=5, min_width=320):
            pictures = []
            for heading in ("Dynamics, moment by moment", "Structure, by channel and query"):
                gr.Markdown(f"### {heading}", elem_classes="heading")
                settings = {"show_label": False, "interactive": False, "elem_classes": "map"}
                pictures.append(gr.Image(label=heading, buttons=["fullscreen"], **settings))
            gr.Markdown("### What a linear map reads", elem_classes="heading")
            readings = gr.HTML()

    @torch.inference_mode()
    def work(info: VideoInfo | None, progress: gr.Progress = PROGRESS) -> tuple[str | None, str, str]:
        info, models = required(info), desk.models
        video = middle_window(models.autoencoder, info, models.fps)
        latents = models.autoencoder.encode(video).mode()
        moving, still = (desk.place / f"{name}.png" for name in ("dynamics", "structure"))
        draw_structure(latents.structure[0], still)
        if latents.dynamics.numel():  # an ablation has none
            draw_dynamics(video[0], latents.dynamics[0], moving)
        table = read(probes, latents, known.get(info.path), info, tracked(progress))
        return str(moving) if latents.dynamics.numel() else None, str(still), table

    for event in source.chosen():
        desk.job(event, work, [source.info], [*pictures, readings])


def read(probes: Probes, latents: TwinLatents, factors: Factors | None, info: VideoInfo, track: Track) -> str:
    """The table, or why there is none."""
    try:
        reader = probes(track)
    except UserError as error:
        return f'<p class="note">No linear probes: {escape(str(error))}.</p>'
    models = probes.models
    frames, _, _ = choose_window(info, models.autoencoder.typed_config.frames, models.fps, None)
    return table(reader, reader(latents), true_cells(factors, frames.tolist()) if factors else {})
