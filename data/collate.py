"""Clips to a batch, in memory that worker processes use again.

A worker hands a batch over in shared memory. When that is new for each batch, the system has to find and clear its
pages every time, which can take as long as resizing the frames; so each worker has a few places that it writes to in
turn.
"""

import weakref
from math import prod
from uuid import uuid4

import torch
from einops import rearrange
from torch import Tensor
from torch.utils.data import default_collate, get_worker_info


def collate(
    clips: list[dict[str, Tensor | int | str]], memory: "BatchMemory | None" = None
) -> dict[str, "Tensor | LentFrames | list[str]"]:
    """One batch, with its videos in `memory` if given and free.

    Frames keep the layout that they were decoded in, so that each is copied in one piece: `video` is uint8
    `b c t h w`, as a view of `b t h w c`.
    """
    frames = [rearrange(clip["video"], "c t h w -> t h w c") for clip in clips]
    others = default_collate([{key: value for key, value in clip.items() if key != "video"} for clip in clips])
    return {"video": (memory and memory.lend(frames)) or as_videos(default_collate(frames)), **others}


def as_videos(frames: Tensor) -> Tensor:
    return rearrange(frames, "b t h w c -> b c t h w")


class BatchMemory:
    """Shared memory with room for `places` batches of each worker, made by the process that takes the batches.

    A place is taken until the last tensor that looks into it is gone, so a batch stays what it is for as long as
    anybody keeps it; a worker whose places are all taken turns to new memory.
    """

    def __init__(self, workers: int, places: int, batch_bytes: int) -> None:
        self.places = torch.empty(workers, places, batch_bytes, dtype=torch.uint8).share_memory_()
        self.taken = torch.zeros(workers, places, dtype=torch.bool).share_memory_()
        self.name = uuid4().hex
        _made_here[self.name] = self

    def lend(self, frames: list[Tensor]) -> "LentFrames | None":
        """In a worker: these `t h w c` as one batch, in a place of this worker's; None when all are taken."""
        worker = get_worker_info().id
        free = (~self.taken[worker]).nonzero()
        if not len(free):
            return None
        place, shape = free[0].item(), (len(frames), *frames[0].shape)
        self.taken[worker, place] = True
        torch.stack(frames, out=self._frames(worker, place, shape))
        return LentFrames(self.name, worker, place, shape)

    def receive(self, worker: int, place: int, shape: tuple[int, ...]) -> Tensor:
        """In the process that made this: the videos that a worker has written, `b c t h w`."""
        array = self._frames(worker, place, shape).numpy()
        weakref.finalize(array, self.taken[worker, place].fill_, False).atexit = False
        return as_videos(torch.from_numpy(array))  # which holds on to the array for as long as anything looks into it

    def _frames(self, worker: int, place: int, shape: tuple[int, ...]) -> Tensor:
        return self.places[worker, place, : prod(shape)].view(shape)


class LentFrames:
    """Where a batch lies in a `BatchMemory`; on its way to the process that made that, it turns into the videos."""

    def __init__(self, memory: str, worker: int, place: int, shape: tuple[int, ...]) -> None:
        self.memory, self.where = memory, (worker, place, shape)

    def __reduce__(self) -> tuple[object, ...]:
        return _receive, (self.memory, *self.where)


_made_here: weakref.WeakValueDictionary[str, BatchMemory] = weakref.WeakValueDictionary()


def _receive(memory: str, worker: int, place: int, shape: tuple[int, ...]) -> Tensor:
    return _made_here[memory].receive(worker, place, shape)
