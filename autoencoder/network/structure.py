"""F_S and H_S: the structure latent, what stays over time at each position (paper, section 3.3)."""

import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from autoencoder.config import VidTwinConfig
from autoencoder.network.qformer import QFormer


class TemporalQFormer(nn.Module):
    """The paper's summary of time: the same queries read the frames of each position."""

    def __init__(self, config: VidTwinConfig) -> None:
        super().__init__()
        self.qformer = QFormer.of(config, config.num_queries, config.query_dim, config.dim, config.qformer_heads)

    def forward(self, z: Tensor) -> Tensor:
        """`b d t h w` to one map for each query, `(b q) c h w` with c = `query_dim`."""
        b, _, _, h, w = z.shape
        queries = self.qformer(rearrange(z, "b d t h w -> (b h w) t d"))
        return rearrange(queries, "(b h w) q c -> (b q) c h w", b=b, h=h, w=w)


class StructureExtractor(nn.Module):
    """F_S: a summary of time, such as `TemporalQFormer`, then convolutions over each query's map."""

    def __init__(self, config: VidTwinConfig, summary: nn.Module) -> None:
        super().__init__()
        self.summary = summary
        dims = [config.structure_conv_dim * 2**i for i in range(config.structure_halvings + 1)]
        self.conv_in = nn.Conv2d(config.query_dim, dims[0], 3, padding=1)
        self.halvings = nn.ModuleList(nn.Conv2d(d, 2 * d, 3, stride=2, padding=1) for d in dims[:-1])
        self.conv_out = nn.Conv2d(dims[-1], 2 * config.structure_channels, 3, padding=1)

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """`b d t h w` to mean and log-variance, each `b d_S n_q h_S w_S`."""
        maps = self.conv_in(self.summary(z))
        for halve in self.halvings:
            maps = F.relu(halve(maps))
        parameters = rearrange(self.conv_out(maps), "(b q) d h w -> b d q h w", b=len(z))
        mean, logvar = parameters.chunk(2, dim=1)
        return mean, logvar


class StructureExpander(nn.Module):
    """H_S: each query's map back to the grid, the queries back to frames."""

    def __init__(self, config: VidTwinConfig) -> None:
        super().__init__()
        dims = [config.structure_conv_dim * 2**i for i in reversed(range(config.structure_halvings + 1))]
        frames, self.h, self.w = config.grid
        self.conv_in = nn.Conv2d(config.structure_channels, dims[0], 3, padding=1)
        self.doublings = nn.ModuleList(nn.Conv2d(d, d // 2, 3, padding=1) for d in dims[:-1])
        self.conv_out = nn.Conv2d(dims[-1], config.query_dim, 3, padding=1)
        self.widen = nn.Linear(config.query_dim, config.dim)
        self.queries_to_frames = nn.Conv1d(config.num_queries, frames, 1)

    def forward(self, structure: Tensor) -> Tensor:
        """u_S: `b d_S n_q h_S w_S` to `b t h w d`."""
        b = len(structure)
        maps = F.relu(self.conv_in(rearrange(structure, "b d q h w -> (b q) d h w")))
        for double in self.doublings:
            maps = F.interpolate(F.relu(double(maps)), scale_factor=2, mode="nearest")
        maps = self.centre_crop(self.conv_out(maps))
        queries = F.relu(self.widen(rearrange(maps, "(b q) d h w -> b q (h w) d", b=b)))
        frames = F.relu(self.queries_to_frames(rearrange(queries, "b q n d -> b q (n d)")))
        return rearrange(frames, "b t (h w d) -> b t h w d", h=self.h, w=self.w)

    def centre_crop(self, maps: Tensor) -> Tensor:
        """Doubling a rounded-up half overshoots an odd grid."""
        top, left = ((have - want) // 2 for have, want in zip(maps.shape[-2:], (self.h, self.w), strict=True))
        return maps[..., top : top + self.h, left : left + self.w]
