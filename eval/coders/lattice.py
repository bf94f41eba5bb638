"""Clips made longer and larger until a coder can take them whole, and cut back to what they were."""

import torch.nn.functional as F
from torch import Tensor


def least_multiple(length: int, step: int) -> int:
    """The smallest multiple of `step` that is at least `length`."""
    return -(-length // step) * step


def extended(video: Tensor, size: tuple[int, int, int]) -> Tensor:
    """`b c t h w` with its last frame, row and column repeated up to a size `t h w`."""
    t, h, w = (whole - length for whole, length in zip(size, video.shape[2:], strict=True))
    return F.pad(video, (0, w, 0, h, 0, t), mode="replicate")


def cut_back(video: Tensor, like: Tensor) -> Tensor:
    """The part of an extended clip `b c t h w` that the clip `like` was."""
    t, h, w = like.shape[2:]
    return video[:, :, :t, :h, :w]
