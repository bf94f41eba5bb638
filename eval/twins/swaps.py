"""What comes out of structure and dynamics of test clips, joined at will."""

from typing import Protocol

import torch
from torch import Tensor

from autoencoder.model import VidTwin
from data.latents import TwinLatents
from data.video.frames import to_float, to_uint8
from runtime.progress import Progress

BATCH = 40


class Twins(Protocol):
    """Whatever has two latents of each test clip and makes videos of them."""

    def __call__(self, structure: Tensor, dynamics: Tensor) -> Tensor:
        """Videos, uint8 `p c t h w`, of the latents of clips at these places, `p` each."""
        ...


class VidTwins:
    """An autoencoder's posterior means of clips, uint8 `n c t h w`."""

    @torch.inference_mode()
    def __init__(self, model: VidTwin, clips: Tensor) -> None:
        self.model, found = model, []
        progress = Progress("encoding", len(clips), "clips")
        for part in clips.split(BATCH):
            found.append(model.encode(to_float(part.to(model.device))).mode())
            progress.advance(len(part))
        self.latents = TwinLatents(*(torch.cat(each) for each in zip(*found, strict=True)))

    @torch.inference_mode()
    def __call__(self, structure: Tensor, dynamics: Tensor) -> Tensor:
        videos, progress = [], Progress("decoding", len(structure), "clips")
        for of, by in zip(structure.split(BATCH), dynamics.split(BATCH), strict=True):
            latents = TwinLatents(self.latents.structure[of], self.latents.dynamics[by])
            videos.append(to_uint8(self.model.decode(latents)).cpu())
            progress.advance(len(of))
        return torch.cat(videos)
