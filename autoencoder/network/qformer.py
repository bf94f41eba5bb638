"""Q-Former: learned queries that summarise a sequence (BLIP-2's, BERT-style post-norm layers)."""

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from autoencoder.config import VidTwinConfig
from runtime.attention import attention

LAYER_NORM_EPS = 1e-12
CROSS_ATTENTION_EVERY = 2


class QFormerAttention(nn.Module):
    """Multi-head attention of queries `n q d` to a context `n k d_context`, added and normalised."""

    def __init__(self, dim: int, context_dim: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.query = nn.Linear(dim, dim)
        self.key = nn.Linear(context_dim, dim)
        self.value = nn.Linear(context_dim, dim)
        self.out = nn.Linear(dim, dim)
        self.norm = nn.LayerNorm(dim, LAYER_NORM_EPS)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        q, k, v = (
            rearrange(each, "n s (heads d) -> n heads s d", heads=self.num_heads)
            for each in (self.query(x), self.key(context), self.value(context))
        )
        out = attention(q, k, v, self.dropout.p if self.training else 0.0)
        out = self.out(rearrange(out, "n heads s d -> n s (heads d)"))
        return self.norm(x + self.dropout(out))


class QFormerLayer(nn.Module):
    """Self-attention, cross-attention in every second layer, feed-forward."""

    def __init__(self, dim: int, context_dim: int | None, num_heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.self_attention = QFormerAttention(dim, dim, num_heads, dropout)
        self.cross_attention = QFormerAttention(dim, context_dim, num_heads, dropout) if context_dim else None
        self.up = nn.Linear(dim, hidden)
        self.down = nn.Linear(hidden, dim)
        self.norm = nn.LayerNorm(dim, LAYER_NORM_EPS)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        x = self.self_attention(x, x)
        if self.cross_attention is not None:
            x = self.cross_attention(x, context)
        return self.norm(x + self.dropout(self.down(F.gelu(self.up(x)))))


class QFormer(nn.Module):
    """`num_queries` learned queries of width `dim` that read a context of width `context_dim`."""

    def __init__(
        self, num_queries: int, dim: int, context_dim: int, depth: int, num_heads: int, hidden: int, dropout: float
    ) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(num_queries, dim) / dim**0.5)
        self.norm = nn.LayerNorm(dim, LAYER_NORM_EPS)
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList(
            QFormerLayer(dim, None if i % CROSS_ATTENTION_EVERY else context_dim, num_heads, hidden, dropout)
            for i in range(depth)
        )

    @classmethod
    def of(cls, config: VidTwinConfig, num_queries: int, dim: int, context_dim: int, num_heads: int) -> "QFormer":
        """As deep and with as much hidden width and dropout as `config` says."""
        return cls(
            num_queries, dim, context_dim, config.qformer_depth, num_heads, config.qformer_hidden, config.dropout
        )

    def forward(self, context: Tensor) -> Tensor:
        """`n s d_context` to `n q d`."""
        x = self.dropout(self.norm(self.queries)).expand(len(context), -1, -1)
        for layer in self.layers:
            x = layer(x, context)
        return x
