"""Table 1 of the VidTwin paper (arXiv 2412.17726v2): others' figures, quoted and not measured here.

They are of the 30 videos of MCL-JCV at 25 frames a second, 16 frames of 224×224. FVD there is of those few videos, so
it compares with nothing but the other rows.
"""

from dataclasses import asdict, dataclass

SOURCE = "VidTwin, arXiv 2412.17726v2, Table 1: MCL-JCV, 25 fps, 16x224x224"
FPS, SHAPE = 25.0, (16, 224, 224)


@dataclass(frozen=True)
class Quoted:
    """One row. `rate` is that of latent values to pixel values, as the paper rounds it; PSNR is in dB."""

    model: str
    rate: float
    psnr: float
    lpips: float
    ssim: float
    fvd: float


TABLE_1 = (
    Quoted("iVideoGPT", 0.0150, 19.353, 0.4677, 0.5752, 1693.10),
    Quoted("MAGVIT-v2", 0.0065, 24.351, 0.3347, 0.6877, 653.88),
    Quoted("CMD", 0.0685, 27.332, 0.2732, 0.7746, 468.47),
    Quoted("EMU-3", 0.0053, 25.359, 0.2543, 0.7260, 353.71),
    Quoted("CV-VAE", 0.0053, 28.063, 0.2436, 0.7546, 401.92),
    Quoted("VidTwin", 0.0020, 28.137, 0.2414, 0.8044, 388.86),
)


def quoted() -> dict[str, object]:
    """The table for a JSON file, with its source."""
    return {"source": SOURCE, "rows": [asdict(row) for row in TABLE_1]}
