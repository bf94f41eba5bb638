"""Generate: videos of a class, and others with the structure or the dynamics of one of them."""

import shutil
from collections.abc import Callable

import gradio as gr

from app.samples import (
    MOST,
    MOST_STEPS,
    Drawn,
    Kept,
    draw_again,
    draw_class,
    keeps_latents,
    schedulers_of,
    write_drawn,
)
from app.tabs.work import PROGRESS, QUIET, Desk, tracked
from generator.diffusion.schedulers import name_of
from generator.draw import Sampling
from runtime.errors import UserError

INTRODUCTION = """
The generator draws both latents out of noise, for a class, and the decoder makes videos of them. The same settings give
the same videos.
"""
NO_GENERATOR = "**{name}** has no generator: train one on its latents with `make stage2`, then open the run again."
ONE_TIME = (
    "This generator draws both latents together only; to keep one and draw the other, train one with "
    "`--diffusion.times separate`."
)
ALL = "all, one after the other"
Shown = tuple[str, gr.Gallery, Drawn, list[str], None, gr.Video]
"""Of what was drawn the grid, each video with its class, all of it, its files, and which is chosen and played: none."""


def add(desk: Desk) -> None:
    pipeline = desk.models.pipeline
    if pipeline is None:
        gr.Markdown(NO_GENERATOR.format(name=desk.models.name), elem_classes="lead")
        return
    saved, drawn, files, chosen = pipeline.config, gr.State(None), gr.State([]), gr.State(None)
    classes = [(ALL, -1), *((name, label) for label, name in enumerate(saved.classes))]
    gr.Markdown(INTRODUCTION, elem_classes="lead")
    with gr.Row():
        with gr.Column(scale=2, min_width=280):
            label = gr.Dropdown(classes, value=-1, label="Class")
            number = gr.Slider(1, MOST, 8, step=1, label="Videos")
            seed = gr.Number(0, label="Seed", precision=0, minimum=0)
            with gr.Accordion("How it is drawn", open=False):
                steps = gr.Slider(1, MOST_STEPS, saved.num_inference_steps, step=1, label="Steps")
                guidance = gr.Slider(1, 10, saved.guidance_scale, step=0.1, label="Guidance, 1 for none")
                scheduler = gr.Dropdown(schedulers_of(pipeline), value=name_of(pipeline.scheduler), label="Scheduler")
            button = gr.Button("Generate", variant="primary")
        with gr.Column(scale=5, min_width=320):
            player = {"show_label": False, "autoplay": True, "loop": True, "buttons": ["download"]}
            grid = gr.Video(**player, elem_classes="grid")
            gallery = gr.Gallery(
                label="One by one; click on one to play, keep or download it",
                columns=8,
                height="auto",
                object_fit="cover",
                allow_preview=False,
                buttons=[],
                interactive=False,
                elem_classes="samples",
            )
            single = gr.Video(**player, visible=False, elem_classes="single")
            if keeps_latents(pipeline):
                with gr.Row():
                    structure = gr.Button("Keep its structure, draw new dynamics", interactive=False)
                    dynamics = gr.Button("Keep its dynamics, draw new structures", interactive=False)
            else:
                gr.Markdown(ONE_TIME, elem_classes="note")

    def shown(found: Drawn) -> Shown:
        folder = desk.place / "samples"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        whole, each = write_drawn(found, saved.classes, saved.fps, folder)
        each, names = list(map(str, each)), (saved.classes[label] for label in found.labels.tolist())
        new = gr.Gallery(list(zip(each, names, strict=True)), selected_index=None)
        return str(whole), new, found, each, None, gr.Video(None, visible=False)

    def draw(
        label: int,
        number: int,
        seed: int | None,
        steps: int,
        guidance: float,
        scheduler: str,
        progress: gr.Progress = PROGRESS,
    ) -> Shown:
        if seed is None:
            raise UserError("give a seed: any whole number from 0")
        sampling = Sampling(int(steps), guidance, tuple(saved.guidance_interval), scheduler, seed=int(seed))
        asked = None if label < 0 else label
        return shown(draw_class(desk.models, asked, int(number), sampling, tracked(progress)))

    outputs = [grid, gallery, drawn, files, chosen, single]
    desk.job(button.click, draw, [label, number, seed, steps, guidance, scheduler], outputs)
    gallery.select(choose, [files], [chosen, single], **QUIET)
    if not keeps_latents(pipeline):
        return
    for kept, keep in (("structure", structure), ("dynamics", dynamics)):
        desk.job(keep.click, again(desk, kept, shown), [drawn, chosen], outputs)
        gallery.select(lambda: gr.Button(interactive=True), None, [keep], **QUIET)
        drawn.change(lambda: gr.Button(interactive=False), None, [keep], **QUIET)


def again(desk: Desk, kept: Kept, shown: Callable[[Drawn], Shown]) -> Callable[..., Shown]:
    """The work of a button that keeps a latent of the chosen video."""

    def work(drawn: Drawn, chosen: int, progress: gr.Progress = PROGRESS) -> Shown:
        return shown(draw_again(desk.models, drawn, chosen, kept, tracked(progress)))

    return work


def choose(files: list[str], event: gr.SelectData) -> tuple[int, gr.Video]:
    """The place of the video that was clicked on, and the video, played."""
    return event.index, gr.Video(files[event.index], visible=True)
