"""Attention over 16 frames, forward and backward: the fused kernel against plain products, both compiled."""

import statistics
from collections.abc import Callable

import torch
from torch import Tensor

from eval.checks.check import Found, Place
from runtime import distributed
from runtime.attention import fused_causal_attention, plain_causal_attention
from runtime.flops import timed

FRAMES, HEADS, HEAD_WIDTH = 16, 12, 64
POSITIONS = {"cpu": 16, "cuda": 8 * 14 * 14}  # of a batch of clips, each a sequence of its own
WARM_UP, REPEATS = 3, 10
VARIANTS = {"fused": fused_causal_attention, "plain": plain_causal_attention}


def measure(place: Place) -> Found:
    """At the width of `base`, in bf16."""
    device = distributed.device()
    shape = (3, POSITIONS[place.device], HEADS, FRAMES, HEAD_WIDTH)
    qkv = torch.randn(shape, device=device, dtype=torch.bfloat16).requires_grad_()
    seconds = {name: median_seconds(torch.compile(each), qkv) for name, each in VARIANTS.items()}
    said = ", ".join(f"{name} {1000 * each:.3g} ms" for name, each in seconds.items())
    return Found(f"{said} for {shape[1]} positions", {"seconds": seconds, "shape": list(shape[1:])})


def median_seconds(attend: Callable[[Tensor, Tensor, Tensor], Tensor], qkv: Tensor) -> float:
    def run() -> None:
        attend(*qkv).sum().backward()
        qkv.grad = None

    for _ in range(WARM_UP):
        run()
    return statistics.median(timed(run, qkv.device) for _ in range(REPEATS))
