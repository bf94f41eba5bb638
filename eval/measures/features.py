"""The feature network of FVD: the I3D of Kinetics-400, as the TorchScript file behind most published figures."""

import os
from pathlib import Path

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from runtime.errors import UserError
from runtime.files import sha256
from runtime.precision import full_precision

FILE_NAME = "i3d_torchscript.pt"
SETTING = "VIDTWIN_I3D"
RESOLUTION = 224
DIM = 400
MIN_FRAMES = 10  # below it nothing is left of the time axis before the last pooling

# SHA-256 of the files whose figures compare with published ones.
KNOWN_FILES = {
    "bec6519f66ea534e953026b4ae2c65553c17bf105611c746d904657e5860a5e2": "I3D, Kinetics-400, released with StyleGAN-V",
}


class I3D:
    """uint8 videos `n t h w c` to the 400 logits before the softmax, `n 400` float32.

    Frames become 224×224 by bilinear interpolation with `align_corners=False` and **no antialiasing**, whatever
    their aspect, in float and unrounded: what StyleGAN-V's and common_metrics_on_video_quality's evaluations do.
    Values go in as [-1, 1], made here: the script's own `rescale` and `resize` stay off.

    Raises:
        UserError: no file, a file that is no TorchScript, or one that does not give 400 features.
    """

    dim = DIM

    def __init__(self, path: str | Path | None = None, device: torch.device | str = "cpu") -> None:
        self.path = find_file(path)
        self.device = torch.device(device)
        self.sha256 = sha256(self.path)
        try:
            self.network = torch.jit.load(self.path, map_location=self.device).eval()
        except (RuntimeError, ValueError) as error:
            raise UserError(f"{self.path} is not a TorchScript file; download {FILE_NAME} again") from error

    @property
    def verified(self) -> bool:
        """Whether the file is known to be the I3D of published figures."""
        return self.sha256 in KNOWN_FILES

    @full_precision()
    @torch.inference_mode()
    def __call__(self, videos: Tensor) -> Tensor:
        check_videos(videos)
        pixels = prepare(videos.to(self.device))
        try:
            features = self.network(pixels, rescale=False, resize=False, return_features=True)
        except RuntimeError as error:
            raise UserError(f"{self.path} does not take videos as {FILE_NAME} does: {cause(error)}") from error
        if tuple(features.shape) != (len(videos), DIM):
            raise UserError(f"{self.path} gives features of shape {tuple(features.shape)}, not n {DIM}; is it the I3D?")
        return features.float().cpu()


def prepare(videos: Tensor) -> Tensor:
    """uint8 `n t h w c` to what the network takes: float32 `n c t 224 224` in [-1, 1]."""
    frames = rearrange(videos, "n t h w c -> (n t) c h w").float()
    if frames.shape[-2:] != (RESOLUTION, RESOLUTION):
        frames = F.interpolate(frames, (RESOLUTION, RESOLUTION), mode="bilinear", align_corners=False, antialias=False)
    return rearrange(frames / 127.5 - 1, "(n t) c h w -> n c t h w", n=len(videos))


def check_videos(videos: Tensor) -> None:
    """Raise `UserError` unless these are uint8 `n t h w 3` with enough frames."""
    if videos.dtype != torch.uint8 or videos.ndim != 5 or videos.shape[-1] != 3:
        raise UserError(
            f"videos must be uint8 of shape n t h w 3, not {str(videos.dtype).removeprefix('torch.')} "
            f"{tuple(videos.shape)}"
        )
    if videos.shape[1] < MIN_FRAMES:
        raise UserError(f"the I3D needs clips of at least {MIN_FRAMES} frames, these have {videos.shape[1]}")


def find_file(path: str | Path | None) -> Path:
    """The file that was given, or the one that the environment names."""
    named = path or os.environ.get(SETTING)
    if named and Path(named).is_file():
        return Path(named)
    problem = f"there is no file {named}" if named else "FVD needs the I3D network"
    raise UserError(
        f"{problem}: download {FILE_NAME} (49 MB, released with StyleGAN-V and linked by "
        f"github.com/JunyaoHu/common_metrics_on_video_quality) and name it with --features PATH or {SETTING}=PATH"
    )


def cause(error: Exception) -> str:
    """The last line of a TorchScript error, which says what went wrong; the others say where."""
    return str(error).strip().splitlines()[-1]
