"""The training loss, and the noise levels of the two latents."""

from collections.abc import Callable

import torch
from torch import Tensor

from data.latents import TwinLatents
from generator.diffusion.objectives import Objective

Model = Callable[..., TwinLatents]  # takes float32 latents, may return a coarser precision


def diffusion_loss(
    model: Model,
    objective: Objective,
    latents: TwinLatents,
    label: Tensor,
    null_label: int,
    generator: torch.Generator,
    context: TwinLatents | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Mean squared error of a batch at random times: `(structure + w·dynamics) / (1 + w)`, w = `dynamics_weight`.

    Each latent's error is the mean over its own elements, so it is about 1 for a model that predicts 0 from x₀ of
    unit variance, whatever the weight and the geometry. With `direction_weight` u, `u·(1 − cos)` of the angle between
    prediction and target is added to each (arXiv 2410.10356). A latent that was given clean is not in its mean.

    Args:
        model: a DiT, or an engine around it.
        latents: normalised latents of `b` clips.
        label: `b`, int64.
        null_label: replaces the labels dropped.
        generator: gives times, noise and dropped labels, on its own device.
        context: normalised latents of the windows before.

    Returns:
        The loss, and its detached parts `structure` and `dynamics`: squared errors.
    """
    config, batch, device = objective.config, len(label), label.device
    times = draw_times(objective, batch, generator).to(device)
    dropped = torch.rand(batch, generator=generator, device=generator.device) < config.class_dropout
    label = label.masked_fill(dropped.to(device), null_label)
    noise = [torch.randn(x.shape, generator=generator, device=generator.device).to(device) for x in latents]

    each_time = (times, times) if times.ndim == 1 else times.unbind(1)
    pairs = [objective.corrupt(*it) for it in zip(latents.to(torch.float32), noise, each_time, strict=True)]
    noisy, target = (TwinLatents(*latent) for latent in zip(*pairs, strict=True))
    given = () if context is None else (context.to(torch.float32),)
    prediction = model(noisy, times, label, *given).to(torch.float32)

    learnt = [_weights(time, separate=times.ndim > 1) for time in each_time]
    errors = [mean_of(squared_error, *it) for it in zip(prediction, target, learnt, strict=True)]
    losses = errors
    if config.direction_weight:
        angles = [mean_of(direction_error, *it) for it in zip(prediction, target, learnt, strict=True)]
        losses = [error + config.direction_weight * angle for error, angle in zip(errors, angles, strict=True)]
    loss = (losses[0] + config.dynamics_weight * losses[1]) / (1 + config.dynamics_weight)
    return loss, {"structure": errors[0].detach(), "dynamics": errors[1].detach()}


def draw_times(objective: Objective, batch: int, generator: torch.Generator) -> Tensor:
    """Noise levels: `b`, or `b 2` where each latent has its own.

    Then half of the clips have one time for both, as joint sampling will; in the others one latent, either, has its own
    and the other is clean, pure noise (its marginal is to be learnt), or at a time of its own, equally often: what
    UniDiffuser (arXiv 2303.06555) and diffusion forcing (arXiv 2407.01392) train, with the ends drawn on purpose, for
    conditional sampling stands exactly there.
    """
    time = objective.draw_time(batch, generator)
    if objective.config.times == "shared":
        return time
    options = torch.stack(
        [torch.zeros_like(time), torch.full_like(time, objective.noise_time), objective.draw_time(batch, generator)]
    )
    chance, which = torch.rand(2, batch, generator=generator, device=generator.device)
    option = (6 * (chance - 0.5)).floor().clamp(0, 2).long()
    other = torch.where(chance < 0.5, time, options.gather(0, option[None])[0])
    pair = torch.stack([time, other], dim=1)
    return torch.where((which < 0.5)[:, None], pair, pair.flip(1))


def squared_error(prediction: Tensor, target: Tensor) -> Tensor:
    """Of each clip: `b`."""
    return (prediction - target).square().flatten(1).mean(1)


def direction_error(prediction: Tensor, target: Tensor) -> Tensor:
    """One minus the cosine between the channel vectors `b d …`, mean over all places: `b`."""
    return (1 - torch.cosine_similarity(prediction, target, dim=1)).flatten(1).mean(1)


def _weights(time: Tensor, separate: bool) -> Tensor | None:
    return (time > 0).float() if separate else None


def mean_of(
    error: Callable[[Tensor, Tensor], Tensor], prediction: Tensor, target: Tensor, weights: Tensor | None
) -> Tensor:
    """The mean error of the clips, or of those with weight 1."""
    each = error(prediction, target)
    return each.mean() if weights is None else (each * weights).sum() / weights.sum().clamp(min=1)
