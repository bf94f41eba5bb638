"""Latent geometries of video tokenizers, ours from their configurations and others' as they are published.

A tokenizer that takes any size is laid over 16 frames of 224×224, as in VidTwin's own experiments; a causal one, which
takes 1 + k·s frames at a temporal stride of s, over the fewest of those that are at least 16. One whose size is fixed
keeps its own clip. Of a discrete tokenizer the latent is the vector that is quantised.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from autoencoder.stage1.config import Stage1Config
from eval.coders.geometry import GEOMETRIES
from eval.measures.model_cost import LatentGeometry
from runtime.config import load

CONFIGS = Path(__file__).resolve().parents[2] / "configs" / "stage1"
FRAMES, SIDE = 16, 224

Kind = Literal["ours", "table 1", "table 3", "diffusers"]


@dataclass(frozen=True)
class Tokenizer:
    """One row.

    Attributes:
        kind: ours; of VidTwin's Table 1 (reconstruction) or only of its comparison of generators; or in diffusers.
        source: where the geometry stands.
    """

    name: str
    kind: Kind
    geometry: LatentGeometry
    source: str


def strided(channels: int, time: int, space: int, causal: bool = False) -> LatentGeometry:
    """A grid of a fixed stride over a clip of 224×224."""
    steps = -(-(FRAMES - causal) // time)
    frames, latent_frames = (1 + steps * time, 1 + steps) if causal else (steps * time, steps)
    return LatentGeometry((frames, SIDE, SIDE), ((channels, latent_frames, SIDE // space, SIDE // space),))


def ours(name: str, file: str) -> Tokenizer:
    return Tokenizer(
        name, "ours", LatentGeometry.of(load(Stage1Config, CONFIGS / file).model), f"configs/stage1/{file}"
    )


def vidtwins() -> list[Tokenizer]:
    """The settings of the paper, the one it reports first, and the released model."""
    return [
        ours("VidTwin, setting 1", "base.yaml"),
        ours("VidTwin, setting 2", "setting2.yaml"),
        ours("VidTwin, setting 3", "setting3.yaml"),
        ours("VidTwin, released", "release.yaml"),
    ]


PEERS = (
    Tokenizer(
        "iVideoGPT",
        "table 1",
        # Two context frames in full, a few tokens for each of the other fourteen.
        LatentGeometry((16, 256, 256), ((64, 2, 16, 16), (64, 14, 4, 4))),
        "arXiv 2405.15223, thuml/iVideoGPT configs/ctx_vae; 4×4 tokens a frame as VidTwin's Table 1 counts its rate",
    ),
    Tokenizer(
        "MAGVIT-v2",
        "table 1",
        strided(18, 4, 8, causal=True),
        "arXiv 2310.05737: 17×128×128 to 5×16×16 tokens of 18 bits; its strides over 224×224",
    ),
    Tokenizer(
        "CMD, content as pixels",
        "table 1",
        LatentGeometry((16, 224, 224), ((3, 224, 224), (32, 16, 14), (32, 16, 14))),
        "arXiv 2403.14148; a whole frame and two motion latents, as VidTwin's Table 1 counts its rate (6.85 %)",
    ),
    Tokenizer(
        "CMD, content in SD's latent",
        "table 1",
        LatentGeometry((16, 224, 224), ((4, 28, 28), (32, 16, 14), (32, 16, 14))),
        "arXiv 2403.14148; the content frame in the latent of Stable Diffusion, which generates it",
    ),
    Tokenizer(
        "EMU-3", "table 1", strided(4, 4, 8), "arXiv 2409.18869; BAAI/Emu3-VisionTokenizer config.json: 4 channels"
    ),
    Tokenizer(
        "CV-VAE",
        "table 1",
        strided(4, 4, 8, causal=True),
        "arXiv 2405.20279; AILab-CVC/CV-VAE cvvae_inference_video.py takes 1 + 4k frames",
    ),
    Tokenizer(
        "TATS",
        "table 3",
        LatentGeometry((16, 128, 128), ((256, 4, 16, 16),)),
        "arXiv 2204.03638; songweige/TATS README: 16×128×128, downsample 4 8 8, embedding_dim 256",
    ),
    Tokenizer(
        "Video-LaViT",
        "table 3",
        # A keyframe of 16×16 patches, of which it keeps some: the most that it can keep; and motion of 24 frames.
        LatentGeometry((24, 224, 224), ((32, 16, 16), (32, 3, 5, 9))),
        "arXiv 2402.03161; jy0205/LaVIT VideoLaVIT/models: visual tokenizer (224/14, code_dim 32), motion tokenizer",
    ),
)

# Image autoencoders whose positions are Stable Diffusion's: a transformer costs the same on them.
LIKE_STABLE_DIFFUSION = ("Stable Diffusion 3", "TAESD")


def diffusers_tokenizers() -> list[Tokenizer]:
    """Those of `eval.coders`; an image autoencoder codes frame by frame."""
    return [
        Tokenizer(each.name, "diffusers", strided(each.channels, each.time, each.space, each.causal), each.source)
        for each in GEOMETRIES
        if each.name not in LIKE_STABLE_DIFFUSION
    ]


def all_tokenizers() -> list[Tokenizer]:
    """Ours, the paper's peers, diffusers'."""
    return [*vidtwins(), *PEERS, *diffusers_tokenizers()]
