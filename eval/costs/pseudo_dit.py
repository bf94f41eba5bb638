"""The "pseudo-DiT" of VidTwin's Figure 5: one small transformer, and what a training step on so many tokens costs.

Width 512, 8 heads, feed-forward 2048, batch 1, Adam (arXiv 2412.17726). What the paper leaves open is a reading here:
its text says six layers and patches of two on every axis, its printed 12,610,560 parameters are those of four layers
and a last norm without any embedding, and nothing says how attention is computed. The embedding is left out, as in the
printed count: a step's cost then depends on the number of tokens alone.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from math import prod
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from eval.costs.tokenizers import Tokenizer
from eval.measures.counting import traced_memory
from eval.measures.model_cost import LatentGeometry
from runtime.flops import count_flops

WIDTH, HEADS, FEED_FORWARD = 512, 8, 2048
LAYERS = (4, 6)
PATCHES = (2, 1)

Attention = Literal["fused", "plain"]
ATTENTIONS: dict[Attention, SDPBackend] = {"fused": SDPBackend.FLASH_ATTENTION, "plain": SDPBackend.MATH}


@dataclass(frozen=True)
class Reading:
    """One way to read what the paper says.

    Attributes:
        patch: positions along every axis of a latent that make a token.
        attention: `fused` keeps no scores for the backward pass, `plain` all of them.
    """

    layers: int
    patch: int
    attention: Attention


@dataclass(frozen=True)
class Row:
    """A training step on one clip. `flops`: forward and backward pass; `memory`: peak bytes with Adam in float32."""

    tokenizer: str
    reading: Reading
    tokens: int
    parameters: int
    flops: int
    memory: int


def readings() -> list[Reading]:
    return [Reading(*each) for each in product(LAYERS, PATCHES, ATTENTIONS)]


def tokens_of(geometry: LatentGeometry, patch: int) -> int:
    """Of one clip, in patches of so many positions on every axis; the last of an axis are filled up."""
    return sum(prod(-(-length // patch) for length in shape[1:]) for shape in geometry.latents)


def pseudo_dit(layers: int) -> nn.Module:
    """A `TransformerEncoder` with its last norm, whose copies of a layer fake tensors do not allow; dropout is off."""
    blocks = (nn.TransformerEncoderLayer(WIDTH, HEADS, FEED_FORWARD, 0.0, batch_first=True) for _ in range(layers))
    return nn.Sequential(*blocks, nn.LayerNorm(WIDTH))


def count(tokens: int, layers: int) -> dict[str, int]:
    """Parameters, and FLOPs of a training step on so many tokens."""
    with torch.device("meta"), sdpa_kernel(SDPBackend.MATH):
        model = pseudo_dit(layers).train()
        flops = count_flops(lambda: step_loss(model, tokens).backward())
    return {"parameters": sum(parameter.numel() for parameter in model.parameters()), "flops": flops}


def trace(tokens: int, reading: Reading) -> int:
    """Peak bytes of a training step on so many tokens."""
    with sdpa_kernel(ATTENTIONS[reading.attention]):
        return traced_memory(lambda: pseudo_dit(reading.layers), lambda model: step_loss(model, tokens))


def step_loss(model: nn.Module, tokens: int) -> Tensor:
    return model(torch.empty(1, tokens, WIDTH)).square().mean()


def cost_rows(tokenizers: Sequence[Tokenizer], chosen: Sequence[Reading]) -> Iterator[Row]:
    """Every tokenizer in every reading; what has as many tokens is counted once."""
    counted, traced = cache(count), cache(trace)
    for reading, tokenizer in product(chosen, tokenizers):
        tokens = tokens_of(tokenizer.geometry, reading.patch)
        figures = {"tokens": tokens, **counted(tokens, reading.layers), "memory": traced(tokens, reading)}
        yield Row(tokenizer.name, reading, **figures)
