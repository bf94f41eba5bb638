"""FLOPs of a VidTwin, counted on meta tensors."""

import torch

from autoencoder.config import VidTwinConfig
from autoencoder.model import VidTwin
from runtime.flops import count_flops


def training_flops(config: VidTwinConfig) -> int:
    """Of one clip's forward and backward pass through the autoencoder, loss networks aside."""
    with torch.device("meta"):
        model = VidTwin.from_config_fields(config).train()
        video = torch.empty(1, 3, *config.video_shape)

        def step() -> None:
            reconstruction, posterior = model(video)
            (reconstruction.sum() + posterior.kl()).backward()

        return count_flops(step)
