"""The twin posterior: a diagonal Gaussian over both latents."""

from dataclasses import dataclass

import torch
from torch import Tensor

from data.latents import TwinLatents

LOGVAR_RANGE = (-30.0, 20.0)


@dataclass(frozen=True)
class TwinPosterior:
    """q(structure, dynamics | video). `mean` and `logvar` are twins; log-variances come in clamped."""

    mean: TwinLatents
    logvar: TwinLatents

    @classmethod
    def from_parameters(cls, structure: tuple[Tensor, Tensor], dynamics: tuple[Tensor, Tensor]) -> "TwinPosterior":
        """From each latent's (mean, log-variance); clamps the log-variances to [-30, 20]."""
        mean, logvar = (TwinLatents(*halves) for halves in zip(structure, dynamics, strict=True))
        return cls(mean, TwinLatents(*(each.clamp(*LOGVAR_RANGE) for each in logvar)))

    def mode(self) -> TwinLatents:
        """The posterior mean, which inference uses."""
        return self.mean

    def sample(self, generator: torch.Generator | None = None) -> TwinLatents:
        """μ + σ·ε, structure drawn first."""
        return TwinLatents(
            *(
                mean
                + (0.5 * logvar).exp()
                * torch.randn(mean.shape, generator=generator, device=mean.device, dtype=mean.dtype)
                for mean, logvar in zip(self.mean, self.logvar, strict=True)
            )
        )

    def kl(self, dynamics_weight: float = 1.0) -> Tensor:
        """KL to the standard normal in nats: ½ Σ(μ² + σ² − 1 − log σ²) over all latents, divided by b; in float32.

        That of dynamics may count more or less than that of structure.
        """
        means, logvars = self.mean.to(torch.float32), self.logvar.to(torch.float32)
        return sum(
            weight * 0.5 * (mean.square() + logvar.exp() - 1 - logvar).sum() / len(mean)
            for weight, mean, logvar in zip((1, dynamics_weight), means, logvars, strict=True)
        )
