"""A labelled grid of videos, for the eye."""

import math

import torch
from einops import rearrange
from PIL import Image, ImageDraw
from torch import Tensor

LABEL_HEIGHT = 14
GAP = 4
SMALLEST_TILE = 96


def to_bytes(video: Tensor) -> Tensor:
    """Videos `b t c h w` in [0, 1] as a pipeline gives them, to uint8 `b t h w c` on the CPU, rounded."""
    return rearrange(video, "b t c h w -> b t h w c").mul(255).round().to(torch.uint8).contiguous().cpu()


def labelled_grid(videos: Tensor, labels: list[str], columns: int | None = None) -> Tensor:
    """`n t h w c` uint8 to one video `t H W c`: a tile for each, its label above, small tiles enlarged.

    About square where the columns are not given.
    """
    scale = max(1, SMALLEST_TILE // videos.shape[2])
    videos = videos.repeat_interleave(scale, dim=2).repeat_interleave(scale, dim=3)
    n, _, _, w, _ = videos.shape
    columns = columns or math.ceil(math.sqrt(n))
    captions = torch.stack([caption(label, w) for label in labels])
    tiles = torch.cat([captions[:, None].expand(-1, videos.shape[1], -1, -1, -1), videos], dim=2)
    tiles = torch.nn.functional.pad(tiles, (0, 0, 0, GAP, 0, GAP), value=255)
    blank = torch.full_like(tiles[:1], 255).expand(-n % columns, -1, -1, -1, -1)
    return rearrange(torch.cat([tiles, blank]), "(rows columns) t h w c -> t (rows h) (columns w) c", columns=columns)


def caption(text: str, width: int) -> Tensor:
    """Black on white, `LABEL_HEIGHT width 3` uint8."""
    image = Image.new("RGB", (width, LABEL_HEIGHT), "white")
    ImageDraw.Draw(image).text((2, 1), text, fill="black")
    return torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8).view(LABEL_HEIGHT, width, 3)


def film_strips(grid_videos: Tensor, labels: list[str], frames: int = 4, columns: int | None = None) -> Image.Image:
    """One picture of `n t h w c` videos: `frames` moments of each side by side, labelled."""
    times = torch.linspace(0, grid_videos.shape[1] - 1, frames).round().long()
    strips = rearrange(grid_videos[:, times], "n f h w c -> n 1 h (f w) c")
    return Image.fromarray(labelled_grid(strips, labels, columns)[0].numpy())
