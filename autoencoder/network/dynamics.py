"""F_D and H_D: the dynamics latent, what changes from frame to frame (paper, section 3.3)."""

import torch
import torch.nn.functional as F
from einops import rearrange, reduce
from torch import Tensor, nn

from autoencoder.config import VidTwinConfig, halved


class DynamicsExtractor(nn.Module):
    """F_D: each frame shrunk and averaged over one axis at a time, so that only its movement stays."""

    def __init__(self, config: VidTwinConfig) -> None:
        super().__init__()
        self.halvings = nn.ModuleList(
            nn.Conv2d(config.dim, config.dim, 3, stride=2, padding=1) for _ in range(config.dynamics_halvings)
        )
        self.conv_out = nn.Conv2d(config.dim, 2 * config.dynamics_channels, 3, padding=1)

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """`b d t h w` to mean and log-variance, each `b d_D t (w_D + h_D)`."""
        b = len(z)
        frames = rearrange(z, "b d t h w -> (b t) d h w")
        for halve in self.halvings:
            frames = F.relu(halve(frames))
        over_height = reduce(frames, "(b t) d h w -> b d t w", "mean", b=b)
        over_width = reduce(frames, "(b t) d h w -> b d t h", "mean", b=b)
        parameters = torch.cat([self.conv_out(over_height), self.conv_out(over_width)], dim=-1)
        mean, logvar = parameters.chunk(2, dim=1)
        return mean, logvar


class DynamicsExpander(nn.Module):
    """H_D: each axis back to its full length and width, then repeated along the axis that was averaged."""

    def __init__(self, config: VidTwinConfig) -> None:
        super().__init__()
        _, h, w = config.grid
        self.latent_width = halved(w, config.dynamics_halvings)
        self.widen = nn.Sequential(
            nn.Linear(config.dynamics_channels, config.dim), nn.ReLU(), nn.Linear(config.dim, config.dim), nn.ReLU()
        )
        # A square grid shares one map between both axes, as the release does.
        self.lengthen = nn.ModuleList(
            nn.Sequential(nn.Linear(halved(n, config.dynamics_halvings), n), nn.ReLU(), nn.Linear(n, n), nn.ReLU())
            for n in dict.fromkeys((w, h))
        )

    def forward(self, dynamics: Tensor) -> Tensor:
        """u_x + u_y: `b d_D t (w_D + h_D)` to `b t h w d`."""
        wide = self.widen(rearrange(dynamics, "b d t s -> b t s d"))
        along_x, along_y = rearrange(wide, "b t s d -> b t d s").tensor_split([self.latent_width], dim=-1)
        u_x = rearrange(self.lengthen[0](along_x), "b t d w -> b t 1 w d")
        u_y = rearrange(self.lengthen[-1](along_y), "b t d h -> b t h 1 d")
        return u_x + u_y


class CentredExtractor(DynamicsExtractor):
    """F_D whose latent is zero in the mean over time: what never changes has no place in it, and must be structure.

    Ours, not the paper's (docs/training.md, "Twins that are apart").
    """

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        mean, logvar = super().forward(z)
        return centred(mean), logvar


class CentredExpander(DynamicsExpander):
    """H_D that sees as much of a latent: neither posterior noise nor a generator brings the rest back."""

    def forward(self, dynamics: Tensor) -> Tensor:
        return super().forward(centred(dynamics))


def centred(dynamics: Tensor) -> Tensor:
    """`b d_D t s` without its mean over time."""
    return dynamics - dynamics.mean(2, keepdim=True)
