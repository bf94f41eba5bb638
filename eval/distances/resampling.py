"""How far a Fréchet distance can be trusted: its spread, its dependence on the number of videos, and its floor."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from eval.metrics.gaussian import Gaussian, fit, frechet_distance
from runtime.progress import Progress
from runtime.random import generator

LEVEL = 0.95
SIZES = 8  # of a sweep
REPEATS = 3  # random choices of each size but the largest


class Point(NamedTuple):
    """Of a sweep: the mean distance of `count` videos of either side."""

    count: int
    distance: float


class Sweep(NamedTuple):
    """Distances by number of videos, from few to all, and the value that they tend to.

    Attributes:
        limit: at infinitely many; None where the fewest are not more than the features have dimensions.
        slope: of the distance over 1/N, in distance times videos; None with `limit`.
    """

    points: tuple[Point, ...]
    limit: float | None
    slope: float | None


def interval(real: Tensor, generated: Tensor, distance: float, resamples: int, seed: int) -> tuple[float, float]:
    """The 95 % bootstrap interval of the distance between features `n d` and `m d`, which is `distance`.

    Both sides are drawn with replacement, as many as there are. A resample repeats some videos and lacks others, so
    its distance is too large by about the bias that the figure itself has: quantiles of the resamples, taken as they
    are, may lie above the figure altogether. So their spread about *their own mean* is laid around the figure. The
    interval is for the mean of the figures that other draws of n and m videos would give, the bias of so few videos
    included: it compares figures of equal n and m, and does not hold the value at infinitely many. No end is negative.
    """
    numbers, progress = generator("fvd bootstrap", seed), Progress("interval", resamples, "resamples")
    distances = []
    for _ in range(resamples):
        distances.append(frechet_distance(resampled(real, numbers), resampled(generated, numbers)))
        progress.advance()
    drawn = torch.tensor(distances, dtype=torch.float64)
    tail = (1 - LEVEL) / 2
    low, high = (drawn - drawn.mean()).quantile(torch.tensor([tail, 1 - tail], dtype=torch.float64)).tolist()
    return max(distance - high, 0.0), max(distance - low, 0.0)


def resampled(features: Tensor, numbers: torch.Generator) -> Gaussian:
    return fit(features[torch.randint(len(features), (len(features),), generator=numbers)])


def sweep(real: Tensor, generated: Tensor, seed: int) -> Sweep:
    """The distance at N videos of either side, N from a quarter of the smaller to all of it, and at infinitely many.

    The bias of the distance falls as 1/N, so a line over 1/N ends, at zero, in an estimate without it (FID∞, Chong
    and Forsyth, arXiv 1911.07023). There the real side is kept whole; here both shrink, for a reference of a few
    thousand videos is a sample as well. The line needs covariances of full rank: N must be above d.
    """
    most, dim = min(len(real), len(generated)), real.shape[1]
    fewest = max(most // 4, 2)
    if fewest <= dim < most // 2:
        fewest = dim + 1
    inverse = torch.linspace(1 / fewest, 1 / most, SIZES, dtype=torch.float64).tolist()
    counts = sorted({round(1 / each) for each in inverse})
    progress = Progress("sweep", len(counts), "sizes")
    points = []
    for count in counts:
        points.append(Point(count, mean_distance(real, generated, count, seed)))
        progress.advance()
    if fewest <= dim or len(points) < 3:
        return Sweep(tuple(points), None, None)
    line = torch.tensor([[1 / point.count, 1] for point in points], dtype=torch.float64)
    values = torch.tensor([[point.distance] for point in points], dtype=torch.float64)
    slope, limit = torch.linalg.lstsq(line, values).solution.flatten().tolist()
    return Sweep(tuple(points), limit, slope)


def mean_distance(real: Tensor, generated: Tensor, count: int, seed: int) -> float:
    """The distance of `count` random videos of either side, the mean of a few choices where there is one."""
    repeats = 1 if count == len(real) == len(generated) else REPEATS
    distances = [
        frechet_distance(*(fit(side[chosen]) for side, chosen in zip((real, generated), pair, strict=True)))
        for pair in choices((len(real), len(generated)), count, repeats, seed)
    ]
    return sum(distances) / repeats


def choices(totals: tuple[int, int], count: int, repeats: int, seed: int) -> Iterator[list[Tensor]]:
    """For each repeat `count` different indices below each total."""
    for repeat in range(repeats):
        numbers = generator("fvd sweep", seed, count, repeat)
        yield [torch.randperm(total, generator=numbers)[:count] for total in totals]
