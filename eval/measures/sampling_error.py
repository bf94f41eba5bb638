"""How far a mean may be off because other videos might have been taken."""

import torch
from torch import Tensor


def mean_and_error(values: Tensor, videos: Tensor) -> tuple[float, float | None]:
    """The mean of `values: n`, and its standard error over videos, of which `videos: n` names each value's.

    Clips of one video are alike, so they are not taken for independent: the error is the linearised one of a ratio of
    sums over clusters, with one clip a video σ/√n. None where there is only one video.
    """
    values = values.double()
    mean = values.mean()
    _, video = videos.unique(return_inverse=True)
    count = int(video.max()) + 1
    if count < 2:
        return mean.item(), None
    residuals = torch.zeros(count, dtype=torch.float64).index_add(0, video, values - mean)
    return mean.item(), (residuals.square().sum() * count / (count - 1)).sqrt().item() / len(values)
