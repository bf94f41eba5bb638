"""Latents in fewer bits than they are computed in: what they take then, and what is left of them."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

LEVELS = 255  # steps between the 256 values of a byte


@dataclass(frozen=True)
class Rounded:
    """A latent after rounding.

    Attributes:
        latent: what a decoder gets of it, float32, `b c ...` as before.
        bits: that the numbers of one clip take.
        overhead: bits that its decoder needs beside them.
    """

    latent: Tensor
    bits: int
    overhead: int


Rounding = Callable[[Tensor], Rounded]


def to_half(latent: Tensor) -> Rounded:
    """`b c ...` in IEEE half precision, 16 bits a number."""
    return Rounded(latent.half().float(), 16 * latent[0].numel(), 0)


def to_bytes(latent: Tensor) -> Rounded:
    """`b c ...` in 8 bits a number: 256 even steps over the range that each channel has in each clip.

    The two ends of a range go with the clip, as float32; there is no entropy coding.
    """
    flat = latent.flatten(2)
    low, high = flat.amin(2, keepdim=True), flat.amax(2, keepdim=True)
    step = ((high - low) / LEVELS).clamp(min=torch.finfo(latent.dtype).tiny)  # a constant channel has no range
    restored = ((flat - low) / step).round() * step + low
    return Rounded(restored.view_as(latent), 8 * latent[0].numel(), 2 * 32 * latent.shape[1])
