"""How the page does its work: one job at a time, under a bar of progress; a user's mistake is one line."""

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from html import escape
from pathlib import Path
from typing import TypeVar

import gradio as gr
from gradio.events import Dependency

from app.weights import Models
from runtime.errors import UserError
from runtime.precision import DTYPES, computing_in, precision_of_use
from runtime.progress import Track

Item = TypeVar("Item")

PROGRESS = gr.Progress()
"""The default of an argument in whose place Gradio gives each job a bar of its own."""

QUIET = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
"""Settings of events that only move something on the page."""


class Desk:
    """Where jobs are done: with these models, and in a folder whose files the next job of the same kind replaces."""

    def __init__(self, models: Models, place: Path) -> None:
        self.models, self.place = models, place
        self.device = models.autoencoder.device

    def job(
        self,
        trigger: Callable[..., Dependency],
        work: Callable,
        inputs: Sequence[gr.components.Component],
        outputs: Sequence[gr.components.Component],
    ) -> Dependency:
        """Have an event do work on the models, when all that was asked for before is done."""

        @functools.wraps(work)
        def in_one_line(*args: object) -> object:
            try:
                with computing_in(DTYPES[precision_of_use("auto", self.device)], self.device):
                    return work(*args)
            except UserError as error:
                # Gradio takes what it is told for HTML, and a file may be called anything.
                said = escape(" ".join(str(error).split()))
                raise gr.Error(said, print_exception=False) from error

        settings = {"concurrency_limit": 1, "concurrency_id": "models", "api_visibility": "private"}
        return trigger(in_one_line, list(inputs), list(outputs), show_progress_on=outputs[0], **settings)


def tracked(progress: gr.Progress) -> Track:
    """Progress on the page."""

    def track(items: Iterable[Item], total: int, what: str, unit: str) -> Iterator[Item]:
        return iter(progress.tqdm(items, total=total, desc=what, unit=unit))

    return track
