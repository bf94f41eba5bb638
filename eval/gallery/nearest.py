"""The training clip that is nearest to a video, in its pixels."""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from einops import rearrange
from torch import Tensor

from data.config import DataConfig
from data.index import list_split
from data.video.frames import BadVideo, decode_all, probe
from eval.gallery.clips import title
from runtime.progress import track


def windows(frames: Tensor, fps: float, length: int, rate: float) -> Tensor:
    """All windows of `length` frames at `rate` that begin a frame of theirs apart, and their mirror images.

    Args:
        frames: a video's, uint8 `t h w c`, at `fps`. Of a shorter one the last frame is repeated.

    Returns:
        uint8 `n length h w c`.
    """
    step, last = fps / rate, len(frames) - 1
    times = torch.arange(length) * step
    starts = torch.arange(0, max(last - times[-1].item(), 0) + 1e-6, step)
    found = frames[(starts[:, None] + times).round().long().clamp(max=last)]
    return torch.cat([found, found.flip(3)])


def nearest_clips(videos: Tensor, root: Path, rate: float) -> tuple[Tensor, list[str]]:
    """Of each video, uint8 `n t h w c`, the training clip of `root` with the least squared error, and its title.

    Every training video is decoded, every window and its mirror image compared.
    """
    home, files, _, _ = list_split(root, "train", DataConfig.fold)
    flat = rearrange(videos, "n t h w c -> n (t h w c)").float()
    best, clips, titles = torch.full((len(videos),), torch.inf), videos.clone(), [""] * len(videos)

    def windows_of(file: str) -> Tensor | BadVideo:
        try:
            info = probe(home / file)
            return windows(decode_all(info, tuple(videos.shape[2:4])), info.fps, videos.shape[1], rate)
        except BadVideo as error:
            return error

    with ThreadPoolExecutor() as pool:
        found = track(pool.map(windows_of, files), len(files), "looking for training clips like the samples", "videos")
        for file, each in zip(files, found, strict=True):
            if isinstance(each, BadVideo):
                print(f"{each}; left out", file=sys.stderr)
                continue
            errors, nearest = torch.cdist(flat, each.flatten(1).float()).min(1)
            for place in torch.nonzero(errors < best).flatten().tolist():
                clips[place], titles[place] = each[nearest[place]], title(home / file)
            best = torch.minimum(best, errors)
    return clips, titles
