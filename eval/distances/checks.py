"""What a distance of real videos to real videos tells of one to generated videos."""

from typing import NamedTuple

import torch
from torch import Tensor

from eval.distances.resampling import mean_distance
from eval.metrics.gaussian import fit, frechet_distance
from runtime.errors import UserError
from runtime.random import generator

SPLITS = 3


class Floor(NamedTuple):
    """At `count` videos of either side: what real against other real videos gives, and generated against real."""

    count: int
    real: float
    generated: float


class Order(NamedTuple):
    """Halves of the real videos against each other: with the frames of one shuffled in time, and as they are."""

    shuffled: float
    unshuffled: float

    @property
    def passed(self) -> bool:
        """Whether the features see motion."""
        return self.shuffled > self.unshuffled


def floor(real: Tensor, more: Tensor, generated: Tensor, seed: int) -> Floor:
    """Real features `n d` and `more` against each other: what a perfect generator would be measured at.

    At n videos of either side where there are n more, at half of all otherwise, and never at more than `generated` has;
    the mean of a few splits. The distance to the generated ones is at the same number.
    """
    every = torch.cat([real, more])
    count = min(len(every) // 2, len(generated))
    if count < 2:
        raise UserError("the floor needs at least 4 real videos and 2 generated ones")
    between = [frechet_distance(fit(every[a[:count]]), fit(every[b[:count]])) for a, b in halvings(len(every), seed)]
    return Floor(count, sum(between) / SPLITS, mean_distance(real, generated, count, seed))


def order(real: Tensor, shuffled: Tensor, seed: int) -> Order:
    """Features `n d` of real clips, and of the same clips with their frames out of order; the mean of a few splits."""
    if len(real) < 4:
        raise UserError("the check of frames' order needs at least 4 real videos")
    pairs = [(fit(real[a]), fit(shuffled[b]), fit(real[b])) for a, b in halvings(len(real), seed)]
    return Order(
        sum(frechet_distance(one, other) for one, other, _ in pairs) / SPLITS,
        sum(frechet_distance(one, other) for one, _, other in pairs) / SPLITS,
    )


def halvings(total: int, seed: int) -> list[tuple[Tensor, Tensor]]:
    """Indices of random halves."""
    drawn = (torch.randperm(total, generator=generator("fvd halves", seed, split)) for split in range(SPLITS))
    return [(order[: total // 2], order[total // 2 :]) for order in drawn]
