"""A generator of four classes that takes milliseconds, and in which every weight counts."""

import torch

from autoencoder.model import VidTwin
from generator.config import DiffusionConfig
from generator.diffusion import make_scheduler
from generator.dit import DiT
from generator.pipeline import VidTwinPipeline
from generator.tokens import Statistics

CLASSES = ("Archery", "Bowling", "Surfing", "7")
DIFFUSERS_ON_NUMPY_2 = "ignore:__array__ implementation:DeprecationWarning"


def make_pipeline(objective="flow", weak=False, seed=0, **fields) -> VidTwinPipeline:
    """A small one of four classes whose every weight counts, statistics and all."""
    torch.manual_seed(seed)
    sizes = {"dim": 8, "encoder_depth": 1, "decoder_depth": 1, "num_heads": 2, "num_queries": 2, "query_dim": 8}
    sizes |= {"qformer_depth": 1, "qformer_heads": 2, "qformer_hidden": 8, "structure_conv_dim": 4}
    sizes |= {"structure_channels": 2, "structure_halvings": 0, "dynamics_channels": 2, "dynamics_halvings": 0}
    autoencoder = VidTwin(frames=4, height=16, width=16, patch=(1, 8, 8), **sizes).eval()
    shapes = autoencoder.typed_config.structure_shape, autoencoder.typed_config.dynamics_shape
    dits = []
    for _ in range(1 + weak):
        dit = DiT(*shapes, 4, (2, 1, 1), (1, 4), width=16, depth=1, num_heads=2, class_width=8, **fields).eval()
        for parameter in dit.parameters():
            torch.nn.init.normal_(parameter, std=0.2)
        dit.set_statistics(Statistics(*(torch.tensor(v) for v in ([0.5, -1], [2.0, 0.5], [1.0, 0], [0.3, 3]))))
        dits.append(dit)
    diffusion = DiffusionConfig(objective, time_shift=3.0)
    pipeline = VidTwinPipeline(
        dits[0], autoencoder, make_scheduler(diffusion), *dits[1:], classes=CLASSES, num_inference_steps=4,
        guidance_scale=2.0, guidance_interval=(0.1, 0.9),
    )  # fmt: skip
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
