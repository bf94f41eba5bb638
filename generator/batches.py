"""What training sees of a cache: latents on the device, alone or with those of the windows before."""

from collections.abc import Iterator
from itertools import repeat
from typing import NamedTuple

import torch
from torch import Tensor

from data.latents import LatentCache, TwinLatents
from data.latents.neighbours import require_neighbours
from data.latents.source import latent_source
from data.loader import ClipSampler
from generator.stage2 import Stage2Config
from runtime import distributed
from runtime.random import generator


class Batch(NamedTuple):
    """A micro-batch of `b` clips.

    latents, label: of the clips, as the cache holds them
    context: latents of the windows before, in a step that sees them
    clips: their places in the cache
    """

    latents: TwinLatents
    context: TwinLatents | None
    label: Tensor
    clips: list[int]


class LatentBatches:
    """A cache's latents on the device, and the order in which training sees them.

    A share `diffusion.context` of the steps, chosen by step, takes clips that follow another, with the clips that they
    follow; the other steps take any. Each kind has an order of its own, in which step k takes the k-th batch.

    Raises `UserError` when the cache has too few clips that follow another.
    """

    def __init__(self, cache: LatentCache, config: Stage2Config) -> None:
        self.sampled, self.share = config.sample_posterior, config.diffusion.context
        self.seed, self.batch_size = config.loop.seed, config.loop.batch_size
        self.before = require_neighbours(cache, self.batch_size) if self.share else torch.full((len(cache),), -1)
        moments = ("mean", "logvar") if self.sampled else ("mean",)
        names = ["label", *(f"{latent}_{moment}" for latent in TwinLatents._fields for moment in moments)]
        self.source, said = latent_source(cache, names, distributed.device())
        if distributed.is_main():
            print(f"stage2: {said}", flush=True)

    def __call__(self, start_step: int, accumulation: int) -> Iterator[Batch]:
        """Micro-batches from a step on, without end."""
        size = self.batch_size // distributed.world_size() // accumulation
        for chosen, tensors in self.source.batches(self.chosen(start_step, accumulation)):
            latents = [self.latent(name, tensors) for name in TwinLatents._fields]
            context = TwinLatents(*(each[size:] for each in latents)) if len(chosen) > size else None
            clips = TwinLatents(*(each[:size] for each in latents))
            yield Batch(clips, context, tensors["label"][:size], chosen[:size])

    def chosen(self, start_step: int, accumulation: int) -> Iterator[list[int]]:
        """The clips of each micro-batch, followed in a step with context by the clips that they follow."""
        whole, following = torch.arange(len(self.before)), (self.before >= 0).nonzero().flatten()
        orders = [self.order(clips, start_step, accumulation) for clips in (whole, following)]
        for place, (any_clips, those_that_follow) in enumerate(zip(*orders, strict=True)):
            if self.sees_context(start_step + place // accumulation):
                yield those_that_follow + self.before[those_that_follow].tolist()
            else:
                yield any_clips

    def order(self, clips: Tensor, start_step: int, accumulation: int) -> Iterator[list[int]]:
        """Micro-batches of these clips from a step on; empty ones of none."""
        if not len(clips):
            return repeat([])
        rank, world = distributed.rank(), distributed.world_size()
        sampler = ClipSampler(len(clips), self.batch_size, rank, world, accumulation, start_step, self.seed)
        return (clips[[index for _, index in items]].tolist() for items in sampler)

    def sees_context(self, step: int) -> bool:
        """The same on every process, so that no clip of a step needs a mask."""
        return torch.rand((), generator=generator("context", self.seed, step)).item() < self.share

    def latent(self, name: str, tensors: dict[str, Tensor]) -> Tensor:
        mean = tensors[f"{name}_mean"].float()
        if not self.sampled:
            return mean
        return mean + (0.5 * tensors[f"{name}_logvar"].float()).exp() * torch.randn_like(mean)
