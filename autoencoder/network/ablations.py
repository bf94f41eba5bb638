"""What the paper's Table 3 puts in place of parts of VidTwin, and the tables from a config's literal to a class.

| ablation | config |
| --- | --- |
| one latent at a like rate | `dynamics: none` and more `structure_channels` |
| spatial Q-Former in place of the averages | `dynamics: spatial_qformer` |
| convolutions and MLP in place of the temporal Q-Former | `structure: conv_mlp` |
| space in the Q-Former's hidden width, not in its batch | `structure: wide_qformer` |

The paper names these variants and their results but not their layers; the layers here are our reading.

A structure summary takes z `b d t h w` to one map for each query, `(b q) c h w` with c = `query_dim`; a dynamics
extractor takes z to mean and log-variance `b d_D t (w_D + h_D)`; a dynamics expander takes that latent to u
`b t h w d`.
"""

from math import gcd

import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from autoencoder.config import VidTwinConfig
from autoencoder.network.dynamics import CentredExpander, CentredExtractor, DynamicsExpander, DynamicsExtractor
from autoencoder.network.qformer import QFormer
from autoencoder.network.structure import TemporalQFormer

WIDE_CHANNELS = 4  # of a position inside the wide Q-Former: 784 in all on a 14×14 grid, near the other widths


class ConvMLP(nn.Module):
    """Each position's frames through 1-D convolutions, then an MLP along the time axis from t frames to n_q maps."""

    def __init__(self, config: VidTwinConfig) -> None:
        super().__init__()
        frames, _, _ = config.grid
        self.convs = nn.Sequential(
            nn.Conv1d(config.dim, config.query_dim, 3, padding=1),
            nn.GELU(),
            nn.Conv1d(config.query_dim, config.query_dim, 3, padding=1),
        )
        self.mlp = nn.Sequential(nn.Linear(frames, 4 * frames), nn.GELU(), nn.Linear(4 * frames, config.num_queries))

    def forward(self, z: Tensor) -> Tensor:
        b, _, _, h, w = z.shape
        queries = self.mlp(self.convs(rearrange(z, "b d t h w -> (b h w) d t")))
        return rearrange(queries, "(b h w) c q -> (b q) c h w", b=b, h=h, w=w)


class WideQFormer(nn.Module):
    """A frame is one token: its positions, cut to a few channels each, make up the Q-Former's hidden width.

    It has as many of `qformer_heads` heads as divide that width.
    """

    def __init__(self, config: VidTwinConfig) -> None:
        super().__init__()
        _, self.h, self.w = config.grid
        width = self.h * self.w * WIDE_CHANNELS
        self.narrow = nn.Conv3d(config.dim, WIDE_CHANNELS, 1)
        self.qformer = QFormer.of(config, config.num_queries, width, width, gcd(width, config.qformer_heads))
        self.widen = nn.Conv2d(WIDE_CHANNELS, config.query_dim, 1)

    def forward(self, z: Tensor) -> Tensor:
        queries = self.qformer(rearrange(self.narrow(z), "b c t h w -> b t (h w c)"))
        return self.widen(rearrange(queries, "b q (h w c) -> (b q) c h w", h=self.h, w=self.w))


class SpatialQFormer(nn.Module):
    """F_D with attention: each frame, halved as for the averages, is read by w_D + h_D learned queries."""

    def __init__(self, config: VidTwinConfig) -> None:
        super().__init__()
        channels, _, queries = config.dynamics_shape
        self.halvings = nn.ModuleList(
            nn.Conv2d(config.dim, config.dim, 3, stride=2, padding=1) for _ in range(config.dynamics_halvings)
        )
        self.qformer = QFormer.of(config, queries, config.query_dim, config.dim, config.qformer_heads)
        self.conv_out = nn.Conv2d(config.query_dim, 2 * channels, 3, padding=1)

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        b = len(z)
        frames = rearrange(z, "b d t h w -> (b t) d h w")
        for halve in self.halvings:
            frames = F.relu(halve(frames))
        queries = self.qformer(rearrange(frames, "n d h w -> n (h w) d"))
        mean, logvar = self.conv_out(rearrange(queries, "(b t) s c -> b c t s", b=b)).chunk(2, dim=1)
        return mean, logvar


class NoDynamicsExtractor(nn.Module):
    """The twin of a model with structure alone: a latent without channels."""

    def __init__(self, config: VidTwinConfig) -> None:
        super().__init__()
        self.shape = config.dynamics_shape

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        empty = z.new_zeros(len(z), *self.shape)
        return empty, empty


class NoDynamicsExpander(nn.Module):
    """u of a latent without channels: zeros."""

    def __init__(self, config: VidTwinConfig) -> None:
        super().__init__()
        self.shape = (*config.grid, config.dim)

    def forward(self, dynamics: Tensor) -> Tensor:
        return dynamics.new_zeros(len(dynamics), *self.shape)


STRUCTURE_SUMMARIES = {"qformer": TemporalQFormer, "conv_mlp": ConvMLP, "wide_qformer": WideQFormer}
DYNAMICS_EXTRACTORS = {
    "averages": DynamicsExtractor,
    "centred": CentredExtractor,
    "spatial_qformer": SpatialQFormer,
    "none": NoDynamicsExtractor,
}
DYNAMICS_EXPANDERS = {
    "averages": DynamicsExpander,
    "centred": CentredExpander,
    "spatial_qformer": DynamicsExpander,
    "none": NoDynamicsExpander,
}
