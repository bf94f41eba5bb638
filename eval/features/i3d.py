"""The feature network of FVD: the I3D of Kinetics-400, as the TorchScript file behind most published figures."""

from pathlib import Path

import torch
from einops import rearrange
from torch import Tensor

from eval.features.pixels import resized
from eval.features.weights import Weights, find_file
from runtime.errors import UserError
from runtime.files import sha256
from runtime.precision import full_precision

MIN_FRAMES = 10  # below it nothing is left of the time axis before the last pooling

WEIGHTS = Weights(
    "i3d_torchscript.pt",
    "VIDTWIN_I3D",
    "49 MB, released with StyleGAN-V and linked by github.com/JunyaoHu/common_metrics_on_video_quality",
)
RELEASED = "bec6519f66ea534e953026b4ae2c65553c17bf105611c746d904657e5860a5e2"  # with StyleGAN-V


class I3D:
    """uint8 videos `n t h w c` to the 400 logits before the softmax, `n 400` float32.

    Values go in as [-1, 1], made here: the script's own `rescale` and `resize` stay off.

    Raises:
        UserError: no file, a file that is no TorchScript, or one that does not give 400 features.
    """

    name, title, dim, known = "i3d", "I3D", 400, frozenset({RELEASED})
    transform = "224x224 bilinear without antialiasing or crop, values in [-1, 1]"

    def __init__(self, path: str | Path | None = None, device: torch.device | str = "cpu") -> None:
        self.path = find_file(path, WEIGHTS)
        self.device = torch.device(device)
        self.sha256 = sha256(self.path)
        try:
            self.network = torch.jit.load(self.path, map_location=self.device).eval()
        except (RuntimeError, ValueError) as error:
            raise UserError(f"{self.path} is not a TorchScript file; download {WEIGHTS.file} again") from error

    def check(self, frames: int) -> None:
        if frames < MIN_FRAMES:
            raise UserError(f"the I3D needs clips of at least {MIN_FRAMES} frames, these have {frames}")

    @full_precision()
    @torch.inference_mode()
    def __call__(self, videos: Tensor) -> Tensor:
        self.check(videos.shape[1])
        pixels = rearrange(resized(videos.to(self.device)), "n t c h w -> n c t h w") / 127.5 - 1
        try:
            features = self.network(pixels, rescale=False, resize=False, return_features=True)
        except RuntimeError as error:
            raise UserError(f"{self.path} does not take videos as {WEIGHTS.file} does: {cause(error)}") from error
        if tuple(features.shape) != (len(videos), self.dim):
            raise UserError(
                f"{self.path} gives features of shape {tuple(features.shape)}, not n {self.dim}; is it the I3D?"
            )
        return features.float().cpu()


def cause(error: Exception) -> str:
    """The last line of a TorchScript error, which says what went wrong; the others say where."""
    return str(error).strip().splitlines()[-1]
