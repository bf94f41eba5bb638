"""What a step of stage one takes of a device's memory."""

from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from autoencoder.losses.discriminator import PatchDiscriminator
from autoencoder.losses.objective import Objective, ScaledAutoencoder
from autoencoder.losses.perceptual import LPIPS
from autoencoder.model import VidTwin
from autoencoder.stage1.config import Stage1Config
from runtime.training.memory_plan import MemoryPlan, MicroBatch, States, TracedEngine, trace_micro_batch


def memory_plan(config: Stage1Config) -> MemoryPlan:
    """Of both engines, with every loss that the run will ever have."""
    with torch.device("meta"):
        models = [VidTwin.from_config_fields(config.model)]
        models += [PatchDiscriminator()] if config.adversarial else []
    parameters = sum(parameter.numel() for model in models for parameter in model.parameters())
    return MemoryPlan(States.of(parameters, config.engine), partial(micro_batch, config), config.loop.share())


def micro_batch(config: Stage1Config, clips: int) -> MicroBatch:
    """Training's own step on so many clips, traced."""

    def build() -> tuple[nn.Module, Callable[[], object]]:
        autoencoder = TracedEngine(ScaledAutoencoder(VidTwin.from_config_fields(config.model)), config.engine)
        discriminator = TracedEngine(PatchDiscriminator(), config.engine) if config.adversarial else None
        perceptual = LPIPS(config.engine.dtype, trained=False) if config.loss.perceptual else None
        objective = Objective(config.loss, autoencoder, discriminator, perceptual)
        video = torch.empty(clips, 3, *config.model.video_shape)
        return autoencoder.module, lambda: objective.micro_step(video, config.loop.steps)

    return trace_micro_batch(build)
