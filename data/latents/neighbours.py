"""Which clips of a cache follow one another in their video without a gap or an overlap."""

import torch
from torch import Tensor

from data.latents.cache import LatentCache
from data.latents.plan import VIDEOS, VideoTable
from runtime.errors import UserError

ROUNDING = 1.5  # frames of the video, of two starts and a length


def windows_before(cache: LatentCache) -> Tensor:
    """Of each clip the one that ends where it begins, int64 `n`; -1 where the cache has none.

    All windows of a video stand one after another, mirror images follow mirror images, and only the last, aligned to
    the end of the video, may overlap the one before: then it has none.
    """
    before = torch.full((len(cache),), -1)
    if cache.manifest["clips_per_video"] != "all":
        return before
    videos, step = VideoTable.read(cache.folder / VIDEOS), 1 + cache.manifest["flipped"]
    counts = torch.tensor(videos.clips)
    number = torch.arange(len(cache)) - (counts.cumsum(0) - counts).repeat_interleave(counts)
    last = number >= (counts - step).repeat_interleave(counts)
    follows = number >= step
    follows[last] &= _ends_meet(cache, torch.tensor(videos.frames).repeat_interleave(counts), step)[last]
    clips = torch.arange(len(cache))
    return torch.where(follows, clips - step, before)


def _ends_meet(cache: LatentCache, frames: Tensor, step: int) -> Tensor:
    """Whether a video's last window begins where the one before ends, as far as rounded starts can tell: bool `n`.

    A window of T frames that are r of the video's apart is T·r long, and the last begins at `frames - 1 - (T - 1)·r`.
    """
    first = cache.load(["first_frame"])["first_frame"]
    count = cache.manifest["autoencoder_config"]["frames"]
    length = count * (frames - 1 - first) / max(count - 1, 1)
    return (first - first.roll(step) - length).abs() <= ROUNDING


def require_neighbours(cache: LatentCache, fewest: int) -> Tensor:
    """`windows_before`, where at least so many clips follow another. Raises `UserError` where fewer do."""
    before = windows_before(cache)
    found = int((before >= 0).sum())
    if found < fewest:
        raise UserError(
            f"{cache.folder} holds {found} clips that follow another and a step takes {fewest}: cache every window "
            "(python -m autoencoder.cache --clips_per_video all) of videos at least two windows long, or train with "
            "--diffusion.context 0"
        )
    return before
