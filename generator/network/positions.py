"""Where a token stands: sines and cosines added to it (DiT), or rotations of its queries and keys (RoPE)."""

from math import log

import torch
from einops import rearrange
from torch import Tensor


def sincos(position: Tensor, width: int) -> Tensor:
    """Sines then cosines of `position` (any shape) at `width / 2` frequencies from 1 down to 1/10000: `... width`."""
    angle = angles(position, width // 2)
    return torch.cat([angle.sin(), angle.cos()], dim=-1)


def angles(position: Tensor, frequencies: int) -> Tensor:
    """`position` (any shape) times frequencies from 1 down to 1/10000: `... frequencies`."""
    steps = torch.arange(frequencies, dtype=torch.float32, device=position.device)
    return position[..., None] * torch.exp(-log(10_000) * steps / frequencies)


def coordinates(grid: tuple[int, ...], window: int = 0) -> tuple[Tensor, ...]:
    """The place of each token of a grid along each axis, flattened; earlier windows lie before 0 on the first axis."""
    axes = [torch.arange(size) for size in grid]
    axes[0] = axes[0] + window * grid[0]
    return tuple(axis.flatten() for axis in torch.meshgrid(*axes, indexing="ij"))


def position_table(grid: tuple[int, ...], width: int, window: int = 0) -> Tensor:
    """Fixed sin-cos positions of the tokens of a grid, `n width`, in the order of `TokenLayout.to_tokens`.

    Each axis of the grid has its own part of an even `width`, the parts as equal as whole sine-cosine pairs allow.
    """
    pairs = _shares(width // 2, len(grid))
    table = [sincos(axis, 2 * n) for axis, n in zip(coordinates(grid, window), pairs, strict=True)]
    return _as_default(torch.cat(table, dim=-1))


def rotary_table(axes: tuple[Tensor, ...], head_width: int) -> Tensor:
    """Cosines and sines, `2 n (d_head / 2)`, of tokens at these places; each axis turns its own part of a head.

    RoPE (arXiv 2104.09864) over several axes: a score then depends on how far apart two tokens are along each.
    """
    shares = _shares(head_width // 2, len(axes))
    angle = torch.cat([angles(axis, n) for axis, n in zip(axes, shares, strict=True)], dim=-1)
    return _as_default(torch.stack([angle.cos(), angle.sin()]))


def height_share(size: int, width_share: float, patch: int, tokens: int) -> Tensor:
    """How much of each token along `(w + h)` lies in the height half, 0 to 1: `tokens`."""
    places = torch.arange(tokens * patch).clamp(max=size - 1)
    return _as_default(rearrange((places >= round(size * width_share)).float(), "(n p) -> n p", p=patch).mean(1))


def _shares(total: int, parts: int) -> list[int]:
    return [len(part) for part in torch.arange(total, device="cpu").tensor_split(parts)]


def _as_default(table: Tensor) -> Tensor:
    """In the type that a model is being made in, which is another one where it is loaded in another precision."""
    return table.to(torch.get_default_dtype())
