"""The geometry and sizes of a VidTwin, as typed fields beside the model they configure."""

from dataclasses import dataclass
from math import prod
from typing import Literal

from runtime.errors import UserError

Structure = Literal["qformer", "conv_mlp", "wide_qformer"]
Dynamics = Literal["averages", "centred", "spatial_qformer", "none"]


@dataclass(frozen=True)
class VidTwinConfig:
    """Sizes of `autoencoder.model.VidTwin`. The defaults are the paper's model at latent setting 1.

    Pixels are counted by `frames`, `height`, `width`; the transformer sees the grid of patches.
    """

    frames: int = 16
    height: int = 224
    width: int = 224
    patch: tuple[int, int, int] = (1, 16, 16)
    """Frames, rows and columns of one patch."""
    dim: int = 768
    """Width d of both transformers."""
    encoder_depth: int = 16
    decoder_depth: int = 16
    num_heads: int = 12
    num_queries: int = 16
    """n_q: how many learned queries summarise the frames seen at one position."""
    query_dim: int = 64
    qformer_depth: int = 6
    qformer_heads: int = 8
    qformer_hidden: int = 768
    structure_channels: int = 4
    """d_S."""
    structure_conv_dim: int = 128
    structure_halvings: int = 1
    """N: how often the structure maps are halved in both directions."""
    dynamics_channels: int = 8
    """d_D."""
    dynamics_halvings: int = 1
    """M: how often every frame is halved before it is averaged."""
    dropout: float = 0.1
    """Inside the Q-Former, while training."""
    structure: Structure = "qformer"
    """How time is summarised; all but `qformer` are ablations, see `autoencoder.network.ablations`."""
    dynamics: Dynamics = "averages"
    """How a frame's movement is summarised: the paper's `averages`; `centred`, the same without what never changes
    (`autoencoder.network.dynamics`); or an ablation, of which `none` leaves structure alone."""
    overlap: int = 0
    """Rows and columns that the decoder draws beyond each side of a patch, added to what its neighbours draw."""

    def __post_init__(self) -> None:
        for name, pixels, patch in zip(("frames", "height", "width"), self.video_shape, self.patch, strict=True):
            if pixels % patch:
                raise UserError(f"{name} {pixels} is not a multiple of the patch {patch}; change one of the two")
        for name, dim, heads in (
            ("dim", self.dim, self.num_heads),
            ("query_dim", self.query_dim, self.qformer_heads),
        ):
            if dim % heads:
                raise UserError(f"{name} {dim} cannot be split over {heads} heads; change one of the two")
        if self.dim % 4:
            raise UserError(f"dim {self.dim} is not a multiple of 4, which the position tables need")

    @property
    def video_shape(self) -> tuple[int, int, int]:
        """Frames, rows and columns of a clip, in pixels."""
        return self.frames, self.height, self.width

    @property
    def grid(self) -> tuple[int, int, int]:
        """Patches along t, h and w."""
        t, h, w = (pixels // patch for pixels, patch in zip(self.video_shape, self.patch, strict=True))
        return t, h, w

    @property
    def structure_shape(self) -> tuple[int, int, int, int]:
        """`d_S n_q h_S w_S`."""
        _, h, w = self.grid
        return (
            self.structure_channels,
            self.num_queries,
            halved(h, self.structure_halvings),
            halved(w, self.structure_halvings),
        )

    @property
    def dynamics_shape(self) -> tuple[int, int, int]:
        """`d_D t (w_D + h_D)`; d_D is 0 where there is no dynamics latent."""
        t, h, w = self.grid
        channels = 0 if self.dynamics == "none" else self.dynamics_channels
        return channels, t, halved(w, self.dynamics_halvings) + halved(h, self.dynamics_halvings)

    @property
    def latent_values(self) -> int:
        """Numbers in both latents of a clip."""
        return prod(self.structure_shape) + prod(self.dynamics_shape)

    @property
    def rate(self) -> float:
        """Latent values over pixel values."""
        return self.latent_values / (3 * prod(self.video_shape))


def halved(size: int, times: int) -> int:
    """The size after `times` convolutions of stride 2 with padding 1."""
    for _ in range(times):
        size = (size + 1) // 2
    return size
