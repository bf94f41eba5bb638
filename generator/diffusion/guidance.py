"""Guidance: away from what a weaker model predicts."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from data.latents import TwinLatents

Model = Callable[..., TwinLatents]


@dataclass(frozen=True)
class Guidance:
    """How strongly, between which noise levels, and away from what.

    Attributes:
        scale: 1 is the model itself, 0 the weaker one.
        interval: noise levels from 0 (clean) to 1 between which it holds (arXiv 2404.07724).
        weak: a smaller or earlier model, given the same class (autoguidance, arXiv 2406.02507); the same model without
            a class (classifier-free guidance, arXiv 2207.12598) where there is none.
    """

    scale: float = 1.0
    interval: tuple[float, float] = (0.0, 1.0)
    weak: Model | None = None

    @classmethod
    def of(cls, scale: "float | Guidance") -> "Guidance":
        """Classifier-free guidance of that scale at every noise level, where only a scale is given."""
        return scale if isinstance(scale, Guidance) else cls(scale)

    def at(self, level: float) -> "Guidance":
        """What holds at a noise level."""
        low, high = self.interval
        return self if low <= level <= high else Guidance()


def guided(
    model: Model,
    noisy: TwinLatents,
    time: Tensor,
    label: Tensor,
    guidance: Guidance | float,
    context: TwinLatents | None = None,
) -> TwinLatents:
    """`weak + scale·(strong − weak)`, for x₀ and velocity alike; without a class in one forward pass of both.

    At scale 1 this is `f(label)`, and only that is computed.
    """
    guidance, given = Guidance.of(guidance), () if context is None else (context,)
    if guidance.scale == 1:
        return model(noisy, time, label, *given).to(torch.float32)
    if guidance.weak is not None:
        strong = model(noisy, time, label, *given).to(torch.float32)
        weak = guidance.weak(noisy, time, label, *given).to(torch.float32)
    else:
        twice = [TwinLatents(*(torch.cat([x, x]) for x in latents)) for latents in (noisy, *given)]
        labels = torch.cat([torch.full_like(label, model.null_label), label])
        predictions = model(twice[0], torch.cat([time, time]), labels, *twice[1:]).to(torch.float32)
        weak, strong = (TwinLatents(*half) for half in zip(*(p.chunk(2) for p in predictions), strict=True))
    return TwinLatents(*(w + guidance.scale * (s - w) for w, s in zip(weak, strong, strict=True)))
