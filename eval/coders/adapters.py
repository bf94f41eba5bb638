"""diffusers autoencoders, each as it wants to be called: clips `b c t h w` to latents `b c t h w` and back.

Written after the sources of diffusers 0.42. Latents are the means of their posteriors, not scaled for a generator.
"""

from collections.abc import Callable

import torch
from einops import rearrange
from torch import Tensor, nn

from runtime.errors import UserError

# A model to how many frames, and rows or columns, one position of its latent stands for.
Strides = Callable[[nn.Module], tuple[int, int]]


def mean(encoded: object) -> Tensor:
    """The latent in what a diffusers `encode` returns, whose first field it is, or its distribution."""
    latent = encoded[0]
    return latent if isinstance(latent, Tensor) else latent.mode()


class Causal:
    """Takes `1 + k·stride` frames: the first has a latent of its own, each later latent stands for `stride` frames.

    Given any other number some of these models drop the last frames without a word.
    """

    first = 1

    def __init__(self, model: nn.Module, strides: tuple[int, int]) -> None:
        self.model, (self.time, self.space) = model, strides

    @property
    def step(self) -> int:
        """By how many frames clips that the model takes whole differ in length."""
        return self.time

    def encode(self, video: Tensor) -> Tensor:
        return mean(self.model.encode(video))

    def decode(self, latent: Tensor) -> Tensor:
        return self.model.decode(latent)[0]


class ByFrame(Causal):
    """An image autoencoder: every frame by itself."""

    first = 0

    def encode(self, video: Tensor) -> Tensor:
        latents = mean(self.model.encode(rearrange(video, "b c t h w -> (b t) c h w")))
        return rearrange(latents, "(b t) c h w -> b c t h w", b=len(video))

    def decode(self, latent: Tensor) -> Tensor:
        frames = self._decode_frames(rearrange(latent, "b c t h w -> (b t) c h w"), latent.shape[2])
        return rearrange(frames, "(b t) c h w -> b c t h w", b=len(latent))

    def _decode_frames(self, latents: Tensor, t: int) -> Tensor:
        return self.model.decode(latents)[0]


class TemporalDecoder(ByFrame):
    """Stable Video Diffusion's: frames are encoded one by one and decoded together."""

    def _decode_frames(self, latents: Tensor, t: int) -> Tensor:
        return self.model.decode(latents, num_frames=t)[0]


class LTX(Causal):
    """LTX-Video, whose later decoders remove noise as well: told that there is none, as its pipeline does."""

    def decode(self, latent: Tensor) -> Tensor:
        time = latent.new_zeros(len(latent)) if self.model.config.timestep_conditioning else None
        with torch.random.fork_rng():  # version 0.9.1 adds noise of its own
            torch.manual_seed(0)
            return self.model.decode(latent, time)[0]


class ClipByClip(Causal):
    """Code that fails on two clips at once, such as HunyuanVideo 1.5's, whose attention mask fits a batch of one."""

    def __init__(self, model: nn.Module, strides: tuple[int, int]) -> None:
        super().__init__(model, strides)
        model.enable_slicing()


class Allegro(ClipByClip):
    """Allegro, which diffusers runs in tiles of fixed size, with zeros where no tile fits: here in one tile."""

    first = 0

    def encode(self, video: Tensor) -> Tensor:
        self.model.enable_tiling()
        self.model.kernel = self.model.stride = tuple(video.shape[2:])
        return super().encode(video)

    def decode(self, latent: Tensor) -> Tensor:
        return rearrange(super().decode(latent), "b t c h w -> b c t h w")


class VidTok(Causal):
    """VidTok with a continuous latent; its causal models want the first frame repeated in front.

    The others drop what goes beyond whole chunks of frames.
    """

    def __init__(self, model: nn.Module, strides: tuple[int, int]) -> None:
        super().__init__(model, strides)
        if model.config.regularizer != "kl":
            raise UserError("VidTok's discrete models (fsq) are not compared; give one with a continuous latent (kl)")
        self.first = 1 if model.is_causal else 0

    @property
    def step(self) -> int:
        return self.time if self.model.is_causal else self.model.num_sample_frames_batch_size

    def encode(self, video: Tensor) -> Tensor:
        before = video[:, :, :1].expand(-1, -1, self.time - 1, -1, -1) if self.model.is_causal else video[:, :, :0]
        return super().encode(torch.cat((before, video), dim=2))

    def decode(self, latent: Tensor) -> Tensor:
        return self.model.decode(latent)
