"""Our own autoencoder as a coder: the posterior mean, as it is or with its numbers rounded, decoded."""

import torch
from torch import Tensor

from autoencoder.model import VidTwin
from data.latents import TwinLatents
from eval.coders.coder import Coded
from eval.coders.rounding import Rounding
from runtime.precision import full_precision
from runtime.weights import weights_hash


class VidTwinCoder:
    """An autoencoder of this project.

    Attributes:
        model: in the mode that it evaluates in, on the device that clips come on.
        rounding: what is done to each latent between `encode` and `decode`, if anything.
    """

    def __init__(self, name: str, model: VidTwin, rounding: Rounding | None = None) -> None:
        self.name, self.model, self.rounding = name, model, rounding

    @property
    def identity(self) -> str:
        return f"{self.rounding and self.rounding.__name__} {self.model.typed_config} {weights_hash(self.model)}"

    @full_precision()
    @torch.inference_mode()
    def __call__(self, video: Tensor) -> Coded:
        latents = self.model.encode(video).mode()
        values = sum(latent[0].numel() for latent in latents)
        if self.rounding is None:
            return Coded(self._decode(latents), values)
        rounded = [self.rounding(latent) for latent in latents]
        kept = TwinLatents(*(each.latent for each in rounded))
        bits, overhead = (
            torch.full((len(video),), sum(counts), device=video.device)
            for counts in zip(*((each.bits, each.overhead) for each in rounded), strict=True)
        )
        return Coded(self._decode(kept), values, bits, overhead)

    def _decode(self, latents: TwinLatents) -> Tensor:
        return self.model.decode(latents).clamp(-1, 1)
