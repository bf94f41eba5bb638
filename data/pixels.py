"""PSNR and SSIM of videos, frame by frame. Inputs are `b c t h w` in [-1, 1]; both work on [0, 1]."""

import torch
from einops import rearrange, reduce
from torch import Tensor

from runtime.errors import UserError
from runtime.precision import full_precision

WINDOW, SIGMA, K1, K2 = 11, 1.5, 0.01, 0.03


def psnr(reconstruction: Tensor, video: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB of each frame, `b t`; infinite for equal frames."""
    mse = reduce(((reconstruction.float() - video.float()) / 2).square(), "b c t h w -> b t", "mean")
    return -10 * mse.log10()


@full_precision()
def ssim(reconstruction: Tensor, video: Tensor) -> Tensor:
    """Structural similarity of each frame, `b t`: Gaussian window 11×11, σ 1.5, mean over channels and pixels.

    Wang et al. 2004, eq. 13. Frames are mirrored at their borders, as by torchmetrics. Raises `UserError` below 11×11.
    """
    b, _, t, h, w = video.shape
    if min(h, w) < WINDOW:
        raise UserError(f"SSIM needs frames of at least {WINDOW}x{WINDOW} pixels, these are {h}x{w}")
    x, y = (rearrange(each.float() / 2 + 0.5, "b c t h w -> (b t c) h w") for each in (reconstruction, video))
    with torch.autocast(video.device.type, enabled=False):  # variances are small differences of large numbers
        mean_x, mean_y, xx, yy, xy = (_blur(each) for each in (x, y, x * x, y * y, x * y))
    variance_x, variance_y, covariance = xx - mean_x**2, yy - mean_y**2, xy - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + K1**2) / (mean_x**2 + mean_y**2 + K1**2)
    structure = (2 * covariance + K2**2) / (variance_x + variance_y + K2**2)
    return reduce(luminance * structure, "(b t c) h w -> b t", "mean", b=b, t=t)


def _blur(images: Tensor) -> Tensor:
    """Each of `n h w` under the Gaussian window, one axis after the other.

    As two matrix products: a convolution of one channel takes ten times as long on a CPU, and on a GPU PyTorch lets it
    round to TF32, in which variances vanish.
    """
    down, across = (_window_matrix(length, images.device) for length in images.shape[-2:])
    return down @ images @ across.T


def _window_matrix(length: int, device: torch.device) -> Tensor:
    """`length length`: row i holds the window's weights around i, those beyond a border on their mirror images."""
    offsets = torch.arange(WINDOW, device=device) - WINDOW // 2
    weights = torch.exp(-(offsets**2) / (2 * SIGMA**2))
    places = (torch.arange(length, device=device)[:, None] + offsets).abs()
    mirrored = length - 1 - (length - 1 - places).abs()
    rows = (weights / weights.sum()).expand(length, WINDOW)
    return torch.zeros(length, length, device=device).scatter_add(1, mirrored, rows)
