"""A strip: labelled videos in a table, as an animation that loops and stays within a number of bytes."""

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import torch
from einops import rearrange
from PIL import Image
from torch import Tensor

from data.video.frames import fit
from eval.pictures.panels import enlarged
from generator.grid import labelled_grid
from runtime.errors import UserError
from runtime.files import write_whole

COLUMNS = 6
TILE = 128  # pixels that a video is high, or a little more: with six columns a page's width
QUALITIES = (80, 65, 50, 40, 30, 20, 10, 1)


@dataclass(frozen=True)
class Strip:
    """Videos, uint8 `n t h w c`, row by row, and what stands above each."""

    videos: Tensor
    captions: list[str]
    columns: int = COLUMNS


def tile(videos: Tensor) -> Tensor:
    """Uint8 `n t h w c` at a tile's height: every pixel of a small video becomes a square, a large one is resized."""
    height, width = videos.shape[2:4]
    if height > TILE:
        return torch.stack([fit(video, (TILE, round(width * TILE / height))) for video in videos])
    return enlarged(rearrange(videos, "n t h w c -> n c t h w"), TILE)


def write_strip(path: Path, strip: Strip, fps: float, limit: int) -> int:
    """Write it as animated WebP of the best quality that `limit` bytes hold, which is returned.

    Raises `UserError` where none does.
    """
    grid = labelled_grid(tile(strip.videos), strip.captions, strip.columns)
    frames = [Image.fromarray(frame.numpy()) for frame in grid]
    for quality in QUALITIES:
        encoded = BytesIO()
        frames[0].save(
            encoded, "WEBP", save_all=True, append_images=frames[1:], duration=round(1000 / fps), loop=0,
            quality=quality,
        )  # fmt: skip
        if len(encoded.getvalue()) <= limit:
            write_whole(path, encoded.getvalue())
            return quality
    raise UserError(f"{path} would have more than {limit:,} bytes even at the lowest quality: the clips are too long")
