"""What may be done to latents before they are decoded, to see what each is for."""

from dataclasses import dataclass

import torch

from data.latents import TwinLatents


@dataclass(frozen=True)
class Change:
    """Louder or softer latents, and motion that stands still; by default nothing.

    Attributes:
        structure, dynamics: what the values of each are multiplied by.
        moment: the row of dynamics, counted from 0, that takes the place of all others; None leaves each its own.
    """

    structure: float = 1.0
    dynamics: float = 1.0
    moment: int | None = None

    def __call__(self, latents: TwinLatents) -> TwinLatents:
        dynamics = latents.dynamics
        if self.moment is not None:
            dynamics = dynamics[:, :, self.moment, None].expand_as(dynamics)
        return TwinLatents(self.structure * latents.structure, self.dynamics * dynamics)


UNCHANGED = Change()


def between(a: TwinLatents, b: TwinLatents, share: float) -> TwinLatents:
    """On the straight line from `a` to `b`, which are its ends at 0 and 1."""
    return TwinLatents(*(torch.lerp(x, y, share) for x, y in zip(a, b, strict=True)))
