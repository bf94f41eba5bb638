"""Which clips of a video a latent cache holds."""

from dataclasses import dataclass
from math import ceil
from typing import Literal

import torch

from data.clips import ClipDataset, Window, choose_window
from data.index import VideoIndex
from data.latents.plan import VideoTable
from data.video.frames import VideoInfo
from runtime.random import generator


@dataclass(frozen=True)
class ClipChoice:
    """Clips of `frames` frames at `fps`.

    Attributes:
        clips_per_video: 1 takes the window in the middle; more take windows at random by `seed`; `all` takes one
            window after the other, the last aligned to the end.
        flipped: follow every clip by its mirror image. Without, random windows are flipped at random, as in training.
    """

    frames: int
    fps: float
    clips_per_video: int | Literal["all"]
    flipped: bool
    seed: int

    def table(self, index: VideoIndex) -> VideoTable:
        """How many clips each video of an index gives."""
        videos = index.videos
        clips = tuple(self.windows(info) * (1 + self.flipped) for info in videos)
        return VideoTable(index.names, index.labels, tuple(info.frames for info in videos), clips)

    def windows(self, info: VideoInfo) -> int:
        if self.clips_per_video != "all":
            return self.clips_per_video
        return 1 + ceil(self.room(info) / (self.frames * info.fps / self.fps))

    def window(self, info: VideoInfo, video: int, number: int) -> Window:
        """The frames of a video's clip (`t`), the time of the first, and whether to flip."""
        which, mirrored = divmod(number, 2) if self.flipped else (number, 0)
        if self.clips_per_video == "all":
            start = min(which * self.frames * info.fps / self.fps, self.room(info))
            times = start + torch.arange(self.frames) * info.fps / self.fps
            return times.round().long().clamp(max=info.frames - 1), start, bool(mirrored)
        numbers = generator("clip", self.seed, which, video) if self.clips_per_video > 1 else None
        indices, start, flip = choose_window(info, self.frames, self.fps, numbers)
        return indices, start, bool(mirrored) if self.flipped else flip

    def room(self, info: VideoInfo) -> float:
        """How far, in frames of the video, a window can be moved."""
        return max(info.frames - 1 - (self.frames - 1) * info.fps / self.fps, 0.0)


class ChosenClips(ClipDataset):
    """The clips of a cache, by (number among the video's, video). A file that turns bad raises `UnreadableFile`."""

    def __init__(
        self, index: VideoIndex, choice: ClipChoice, size: tuple[int, int], in_memory: bool, threads: int = 1
    ) -> None:
        frames, fps, seed = choice.frames, choice.fps, choice.seed
        settings = {"train": False, "in_memory": in_memory, "on_bad_file": "error", "threads": threads}
        super().__init__(index, frames, fps, size, seed, **settings)
        self.choice = choice

    def window(self, number: int, video: int) -> Window:
        return self.choice.window(self.index.videos[video], video, number)
