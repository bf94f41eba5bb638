"""FLOPs of a VidTwin, counted on meta tensors."""

from functools import cache

import torch

from autoencoder.config import VidTwinConfig
from autoencoder.model import VidTwin
from runtime.flops import count_flops


def inference_flops(config: VidTwinConfig, batch: int = 1) -> dict[str, int]:
    """`encode` and `decode` of so many clips."""
    with torch.device("meta"):
        model = VidTwin.from_config_fields(config).eval().requires_grad_(False)
        video = torch.empty(batch, 3, *config.video_shape)
        latents = model.encode(video).mode()
        return {
            "encode": count_flops(lambda: model.encode(video)),
            "decode": count_flops(lambda: model.decode(latents)),
        }


@cache
def training_flops(config: VidTwinConfig) -> int:
    """Of one clip's forward and backward pass through the autoencoder, loss networks aside."""
    with torch.device("meta"):
        model = VidTwin.from_config_fields(config).train()
        video = torch.empty(1, 3, *config.video_shape)

        def step() -> None:
            reconstruction, posterior = model(video)
            (reconstruction.sum() + posterior.kl()).backward()

        return count_flops(step)
