"""The latents of one clip as pictures: blue below zero, orange above, nothing where there is nothing."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from einops import rearrange
from numpy import ndarray
from torch import Tensor

from data.video.frames import to_uint8

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BELOW, ABOVE, INK = "#2f7fd0", "#e0782a", "#808793"  # all three are seen on white and on black
LOUD = 0.98  # the quantile of absolute values that is drawn in full colour


def draw_dynamics(video: Tensor, dynamics: Tensor, path: Path) -> None:
    """Frames of `c t h w` in [-1, 1] in a row, and below each what dynamics, `d t (w + h)`, hold at its moment."""
    from matplotlib.figure import Figure

    frames = rearrange(to_uint8(video).cpu(), "c t h w -> h (t w) c").numpy()
    channels, moments, places = dynamics.shape
    values = rearrange(dynamics.cpu(), "d t s -> (d s) t")
    figure = Figure(figsize=(12, 0.75 + 12 * frames.shape[0] / frames.shape[1] + 0.36 * channels), layout="constrained")
    top, below = figure.subplots(2, 1, height_ratios=[12 * frames.shape[0] / frames.shape[1], 0.36 * channels])
    top.imshow(frames, extent=(0, moments, 0, 1), aspect="auto")
    _quiet(top)
    below.imshow(coloured(values), extent=(0, moments, channels, 0), aspect="auto", interpolation="nearest")
    _quiet(below)
    below.set_xticks(np.arange(moments) + 0.5, range(1, moments + 1))
    below.set_yticks(np.arange(channels) + 0.5, range(1, channels + 1))
    for channel in range(1, channels):
        below.axhline(channel, color=INK, linewidth=0.5, alpha=0.6)
    below.set_xlabel(f"moment; of each channel {places} places across and down", color=INK)
    below.set_ylabel("channel", color=INK)
    figure.savefig(path, dpi=110, transparent=True)


def draw_structure(structure: Tensor, path: Path) -> None:
    """The maps of each channel and query of `d n_q h w`, a column for each of whichever there are more."""
    from matplotlib.figure import Figure

    down, across = "channel", "query"
    if structure.shape[0] > structure.shape[1]:
        structure, down, across = structure.transpose(0, 1), across, down
    rows, columns, height, width = structure.shape
    gap = 1 / 4
    cell_h, cell_w = height + gap * height / 2, width + gap * width / 2
    scale = 12 / (columns * cell_w)
    figure = Figure(figsize=(12, 0.75 + scale * rows * cell_h), layout="constrained")
    axis = figure.subplots()
    pictures = coloured(structure.cpu())
    for row in range(rows):
        for column in range(columns):
            left, top = column * cell_w, row * cell_h
            axis.imshow(pictures[row, column], extent=(left, left + width, top + height, top), interpolation="nearest")
    axis.set_xlim(0, columns * cell_w)
    axis.set_ylim(rows * cell_h, 0)
    _quiet(axis)
    axis.set_xticks(np.arange(columns) * cell_w + width / 2, range(1, columns + 1))
    axis.set_yticks(np.arange(rows) * cell_h + height / 2, range(1, rows + 1))
    axis.set_xlabel(across, color=INK)
    axis.set_ylabel(down, color=INK)
    figure.savefig(path, dpi=110, transparent=True)


def coloured(values: Tensor) -> ndarray:
    """`…` to RGBA `… 4`: the sign is the colour, the size how much of it is there."""
    from matplotlib.colors import to_rgb

    full = torch.quantile(values.abs().flatten().float(), LOUD).clamp_min(1e-6)
    strength = (values.abs() / full).clamp(max=1)[..., None]
    below, above = (torch.tensor(to_rgb(name)).expand(*values.shape, 3) for name in (BELOW, ABOVE))
    return torch.cat([torch.where(values[..., None] < 0, below, above), strength], dim=-1).numpy()


def _quiet(axis: "Axes") -> None:
    """No frame, no ticks but those that are asked for, in a grey that is read on any ground."""
    axis.set_xticks([])
    axis.set_yticks([])
    axis.tick_params(length=0, labelcolor=INK)
    for spine in axis.spines.values():
        spine.set_visible(False)
