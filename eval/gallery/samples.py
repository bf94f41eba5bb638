"""Strips that take a generator: videos of each class, and one latent drawn for a given other."""

from pathlib import Path

import torch
from torch import Tensor

from autoencoder.model import VidTwin
from data.latents import TwinLatents
from data.video.frames import to_uint8
from eval.gallery.clips import Clips
from eval.gallery.nearest import nearest_clips
from eval.gallery.strip import COLUMNS, Strip
from generator.draw import Sampling, draw
from generator.pipeline import VidTwinPipeline
from runtime.progress import Progress

EACH, MOST = 3, 30  # samples of a class, and in all
GIVEN = 3  # clips that give a latent


def evenly(total: int, most: int) -> list[int]:
    return [place * total // min(most, total) for place in range(min(most, total))]


def of_classes(pipeline: VidTwinPipeline) -> Strip:
    """Some samples of each class; of very many classes, one of as many as there is room for."""
    names = pipeline.config.classes
    chosen = evenly(len(names), MOST)
    labels = [label for label in chosen for _ in range(max(1, min(EACH, MOST // len(chosen))))]
    return Strip(sampled(pipeline, labels), [names[label] for label in labels])


def one_of_each(pipeline: VidTwinPipeline, count: int) -> list[int]:
    """So many labels, spread evenly; of few classes again from the first."""
    asked = evenly(len(pipeline.config.classes), count)
    return [asked[place % len(asked)] for place in range(count)]


def sampled(pipeline: VidTwinPipeline, labels: list[int], **given: Tensor) -> Tensor:
    """Videos of these classes, uint8 `n t h w c`, as the pipeline was trained to be sampled; seed 0."""
    sampling, videos = Sampling.saved(pipeline), []
    progress = Progress("sampling", len(labels), "videos")
    for places in torch.arange(len(labels)).split(sampling.batch_size):
        rows = {name: latent[places] for name, latent in given.items()}
        videos.append(draw(pipeline, torch.tensor(labels), places.tolist(), sampling, **rows)["videos"])
        progress.advance(len(places))
    return torch.cat(videos)


def drawn_anew(pipeline: VidTwinPipeline, clips: Clips, kept: str) -> Strip:
    """A row for each clip: itself, then videos with its `kept` latent and the other drawn.

    With structure kept, a class for each column; with dynamics kept, the clip's own class, where that is one.
    """
    names, columns = pipeline.config.classes, COLUMNS - 1
    shown = Clips(clips.videos[:GIVEN], clips.titles[:GIVEN])
    asked = one_of_each(pipeline, columns)
    labels = [
        names.index(title) if kept == "dynamics" and title in names else label
        for title in shown.titles
        for label in asked
    ]
    latent = getattr(latents_of(pipeline.autoencoder, shown), kept).repeat_interleave(columns, 0)
    drawn = sampled(pipeline, labels, **{kept: latent}).unflatten(0, (-1, columns))
    originals = to_uint8(shown.videos).cpu().movedim(1, -1)[:, None]
    captions = [
        caption
        for place, title in enumerate(shown.titles)
        for caption in (f"given: {title}", *(names[label] for label in labels[place * columns : (place + 1) * columns]))
    ]
    return Strip(torch.cat([originals, drawn], dim=1).flatten(0, 1), captions)


def beside_nearest(pipeline: VidTwinPipeline, labels: list[int], samples: Tensor, root: Path) -> Strip:
    """Rows of samples, uint8 `n t h w c` of these classes, each above the training clips that are nearest to them."""
    found, titles = nearest_clips(samples, root, pipeline.config.fps)
    asked, near = [pipeline.config.classes[label] for label in labels], [f"nearest: {title}" for title in titles]
    videos, captions = [], []
    for start in range(0, len(labels), COLUMNS):
        row = slice(start, start + COLUMNS)
        videos += [samples[row], found[row]]
        captions += [*asked[row], *near[row]]
    return Strip(torch.cat(videos), captions)


def with_samples(apart: Strip, pipeline: VidTwinPipeline, labels: list[int], samples: Tensor) -> Strip:
    """Clips that are taken apart above a row of the first samples."""
    names = [pipeline.config.classes[label] for label in labels[: apart.columns]]
    names[0] = f"generated: {names[0]}"
    return Strip(torch.cat([apart.videos, samples[: apart.columns]]), [*apart.captions, *names], apart.columns)


@torch.no_grad()
def latents_of(model: VidTwin, clips: Clips) -> TwinLatents:
    return model.encode(clips.videos).mode()
