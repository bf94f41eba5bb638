"""Clips made longer and larger until a coder can take them whole, and cut back to what they were."""

import torch.nn.functional as F
from torch import Tensor


def extended(video: Tensor, frames: int, multiple: int) -> Tensor:
    """`b c t h w` with its last frame repeated up to `frames`, its last row and column up to a `multiple` of pixels."""
    t, h, w = video.shape[2:]
    return F.pad(video, (0, -w % multiple, 0, -h % multiple, 0, frames - t), mode="replicate")


def cut_back(video: Tensor, like: Tensor) -> Tensor:
    """The part of an extended clip `b c t h w` that the clip `like` was."""
    t, h, w = like.shape[2:]
    return video[:, :, :t, :h, :w]


def least_length(frames: int, step: int, first: int) -> int:
    """The smallest `first + k * step` that is at least `frames`."""
    return first + -(-max(frames - first, 0) // step) * step
