"""The noise that a sample starts from."""

from collections.abc import Sequence

import torch

from data.latents import TwinLatents
from runtime.random import generator


def initial_noise(
    seed: int,
    indices: Sequence[int],
    structure_shape: tuple[int, ...],
    dynamics_shape: tuple[int, ...],
    window: int = 0,
) -> TwinLatents:
    """Standard normal noise of the samples `indices`, on the CPU: sample i's comes from (seed, i) alone.

    Each further `window` of a sample has noise of its own. Shapes are those of one sample: `(d_S, n_q, h_S, w_S)` and
    `(d_D, t, w_D + h_D)`.
    """
    places = [(i, window) if window else (i,) for i in indices]
    generators = [generator("sample-noise", seed, *place) for place in places]
    pairs = [[torch.randn(shape, generator=g) for shape in (structure_shape, dynamics_shape)] for g in generators]
    return TwinLatents(*(torch.stack(latent) for latent in zip(*pairs, strict=True)))
