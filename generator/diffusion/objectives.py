"""What the model learns to predict from noisy latents, and at which noise levels."""

import torch
from torch import Tensor

from generator.config import DiffusionConfig
from generator.diffusion.schedulers import make_scheduler


class CleanPrediction:
    """Predict the clean latents x₀ from `x_t = √ᾱ_t·x₀ + √(1 − ᾱ_t)·ε`, t uniform over the steps (the paper's).

    ᾱ_t is the product of `1 − β` up to step t, with β linear from 0.0001 to 0.02 (DDPM, arXiv 2006.11239; the
    VidTwin paper states no schedule).
    """

    def __init__(self, config: DiffusionConfig):
        self.config = config
        self.schedule = make_scheduler(config, "ddim")
        self.noise_time = config.num_train_steps - 1

    def draw_time(self, batch: int, generator: torch.Generator) -> Tensor:
        """`b` steps, int64 in [0, num_train_steps)."""
        return torch.randint(self.config.num_train_steps, (batch,), generator=generator, device=generator.device)

    def corrupt(self, clean: Tensor, noise: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
        """The noisy latent at `time: b`, and what the model is to predict from it."""
        return self.schedule.add_noise(clean, noise, time), clean


class VelocityPrediction:
    """Predict the velocity `v = ε − x₀` of the straight path `x_t = (1 − t)·x₀ + t·ε`, t logit-normal in (0, 1).

    Rectified flow (arXiv 2209.03003) with the times of Stable Diffusion 3 and their shift (arXiv 2403.03206).
    """

    def __init__(self, config: DiffusionConfig):
        self.config = config
        self.noise_time = config.num_train_steps

    def draw_time(self, batch: int, generator: torch.Generator) -> Tensor:
        """`b` times, float in (0, num_train_steps)."""
        normal = torch.randn(batch, generator=generator, device=generator.device)
        t = (self.config.logit_mean + self.config.logit_std * normal).sigmoid()
        shift = self.config.time_shift
        return self.config.num_train_steps * shift * t / (1 + (shift - 1) * t)

    def corrupt(self, clean: Tensor, noise: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
        """The noisy latent at `time: b`, and what the model is to predict from it."""
        t = (time / self.config.num_train_steps).view(-1, *[1] * (clean.ndim - 1))
        return (1 - t) * clean + t * noise, noise - clean


Objective = CleanPrediction | VelocityPrediction
OBJECTIVES = {"x0": CleanPrediction, "flow": VelocityPrediction}


def make_objective(config: DiffusionConfig) -> Objective:
    """The objective that the configuration names."""
    return OBJECTIVES[config.objective](config)
