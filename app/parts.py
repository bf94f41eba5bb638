"""A video taken apart: original, reconstruction and each latent alone, in step, and what they cost."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from app.weights import Models
from autoencoder.trained.changes import Change
from autoencoder.trained.panels import four_panels
from autoencoder.trained.windows import model_windows
from data.pixels import psnr, ssim
from data.video.frames import VideoInfo, numbers_at_rate, stream_numbered, to_float, to_uint8, write_video
from eval.pictures.panels import enlarged
from runtime.progress import Track

HALF_PRECISION = 2  # bytes of a value


@dataclass(frozen=True)
class Apart:
    """What was found on the way.

    Attributes:
        psnr, ssim: of the second panel against the first, means over frames.
        frames, fps: of what is shown.
        latent_bytes: of all windows, two bytes a value.
        file_bytes: of the whole file, whatever its rate, size and sound.
    """

    psnr: float
    ssim: float
    frames: int
    fps: float
    latent_bytes: int
    file_bytes: int


def take_apart(models: Models, info: VideoInfo, change: Change, out: Path, track: Track) -> Apart:
    """Write the four panels of a whole video, at the rate that the model was trained at, to `out`."""
    model = models.autoencoder
    numbers = numbers_at_rate(info, models.fps)
    figures: list[Tensor] = []
    windows = 0

    def frames() -> Iterator[Tensor]:
        nonlocal windows
        for video, new in model_windows(model, stream_numbered(info.path, numbers)):
            windows += 1
            panels = to_uint8(four_panels(model, video, change))[:, :, new].cpu()
            original, shown, _, _ = (to_float(panel) for panel in panels.chunk(4, dim=-1))
            figures.append(torch.cat([psnr(shown, original), ssim(shown, original)]))
            yield from enlarged(panels)[0]

    write_video(out, track(frames(), len(numbers), "decoding", "frames"), models.fps)
    mean_psnr, mean_ssim = torch.cat(figures, dim=1).mean(1).tolist()
    latent_bytes = windows * model.typed_config.latent_values * HALF_PRECISION
    return Apart(mean_psnr, mean_ssim, len(numbers), models.fps, latent_bytes, info.path.stat().st_size)
