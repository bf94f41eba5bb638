"""The picture that shows what the twins hold: original, reconstruction, structure only, dynamics only."""

import torch
from torch import Tensor

from autoencoder.model import VidTwin

PANELS = ("original", "reconstruction", "structure", "dynamics")


@torch.inference_mode()
def four_panels(model: VidTwin, video: Tensor) -> Tensor:
    """`b c t h w` to `b c t h (4 w)`, side by side in the order of `PANELS`."""
    latents = model.encode(video).mode()
    decoded = [model.decode(latents, part) for part in ("both", "structure", "dynamics")]
    return torch.cat([video, *decoded], dim=-1)
