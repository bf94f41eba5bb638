"""PSNR, SSIM and LPIPS of videos, frame by frame, by torchmetrics. Clips are `b c t h w` in [-1, 1]."""

import sys

import torch
from einops import rearrange
from torch import Tensor, nn
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

from autoencoder.losses.perceptual import FRAMES_AT_ONCE, VGG_FILE, vgg_path
from data.pixels import WINDOW
from eval.metrics.clips import ClipMetric, Reduction
from runtime.errors import UserError
from runtime.precision import full_precision

HIGHEST_PSNR = 60.0  # dB; as libvmaf counts at 8 bits: frames that are equal must not make every mean infinite


def as_frames(video: Tensor) -> Tensor:
    """Clips in [-1, 1] to frames `(b t) c h w` in [0, 1], in the memory layout that convolutions are fastest in.

    Of five axes torchmetrics would make a measure in three dimensions.
    """
    frames = rearrange(video.float(), "b c t h w -> (b t) c h w") / 2 + 0.5
    return frames.contiguous(memory_format=torch.channels_last)


class PSNR(ClipMetric):
    """Peak signal-to-noise ratio of each frame in dB, at most `HIGHEST_PSNR`."""

    higher_is_better = True

    def update(self, preds: Tensor, target: Tensor) -> None:
        of_frames = peak_signal_noise_ratio(
            as_frames(preds), as_frames(target), data_range=1.0, reduction="none", dim=(1, 2, 3)
        )
        self.keep(rearrange(of_frames.clamp(max=HIGHEST_PSNR), "(b t) -> b t", b=len(preds)))


class SSIM(ClipMetric):
    """Structural similarity of each frame: Gaussian window 11×11, σ 1.5 (Wang et al. 2004).

    Raises `UserError` for frames smaller than the window.
    """

    higher_is_better = True

    @full_precision()
    def update(self, preds: Tensor, target: Tensor) -> None:
        if min(target.shape[-2:]) < WINDOW:
            height, width = target.shape[-2:]
            raise UserError(f"SSIM needs frames of at least {WINDOW}x{WINDOW} pixels, these are {height}x{width}")
        of_frames = structural_similarity_index_measure(
            as_frames(preds), as_frames(target), data_range=1.0, reduction="none"
        )
        self.keep(rearrange(of_frames, "(b t) -> b t", b=len(preds)))


class LPIPS(ClipMetric):
    """Perceptual distance of each frame (arXiv 1801.03924), by a `network` that several metrics may share.

    The network takes frames `n c h w` in [-1, 1], twice, and gives a distance for each; see `open_lpips`.
    """

    higher_is_better = False

    def __init__(self, network: nn.Module, reduction: Reduction = "mean") -> None:
        super().__init__(reduction)
        self.network = network

    def update(self, preds: Tensor, target: Tensor) -> None:
        frames = (rearrange(each.float(), "b c t h w -> (b t) c h w").split(FRAMES_AT_ONCE) for each in (preds, target))
        of_frames = torch.cat([self.network(a, b).flatten() for a, b in zip(*frames, strict=True)])
        self.keep(rearrange(of_frames, "(b t) -> b t", b=len(preds)))


def open_lpips() -> nn.Module | None:
    """torchmetrics' network of LPIPS on VGG-16; without the backbone's weights None, and a line that says what lacks.

    Nothing is downloaded, and there is no other backbone to fall back on: a random one gives a figure that is no LPIPS.
    """
    if vgg_path().is_file():
        from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

        return LearnedPerceptualImagePatchSimilarity(net_type="vgg").net
    url = f"https://download.pytorch.org/models/{VGG_FILE}"
    print(f"LPIPS is left out: its backbone {VGG_FILE} ({url}) is not at {vgg_path()}", file=sys.stderr)
    return None
