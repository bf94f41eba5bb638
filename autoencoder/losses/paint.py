"""How a clip looks, drawn anew: its channels in another order, as a negative, its outlines grown or shrunk.

None of it depends on the moment, so a clip moves as it did, whatever it is painted with.
"""

from math import inf
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

REACH = 2  # pixels by which outlines move


class Paint(NamedTuple):
    """The looks of `b` clips.

    Attributes:
        channels: the order of theirs, int64 `b c`.
        sign: -1 for a negative, else 1: float32 `b`.
        outline: 1 where what is bright grows by `REACH`, -1 where what is dark does, else 0: float32 `b`.
    """

    channels: Tensor
    sign: Tensor
    outline: Tensor

    def __call__(self, video: Tensor) -> Tensor:
        """`b c t h w` in [-1, 1], painted."""
        clips = torch.arange(len(video), device=video.device)
        video = video[clips[:, None], self.channels]
        return self.sign.view(-1, 1, 1, 1, 1) * outlined(video, self.outline.view(-1, 1, 1, 1, 1))


def draw_paint(painted: Tensor) -> Paint:
    """One for each clip, at random where `painted`, bool `b`; elsewhere one that changes nothing."""
    clips = {"size": (len(painted),), "device": painted.device}
    channels = torch.rand(len(painted), 3, device=painted.device).argsort(1)
    sign, outline = 2.0 * torch.randint(2, **clips) - 1, torch.randint(-1, 2, **clips).float()
    return Paint(
        torch.where(painted[:, None], channels, torch.arange(3, device=painted.device)),
        torch.where(painted, sign, 1.0),
        torch.where(painted, outline, 0.0),
    )


def outlined(video: Tensor, outline: Tensor) -> Tensor:
    """Grey dilation where `outline` is 1 and erosion where it is -1, by a square of `2 REACH + 1` pixels a side."""
    moved = F.pad(outline * video, (REACH,) * 4, value=-inf)
    for axis in (-1, -2):  # several times as fast on a CPU as pooling
        moved = moved.unfold(axis, 2 * REACH + 1, 1).amax(-1)
    return torch.where(outline == 0, video, outline * moved)
