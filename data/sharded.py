"""Training clips from WebDataset shards, resumable by position."""

from collections.abc import Iterator
from copy import copy

import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from data.clips import SEPARATOR, UnreadableFile, as_clip, choose_window
from data.config import OnBadFile
from data.loader import PREFETCH, loader_options
from data.shard_files import Sample, ShardList, read_shard
from data.video import BadVideo, read_frames
from runtime.errors import UserError
from runtime.random import generator


class ShardedClips(IterableDataset):
    """Training clips without end, the items of `data.clips.ClipDataset`, from shards read in a random order.

    An epoch's order of shards comes from (seed, epoch, number of shards) and the order inside one from (seed, epoch,
    shard), so that a position says all. The streams, one for each worker of each process, take the shards in turn; a
    stream holds one shard in memory. With another number of processes or workers the order is another.

    Raises `UserError` when there are fewer shards than streams.
    """

    def __init__(
        self,
        shards: ShardList,
        frames: int,
        fps: float,
        size: tuple[int, int],
        seed: int,
        batch_size: int,
        rank: int,
        world: int,
        workers: int,
        on_bad_file: OnBadFile = "skip",
        threads: int = 1,
    ) -> None:
        if len(shards.shards) < world * max(workers, 1):
            raise UserError(
                f"{len(shards.shards)} shards cannot be split over {world} processes x {max(workers, 1)} workers; "
                "pack fewer videos into each, or use fewer --data.workers"
            )
        self.shards, self.frames, self.fps, self.size, self.seed = shards, frames, fps, size, seed
        self.batch_size, self.rank, self.world, self.workers = batch_size, rank, world, max(workers, 1)
        self.start_batch, self.on_bad_file, self.threads = 0, on_bad_file, threads

    def after(self, batches: int) -> "ShardedClips":
        """The same, when so many batches have been taken from this process's workers."""
        later = copy(self)
        later.start_batch = batches
        return later

    @property
    def clip_bytes(self) -> int:
        return 3 * self.frames * self.size[0] * self.size[1]

    def __iter__(self) -> Iterator[dict[str, torch.Tensor | int | str]]:
        worker = get_worker_info()
        # The loader asks its workers in turn, from worker 0 on, also when it resumes in the middle of a round.
        stream = (self.start_batch + (worker.id if worker else 0)) % self.workers
        rounds, rest = divmod(self.start_batch, self.workers)
        skipped: list[str] = []
        for epoch, sample in self._samples(stream, (rounds + (stream < rest)) * self.batch_size):
            try:
                clip = self._clip(epoch, sample)
            except BadVideo as error:
                if self.on_bad_file == "error":
                    raise UnreadableFile(f"{sample.record.name}: {error.reason}") from error
                skipped.append(sample.record.name)
                continue
            yield {**clip, "skipped": SEPARATOR.join(skipped)}
            skipped = []

    def _samples(self, stream: int, taken: int) -> Iterator[tuple[int, Sample]]:
        """The (epoch, sample) pairs of a stream after those that were taken."""
        epoch, streams, first = 0, self.world * self.workers, self.rank * self.workers + stream
        while True:
            order = torch.randperm(len(self.shards.shards), generator=generator("shards", self.seed, epoch)).tolist()
            for number in order[first::streams]:
                shard = self.shards.shards[number]
                if taken < shard.videos:
                    samples = read_shard(shard)
                    inner = torch.randperm(shard.videos, generator=generator("shard", self.seed, epoch, number))
                    yield from ((epoch, samples[i]) for i in inner[taken:].tolist())
                taken = max(taken - shard.videos, 0)
            epoch += 1

    def _clip(self, epoch: int, sample: Sample) -> dict[str, torch.Tensor | int | str]:
        numbers = generator("clip", self.seed, epoch, sample.number)
        indices, start, flip = choose_window(sample.record.info, self.frames, self.fps, numbers)
        with sample.as_file() as info:
            frames = read_frames(info, indices.tolist(), self.size, threads=self.threads)
        return {
            "video": as_clip(frames, flip),
            "label": sample.record.label,
            "video_index": sample.number,
            "name": sample.record.name,
            "first_frame": round(start),
        }


def shard_loader(clips: ShardedClips, workers: int, prefetch: int = PREFETCH) -> DataLoader:
    """Batches of `clips`, which must have been made for as many workers."""
    options = loader_options(workers, prefetch, clips.batch_size * clips.clip_bytes)
    return DataLoader(clips, batch_size=clips.batch_size, **options)
