"""How a video of several windows goes on: changes from frame to frame across the joints, and brightness.

Videos are uint8 `n c t h w`, of whole windows of `window` frames.
"""

import torch
from einops import rearrange, reduce
from torch import Tensor

from data.pixels import psnr
from data.video.frames import to_float

ALIKE = 60.0  # dB, of frames that rounding to 8 bits cannot tell apart


def continuation_figures(videos: Tensor, window: int) -> dict[str, dict[str, float | list[float]]]:
    """Means over the videos.

    psnr, dB of each frame against the one before: at the `joint` of two windows (`by_joint`, in their order), `inside`
    windows, and `by_place` in a window, of which the last is the joint; brightness in grey levels of 255: `by_window`,
    and its `slope`, grey levels a window, with its standard error.
    """
    changes = changes_by_window(videos, window)
    levels = brightness_by_window(videos, window)
    slopes = slopes_of(levels)
    return {
        "psnr": {
            "joint": changes[:, :-1, -1].mean().item(),
            "inside": changes[:, :, :-1].mean().item(),
            "by_joint": changes[:, :-1, -1].mean(0).tolist(),
            "by_place": changes.nanmean((0, 1)).tolist(),
        },
        "brightness": {
            "by_window": levels.mean(0).tolist(),
            "slope": slopes.mean().item(),
            "slope_error": (slopes.std() / len(slopes) ** 0.5).item(),
        },
    }


def changes_by_window(videos: Tensor, window: int) -> Tensor:
    """PSNR of each frame's next one against it, `n windows window`: the last of a window is the joint's, NaN at the end
    of the video.
    """
    each = [psnr(video[:, :, 1:], video[:, :, :-1]) for video in map(to_float, videos.split(1))]
    changes = torch.nn.functional.pad(torch.cat(each).clamp(max=ALIKE), (0, 1), value=torch.nan)
    return rearrange(changes, "n (windows window) -> n windows window", window=window)


def brightness_by_window(videos: Tensor, window: int) -> Tensor:
    """Mean of all values, `n windows`."""
    each = [reduce(v.double(), "n c (k t) h w -> n k", "mean", t=window) for v in videos.split(1)]
    return torch.cat(each)


def slopes_of(values: Tensor) -> Tensor:
    """By least squares over the last axis of `n windows`: `n`."""
    places = torch.arange(values.shape[-1], dtype=values.dtype)
    places -= places.mean()
    return values @ places / places.square().sum()
