"""Per-channel statistics of cached latents, in one float64 pass: each shard carries its sums, a cache adds them up."""

from math import prod

import torch
from einops import reduce
from torch import Tensor

from data.latents.twins import TwinLatents

MOMENTS = tuple(f"{latent}_{moment}" for latent in TwinLatents._fields for moment in ("mean", "logvar"))


def channel_sums(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """`{structure,dynamics}_sums`, float64 `3 d`: of μ, μ² and σ² over all axes but the channels'."""
    sums = {}
    for latent in TwinLatents._fields:
        mean, variance = tensors[f"{latent}_mean"].double(), tensors[f"{latent}_logvar"].double().exp()
        sums[f"{latent}_sums"] = torch.stack(
            [reduce(each, "n d ... -> d", "sum") for each in (mean, mean.square(), variance)]
        )
    return sums


def rounding(exact: dict[str, Tensor], stored: dict[str, Tensor]) -> Tensor:
    """What storing has changed, float64 `moment 2`: for each of `MOMENTS` the largest error and the sum of squares."""
    rows = []
    for name in MOMENTS:
        error = stored[name].double() - exact[name].double()
        largest = error.abs().max() if error.numel() else error.sum()
        rows.append(torch.stack([largest, error.square().sum()]))
    return torch.stack(rows)


class RunningStatistics:
    """The sums of the shards, added in the order of the shards: the same for any number of processes."""

    def __init__(self) -> None:
        self.clips = 0
        self.sums: dict[str, Tensor] = {}
        self.largest = self.squares = torch.zeros(len(MOMENTS), dtype=torch.float64)

    def add(self, clips: int, summary: dict[str, Tensor]) -> None:
        """A shard of so many clips, with its `channel_sums` and `rounding`."""
        self.clips += clips
        for name in (f"{latent}_sums" for latent in TwinLatents._fields):
            self.sums[name] = self.sums.get(name, 0) + summary[name]
        self.largest = torch.maximum(self.largest, summary["rounding"][:, 0])
        self.squares = self.squares + summary["rounding"][:, 1]

    def of(self, latent: str, shape: tuple[int, ...]) -> dict[str, list[float]]:
        """Of a latent of `d ...`: `mean`, `std` of the posterior means, `std_sample` with E[σ²] added."""
        mean, square, noise = self.sums[f"{latent}_sums"] / (self.clips * prod(shape[1:]))
        variance = (square - mean.square()).clamp(min=0)
        return {
            "mean": mean.tolist(),
            "std": variance.sqrt().tolist(),
            "std_sample": (variance + noise).sqrt().tolist(),
        }

    def errors(self, shapes: dict[str, tuple[int, ...]]) -> dict[str, dict[str, float]]:
        """For each moment `max` and `rms` of what is stored against fp32."""
        counts = [max(self.clips * prod(shapes[name]), 1) for name in MOMENTS]
        return {
            name: {"max": largest, "rms": (squares / count) ** 0.5}
            for name, largest, squares, count in zip(
                MOMENTS, self.largest.tolist(), self.squares.tolist(), counts, strict=True
            )
        }
