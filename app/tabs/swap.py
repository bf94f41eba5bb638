"""Swap: the structure of one video with the dynamics of another, both ways, and the way from one to the other."""

from collections.abc import Sequence

import gradio as gr

from app.examples import Example
from app.swaps import swap, walk
from app.tabs.source import Source, required
from app.tabs.take_apart import captions
from app.tabs.work import PROGRESS, Desk, tracked
from data.video.frames import VideoInfo

INTRODUCTION = """
Two videos give each other what they hold: one stays what it is and moves as the other. The slider goes on a straight
line from all numbers of the first to all of the second.
"""
Chosen = VideoInfo | None
PANELS = ("first", "first, moving as second", "second, moving as first", "second")


def add(desk: Desk, examples: Sequence[Example]) -> None:
    gr.Markdown(INTRODUCTION, elem_classes="lead")
    with gr.Row():
        with gr.Column(scale=2, min_width=280):
            first = Source(desk, "The first video", examples, 0)
            second = Source(desk, "The second video", examples, len(examples) - 1)
            button = gr.Button("Swap", variant="primary")
        with gr.Column(scale=5, min_width=320):
            gr.HTML(captions(PANELS))
            strip = gr.Video(show_label=False, autoplay=True, loop=True, buttons=["download"], elem_classes="strip")
            share = gr.Slider(0, 1, 0.5, step=0.05, label="From the first (0) to the second (1)")
            between = gr.Video(show_label=False, autoplay=True, loop=True, buttons=["download"], elem_classes="single")

    def swapped(a: Chosen, b: Chosen, progress: gr.Progress = PROGRESS) -> str:
        out = desk.place / "swapped.mp4"
        swap(desk.models, required(a), required(b), out, tracked(progress))
        return str(out)

    def walked(a: Chosen, b: Chosen, share: float, progress: gr.Progress = PROGRESS) -> str:
        out = desk.place / "between.mp4"
        walk(desk.models, required(a), required(b), share, out, tracked(progress))
        return str(out)

    videos = [first.info, second.info]
    for event in (*first.chosen(), *second.chosen(), button.click):
        done = desk.job(event, swapped, videos, [strip])
        desk.job(done.success, walked, [*videos, share], [between])
    desk.job(share.release, walked, [*videos, share], [between])
