"""Attention among tokens, and of tokens to two class vectors."""

import torch
import torch.nn.functional as F
from einops import einsum, rearrange
from torch import Tensor, nn

from runtime.attention import attention


class HeadNorm(torch.autograd.Function):
    """`y = gain·x/rms(x)`, rms over the last axis, with a gain for each head.

    Its own backward pass, `∂x = gain/rms·(∂y − ŷ·mean(∂y·ŷ))` with `ŷ = x/rms`, goes over memory half as often as
    autograd's, and the gain's gradient, `Σ ∂y·ŷ`, falls out of it.
    """

    @staticmethod
    def forward(ctx: object, x: Tensor, gain: Tensor) -> Tensor:
        """`x: ... head n d`, `gain: head 1 1`, or with more axes before."""
        square = torch.linalg.vector_norm(x, dim=-1, keepdim=True).square()
        inverse = (square / x.shape[-1] + 1e-6).rsqrt()
        ctx.save_for_backward(x, inverse, gain)
        return x * (inverse * gain)

    @staticmethod
    def backward(ctx: object, grad: Tensor) -> tuple[Tensor, Tensor]:
        x, inverse, gain = ctx.saved_tensors
        along = (grad * x).sum(-1, keepdim=True) * inverse  # Σ ∂y·ŷ of each vector
        grad_x = torch.addcmul(grad, x, along * inverse, value=-1 / x.shape[-1]).mul_(inverse * gain)
        return grad_x, along.sum_to_size(gain.shape)


class Rotation(torch.autograd.Function):
    """Each pair of channels (i, i + d/2) of `x: ... n d` turned by its own angle; backward, turned back."""

    @staticmethod
    def forward(ctx: object, x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        ctx.save_for_backward(cosine, sine)
        return turn(x, cosine, sine)

    @staticmethod
    def backward(ctx: object, grad: Tensor) -> tuple[Tensor, None, None]:
        cosine, sine = ctx.saved_tensors
        return turn(grad, cosine, -sine), None, None


def turn(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    first, second = x.chunk(2, dim=-1)
    return torch.cat(
        [(first * cosine).addcmul_(second, sine, value=-1), (second * cosine).addcmul_(first, sine)], dim=-1
    )


class SelfAttention(nn.Module):
    """Multi-head attention among the tokens `x: b n d`.

    With `qk_norm`, queries and keys are RMS-normalised by head (arXiv 2302.05442), with a learned gain for each head:
    scores stay bounded in bfloat16.
    """

    def __init__(self, width: int, num_heads: int, qk_norm: bool):
        super().__init__()
        self.num_heads = num_heads
        self.query_key_value = nn.Linear(width, 3 * width)
        self.gain = nn.Parameter(torch.ones(2, num_heads)) if qk_norm else None
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, rotary: Tensor | None = None) -> Tensor:
        """`rotary: 2 n d_head/2` turns queries and keys to their places (`rotary_table`)."""
        qkv = rearrange(self.query_key_value(x), "b n (qkv head d) -> qkv b head n d", qkv=3, head=self.num_heads)
        qk, v = qkv.split([2, 1])
        if self.gain is not None:
            qk = HeadNorm.apply(qk, rearrange(self.gain, "qk head -> qk 1 head 1 1"))
        if rotary is not None:
            qk = Rotation.apply(qk, *rotary)
        y = attention(*qk, v[0])
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

    def forward(self, x: Tensor, context: Tensor, residual: Tensor) -> Tensor:
        """`residual: b n d` plus what the tokens attend to."""
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
        values = torch.cat([einsum(step, out, "b head d, head d width -> b head width"), rest], dim=1)
        weights = F.pad(score.sigmoid(), (0, 1), value=1.0)
        return torch.baddbmm(residual, weights, values)
