"""How well changes from frame to frame are kept: flicker and frozen motion, which a PSNR of frames hardly shows."""

from einops import rearrange
from torch import Tensor
from torchmetrics.functional.image import peak_signal_noise_ratio

from eval.metrics.clips import ClipMetric
from eval.metrics.pixels import HIGHEST_PSNR


class TemporalPSNR(ClipMetric):
    """PSNR in dB of the differences of successive frames, one value for each clip `c t h w` of [-1, 1].

    The peak is that of the pixels, so that an error of a difference counts like one of a pixel: independent errors of
    two frames come out 3 dB below their PSNR, an error that stays the same over time costs nothing. It is taken of the
    clip's mean squared error: between frames that stand still there may be no error at all.
    """

    higher_is_better = True

    def update(self, preds: Tensor, target: Tensor) -> None:
        changes, true_changes = (each.float().diff(dim=2) / 2 for each in (preds, target))
        of_clips = peak_signal_noise_ratio(changes, true_changes, data_range=1.0, reduction="none", dim=(1, 2, 3, 4))
        self.keep(rearrange(of_clips.clamp(max=HIGHEST_PSNR), "b -> b 1"))
