"""The diffusion process over twin latents: objectives, schedulers, the training loss, guidance, and solving.

All latents here are normalised. Whatever precision a model computes in, latents, noise, schedules, guidance and losses
are float32: the steps of a schedule, of noise and of a solver are finer than bfloat16 can tell apart. Noise schedules
and solvers are those of diffusers. May import `data`, `runtime` and `generator.config`.
"""

from generator.diffusion.guidance import Guidance, guided
from generator.diffusion.loss import diffusion_loss
from generator.diffusion.noise import initial_noise
from generator.diffusion.objectives import Objective, make_objective
from generator.diffusion.schedulers import make_scheduler
from generator.diffusion.solver import sample

__all__ = [
    "Guidance",
    "Objective",
    "diffusion_loss",
    "guided",
    "initial_noise",
    "make_objective",
    "make_scheduler",
    "sample",
]
