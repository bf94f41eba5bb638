"""Attention among tokens, and of tokens to two class vectors."""

import torch
import torch.nn.functional as F
from einops import einsum, rearrange
from torch import Tensor, nn

from generator.network.positions import rotate


class RMSNorm(nn.Module):
    """`gain·x/rms(x)` over the last axis. The gain stays outside the fused call, which refuses mixed precisions."""

    def __init__(self, width: int):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return self.gain * F.rms_norm(x, x.shape[-1:], eps=1e-6)


class SelfAttention(nn.Module):
    """Multi-head attention among the tokens `x: b n d`.

    With `qk_norm`, queries and keys are RMS-normalised by head (arXiv 2302.05442): scores stay bounded in bfloat16.
    """

    def __init__(self, width: int, num_heads: int, qk_norm: bool):
        super().__init__()
        self.num_heads = num_heads
        self.query_key_value = nn.Linear(width, 3 * width)
        self.query_norm = RMSNorm(width // num_heads) if qk_norm else nn.Identity()
        self.key_norm = RMSNorm(width // num_heads) if qk_norm else nn.Identity()
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, rotary: Tensor | None = None) -> Tensor:
        """`rotary: 2 n d_head/2` turns queries and keys to their places (`rotary_table`)."""
        q, k, v = rearrange(self.query_key_value(x), "b n (qkv head d) -> qkv b head n d", qkv=3, head=self.num_heads)
        q, k = self.query_norm(q), self.key_norm(k)
        if rotary is not None:
            q, k = rotate(q, rotary), rotate(k, rotary)
        y = F.scaled_dot_product_attention(q, k, v)
        return self.out(rearrange(y, "b head n d -> b n (head d)"))


class AttentionToTwo(nn.Module):
    """Multi-head attention of tokens `x: b n d` to two vectors, `b 2 d_context`: the class, and "no class".

    A softmax over two scores is the logistic function of their difference, so that attention is, in each head,

        y = v₂ + σ(q·(k₁ − k₂)/√d_head)·(v₁ − v₂),     q = W_q x + b_q

    and the projections of queries and outputs fold into the two vectors: 4·n·d·heads multiplications instead of 4·n·d²,
    and no query, key or value of any token is ever made.
    """

    def __init__(self, width: int, context_width: int, num_heads: int):
        super().__init__()
        self.num_heads = num_heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(context_width, 2 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        heads = self.num_heads
        first, second = self.key_value(context).unbind(1)
        key, step = rearrange(first - second, "b (kv head d) -> kv b head d", kv=2, head=heads)
        key = key * key.shape[-1] ** -0.5
        query = rearrange(self.query.weight, "(head d) width -> head d width", head=heads)
        query_bias = rearrange(self.query.bias, "(head d) -> head d", head=heads)
        out = rearrange(self.out.weight, "width (head d) -> head d width", head=heads)

        score = torch.baddbmm(
            einsum(key, query_bias, "b head d, head d -> b head")[:, None],
            x,
            einsum(key, query, "b head d, head d width -> b width head"),
        )
        rest = self.out(second.chunk(2, dim=-1)[1])[:, None]
        return torch.baddbmm(rest, score.sigmoid(), einsum(step, out, "b head d, head d width -> b head width"))
