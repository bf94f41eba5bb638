"""The picture that shows what the twins hold: original, reconstruction, structure only, dynamics only."""

import torch
from torch import Tensor

from autoencoder.model import VidTwin
from autoencoder.trained.changes import UNCHANGED, Change

PANELS = ("original", "reconstruction", "structure", "dynamics")


@torch.inference_mode()
def four_panels(model: VidTwin, video: Tensor, change: Change = UNCHANGED) -> Tensor:
    """`b c t h w` to `b c t h (4 w)`, side by side in the order of `PANELS`; of latents that are changed first."""
    latents = change(model.encode(video).mode())
    decoded = [model.decode(latents, part) for part in ("both", "structure", "dynamics")]
    return torch.cat([video, *decoded], dim=-1)
