"""Networks of the published ones' signatures, small, that can be computed by hand."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class StandIn(nn.Module):
    """The signature of the I3D; 400 smooth functions of pixel means in 4×5×5 cells."""

    def __init__(self):
        super().__init__()
        numbers = torch.Generator().manual_seed(0)
        self.register_buffer("mix", torch.randn(300, 400, generator=numbers))

    def forward(self, x: Tensor, rescale: bool = False, resize: bool = False, return_features: bool = False) -> Tensor:
        if rescale or resize or not return_features:
            raise ValueError("called in another way than FVD calls the I3D")
        if x.shape[3] != 224 or x.shape[4] != 224 or x.abs().max() > 1.0001:  # interpolation rounds
            raise ValueError("not what the I3D takes")
        return torch.tanh(F.adaptive_avg_pool3d(x, [4, 5, 5]).flatten(1) @ self.mix)


def videos(n, seed, t=16, h=24, w=32):
    return torch.randint(256, (n, t, h, w, 3), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
