"""95 % intervals by the bootstrap over videos."""

import torch
from torch import Tensor

from runtime.random import generator

DRAWS, LEVEL = 2000, 0.95


def resampled(videos: int, seed: int = 0) -> Tensor:
    """How often each video is drawn in each of `DRAWS` samples of as many, with replacement: float64 `DRAWS videos`."""
    numbers = generator("bootstrap over videos", seed)
    drawn = torch.randint(videos, (DRAWS, videos), generator=numbers)
    counts = torch.zeros(DRAWS, videos, dtype=torch.float64)
    return counts.scatter_add_(1, drawn, torch.ones_like(counts))


def interval(values: Tensor) -> list[float]:
    """The middle 95 % of what the samples gave; those that drew nothing to take a mean of, nan, say nothing."""
    tail = (1 - LEVEL) / 2
    return torch.nanquantile(values, torch.tensor([tail, 1 - tail], dtype=values.dtype)).tolist()
