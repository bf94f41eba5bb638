"""The generator as a diffusers pipeline: `transformer/`, `autoencoder/`, `scheduler/` in one folder."""

import json
from pathlib import Path

import torch
from diffusers import DiffusionPipeline, SchedulerMixin
from torch import Tensor

from autoencoder.model import VidTwin
from data.latents import TwinLatents
from generator.diffusion import initial_noise, sample
from generator.dit import DiT
from runtime.errors import UserError
from runtime.weights import load_model, replace_folder

CLASSES = "classes.json"
SAMPLING = "sampling.json"


class TwinLatentPipeline(DiffusionPipeline):
    """Class labels to videos: noise -> DiT and solver -> twin latents -> VidTwin's decoder.

    `transformer` carries the statistics that its latents are normalised with.
    """

    def __init__(self, transformer: DiT, autoencoder: VidTwin, scheduler: SchedulerMixin) -> None:
        super().__init__()
        self.register_modules(transformer=transformer, autoencoder=autoencoder, scheduler=scheduler)

    @torch.no_grad()
    def __call__(
        self, labels: Tensor, seed: int, indices: list[int], steps: int, guidance: float
    ) -> tuple[Tensor, TwinLatents]:
        """Samples `indices` of the stream that `seed` names, one for each class in `labels: b`.

        Returns videos `b c t h w` in [-1, 1] and their latents, both float32 in whatever precision the models compute.
        The noise of sample i comes from (seed, i) alone.
        """
        latents = self.sample_latents(labels, seed, indices, steps, guidance)
        video = self.autoencoder.decode(latents.to(self.autoencoder.dtype))
        return video.float().clamp(-1, 1), latents

    def sample_latents(self, labels: Tensor, seed: int, indices: list[int], steps: int, guidance: float) -> TwinLatents:
        layout = self.transformer.layout
        noise = initial_noise(seed, indices, layout.structure_shape, layout.dynamics_shape).to(self.device)
        labels = labels.to(self.device)
        return self.transformer.denormalise(sample(self.transformer, self.scheduler, labels, noise, steps, guidance))


def save_pipeline(pipeline: TwinLatentPipeline, folder: Path, classes: tuple[str, ...], sampling: dict) -> None:
    """Write the pipeline's folder, with its class names and the sampler settings it was trained for."""
    partial = folder.with_name(f".{folder.name}.partial")
    pipeline.save_pretrained(partial)
    (partial / CLASSES).write_text(json.dumps(classes) + "\n")
    (partial / SAMPLING).write_text(json.dumps(sampling) + "\n")
    replace_folder(partial, folder)


def load_pipeline(folder: str | Path) -> tuple[TwinLatentPipeline, tuple[str, ...], dict]:
    """The pipeline in `folder`, its class names, and its sampler settings `sample_steps` and `guidance`.

    Raises `UserError` when the folder is no generator's, or a part of it does not fit.
    """
    folder = Path(folder)
    if not (folder / "model_index.json").is_file():
        raise UserError(f"{folder} holds no generator (no model_index.json); train stage two or give another --weights")
    import diffusers

    scheduler_class = json.loads((folder / "model_index.json").read_text())["scheduler"][1]
    pipeline = TwinLatentPipeline(
        transformer=load_model(DiT, folder / "transformer"),
        autoencoder=load_model(VidTwin, folder / "autoencoder"),
        scheduler=getattr(diffusers, scheduler_class).from_pretrained(folder / "scheduler", local_files_only=True),
    )
    return pipeline, tuple(json.loads((folder / CLASSES).read_text())), json.loads((folder / SAMPLING).read_text())
