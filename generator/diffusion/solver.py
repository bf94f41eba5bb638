"""Solving the diffusion process: from noise to latents, both together or one for a given other."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from diffusers import SchedulerMixin
from einops import pack, unpack
from torch import Tensor

from data.latents import TwinLatents
from generator.diffusion.guidance import Guidance, Model, guided
from generator.diffusion.schedulers import check_steps

Order = Literal["together", "structure_first", "dynamics_first"]
OnStep = Callable[[int, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Solver:
    """A model, what it is told of the samples, and a scheduler that walks from noise to latents."""

    model: Model
    scheduler: SchedulerMixin
    label: Tensor
    steps: int
    guidance: Guidance
    context: TwinLatents | None
    on_step: OnStep | None

    def together(self, noise: TwinLatents) -> TwinLatents:
        """Both latents at one noise level."""
        # Schedulers keep state from one call to the next, so both latents go through as one vector.
        start, shapes = pack(list(noise), "b *")

        def predict(x: Tensor, time: Tensor, guidance: Guidance) -> Tensor:
            latents = TwinLatents(*unpack(x, shapes, "b *"))
            return pack(list(self.guided(latents, time.expand(len(x)), guidance)), "b *")[0]

        return TwinLatents(*unpack(self.walk(start, predict), shapes, "b *"))

    def structure(self, noise: Tensor, dynamics: Tensor, dynamics_time: float) -> Tensor:
        """Structure, beside dynamics that stay at their noise level."""
        return self.alone("structure", noise, TwinLatents(noise, dynamics), dynamics_time)

    def dynamics(self, noise: Tensor, structure: Tensor, structure_time: float) -> Tensor:
        """Dynamics, beside structure that stays at its noise level."""
        return self.alone("dynamics", noise, TwinLatents(structure, noise), structure_time)

    def alone(self, name: str, noise: Tensor, twins: TwinLatents, other_time: float) -> Tensor:
        """The latent of that name; the other of the `twins` stays as it is."""

        def predict(x: Tensor, time: Tensor, guidance: Guidance) -> Tensor:
            time, still = time.float(), torch.full_like(time, other_time, dtype=torch.float32)
            times = TwinLatents(still, still)._replace(**{name: time})
            noisy = twins._replace(**{name: x})
            return getattr(self.guided(noisy, torch.stack(list(times)).expand(len(x), 2), guidance), name)

        return self.walk(noise, predict)

    def guided(self, noisy: TwinLatents, time: Tensor, guidance: Guidance) -> TwinLatents:
        return guided(self.model, noisy, time, self.label, guidance, self.context)

    def walk(self, x: Tensor, predict: Callable[[Tensor, Tensor, Guidance], Tensor]) -> Tensor:
        self.scheduler.set_timesteps(self.steps, device=self.label.device)
        # Told where to begin, they do not look for the first time, which stands there twice where times are rounded.
        if hasattr(self.scheduler, "set_begin_index"):
            self.scheduler.set_begin_index(0)
        times = self.scheduler.timesteps
        levels = (times / self.scheduler.config.num_train_timesteps).tolist()
        for number, (time, level) in enumerate(zip(times, levels, strict=True)):
            x = self.scheduler.step(predict(x, time, self.guidance.at(level)), time, x, return_dict=False)[0]
            if self.on_step is not None:
                x = self.on_step(number, time, x)
        return x

    @property
    def noise_time(self) -> float:
        """The time of nothing but noise."""
        self.scheduler.set_timesteps(self.steps)
        return float(self.scheduler.timesteps[0])


@torch.no_grad()
def sample(
    model: Model,
    scheduler: SchedulerMixin,
    label: Tensor,
    noise: TwinLatents,
    steps: int,
    guidance: Guidance | float,
    structure: Tensor | None = None,
    dynamics: Tensor | None = None,
    order: Order = "together",
    context: TwinLatents | None = None,
    on_step: OnStep | None = None,
) -> TwinLatents:
    """Normalised latents of the classes `label: b`, from `noise` alone: all schedulers here are deterministic.

    Args:
        model: a DiT, with dropout and the like off.
        scheduler: from `make_scheduler`, of the objective the model was trained with.
        noise: standard normal, in the geometry of the model and on its device.
        steps: steps of the solver; with DDIM a divisor of its number of training steps.
        guidance: a scale, of classifier-free guidance, or more.
        structure, dynamics: a clean normalised latent, for which the other is drawn.
        order: both together, or first the one, from its marginal, and then the other for it. Like a given latent, it
            needs a model with a time for each (`times: separate`).
        context: the clean normalised latents of the window before.
        on_step: called after each step with its number, its time and what is being solved for, which it returns.

    Raises:
        UserError: a number of steps that the scheduler cannot take.
    """
    check_steps(scheduler, steps)
    noise = noise.to(torch.float32)
    solver = Solver(model, scheduler, label, steps, Guidance.of(guidance), context, on_step)
    if structure is None and dynamics is None:
        match order:
            case "together":
                return solver.together(noise)
            case "structure_first":
                structure = solver.structure(noise.structure, noise.dynamics, solver.noise_time)
            case "dynamics_first":
                dynamics = solver.dynamics(noise.dynamics, noise.structure, solver.noise_time)
    if dynamics is None:
        return TwinLatents(structure, solver.dynamics(noise.dynamics, structure, 0.0))
    return TwinLatents(solver.structure(noise.structure, dynamics, 0.0), dynamics)
