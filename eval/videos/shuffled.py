"""Clips whose frames are out of order: every picture is real, and no motion is."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from eval.videos.source import Clip, Source
from runtime.random import generator, seed_of


@dataclass(frozen=True)
class ShuffledClip:
    """A clip with its frames in an order drawn by (seed, name)."""

    clip: Clip
    seed: int

    @property
    def name(self) -> str:
        return self.clip.name

    def key(self) -> str:
        return hashlib.sha256(f"{self.clip.key()} shuffled {self.seed}".encode()).hexdigest()

    def frames(self) -> Tensor:
        frames = self.clip.frames()
        numbers = generator("fvd shuffled frames", self.seed, seed_of(self.name))
        return frames[torch.randperm(len(frames), generator=numbers)]


@dataclass
class Shuffled:
    """A source whose clips are shuffled; all else is the source's."""

    source: Source
    seed: int

    def __getattr__(self, name: str) -> object:
        return getattr(self.source, name)

    def clips(self, indices: Sequence[int], size: tuple[int, int]) -> Iterator[ShuffledClip]:
        return (ShuffledClip(clip, self.seed) for clip in self.source.clips(indices, size))
