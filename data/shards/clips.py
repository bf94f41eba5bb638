"""Training clips from WebDataset shards, resumable by position."""

from collections.abc import Iterator
from copy import copy
from itertools import accumulate, count

import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from data.clips import SEPARATOR, UnreadableFile, as_clip, choose_window
from data.config import OnBadFile
from data.loader import PREFETCH, loader_options
from data.shards.files import Sample, ShardList, read_shard
from data.video.frames import BadVideo, read_frames
from runtime.errors import UserError
from runtime.random import generator

MOST_STREAMS = 4


class ShardedClips(IterableDataset):
    """Training clips without end, the items of `data.clips.ClipDataset`, from shards read in a random order.

    An epoch's order of shards comes from (seed, epoch, number of shards) and the order inside one from (seed, epoch,
    shard). Each process has up to four streams, which together with the other processes' take the shards in turn, and
    its batches come from one stream after the other. So a position says all, whichever worker decodes it; with another
    number of processes the order is another. A worker holds one shard of each of its streams in memory.

    Raises `UserError` when there are fewer shards than processes.
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
        on_bad_file: OnBadFile = "skip",
        threads: int = 1,
    ) -> None:
        if len(shards.shards) < world:
            raise UserError(
                f"{len(shards.shards)} shards cannot be divided over {world} processes; pack fewer videos into each"
            )
        self.shards, self.frames, self.fps, self.size, self.seed = shards, frames, fps, size, seed
        self.batch_size, self.rank, self.world = batch_size, rank, world
        self.streams = min(MOST_STREAMS, len(shards.shards) // world)
        self.on_bad_file, self.threads = on_bad_file, threads
        self.start_batch = 0

    @property
    def clip_bytes(self) -> int:
        return 3 * self.frames * self.size[0] * self.size[1]

    def after(self, batches: int) -> "ShardedClips":
        """The same, when so many batches have been taken by this process."""
        later = copy(self)
        later.start_batch = batches
        return later

    def __iter__(self) -> Iterator[dict[str, torch.Tensor | int | str]]:
        worker = get_worker_info()
        first, step = (worker.id, worker.num_workers) if worker else (0, 1)  # a loader asks its workers in turn
        streams = [Stream(self, number) for number in range(self.streams)]
        for batch in count(self.start_batch + first, step):
            start = batch // self.streams * self.batch_size
            for position in range(start, start + self.batch_size):
                yield self._clip(streams[batch % self.streams], position)

    def _clip(self, stream: "Stream", position: int) -> dict[str, torch.Tensor | int | str]:
        """The clip at a position; a bad file gives way to the next good one of its shard."""
        skipped: list[str] = []
        for epoch, number, sample in stream.from_position(position):
            try:
                return {**self._item(epoch, number, sample), "skipped": SEPARATOR.join(skipped)}
            except BadVideo as error:
                if self.on_bad_file == "error":
                    raise UnreadableFile(f"{error}; it could be read when it was packed") from error
                skipped.append(sample.record.name)
        raise UserError(f"no video of {stream.shard.url} can be read; pack the data set again")

    def _item(self, epoch: int, number: int, sample: Sample) -> dict[str, torch.Tensor | int | str]:
        numbers = generator("clip", self.seed, epoch, number)
        indices, start, flip = choose_window(sample.record.info, self.frames, self.fps, numbers)
        with sample.as_file() as info:
            frames = read_frames(info, indices.tolist(), self.size, threads=self.threads)
        return {
            "video": as_clip(frames, flip),
            "label": sample.record.label,
            "video_index": number,
            "name": sample.record.name,
            "first_frame": round(start),
        }


class Stream:
    """One of the sequences of videos that a process reads, by position, never backwards."""

    def __init__(self, clips: ShardedClips, number: int) -> None:
        self.shards, self.seed = clips.shards.shards, clips.seed
        self.first_videos = [0, *accumulate(shard.videos for shard in self.shards)]
        self.order = self._order(clips.rank * clips.streams + number, clips.world * clips.streams)
        self.end, self.samples = 0, []

    def _order(self, first: int, streams: int) -> Iterator[tuple[int, int]]:
        """(epoch, shard) pairs without end."""
        for epoch in count():
            order = torch.randperm(len(self.shards), generator=generator("shards", self.seed, epoch)).tolist()
            yield from ((epoch, number) for number in order[first::streams])

    def from_position(self, position: int) -> Iterator[tuple[int, int, Sample]]:
        """The (epoch, place in the split, sample) at a position, and then the others of its shard."""
        while position >= self.end:
            self.epoch, self.number = next(self.order)
            self.shard, self.samples = self.shards[self.number], []
            self.end += self.shard.videos
        self.samples = self.samples or read_shard(self.shard)
        inner = torch.randperm(self.shard.videos, generator=generator("shard", self.seed, self.epoch, self.number))
        for i in inner.roll(self.end - position).tolist():
            yield self.epoch, self.first_videos[self.number] + i, self.samples[i]


def shard_loader(clips: ShardedClips, workers: int, prefetch: int = PREFETCH) -> DataLoader:
    """Batches of `clips`."""
    options = loader_options(workers, prefetch, clips.batch_size * clips.clip_bytes)
    return DataLoader(clips, batch_size=clips.batch_size, **options)
