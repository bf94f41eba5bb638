"""FLOPs of a DiT, counted on meta tensors."""

from dataclasses import asdict
from functools import cache

import torch

from data.latents import TwinLatents
from generator.config import DiffusionConfig, DiTConfig
from generator.diffusion import diffusion_loss, make_objective
from generator.dit import DiT
from runtime.flops import count_flops
from runtime.random import generator


@cache
def training_flops(model: DiTConfig, diffusion: DiffusionConfig) -> int:
    """Of one clip's forward and backward pass, the mean of steps with and without context, counted on meta tensors."""
    with torch.device("meta"):
        dit = DiT(**asdict(model)).train()
        latents = TwinLatents(torch.empty(1, *model.structure_shape), torch.empty(1, *model.dynamics_shape))
        label, numbers = torch.zeros(1, dtype=torch.int64), generator("flops")
        objective = make_objective(diffusion)

        def flops(context: TwinLatents | None) -> int:
            return count_flops(
                lambda: diffusion_loss(dit, objective, latents, label, dit.null_label, numbers, context)[0].backward()
            )

        share = diffusion.context
        return round((1 - share) * flops(None) + share * flops(latents)) if share else flops(None)
