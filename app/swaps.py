"""Two videos that give each other their latents, and the way from one to the other."""

from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from app.weights import Models
from autoencoder.trained.changes import between
from autoencoder.trained.windows import model_windows
from data.latents import TwinLatents
from data.video.frames import VideoInfo, numbers_at_rate, stream_numbered, to_uint8, write_video
from eval.pictures.panels import enlarged
from runtime.progress import Track

Join = Callable[[TwinLatents, TwinLatents], list[TwinLatents]]


def swap(models: Models, a: VideoInfo, b: VideoInfo, out: Path, track: Track) -> None:
    """Write one | its structure with the other's dynamics | the reverse | the other, as long as the shorter."""
    write_joined(models, a, b, exchanged, out, track, beside=True)


def walk(models: Models, a: VideoInfo, b: VideoInfo, share: float, out: Path, track: Track) -> None:
    """Write what lies at `share` of the way from one video's latents to the other's, as long as the shorter."""
    write_joined(models, a, b, lambda x, y: [between(x, y, share)], out, track, beside=False)


def exchanged(a: TwinLatents, b: TwinLatents) -> list[TwinLatents]:
    """Structure of the first with dynamics of the second, and the reverse."""
    return [TwinLatents(a.structure, b.dynamics), TwinLatents(b.structure, a.dynamics)]


def write_joined(models: Models, a: VideoInfo, b: VideoInfo, join: Join, out: Path, track: Track, beside: bool) -> None:
    """Write what `join` makes of each pair of windows, decoded, between the videos themselves if `beside`."""
    numbers = [numbers_at_rate(info, models.fps) for info in (a, b)]
    shorter = min(map(len, numbers))
    streams = [stream_numbered(info.path, each[:shorter]) for info, each in zip((a, b), numbers, strict=True)]
    frames = joined(models, streams, join, beside)
    write_video(out, track(frames, shorter, "decoding", "frames"), models.fps)


@torch.inference_mode()
def joined(models: Models, streams: list[Iterator[Tensor]], join: Join, beside: bool) -> Iterator[Tensor]:
    """Its frames, uint8 `h w c`."""
    model = models.autoencoder
    for (x, new), (y, _) in zip(*(model_windows(model, stream) for stream in streams), strict=True):
        latents = join(*(model.encode(video).mode() for video in (x, y)))
        videos = [model.decode(each) for each in latents]
        row = [x, *videos, y] if beside else videos
        yield from enlarged(to_uint8(torch.cat(row, dim=-1))[:, :, new].cpu())[0]
