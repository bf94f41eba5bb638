"""The diffusion process over twin latents: training losses, samplers, and the noise a sample starts from.

Both latents share one time. All latents here are normalised; noise schedules and solvers are those of diffusers.
Whatever precision the model computes in, latents, noise, schedules, guidance and losses are float32: the steps of a
schedule, of noise and of a solver are finer than bfloat16 can tell apart.
"""

from collections.abc import Callable, Sequence

import torch
from diffusers import DDIMScheduler, FlowMatchHeunDiscreteScheduler, SchedulerMixin
from einops import pack, unpack
from torch import Tensor

from data.latents import TwinLatents
from generator.config import DiffusionConfig
from runtime.errors import UserError
from runtime.random import generator as named_generator

Model = Callable[[TwinLatents, Tensor, Tensor], TwinLatents]  # takes float32 latents, may return a coarser precision


class CleanPrediction:
    """Predict the clean latents x₀ from `x_t = √ᾱ_t·x₀ + √(1 − ᾱ_t)·ε`, t uniform over the steps (the paper's).

    ᾱ_t is the product of `1 − β` up to step t, with β linear from 0.0001 to 0.02 (DDPM, arXiv 2006.11239; the
    VidTwin paper states no schedule). Sampled by DDIM (arXiv 2010.02502).
    """

    def __init__(self, config: DiffusionConfig):
        self.config = config
        self.schedule = self.make_scheduler(config)

    @staticmethod
    def make_scheduler(config: DiffusionConfig) -> DDIMScheduler:
        # "trailing" starts at the last step, where there is nothing left but noise.
        return DDIMScheduler(
            config.num_train_steps, prediction_type="sample", clip_sample=False, timestep_spacing="trailing"
        )

    def draw_time(self, batch: int, generator: torch.Generator) -> Tensor:
        """`b` steps, int64 in [0, num_train_steps)."""
        return torch.randint(self.config.num_train_steps, (batch,), generator=generator, device=generator.device)

    def corrupt(self, clean: Tensor, noise: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
        """The noisy latent at `time`, and what the model is to predict from it."""
        return self.schedule.add_noise(clean, noise, time), clean


class VelocityPrediction:
    """Predict the velocity `v = ε − x₀` of the straight path `x_t = (1 − t)·x₀ + t·ε`, t logit-normal in (0, 1).

    Rectified flow (arXiv 2209.03003) with the times of Stable Diffusion 3 (arXiv 2403.03206). Sampled by Heun's method.
    """

    def __init__(self, config: DiffusionConfig):
        self.config = config

    @staticmethod
    def make_scheduler(config: DiffusionConfig) -> FlowMatchHeunDiscreteScheduler:
        return FlowMatchHeunDiscreteScheduler(config.num_train_steps)

    def draw_time(self, batch: int, generator: torch.Generator) -> Tensor:
        """`b` times, float in (0, num_train_steps)."""
        normal = torch.randn(batch, generator=generator, device=generator.device)
        return self.config.num_train_steps * (self.config.logit_mean + self.config.logit_std * normal).sigmoid()

    def corrupt(self, clean: Tensor, noise: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
        """The noisy latent at `time`, and what the model is to predict from it."""
        t = (time / self.config.num_train_steps).view(-1, *[1] * (clean.ndim - 1))
        return (1 - t) * clean + t * noise, noise - clean


Objective = CleanPrediction | VelocityPrediction
OBJECTIVES = {"x0": CleanPrediction, "flow": VelocityPrediction}


def make_objective(config: DiffusionConfig) -> Objective:
    """The objective that the configuration names."""
    return OBJECTIVES[config.objective](config)


def make_scheduler(config: DiffusionConfig) -> SchedulerMixin:
    """The diffusers scheduler that samples what the objective trains; saved beside the weights."""
    return OBJECTIVES[config.objective].make_scheduler(config)


def diffusion_loss(
    model: Model,
    objective: Objective,
    latents: TwinLatents,
    label: Tensor,
    null_label: int,
    generator: torch.Generator,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Mean squared error of a batch at random times: `(structure + w·dynamics) / (1 + w)`, w = `dynamics_weight`.

    Each latent's error is the mean over its own elements, so it is about 1 for a model that predicts 0 from x₀ of
    unit variance, whatever the weight and the geometry.

    Args:
        model: a DiT, or an engine around it.
        latents: normalised latents of `b` clips.
        label: `b`, int64.
        null_label: replaces the labels dropped.
        generator: gives times, noise and dropped labels, on its own device.

    Returns:
        The loss, and its detached parts `structure` and `dynamics`.
    """
    config, batch, device = objective.config, len(label), label.device
    time = objective.draw_time(batch, generator).to(device)
    dropped = torch.rand(batch, generator=generator, device=generator.device) < config.class_dropout
    label = label.masked_fill(dropped.to(device), null_label)
    noise = [torch.randn(x.shape, generator=generator, device=generator.device).to(device) for x in latents]

    pairs = [objective.corrupt(*pair, time) for pair in zip(latents.to(torch.float32), noise, strict=True)]
    noisy, target = (TwinLatents(*latent) for latent in zip(*pairs, strict=True))
    prediction = model(noisy, time, label).to(torch.float32)
    structure, dynamics = ((p - x).square().mean() for p, x in zip(prediction, target, strict=True))
    loss = (structure + config.dynamics_weight * dynamics) / (1 + config.dynamics_weight)
    return loss, {"structure": structure.detach(), "dynamics": dynamics.detach()}


def guided(model: Model, noisy: TwinLatents, time: Tensor, label: Tensor, guidance: float) -> TwinLatents:
    """Classifier-free guidance (arXiv 2207.12598), `f(∅) + guidance·(f(label) − f(∅))`, in one forward pass.

    It extrapolates x₀ and velocity alike. At guidance 1 this is `f(label)`, and only that is computed.
    """
    if guidance == 1:
        return model(noisy, time, label).to(torch.float32)
    twice = TwinLatents(*(torch.cat([x, x]) for x in noisy))
    labels = torch.cat([torch.full_like(label, model.null_label), label])
    predictions = model(twice, torch.cat([time, time]), labels).to(torch.float32)
    null, conditional = zip(*(p.chunk(2) for p in predictions), strict=True)
    return TwinLatents(*(n + guidance * (c - n) for n, c in zip(null, conditional, strict=True)))


@torch.no_grad()
def sample(
    model: Model, scheduler: SchedulerMixin, label: Tensor, noise: TwinLatents, steps: int, guidance: float
) -> TwinLatents:
    """Normalised latents of the classes `label: b`, from `noise` alone: both samplers are deterministic.

    Args:
        model: a DiT, with dropout and the like off.
        scheduler: from `make_scheduler`, of the objective the model was trained with.
        noise: standard normal, in the geometry of the model and on its device.
        steps: steps of the solver; with DDIM a divisor of its number of training steps.

    Raises:
        UserError: a number of steps that the scheduler cannot take.
    """
    _check_steps(scheduler, steps)
    scheduler.set_timesteps(steps, device=label.device)
    x, shapes = pack(list(noise.to(torch.float32)), "b *")
    for time in scheduler.timesteps:
        prediction = guided(model, TwinLatents(*unpack(x, shapes, "b *")), time.expand(len(label)), label, guidance)
        # Schedulers keep state from one call to the next, so both latents go through as one vector.
        x = scheduler.step(pack(list(prediction), "b *")[0], time, x, return_dict=False)[0]
    return TwinLatents(*unpack(x, shapes, "b *"))


def _check_steps(scheduler: SchedulerMixin, steps: int) -> None:
    levels = scheduler.config.num_train_timesteps
    if not 1 <= steps <= levels:
        raise UserError(f"{steps} sampling steps: choose from 1 to {levels}")
    # DDIM's stride is a whole number; otherwise the noise level it assumes drifts from the one it tells the model.
    if isinstance(scheduler, DDIMScheduler) and levels % steps:
        raise UserError(f"{steps} sampling steps do not divide the {levels} training steps: choose a divisor")


def initial_noise(
    seed: int, indices: Sequence[int], structure_shape: tuple[int, ...], dynamics_shape: tuple[int, ...]
) -> TwinLatents:
    """Standard normal noise of the samples `indices`, on the CPU: sample i's comes from (seed, i) alone.

    Shapes are those of one sample: `(d_S, n_q, h_S, w_S)` and `(d_D, t, w_D + h_D)`.
    """
    generators = [named_generator("sample-noise", seed, i) for i in indices]
    pairs = [[torch.randn(shape, generator=g) for shape in (structure_shape, dynamics_shape)] for g in generators]
    return TwinLatents(*(torch.stack(latent) for latent in zip(*pairs, strict=True)))
