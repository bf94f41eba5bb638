"""A block of the DiT: attention among tokens, attention to the class, and an MLP, each modulated by a condition."""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from generator.network.attention import AttentionToTwo, SelfAttention

Norm = Literal["layer", "rms"]


def normalise(x: Tensor, norm: Norm) -> Tensor:
    """Layer norm or RMS norm over the last axis, without learned weights."""
    return F.layer_norm(x, x.shape[-1:], eps=1e-6) if norm == "layer" else F.rms_norm(x, x.shape[-1:], eps=1e-6)


def modulate(x: Tensor, shift: Tensor, scale: Tensor, norm: Norm) -> Tensor:
    """`norm(x)·(1 + scale) + shift`."""
    return torch.addcmul(shift, normalise(x, norm), 1 + scale)


def spread(vectors: Tensor, lengths: Sequence[int]) -> Tensor:
    """One vector for each group of tokens, `b g d`, to one for each token, `b n d`; to `b 1 d` for a single group."""
    if len(lengths) == 1:
        return vectors
    each = [vector.expand(-1, n, -1) for vector, n in zip(vectors.split(1, dim=1), lengths, strict=True)]
    return torch.cat(each, dim=1)


class GELU(nn.Sequential):
    """`d -> ratio·d -> d` with the exact GELU: on a CPU it takes a third of its tanh approximation's time."""

    def __init__(self, width: int, ratio: float):
        hidden = int(width * ratio)
        super().__init__(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))


class SwiGLU(nn.Module):
    """`W₃(silu(W₁x) ⊙ W₂x)` (arXiv 2002.05202), at two thirds of the hidden width for as many weights as `GELU`."""

    def __init__(self, width: int, ratio: float):
        super().__init__()
        hidden = int(width * ratio * 2 / 3) // 8 * 8
        self.gate_value = nn.Linear(width, 2 * hidden)
        self.out = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        gate, value = self.gate_value(x).chunk(2, dim=-1)
        return self.out(F.silu(gate) * value)


MLPS = {"gelu": GELU, "swiglu": SwiGLU}


class Modulation(nn.Sequential):
    """`count` vectors from each condition, `b g d -> b g (count d)`; zero at the start."""

    def __init__(self, width: int, count: int):
        super().__init__(nn.SiLU(), nn.Linear(width, count * width))


class Offset(nn.Module):
    """A block's own offset to the vectors that all blocks share (adaLN-single of PixArt-α, arXiv 2310.00426)."""

    def __init__(self, width: int, count: int):
        super().__init__()
        self.vectors = nn.Parameter(torch.zeros(count * width))

    def forward(self, shared: Tensor) -> Tensor:
        return shared + self.vectors


class Block(nn.Module):
    """Attention among tokens, attention to the class (if it has a width to attend to) and MLP; adaLN-zero.

    Every block begins as the identity, for its gates and what follows the class attention begin at zero.
    """

    def __init__(
        self,
        width: int,
        num_heads: int,
        mlp_ratio: float,
        class_width: int | None = None,
        norm: Norm = "layer",
        qk_norm: bool = True,
        mlp: Literal["gelu", "swiglu"] = "gelu",
        modulation: Literal["block", "shared"] = "block",
    ):
        super().__init__()
        self.norm = norm
        self.modulation = (Modulation if modulation == "block" else Offset)(width, 6)
        self.attention = SelfAttention(width, num_heads, qk_norm)
        self.class_attention = AttentionToTwo(width, class_width, num_heads) if class_width else None
        self.mlp = MLPS[mlp](width, mlp_ratio)

    def forward(
        self,
        x: Tensor,
        condition: Tensor,
        lengths: Sequence[int],
        classes: Tensor | None = None,
        rotary: Tensor | None = None,
    ) -> Tensor:
        """
        Args:
            x: tokens, `b n d`, in groups of `lengths`, which add up to n.
            condition: what modulates each group: `b g d`, or `b g 6d` where all blocks share a modulation.
            classes: `b 2 d_class`.
            rotary: see `SelfAttention`.
        """
        vectors = spread(self.modulation(condition), lengths)
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = vectors.chunk(6, dim=-1)
        a = self.attention(modulate(x, shift_a, scale_a, self.norm), rotary)
        x = torch.addcmul(x, gate_a, a)
        if self.class_attention is not None:
            x = self.class_attention(normalise(x, self.norm), classes, x)
        m = self.mlp(modulate(x, shift_m, scale_m, self.norm))
        return torch.addcmul(x, gate_m, m)


class Head(nn.Module):
    """From a token of width d to the values of its patch; zero at the start."""

    def __init__(self, width: int, token_width: int, norm: Norm):
        super().__init__()
        self.norm = norm
        self.modulation = Modulation(width, 2)
        self.out = nn.Linear(width, token_width)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """`x: b n d` under one `condition: b 1 d`."""
        shift, scale = self.modulation(condition).chunk(2, dim=-1)
        return self.out(modulate(x, shift, scale, self.norm))
