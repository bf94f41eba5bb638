"""From uint8 videos to what a feature network takes."""

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from runtime.errors import UserError

RESOLUTION = 224


def resized(videos: Tensor) -> Tensor:
    """uint8 `n t h w 3` to float32 `n t c 224 224`, still 0..255.

    By bilinear interpolation with `align_corners=False` and **no antialiasing**, whatever the aspect, in float and
    unrounded: what the evaluations of StyleGAN-V, common_metrics_on_video_quality and cd-fvd do.

    Raises:
        UserError: another type or shape.
    """
    if videos.dtype != torch.uint8 or videos.ndim != 5 or videos.shape[-1] != 3:
        raise UserError(
            f"videos must be uint8 of shape n t h w 3, not {str(videos.dtype).removeprefix('torch.')} "
            f"{tuple(videos.shape)}"
        )
    frames = rearrange(videos, "n t h w c -> (n t) c h w").float()
    if frames.shape[-2:] != (RESOLUTION, RESOLUTION):
        frames = F.interpolate(frames, (RESOLUTION, RESOLUTION), mode="bilinear", align_corners=False, antialias=False)
    return rearrange(frames, "(n t) c h w -> n t c h w", n=len(videos))
