"""How well a generator denoises latents that it has not seen: one unit, whatever it was trained to predict."""

import math

import torch
from torch import Tensor

from data.latents import TwinLatents
from generator.diffusion import Objective
from generator.diffusion.guidance import Model
from runtime.random import generator

RATIOS = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Of noise to signal."""


def time_of(objective: Objective, ratio: float) -> Tensor:
    """The time at which noise is `ratio` times the signal; of whole steps the nearest, within half a percent."""
    if objective.config.objective == "flow":
        return torch.tensor(objective.noise_time * ratio / (1 + ratio))
    kept = objective.schedule.alphas_cumprod
    return ((1 - kept).log() - kept.log() - 2 * math.log(ratio)).abs().argmin()


def clean_of(objective: Objective, noisy: Tensor, prediction: Tensor, time: Tensor) -> Tensor:
    """What a prediction says of the clean latent: `x_t − t·v` of a velocity."""
    if objective.config.objective == "flow":
        return noisy - time / objective.noise_time * prediction
    return prediction


@torch.inference_mode()
def denoising_error(
    model: Model, objective: Objective, latents: TwinLatents, label: Tensor, batch_size: int = 256
) -> dict[str, float]:
    """Mean squared error of the clean latents that the model sees, mean over `RATIOS`: `structure`, `dynamics`.

    A model that knows only that normalised latents have unit variance leaves `r² / (1 + r²)` at ratio r, 0.5 in the
    mean. Noise is the same for every model. `latents` are normalised, of the classes `label: b`.
    """
    numbers = generator("denoising error")
    noise = [torch.randn(x.shape, generator=numbers).to(label.device) for x in latents]
    sums = torch.zeros(2, dtype=torch.float64)
    for ratio in RATIOS:
        time = time_of(objective, ratio).to(label.device)
        for part in torch.arange(len(label), device=label.device).split(batch_size):
            times = time.expand(len(part))
            clean = [x[part] for x in latents]
            noisy = [objective.corrupt(x, e[part], times)[0] for x, e in zip(clean, noise, strict=True)]
            prediction = model(TwinLatents(*noisy), times, label[part]).to(torch.float32)
            found = [clean_of(objective, *it, time) for it in zip(noisy, prediction, strict=True)]
            sums += torch.tensor([(a - b).square().flatten(1).mean(1).sum() for a, b in zip(found, clean, strict=True)])
    return dict(zip(TwinLatents._fields, (sums / len(label) / len(RATIOS)).tolist(), strict=True))
