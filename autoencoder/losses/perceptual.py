"""LPIPS with a VGG-16 backbone (arXiv 1801.03924), as a loss and as a metric."""

import warnings
from pathlib import Path

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable

from runtime.errors import UserError

VGG_FILE = "vgg16-397923af.pth"
FRAMES_AT_ONCE = 8


class LPIPS(nn.Module):
    """Perceptual distance of each frame: videos `b c t h w` in [-1, 1], twice, to `b t`; lower is better.

    Frames go through the backbone a few at a time, and so do their gradients, which only the reconstruction gets: the
    memory for a batch is that for `frames_at_once`.

    Args:
        dtype: of the backbone's features; the distances between them are float32 always.
        trained: False gives a random backbone, for counting what the network costs: its distances are no LPIPS.

    Raises `UserError` when the backbone's weights are not on this machine.
    """

    def __init__(
        self, dtype: torch.dtype = torch.float32, frames_at_once: int = FRAMES_AT_ONCE, trained: bool = True
    ) -> None:
        super().__init__()
        self.distance = FrameDistance(dtype, trained)
        self.frames_at_once = frames_at_once

    def forward(self, reconstruction: Tensor, video: Tensor) -> Tensor:
        frames = (rearrange(each, "b c t h w -> (b t) c h w") for each in (reconstruction, video))
        return FrameByFrame.apply(*frames, self.distance, self.frames_at_once).view(len(video), -1)


class FrameDistance(nn.Module):
    """Σ over five layers of the mean over positions of `w·(â − b̂)²`, with features â and b̂ scaled to length 1."""

    def __init__(self, dtype: torch.dtype, trained: bool) -> None:
        super().__init__()
        if trained:
            require_vgg()
        import lpips

        self.dtype, self.scaled_to_length_1 = dtype, lpips.normalize_tensor
        with warnings.catch_warnings(action="ignore"):  # it calls torchvision by a name that is deprecated
            network = lpips.LPIPS(net="vgg", pnet_rand=not trained, verbose=False).eval().requires_grad_(False)
        self.standardise, self.backbone, self.weigh = network.scaling_layer, network.net, network.lins

    def forward(self, frames: Tensor, target: Tensor) -> Tensor:
        """`n c h w` twice to `n`."""
        distances = [
            weigh((self.scaled_to_length_1(a.float()) - self.scaled_to_length_1(b.float())) ** 2).mean((2, 3))
            for a, b, weigh in zip(self.features(frames), self.features(target), self.weigh, strict=True)
        ]
        return sum(distances).flatten()

    def features(self, frames: Tensor) -> tuple[Tensor, ...]:
        with torch.autocast(frames.device.type, self.dtype, enabled=self.dtype != torch.float32):
            return self.backbone(self.standardise(frames))


class FrameByFrame(torch.autograd.Function):
    """A distance of each frame `n c h w` to its target, to `n`, and its gradient with respect to the frames.

    A frame's distance depends on no other frame, so the gradient of the sum is that of each. It is formed with the
    distances, of so many frames `at_once`, and what the backbone keeps for it is freed before the next ones come.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, frames: Tensor, target: Tensor, distance: FrameDistance, at_once: int) -> Tensor:
        chunks = zip(frames.split(at_once), target.split(at_once), strict=True)
        if not ctx.needs_input_grad[0]:
            return torch.cat([distance(x, y) for x, y in chunks])
        distances, gradients = zip(*(with_gradient(distance, x, y) for x, y in chunks), strict=True)
        ctx.save_for_backward(torch.cat(gradients))
        return torch.cat(distances)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, at_distances: Tensor) -> tuple[Tensor, None, None, None]:
        (gradient,) = ctx.saved_tensors
        return at_distances.view(-1, 1, 1, 1) * gradient, None, None, None


def with_gradient(distance: FrameDistance, frames: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Distances `n` of frames `n c h w`, and the gradient of their sum with respect to these."""
    with torch.enable_grad():
        frames = frames.detach().requires_grad_()
        distances = distance(frames, target)
        return distances.detach(), *torch.autograd.grad(distances.sum(), frames)


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
