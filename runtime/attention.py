"""Attention by the kernel that suits the device and the precision; the same function whichever it is."""

import torch
import torch.nn.functional as F
from torch import Tensor

FEW = 192  # keys at most whose weights are kept for the backward pass: with more, their memory counts more than time


def attention(q: Tensor, k: Tensor, v: Tensor, dropout: float = 0.0) -> Tensor:
    """`softmax(q·kᵀ/√d)·v` of `… head n d`: in one kernel, but where a CPU trains in bfloat16 in two products.

    The kernel's backward pass takes two to eight times as long there (docs/results.md).

    Args:
        dropout: share of the weights that are left out.
    """
    slow = not q.is_cuda and q.dtype == torch.bfloat16 and torch.is_grad_enabled()
    if not slow or k.shape[-2] > FEW:
        return F.scaled_dot_product_attention(q, k, v, dropout_p=dropout)
    weights = (q.shape[-1] ** -0.5 * q @ k.mT).softmax(-1)
    return (F.dropout(weights, dropout) if dropout else weights) @ v


def causal_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """The same over `… head t d` in which frame i sees the frames up to i."""
    return fused_causal_attention(q, k, v) if q.is_cuda else plain_causal_attention(q, k, v)


def fused_causal_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """In one kernel that keeps no weights: what GPUs are good at."""
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


def plain_causal_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """In two products: over a clip's few frames a CPU's fused kernel takes several times as long in bf16 training."""
    *_, t, d = q.shape
    future = q.new_full((t, t), float("-inf")).triu(1)
    return (d**-0.5 * q @ k.mT + future).softmax(-1) @ v
