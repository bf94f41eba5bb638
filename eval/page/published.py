"""Figures of others, as published in the VidTwin paper (arXiv 2412.17726v2); nothing here was measured by us."""

from dataclasses import dataclass

SOURCE = "arXiv 2412.17726v2"
FPS, SHAPE = 25.0, (16, 224, 224)  # of the clips of Table 1


@dataclass(frozen=True)
class Reconstruction:
    """A row of the paper's Table 1: MCL-JCV at 25 fps, clips of 16×224×224.

    The rate is the share of latent values in pixel values, as the paper rounds it; PSNR is in dB. FVD there is of the
    set's 30 videos, so it compares with the other rows alone.
    """

    model: str
    rate: float
    psnr: float
    lpips: float
    ssim: float
    fvd: float


@dataclass(frozen=True)
class Generation:
    """A row of the paper's Table 2: class-conditional generation on UCF-101."""

    model: str
    fvd: float


TABLE_1 = (
    Reconstruction("iVideoGPT", 0.0150, 19.353, 0.4677, 0.5752, 1693.10),
    Reconstruction("MAGVIT-v2", 0.0065, 24.351, 0.3347, 0.6877, 653.88),
    Reconstruction("CMD", 0.0685, 27.332, 0.2732, 0.7746, 468.47),
    Reconstruction("EMU-3", 0.0053, 25.359, 0.2543, 0.7260, 353.71),
    Reconstruction("CV-VAE", 0.0053, 28.063, 0.2436, 0.7546, 401.92),
    Reconstruction("VidTwin", 0.0020, 28.137, 0.2414, 0.8044, 388.86),
)
TABLE_2 = (
    Generation("TATS", 332),
    Generation("Video-LaViT", 275),
    Generation("VidTwin", 193),
    Generation("MAGVIT-v2", 58),
)
