"""Which frames of a video make a clip, and which videos are taken."""

from dataclasses import dataclass

import torch
from torch import Tensor

from data.video.frames import VideoInfo
from runtime.random import generator, seed_of


@dataclass(frozen=True)
class Window:
    """Which frames make a clip.

    Attributes:
        frames: how many.
        stride: every so many-th frame of what is there.
        fps: frames of video files nearest to this rate, in place of a stride; arrays have no rate of their own.
        seed: of the random start in each video file. A clip of an array begins at its first frame.
    """

    frames: int = 16
    stride: int = 1
    fps: float | None = None
    seed: int = 0

    @property
    def span(self) -> int:
        """Frames from the first to the last, inclusive, at the stride."""
        return (self.frames - 1) * self.stride + 1

    def offsets(self, info: VideoInfo) -> Tensor:
        """Frames of a file after the window's first, `t`."""
        step = self.stride if self.fps is None else info.fps / self.fps
        return (torch.arange(self.frames) * step).round().long()

    def frames_of(self, name: str, info: VideoInfo) -> list[int]:
        """A window that begins at random by seed and name: other files of its folder do not move it."""
        offsets = self.offsets(info)
        room = info.frames - int(offsets[-1])
        numbers = generator("fvd window", self.seed, seed_of(name))
        return (torch.randint(room, (), generator=numbers) + offsets).tolist()


def order_of(total: int, seed: int) -> list[int]:
    """The order in which videos are taken until there are enough: all of them, each once."""
    return torch.randperm(total, generator=generator("fvd choice", seed)).tolist()
