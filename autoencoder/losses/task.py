"""What the autoencoder is to make of a step's clips: themselves, as in the paper, or what keeps the twins apart."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from autoencoder.losses.paint import draw_paint
from autoencoder.losses.terms import LossConfig


class Task(NamedTuple):
    """Clips that are encoded, what is joined of their latents, and what that is to be.

    Attributes:
        video: the clips, `b c t h w`.
        target: what each one's structure is to become, `b c t h w`.
        moved_by: the clip whose dynamics move it, int64 `b`; None where that is itself.
        moving: bool `b`, false where nothing does; None where all are moved.
    """

    video: Tensor
    target: Tensor
    moved_by: Tensor | None = None
    moving: Tensor | None = None


def draw_task(video: Tensor, config: LossConfig, step: int) -> Task:
    """Float32 clips `b c t h w`: as they are, some exchanged and some still, as the configuration has it at a step."""
    task = Task(video, video)
    if config.exchange and step >= config.exchange_start:
        task = exchange(task, torch.rand(len(video) // 2, device=video.device) < config.exchange)
    if config.still:
        task = hold_still(task, torch.rand(len(video), device=video.device) >= config.still)
    return task


def exchange(task: Task, exchanged: Tensor) -> Task:
    """Pairs of clips of one scene, one after the other, that look different; each moves as the other does.

    What both clips share, and how each is painted, can then come from structure alone; where it is at a moment, from
    dynamics alone.

    Args:
        exchanged: bool, `b / 2`: the pairs that do so; the others stay as they are.
    """
    exchanged = F.pad(exchanged.repeat_interleave(2), (0, len(task.video) % 2))  # without a partner, none
    places = torch.arange(len(exchanged), device=exchanged.device)
    moved_by, paint = torch.where(exchanged, places ^ 1, places), draw_paint(exchanged)
    return task._replace(video=paint(task.video), target=paint(task.video[moved_by]), moved_by=moved_by)


def hold_still(task: Task, moving: Tensor) -> Task:
    """Where `moving`, bool `b`, is false: the mean frame of the clip, from its structure alone."""
    still = task.video.mean(2, keepdim=True)
    return task._replace(target=task.target.where(rearrange(moving, "b -> b 1 1 1 1"), still), moving=moving)
