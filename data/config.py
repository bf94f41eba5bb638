"""Which videos a run reads, and how."""

from dataclasses import dataclass


@dataclass(frozen=True)
class DataConfig:
    """A data set and how clips are taken from it.

    Attributes:
        root: folder with `UCF-101/` and `ucfTrainTestlist/`, or any folder with videos.
        fold: which of UCF-101's three official splits.
        fps: rate at which a clip's frames are taken (the paper: 8).
        in_memory: keep all decoded, resized videos in memory as uint8.
        workers: decoding processes for each training process; 0 decodes in the training process itself.
    """

    root: str = "datasets/builtin"
    fold: int = 1
    fps: float = 8.0
    in_memory: bool = False
    workers: int = 4
