"""Judges of a factor, trained on real clips: they say which of its values a video shows.

Motion and shape are judged by the classifier of `eval.classifier`, which is trained to ignore colours, one for each;
colours by a linear look at how often each colour occurs.
"""

import copy
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from data.clips import ClipDataset
from eval.classifier import TrainingConfig, load_or_train, predict, random_windows
from eval.twins.factors import Factor
from eval.twins.ridge import accuracy, fit_chosen, one_hot

Judge = Callable[[Tensor], Tensor]  # videos, uint8 `n c t h w`, to classes, int64 `n`

LEVELS = 6  # of each colour channel in a histogram
FRAMES = 4  # of a clip that are looked at for colours
WINDOWS = 2  # of a video that colours are learnt from
BATCH = 40
KEPT = 5  # every fifth video chooses how strongly a fit is held back
# Outlines are harder to learn than motions.
FOLDERS, PATIENCE = {"motion": "classifier", "class": "classifier", "shape": "shapes"}, {"shape": 1.5}


def train_judge(factor: Factor, train: ClipDataset, test: ClipDataset, folder: Path, steps: int) -> Judge:
    """A judge of a factor; a network that was trained before is taken from `folder`.

    Raises:
        UserError: the data set has no classes.
    """
    if factor.name not in FOLDERS:
        return train_colour_judge(factor, train)
    labelled = (relabelled(clips, factor) for clips in (train, test))
    config = TrainingConfig(steps=round(steps * PATIENCE.get(factor.name, 1)))
    return partial(predict, load_or_train(*labelled, folder / FOLDERS[factor.name], config))


def relabelled(clips: ClipDataset, factor: Factor) -> ClipDataset:
    """The same clips, in the same memory, whose classes are the factor's."""
    named, classes = copy.copy(clips), tuple(map(str, range(factor.classes))) or clips.index.classes
    named.index = replace(clips.index, labels=tuple(factor.labels(clips).tolist()), classes=classes)
    return named


def train_colour_judge(factor: Factor, train: ClipDataset) -> Judge:
    windows = random_windows(train)
    items = [windows[epoch, i]["video"] for epoch in range(WINDOWS) for i in range(len(train))]
    rows = histograms(torch.stack(items))
    targets = one_hot(factor.labels(train), factor.classes).repeat(WINDOWS, 1)
    kept = (torch.arange(len(train)) % KEPT == 0).repeat(WINDOWS)
    [fit] = fit_chosen(rows, [targets], kept, [accuracy])
    return lambda videos: fit(histograms(videos)).argmax(1)


def histograms(videos: Tensor) -> Tensor:
    """Roots of the shares of colours in some frames of uint8 `n c t h w`: `n levels³`; roots, so that a small sprite
    counts beside a large background.
    """
    return torch.cat([_histogram(part) for part in videos.split(BATCH)])


def _histogram(videos: Tensor) -> Tensor:
    times = torch.linspace(0, videos.shape[2] - 1, FRAMES).round().long()
    pixels = rearrange(F.avg_pool3d(videos[:, :, times].float() / 255, (1, 2, 2)), "n c t h w -> n c (t h w)")
    places = torch.linspace(0, 1, LEVELS)
    # A pixel counts for the two levels next to it, in each channel.
    red, green, blue = (1 - (pixels[..., None] - places).abs() * (LEVELS - 1)).clamp_min(0).unbind(1)
    return torch.einsum("npr,npg,npb->nrgb", red, green, blue).flatten(1).div(pixels.shape[-1]).sqrt()
