"""What the latents of others' autoencoders look like, as their authors publish it.

Of those that `eval.coders.peers` can run; tests/eval/test_coders_peers.py builds each architecture and compares.
"""

from dataclasses import dataclass
from math import prod


@dataclass(frozen=True)
class Geometry:
    """An autoencoder's latent beside the clip that it stands for.

    Attributes:
        name: of the published model.
        family: its architecture, as `eval.coders.peers.FAMILIES` calls it.
        channels: numbers at each position of the latent.
        time: frames, and `space` rows or columns, that a position stands for.
        causal: whether the first frame has a position of its own, and the others follow `time` by `time`.
        source: where the figures are published.
    """

    name: str
    family: str
    channels: int
    time: int
    space: int
    causal: bool
    source: str

    def latent(self, frames: int, height: int, width: int) -> tuple[int, int, int, int]:
        """`c t h w` of the latent of a clip; one that does not fit is filled up, so a part counts as a whole."""
        first = 1 if self.causal else 0
        rows, columns = (-(-side // self.space) for side in (height, width))
        return self.channels, first + -(-(frames - first) // self.time), rows, columns

    def values(self, frames: int, height: int, width: int) -> int:
        """Numbers in the latent of a clip."""
        return prod(self.latent(frames, height, width))


GEOMETRIES = (
    Geometry("Stable Diffusion", "kl", 4, 1, 8, False, "arXiv 2112.10752"),
    Geometry("Stable Diffusion 3", "kl", 16, 1, 8, False, "arXiv 2403.03206"),
    Geometry("TAESD", "tiny", 4, 1, 8, False, "github.com/madebyollin/taesd"),
    Geometry("DC-AE f32c32", "dc", 32, 1, 32, False, "arXiv 2410.10733"),
    Geometry("Stable Video Diffusion", "svd", 4, 1, 8, False, "arXiv 2311.15127"),
    Geometry("CogVideoX", "cogvideox", 16, 4, 8, True, "arXiv 2408.06072"),
    Geometry("LTX-Video", "ltx", 128, 8, 32, True, "arXiv 2501.00103"),
    Geometry("Wan 2.1", "wan", 16, 4, 8, True, "arXiv 2503.20314"),
    Geometry("Wan 2.2 5B", "wan", 48, 4, 16, True, "github.com/Wan-Video/Wan2.2"),
    Geometry("HunyuanVideo", "hunyuan", 16, 4, 8, True, "arXiv 2412.03603"),
    Geometry("HunyuanVideo 1.5", "hunyuan1.5", 32, 4, 16, True, "arXiv 2511.18870"),
    Geometry("Cosmos CV8x8x8", "cosmos", 16, 8, 8, True, "arXiv 2501.03575"),
    Geometry("Allegro", "allegro", 4, 4, 8, False, "arXiv 2410.15458"),
    Geometry("Mochi 1", "mochi", 12, 6, 8, True, "github.com/genmoai/mochi"),
    Geometry("VidTok KL 4x8x8, 4 channels", "vidtok", 4, 4, 8, True, "arXiv 2412.13061"),
)
