"""Which videos a run reads, and how."""

from dataclasses import dataclass
from typing import Literal

from runtime import distributed
from runtime.errors import UserError

OnBadFile = Literal["skip", "error"]
Split = Literal["train", "test"]
Workers = int | Literal["auto"]

MOST_WORKERS = 4  # 260 clips/s of 16 frames at 224x224 (docs/results.md)


def worker_count(workers: Workers) -> int:
    """`auto` is one for each core that falls to this process, at most `MOST_WORKERS`."""
    if workers != "auto":
        return workers
    return min(max(distributed.cores(), 1), MOST_WORKERS)


@dataclass(frozen=True)
class DataConfig:
    """A data set and how clips are taken from it.

    Attributes:
        root: folder with `UCF-101/` and `ucfTrainTestlist/`, any folder with videos, or one with shards (see
            `data.shards.files`).
        fold: which of UCF-101's three official splits; of shards, it was chosen when they were packed.
        fps: rate at which a clip's frames are taken (the paper: 8).
        also: more data sets, whose training videos are seen besides, without their classes: real films, say.
        also_times: how often an epoch takes a clip of each of theirs.
        in_memory: keep all decoded, resized videos in memory as uint8.
        on_bad_file: leave files that cannot be read out, or end the run with the first.
        workers: decoding processes for each training process; 0 decodes in the training process itself, `auto` takes
            one for each of its cores, at most 4.
        prefetch: batches that each of them holds ready.
        decoder_threads: threads that decode one video.
    """

    root: str = "datasets/builtin"
    fold: int = 1
    fps: float = 8.0
    also: tuple[str, ...] = ()
    also_times: int = 1
    in_memory: bool = False
    on_bad_file: OnBadFile = "skip"
    workers: Workers = "auto"
    prefetch: int = 2
    decoder_threads: int = 1

    def __post_init__(self) -> None:
        least = {"workers": 0, "prefetch": 1, "decoder_threads": 1, "also_times": 1}
        for name, lowest in least.items():
            if getattr(self, name) != "auto" and getattr(self, name) < lowest:
                raise UserError(f"--data.{name} must be at least {lowest}")
