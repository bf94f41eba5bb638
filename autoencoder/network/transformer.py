"""The spatio-temporal transformer of encoder and decoder (paper, section 3.2; blocks as in the release)."""

from math import prod

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from runtime.attention import attention, causal_attention

LAYER_NORM_EPS = 1e-6


def sincos_table(positions: Tensor, dim: int) -> Tensor:
    """Sines, then cosines of `positions` (n) at `dim / 2` wavelengths from 2π to 2π·10⁴: `n dim`."""
    frequencies = 10000.0 ** (-torch.arange(dim // 2, dtype=torch.float64) / (dim // 2))
    angles = torch.outer(positions.double(), frequencies)
    # The default type is another one where a model is loaded in another precision.
    return torch.cat([angles.sin(), angles.cos()], dim=1).to(torch.get_default_dtype())


def space_table(h: int, w: int, dim: int) -> Tensor:
    """Fixed 2-D positions `1 (h w) dim`: the column in the first half, the row in the second."""
    rows, columns = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    table = [sincos_table(axis.flatten(), dim // 2) for axis in (columns, rows)]
    return torch.cat(table, dim=1)[None]


def time_table(t: int, dim: int) -> Tensor:
    """Fixed 1-D positions `1 t dim`."""
    return sincos_table(torch.arange(t), dim)[None]


def modulated_norm(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """LN(x)·(1 + scale) + shift over the last axis, in one fused call."""
    return F.layer_norm(x, x.shape[-1:], 1 + scale, shift, LAYER_NORM_EPS)


class GatedLinear(nn.Linear):
    """gate · (W·x + b). The gate multiplies W and b, which are smaller than the output and need not be kept for it."""

    def forward(self, x: Tensor, gate: Tensor) -> Tensor:
        return F.linear(x, gate[:, None] * self.weight, gate * self.bias)


class Attention(nn.Module):
    """Gated multi-head self-attention of a `b t h w d` grid, within each frame or along each position's time."""

    SPACE = "b t h w (qkv heads d) -> qkv (b t) heads (h w) d"
    TIME = "b t h w (qkv heads d) -> qkv (b h w) heads t d"

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = GatedLinear(dim, dim)

    def over_space(self, x: Tensor, gate: Tensor) -> Tensor:
        _, t, h, w, _ = x.shape
        q, k, v = rearrange(self.qkv(x), self.SPACE, qkv=3, heads=self.num_heads)
        out = attention(q, k, v)
        return self.proj(rearrange(out, "(b t) heads (h w) d -> b t h w (heads d)", t=t, h=h, w=w), gate)

    def over_time(self, x: Tensor, gate: Tensor) -> Tensor:
        """Causal: a frame attends to itself and to earlier frames."""
        _, _, h, w, _ = x.shape
        q, k, v = rearrange(self.qkv(x), self.TIME, qkv=3, heads=self.num_heads)
        out = causal_attention(q, k, v)
        return self.proj(rearrange(out, "(b h w) heads t d -> b t h w (heads d)", h=h, w=w), gate)


class MLP(nn.Module):
    """Two linear maps with a tanh-GELU between them, the second one gated."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = GatedLinear(hidden, dim)

    def forward(self, x: Tensor, gate: Tensor) -> Tensor:
        return checkpoint(self.project, self.fc1(x), gate, use_reentrant=False, preserve_rng_state=False)

    def project(self, hidden: Tensor, gate: Tensor) -> Tensor:
        """Its activations are the widest of a block; the backward pass computes the GELU again, and only that."""
        return self.fc2(F.gelu(hidden, approximate="tanh"), gate)


class Block(nn.Module):
    """Attention in space, causal attention in time, MLP; six learned vectors modulate and gate them."""

    def __init__(self, dim: int, num_heads: int, mlp_ratio: int = 4) -> None:
        super().__init__()
        self.space = Attention(dim, num_heads)
        self.time = Attention(dim, num_heads)
        self.mlp = MLP(dim, mlp_ratio * dim)
        self.modulation = nn.Parameter(torch.randn(6, dim) / dim**0.5)

    def forward(self, x: Tensor, time_positions: Tensor | None = None) -> Tensor:
        """`b t h w d` to the same. `time_positions` (t 1 1 d), if given, are added to what time attention sees."""
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = self.modulation
        x = x + self.space.over_space(modulated_norm(x, shift_a, scale_a), gate_a)
        moving = x if time_positions is None else x + time_positions  # not normalised, and the same gate
        x = x + self.time.over_time(moving, gate_a)
        return x + self.mlp(modulated_norm(x, shift_m, scale_m), gate_m)

    @torch.no_grad()
    def close(self) -> None:
        """Gates of zero: the block is the identity until it learns."""
        self.modulation[[2, 5]] = 0


class Transformer(nn.Module):
    """A stack of blocks over a `t h w` grid: fixed space table in, fixed time table in the first block."""

    def __init__(self, grid: tuple[int, int, int], dim: int, depth: int, num_heads: int) -> None:
        super().__init__()
        t, h, w = grid
        self.grid = grid
        self.gradient_checkpointing = False  # diffusers' switch
        self.register_buffer("space_positions", space_table(h, w, dim))
        self.register_buffer("time_positions", time_table(t, dim))
        self.blocks = nn.ModuleList(Block(dim, num_heads) for _ in range(depth))

    def forward(self, x: Tensor) -> Tensor:
        """`b t h w d` to the same."""
        _, h, w = self.grid
        x = x + rearrange(self.space_positions, "1 (h w) d -> h w d", h=h, w=w)
        first, *others = self.blocks
        x = first(x, rearrange(self.time_positions, "1 t d -> t 1 1 d"))
        for block in others:
            if self.gradient_checkpointing and torch.is_grad_enabled():
                x = self._gradient_checkpointing_func(block, x)
            else:
                x = block(x)
        return x


class Patchify(nn.Module):
    """Patch embedding: a convolution whose kernel is its stride. `b c t h w` pixels to a `b t h w d` grid.

    Computed as the matrix product that it is: faster, and a token's values lie together. The convolution's layout, in
    which they lie far apart, would be kept by every sum of every block.
    """

    def __init__(self, patch: tuple[int, int, int], dim: int, channels: int = 3) -> None:
        super().__init__()
        self.proj = nn.Conv3d(channels, dim, kernel_size=patch, stride=patch)

    def forward(self, video: Tensor) -> Tensor:
        p, q, r = self.proj.kernel_size
        patches = rearrange(video, "b c (t p) (h q) (w r) -> b t h w (c p q r)", p=p, q=q, r=r)
        return F.linear(patches, self.proj.weight.flatten(1), self.proj.bias)


class Unpatchify(nn.Module):
    """Modulated norm and a linear map from a `b t h w d` grid back to `b c t h w` pixels.

    With an overlap (ours, not the paper's) a token draws as many rows and columns more on every side of its patch, and
    what several tokens draw is added up: no pixel beside an edge that patches share is left to one token alone.
    """

    def __init__(self, patch: tuple[int, int, int], dim: int, overlap: int = 0, channels: int = 3) -> None:
        super().__init__()
        self.patch = patch
        self.overlap = overlap
        self.modulation = nn.Parameter(torch.randn(2, dim) / dim**0.5)
        self.linear = nn.Linear(dim, channels * patch[0] * prod(self.kernel))

    def forward(self, x: Tensor) -> Tensor:
        return self.to_pixels(self.linear(modulated_norm(x, *self.modulation)))

    def to_pixels(self, patches: Tensor) -> Tensor:
        """`b t h w (p q r c)` to `b c (t p) (h q) (w r)`, the sum of those that overlap."""
        p, q, r = self.patch
        if not self.overlap:
            return rearrange(patches, "b t h w (p q r c) -> b c (t p) (h q) (w r)", p=p, q=q, r=r)
        b, t, h, w, _ = patches.shape
        columns = rearrange(patches, "b t h w (p s c) -> (b t p) (c s) (h w)", p=p, s=prod(self.kernel))
        frames = F.fold(columns, (h * q, w * r), self.kernel, stride=(q, r), padding=self.overlap)
        return rearrange(frames, "(b t p) c h w -> b c (t p) h w", b=b, t=t)

    def to_patches(self, video: Tensor) -> Tensor:
        """The transpose of `to_pixels`: every pixel to each of the patches that drew it."""
        p, q, r = self.patch
        if not self.overlap:
            return rearrange(video, "b c (t p) (h q) (w r) -> b t h w (p q r c)", p=p, q=q, r=r)
        b, c, _, _, width = video.shape
        frames = rearrange(video, "b c t h w -> (b t) c h w")
        columns = F.unfold(frames, self.kernel, stride=(q, r), padding=self.overlap)
        return rearrange(columns, "(b t p) (c s) (h w) -> b t h w (p s c)", b=b, p=p, c=c, w=width // r)

    @property
    def kernel(self) -> tuple[int, int]:
        """Rows and columns that a token draws."""
        _, q, r = self.patch
        return q + 2 * self.overlap, r + 2 * self.overlap
