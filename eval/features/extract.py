"""From videos to features: decoded in threads ahead of the network, shared among processes, kept in a cache."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from data.video.frames import BadVideo
from eval.features.ahead import ahead
from eval.features.cache import FeatureCache
from eval.features.network import FeatureNetwork
from eval.videos.source import Clip, Source
from runtime import distributed
from runtime.progress import Progress


class Loaded(NamedTuple):
    """What became of a clip: its key, its frames unless its features are known, or its fault."""

    clip: Clip
    key: str = ""
    frames: Tensor | None = None
    fault: str = ""


class Extracted(NamedTuple):
    """Features of different videos.

    Attributes:
        features: `n d` in the order of the videos in their source, whatever order they were chosen in.
        keys: of the clips, `n`.
        rest: of the order, the videos that were not needed.
    """

    features: Tensor
    keys: tuple[str, ...]
    rest: list[int]


@dataclass
class Extractor:
    """Clips to features.

    Attributes:
        batch_size: of the network.
        workers: threads that decode.
    """

    network: FeatureNetwork
    cache: FeatureCache
    batch_size: int = 8
    workers: int = 1

    def __call__(self, source: Source, order: Sequence[int], count: int, size: tuple[int, int], what: str) -> Extracted:
        """Features of the first `count` videos of an order that can be read, or of as many as there are.

        Each process takes its part, and all return all. What cannot be read gives way to what follows, and is added to
        the source's `left_out`.
        """
        found: dict[int, tuple[str, Tensor]] = {}
        waiting = list(order)
        while len(found) < count and waiting:
            missing = count - len(found)
            chosen, waiting = sorted(waiting[:missing]), waiting[missing:]
            mine = part_of_this_process(chosen)
            measured, faults = self.measure(source.clips(mine, size), len(mine), what)
            keyed = [(i, row) for i, row in zip(mine, measured, strict=True) if row is not None]
            found |= dict(distributed.gather(keyed))
            source.left_out |= dict(distributed.gather(faults))
        keys, features = zip(*(found[i] for i in sorted(found)), strict=True) if found else ((), ())
        stacked = torch.stack(features) if features else torch.zeros(0, self.network.dim)
        return Extracted(stacked, keys, waiting)

    def measure(
        self, clips: Iterator[Clip], total: int, what: str
    ) -> tuple[list[tuple[str, Tensor] | None], list[tuple[str, str]]]:
        """Key and features of each clip, None of one that cannot be read; and the names and faults of those."""
        progress = Progress(what, total, "videos", show=distributed.is_main())
        keys, faults, batch = [], [], []
        for loaded in ahead(self.load, clips, self.workers, 2 * self.batch_size + self.workers):
            keys.append(None if loaded.fault else loaded.key)
            if loaded.fault:
                faults.append((loaded.clip.name, loaded.fault))
            elif loaded.frames is not None:
                batch.append(loaded)
            if len(batch) == self.batch_size:
                self.compute(batch)
                batch = []
            progress.advance()
        self.compute(batch)
        self.cache.save()
        return [None if key is None else (key, self.cache[key]) for key in keys], faults

    def load(self, clip: Clip) -> Loaded:
        """In a thread: what the network needs of a clip."""
        try:
            key = clip.key()
            return Loaded(clip, key, None if key in self.cache else clip.frames())
        except BadVideo as error:
            return Loaded(clip, fault=error.reason)

    def compute(self, batch: list[Loaded]) -> None:
        if batch:
            features = self.network(torch.stack([each.frames for each in batch]))
            self.cache.add([each.key for each in batch], features)


def part_of_this_process(chosen: list[int]) -> list[int]:
    """Neighbours, so that a process reads as few shards as it can."""
    size, rank = distributed.world_size(), distributed.rank()
    return chosen[len(chosen) * rank // size : len(chosen) * (rank + 1) // size]
