"""Batches of clips, decoded ahead; the order of training, the same for every number of processes, by position."""

import shutil
from collections.abc import Iterator, Sequence
from functools import partial

import torch
from torch.utils.data import DataLoader, Sampler

from data.clips import ClipDataset, Item
from data.collate import BatchMemory, collate
from data.config import DataConfig
from runtime import distributed
from runtime.errors import UserError
from runtime.random import generator
from runtime.workers import DeafWorkers

PREFETCH = DataConfig.prefetch
TIME_LIMIT = 600  # seconds that a batch may take before the run ends rather than waits for ever


class ClipSampler(Sampler[list[tuple[int, int]]]):
    """Micro-batches of (epoch, index) pairs, without end.

    Epoch e is a permutation named by (seed, e), and the epochs follow one another without a gap. Step k takes the
    items [kB, (k+1)B) of that stream; rank r takes its r-th part of them, in `accumulation` equal micro-batches.
    So the items of a step depend neither on the number of processes nor on the accumulation.

    Raises `UserError` when `batch_size` cannot be divided so.
    """

    def __init__(
        self, length: int, batch_size: int, rank: int, world: int, accumulation: int, start_step: int, seed: int
    ) -> None:
        if batch_size < 1 or batch_size % (world * accumulation):
            raise UserError(
                f"a batch of {batch_size} clips cannot be divided over {world} processes x {accumulation} micro-batches"
            )
        self.length, self.batch_size, self.seed = length, batch_size, seed
        self.share = batch_size // world
        self.first = start_step * batch_size + rank * self.share
        self.micro_batch = self.share // accumulation

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        position, epoch, order = self.first, -1, []
        while True:
            for start in range(position, position + self.share, self.micro_batch):
                batch = []
                for place in range(start, start + self.micro_batch):
                    if place // self.length != epoch:
                        epoch = place // self.length
                        order = torch.randperm(self.length, generator=generator("order", self.seed, epoch)).tolist()
                    batch.append((epoch, order[place % self.length]))
                yield batch
            position += self.batch_size


class PairSampler(Sampler[list[Item]]):
    """Micro-batches of pairs: the clips of a `ClipSampler` of half the size, each before its partner.

    Raises `UserError` when `batch_size` cannot be divided so.
    """

    def __init__(self, length: int, batch_size: int, rank: int, world: int, accumulation: int, *place: int) -> None:
        if batch_size % (2 * world * accumulation):
            raise UserError(
                f"a batch of {batch_size} clips cannot be divided into pairs over {world} processes x {accumulation} "
                "micro-batches"
            )
        self.clips = ClipSampler(length, batch_size // 2, rank, world, accumulation, *place)
        self.micro_batch = 2 * self.clips.micro_batch

    def __iter__(self) -> Iterator[list[Item]]:
        for batch in self.clips:
            yield [Item(epoch, i, partner) for epoch, i in batch for partner in (False, True)]


def train_loader(
    dataset: ClipDataset,
    batch_size: int,
    rank: int,
    world: int,
    accumulation: int,
    start_step: int,
    seed: int,
    workers: int,
    prefetch: int = PREFETCH,
    paired: bool = False,
) -> DataLoader:
    """Endless micro-batches for this rank from `start_step` on, of single clips or of pairs."""
    sampler_class = PairSampler if paired else ClipSampler
    sampler = sampler_class(len(dataset), batch_size, rank, world, accumulation, start_step, seed)
    return clip_loader(dataset, sampler, sampler.micro_batch, workers, prefetch)


def eval_loader(
    dataset: ClipDataset, batch_size: int, rank: int, world: int, chosen: Sequence[int] | None = None
) -> DataLoader:
    """Each chosen video once (all by default), in order; rank r takes every `world`-th batch."""
    items = [(0, i) for i in (range(len(dataset)) if chosen is None else chosen)]
    batches = [items[start : start + batch_size] for start in range(0, len(items), batch_size)]
    return clip_loader(dataset, batches[rank::world], batch_size)


def clip_loader(
    dataset: ClipDataset, batches: Sampler | list, largest: int, workers: int = 0, prefetch: int = PREFETCH
) -> DataLoader:
    """These batches of a data set's items, each of at most `largest`. In-memory sets need no worker processes.

    Raises `UserError` when shared memory cannot hold the batches that the workers prepare.
    """
    options = loader_options(0 if dataset.in_memory else workers, prefetch, largest * dataset.clip_bytes)
    return DataLoader(dataset, batch_sampler=batches, **options)


def loader_options(workers: int, prefetch: int, batch_bytes: int) -> dict[str, object]:
    """How a `DataLoader` collates, and decodes ahead."""
    pin_memory = torch.cuda.is_available()
    if not workers:
        return {"collate_fn": collate, "pin_memory": pin_memory}
    places = prefetch + 1  # what lies ready, and the batch in use
    require_shared_memory(workers * places * batch_bytes)
    return {
        "collate_fn": partial(collate, memory=BatchMemory(workers, places, batch_bytes)),
        "pin_memory": pin_memory,
        "num_workers": workers,
        "prefetch_factor": prefetch,
        "persistent_workers": True,
        "timeout": TIME_LIMIT,
        "multiprocessing_context": DeafWorkers(),
    }


def require_shared_memory(needed: int, place: str = "/dev/shm") -> None:
    """Raises `UserError` when this machine's processes, each with `needed` bytes in flight, do not fit."""
    needed *= distributed.local_processes()
    free = shutil.disk_usage(place).free
    if free < needed:
        raise UserError(
            f"the decoding processes need {needed / 1e9:.2f} GB of shared memory and {place} has {free / 1e9:.2f} GB; "
            "enlarge it (docker: --shm-size), or use fewer workers, a smaller prefetch, or smaller batches"
        )
