"""The plain vision transformer of VideoMAE-v2 (arXiv 2303.16727) up to its features, with its checkpoints' names."""

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

GIANT = {"width": 1408, "depth": 40, "heads": 16, "hidden": 6144, "patch": (2, 14, 14), "frames": 16, "size": 224}
EPSILON = 1e-6


class VisionTransformer(nn.Module):
    """Videos `n c t h w` of `frames` and `size`×`size` to the normalised mean of their tokens, `n d`."""

    def __init__(
        self, width: int, depth: int, heads: int, hidden: int, patch: tuple[int, int, int], frames: int, size: int
    ) -> None:
        super().__init__()
        self.tokens, self.width = frames // patch[0] * (size // patch[1]) * (size // patch[2]), width
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv3d(3, width, patch, stride=patch)})
        self.blocks = nn.ModuleList([Block(width, heads, hidden) for _ in range(depth)])
        self.fc_norm = nn.LayerNorm(width, EPSILON)

    def forward(self, video: Tensor) -> Tensor:
        x = rearrange(self.patch_embed["proj"](video), "n d t h w -> n (t h w) d")
        x = x + sinusoids(self.tokens, self.width).to(x)
        for block in self.blocks:
            x = block(x)
        return self.fc_norm(x.mean(1))


class Block(nn.Module):
    """x + attention(norm x), and then x + mlp(norm x)."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, EPSILON)
        self.attn = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, EPSILON)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(width, hidden), "fc2": nn.Linear(hidden, width)})

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp["fc2"](F.gelu(self.mlp["fc1"](self.norm2(x))))


class Attention(nn.Module):
    """Self-attention whose queries and values have a bias, and whose keys have none."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.q_bias, self.v_bias = nn.Parameter(torch.zeros(width)), nn.Parameter(torch.zeros(width))
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        bias = torch.cat([self.q_bias, torch.zeros_like(self.q_bias), self.v_bias])
        q, k, v = rearrange(F.linear(x, self.qkv.weight, bias), "n l (s m e) -> s n m l e", s=3, m=self.heads)
        return self.proj(rearrange(F.scaled_dot_product_attention(q, k, v), "n m l e -> n l (m e)"))


def sinusoids(tokens: int, width: int) -> Tensor:
    """Sines in the even and cosines in the odd channels, `1 tokens width` (Vaswani et al. 2017)."""
    channel = torch.arange(width, dtype=torch.float64)
    angle = torch.arange(tokens, dtype=torch.float64)[:, None] / 10000 ** (2 * (channel // 2) / width)
    return torch.where(channel % 2 == 0, angle.sin(), angle.cos()).float()[None]
