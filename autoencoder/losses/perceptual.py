"""LPIPS with a VGG-16 backbone (arXiv 1801.03924), as a loss and as a metric."""

from pathlib import Path

import torch
from einops import rearrange
from torch import Tensor, nn

from runtime.errors import UserError

VGG_FILE = "vgg16-397923af.pth"


class LPIPS(nn.Module):
    """Perceptual distance of each frame: videos `b c t h w` in [-1, 1], twice, to `b t`; lower is better.

    Raises `UserError` when the backbone's weights are not on this machine: a random backbone would give a number
    that is no LPIPS.
    """

    def __init__(self) -> None:
        super().__init__()
        require_vgg()
        import lpips

        self.network = lpips.LPIPS(net="vgg", verbose=False).eval().requires_grad_(False)

    def forward(self, reconstruction: Tensor, video: Tensor) -> Tensor:
        frames = (rearrange(each, "b c t h w -> (b t) c h w") for each in (reconstruction, video))
        return self.network(*frames).view(len(video), -1)


def vgg_path() -> Path:
    """Where torchvision looks for the backbone's weights."""
    return Path(torch.hub.get_dir()) / "checkpoints" / VGG_FILE


def require_vgg() -> None:
    """Raises `UserError` that names the missing file, its place and the way around."""
    if not vgg_path().is_file():
        raise UserError(
            f"LPIPS needs {VGG_FILE} (https://download.pytorch.org/models/{VGG_FILE}) at {vgg_path()}; "
            "or do without it: --loss.perceptual 0 in training, --no_lpips in evaluation"
        )
