"""Our own autoencoder as a coder: the posterior mean, decoded."""

import torch
from torch import Tensor

from autoencoder.model import VidTwin
from eval.coders.coder import Coded


class VidTwinCoder:
    """An autoencoder of this project.

    Attributes:
        model: in the mode that it evaluates in, on the device that clips come on.
    """

    def __init__(self, name: str, model: VidTwin) -> None:
        self.name, self.model = name, model

    @torch.inference_mode()
    def __call__(self, video: Tensor) -> Coded:
        latents = self.model.encode(video).mode()
        values = sum(latent[0].numel() for latent in latents)
        return Coded(self.model.decode(latents).clamp(-1, 1), values=values)
