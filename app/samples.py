"""Videos that the generator draws: of a class, or for a latent of one of them that is kept."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from einops import rearrange
from torch import Tensor

from app.weights import Models
from data.video.frames import write_video
from eval.pictures.panels import enlarged
from generator.diffusion.schedulers import PREDICTIONS, SCHEDULERS, check_steps, exchanged
from generator.draw import Sampling, draw
from generator.grid import labelled_grid
from generator.pipeline import VidTwinPipeline
from runtime.errors import UserError
from runtime.progress import Track

MOST = 16  # videos at a time
MOST_STEPS = 100
COLUMNS = 4  # of the grid
Kept = Literal["structure", "dynamics"]


@dataclass(frozen=True)
class Drawn:
    """Samples in their order.

    Attributes:
        videos: uint8 `n t h w c`.
        labels: their classes, `n`.
        structure, dynamics: their latents as `decode` takes them.
        sampling: how they were drawn.
    """

    videos: Tensor
    labels: Tensor
    structure: Tensor
    dynamics: Tensor
    sampling: Sampling


def schedulers_of(pipeline: VidTwinPipeline) -> list[str]:
    """Names of those that sample what the generator predicts."""
    predicted = pipeline.scheduler.config.prediction_type
    return list(next(fitting for objective, fitting in SCHEDULERS.items() if PREDICTIONS[objective] == predicted))


def keeps_latents(pipeline: VidTwinPipeline) -> bool:
    """Whether it can draw one latent for a given other."""
    return pipeline.transformer.config.times == "separate"


def draw_class(models: Models, label: int | None, number: int, sampling: Sampling, track: Track) -> Drawn:
    """So many videos of a class, or of one class after the other where there is none."""
    classes = len(models.pipeline.config.classes)
    labels = torch.arange(number) % classes if label is None else torch.full((number,), label)
    return _drawn(models.pipeline, labels, range(number), sampling, track)


def draw_again(models: Models, drawn: Drawn, chosen: int, kept: Kept, track: Track) -> Drawn:
    """As many videos with a latent of the one that is chosen, and noise that none of these has had for the other."""
    number = len(drawn.labels)
    latent = getattr(drawn, kept)[chosen, None]
    indices = range(number, 2 * number)
    labels = drawn.labels[chosen].expand(2 * number)
    return _drawn(models.pipeline, labels, indices, drawn.sampling, track, **{kept: latent})


def _drawn(
    pipeline: VidTwinPipeline, labels: Tensor, indices: range, sampling: Sampling, track: Track, **given: Tensor
) -> Drawn:
    """Raises `UserError` for settings that the generator does not take."""
    if not 1 <= len(indices) <= MOST or not 1 <= sampling.steps <= MOST_STEPS:
        raise UserError(f"choose 1 to {MOST} videos and 1 to {MOST_STEPS} steps")
    scheduler = pipeline.scheduler
    pipeline.scheduler = exchanged(scheduler, sampling.scheduler)
    try:
        check_steps(pipeline.scheduler, sampling.steps)
        pipeline.scheduler.set_timesteps(sampling.steps)
        total = len(pipeline.scheduler.timesteps)
        steps = iter(track(range(total), total, "drawing", "steps"))

        def on_step(*_: object) -> dict:
            next(steps)
            return {}

        found = draw(pipeline, labels, indices, sampling, on_step, **given)
    finally:
        pipeline.scheduler = scheduler
    latents = (found[name][:, 0] for name in ("structure", "dynamics"))
    return Drawn(found["videos"], found["labels"], *latents, sampling)


def write_drawn(drawn: Drawn, classes: list[str], fps: float, folder: Path) -> tuple[Path, list[Path]]:
    """`grid.mp4` of all, and a file for each."""
    names = [classes[label] for label in drawn.labels.tolist()]
    videos, grid = enlarged(rearrange(drawn.videos, "n t h w c -> n c t h w")), folder / "grid.mp4"
    write_video(grid, labelled_grid(videos, names, min(COLUMNS, len(videos))), fps)
    files = [folder / f"{number:02}-{name}.mp4" for number, name in enumerate(names, 1)]
    for file, video in zip(files, videos, strict=True):
        write_video(file, video, fps)
    return grid, files
