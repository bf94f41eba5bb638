"""Drawing samples with a pipeline: sample i is what (seed, i) makes it, in whatever process it is drawn."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from autoencoder.model import VidTwin
from autoencoder.trained.windows import middle_window
from data.latents import TwinLatents
from data.video.frames import probe
from generator.diffusion import initial_noise
from generator.diffusion.schedulers import exchanged, name_of
from generator.diffusion.solver import Order
from generator.grid import to_bytes
from generator.pipeline import VidTwinPipeline, load_pipeline
from runtime.errors import UserError
from runtime.models import autoencoder_in, find_models, generator_in
from runtime.weights import load_model


@dataclass(frozen=True)
class Sampling:
    """How samples are drawn; with models, labels and what is given, all that they depend on.

    Attributes:
        interval: noise levels from 0 (clean) to 1 between which samples are guided.
        scheduler: a name of `generator.diffusion.schedulers`.
        windows: lengths of a sample in the windows that the model was trained on.
        batch_size: of one pass; equal batches give equal bits.
    """

    steps: int
    guidance: float
    interval: tuple[float, float]
    scheduler: str
    order: Order = "together"
    windows: int = 1
    seed: int = 0
    batch_size: int = 16

    @classmethod
    def saved(cls, pipeline: VidTwinPipeline, **changed: object) -> "Sampling":
        """What the pipeline was trained to be sampled with, where it is not `changed`."""
        config = pipeline.config
        saved = config.num_inference_steps, config.guidance_scale, tuple(config.guidance_interval)
        return replace(cls(*saved, name_of(pipeline.scheduler)), **changed)


def draw(
    pipeline: VidTwinPipeline,
    labels: Tensor,
    indices: Sequence[int],
    sampling: Sampling,
    on_step: Callable[..., dict] | None = None,
    **given: Tensor,
) -> dict[str, Tensor]:
    """The samples `indices`, of those that have `labels: n`, as `samples.safetensors` holds them.

    `given` is `structure` or `dynamics`, a latent for all samples; `on_step` is called as the pipeline's
    `callback_on_step_end`.
    """
    layout = pipeline.transformer.layout
    shapes = layout.structure_shape, layout.dynamics_shape
    noise = [initial_noise(sampling.seed, indices, *shapes, window=window) for window in range(sampling.windows)]
    drawn = pipeline(
        labels[list(indices)].tolist(),
        sampling.steps,
        sampling.guidance,
        sampling.interval,
        num_windows=sampling.windows,
        latents=noise,
        order=sampling.order,
        output_type="pt",
        callback_on_step_end=on_step,
        **given,
    )
    latents = (torch.stack(windows, dim=1).contiguous().cpu() for windows in zip(*drawn.latents, strict=True))
    named = dict(zip(TwinLatents._fields, latents, strict=True))
    return {"videos": to_bytes(drawn.frames), **named, "labels": labels[list(indices)]}


def open_pipeline(folder: str | Path, scheduler: str | None, weak: str | Path | None) -> VidTwinPipeline:
    """The pipeline in a run's folder or its own, silent; where named, with another scheduler, guided by a weaker model.

    Raises `UserError` for a folder without one, a scheduler that does not sample what the model predicts, and a weaker
    model of another kind.
    """
    pipeline = load_pipeline(generator_in(folder))
    pipeline.set_progress_bar_config(disable=True)
    if scheduler is not None:
        pipeline.scheduler = exchanged(pipeline.scheduler, scheduler)
    if weak is not None:
        other = load_pipeline(generator_in(weak))
        if difference := _first_difference(pipeline, other):
            raise UserError(f"{weak} cannot guide {folder}: {difference}; it must be trained on the same latents")
        pipeline.register_modules(weak_transformer=other.transformer)
    return pipeline


def open_models(folder: str | Path, device: torch.device) -> tuple[VidTwin, VidTwinPipeline | None]:
    """The autoencoder in a folder, and the generator where there is one; they share an autoencoder that is the same.

    Raises `UserError` for a folder without an autoencoder.
    """
    own, generator = autoencoder_in(folder), find_models(folder).generator
    if generator is None:
        return load_model(VidTwin, own).to(device), None
    pipeline = open_pipeline(folder, scheduler=None, weak=None).to(device)
    if own == generator / "autoencoder":
        return pipeline.autoencoder, pipeline
    model = load_model(VidTwin, own).to(device)
    return pipeline.autoencoder if _equal(model, pipeline.autoencoder) else model, pipeline


def _equal(a: VidTwin, b: VidTwin) -> bool:
    states = a.state_dict(), b.state_dict()
    return states[0].keys() == states[1].keys() and all(
        torch.equal(x, states[1][name]) for name, x in states[0].items()
    )


def _first_difference(pipeline: VidTwinPipeline, other: VidTwinPipeline) -> str | None:
    """In what the predictions of two generators cannot be compared."""
    a, b = pipeline.transformer, other.transformer
    for name in ("structure_shape", "dynamics_shape", "num_classes", "times", "context"):
        if a.config[name] != b.config[name]:
            return f"their {name} are {b.config[name]} and {a.config[name]}"
    if pipeline.scheduler.config.prediction_type != other.scheduler.config.prediction_type:
        return "they predict different things"
    if not all(torch.equal(x, y) for x, y in zip(a.statistics, b.statistics, strict=True)):
        return "they normalise latents differently"
    return None


@torch.no_grad()
def encoded(pipeline: VidTwinPipeline, video: Path) -> TwinLatents:
    """The posterior means `1 …` of the window in the middle of a video, at the model's size and rate."""
    model = pipeline.autoencoder
    return model.encode(middle_window(model, probe(video), pipeline.config.fps)).mode()
