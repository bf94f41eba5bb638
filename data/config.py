"""Which videos a run reads, and how."""

from dataclasses import dataclass
from typing import Literal

OnBadFile = Literal["skip", "error"]
Split = Literal["train", "test"]


@dataclass(frozen=True)
class DataConfig:
    """A data set and how clips are taken from it.

    Attributes:
        root: folder with `UCF-101/` and `ucfTrainTestlist/`, any folder with videos, or shards (see `data.shards`).
        fold: which of UCF-101's three official splits; of shards, it was chosen when they were packed.
        fps: rate at which a clip's frames are taken (the paper: 8).
        in_memory: keep all decoded, resized videos in memory as uint8.
        on_bad_file: leave files that cannot be read out, or end the run with the first.
        workers: decoding processes for each training process; 0 decodes in the training process itself.
        prefetch: batches that each of them holds ready.
    """

    root: str = "datasets/builtin"
    fold: int = 1
    fps: float = 8.0
    in_memory: bool = False
    on_bad_file: OnBadFile = "skip"
    workers: int = 4
    prefetch: int = 2
