"""Metrics are the same numbers on every device."""

import torch

from data.clips import ClipDataset
from data.index import open_index
from data.pixels import psnr, ssim
from data.video.frames import to_float
from eval.checks.check import CheckError, Found, Place
from eval.classifier import MotionClassifier
from runtime import distributed
from runtime.random import generator

# What float32 leaves; TF32, which rounds to ten bits, would be a thousand times as far off.
BOUNDS = {"psnr": 1e-3, "ssim": 1e-5, "features": 1e-4}


def metrics(place: Place) -> Found:
    """PSNR (dB), SSIM and classifier features of the same videos, on the device all at once, on the CPU one by one."""
    index = open_index(str(place.data), "test")
    clips = ClipDataset(index, 16, 8.0, (64, 64), 0, train=False, in_memory=False)
    videos = to_float(torch.stack([clips[0, i]["video"] for i in range(min(len(clips), 8))]))
    distorted = (videos + 0.1 * torch.randn(videos.shape, generator=generator("check"))).clamp(-1, 1)
    torch.manual_seed(0)
    classifier = MotionClassifier(10).eval()
    rows = [measured(classifier, *pair) for pair in zip(distorted.split(1), videos.split(1), strict=True)]
    expected = {name: torch.cat([row[name] for row in rows]) for name in rows[0]}
    device = distributed.device()
    ours = measured(classifier.to(device), distorted.to(device), videos.to(device))
    apart = {name: (ours[name].cpu() - expected[name]).abs().max().item() for name in BOUNDS}
    apart["features"] /= expected["features"].abs().max().item()
    if wrong := [name for name, bound in BOUNDS.items() if apart[name] > bound]:
        raise CheckError(f"{', '.join(wrong)} differ from the CPU's by {apart}; is TF32 on?")
    said = ", ".join(f"{name} {difference:.0e}" for name, difference in apart.items())
    return Found(f"from the CPU's: {said}", {"difference": apart, "bounds": BOUNDS})


@torch.inference_mode()
def measured(classifier: MotionClassifier, distorted: torch.Tensor, video: torch.Tensor) -> dict[str, torch.Tensor]:
    return {"psnr": psnr(distorted, video), "ssim": ssim(distorted, video), "features": classifier.features(distorted)}
