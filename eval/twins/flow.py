"""How much moves in a clip: the energy of its optical flow, a stand-in for motion where no factors are known.

Flow after Lucas and Kanade (1981) at one scale: the displacement that explains best, over a small window, how grey
values change from a frame to the next. It is held back where there is nothing to see, and short of the truth for what
moves farther than the window; for ranking clips that does.
"""

import torch
import torch.nn.functional as F
from einops import rearrange, reduce
from torch import Tensor

from data.video.frames import to_float

SIDE = 48  # pixels at which flow is taken: displacements are in these
SIGMA, RADIUS = 2.0, 4  # of the windows
NOISE = 1e-5  # of squared gradients of grey values in [-1, 1]: well above what rounding to bytes leaves
STILL = 1e-4  # squared pixels below which energies are alike


def flow(video: Tensor) -> Tensor:
    """`b c t h w` in [-1, 1] to displacements in pixels, x and y, between neighbouring frames: `b 2 (t-1) h w`."""
    grey = blurred(reduce(video, "b c t h w -> b t h w", "mean"), 1.0, 2)
    before, after = grey[:, :-1], grey[:, 1:]
    middle, change = (before + after) / 2, after - before
    dy, dx = torch.gradient(middle, dim=(2, 3))
    xx, xy, yy, xt, yt = (
        blurred(each, SIGMA, RADIUS) for each in (dx * dx, dx * dy, dy * dy, dx * change, dy * change)
    )
    xx, yy = xx + NOISE, yy + NOISE
    determinant = xx * yy - xy * xy
    return torch.stack([xy * yt - yy * xt, xy * xt - xx * yt], dim=1) / determinant[:, None]


def flow_energy(videos: Tensor) -> Tensor:
    """Logarithm of the mean squared displacement in uint8 videos `n c t h w`: `n`."""
    return torch.cat([_energy(part) for part in videos.split(40)])


def _energy(videos: Tensor) -> Tensor:
    frames = rearrange(to_float(videos), "b c t h w -> (b t) c h w")
    small = F.interpolate(frames, (SIDE, SIDE), mode="bilinear", antialias=True)
    moved = flow(rearrange(small, "(b t) c h w -> b c t h w", b=len(videos))).square().sum(1)
    return (reduce(moved, "b t h w -> b", "mean") + STILL).log().double()


def blurred(images: Tensor, sigma: float, radius: int) -> Tensor:
    """Gaussian means over the last two axes of `b t h w`."""
    weights = torch.exp(-0.5 * (torch.arange(-radius, radius + 1) / sigma).square()).to(images)
    weights = weights / weights.sum()
    flat = F.pad(rearrange(images, "b t h w -> (b t) 1 h w"), (radius,) * 4, mode="replicate")
    along = F.conv2d(F.conv2d(flat, weights.view(1, 1, 1, -1)), weights.view(1, 1, -1, 1))
    return rearrange(along, "(b t) 1 h w -> b t h w", b=len(images))


def correlation(a: Tensor, b: Tensor, weights: Tensor) -> Tensor:
    """Pearson's of `a` and `b: p`, for each row of `weights: r p`."""
    weights = weights / weights.sum(1, keepdim=True)
    a, b = (each - (weights * each).sum(1, keepdim=True) for each in (a, b))
    product, aa, bb = ((weights * each).sum(1) for each in (a * b, a * a, b * b))
    return product / (aa * bb).sqrt()
