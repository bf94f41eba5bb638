"""The factors that decoupling is measured of: what each is, whose it ought to be, and what it is in a given clip."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from data.clips import ClipDataset
from data.synthetic.factors import Factors
from data.synthetic.patterns import SHAPES

Latent = Literal["structure", "dynamics"]
HUES, GROUND_HUES = 6, 3  # sectors of the colour circle


@dataclass(frozen=True)
class Factor:
    """One that takes a few values, so that a swap shows one donor's, the other's, or neither.

    Attributes:
        latent: the one that ought to carry it; None where nobody can say.
        classes: how many values.
        labels: of the clips of a data set, in its order: int64 `n`.
    """

    name: str
    latent: Latent | None
    classes: int
    labels: Callable[[ClipDataset], Tensor]


def factors_of(known: dict[str, Factors] | None) -> list[Factor]:
    """What can be judged: of a data set whose factors are not known, the class alone."""
    if known is None:
        return [Factor("class", None, 0, class_labels)]

    def of(value: Callable[[Factors], int]) -> Callable[[ClipDataset], Tensor]:
        return lambda clips: torch.tensor([value(known[name]) for name in clips.index.names])

    shapes = [shape.__name__ for shape in SHAPES]
    return [
        Factor("motion", "dynamics", 0, class_labels),
        Factor("shape", "structure", len(shapes), of(lambda clip: shapes.index(clip.shape))),
        Factor("sprite colour", "structure", HUES, of(lambda clip: sector(clip.body_hue, HUES))),
        Factor("background", "structure", 2 * GROUND_HUES, of(background)),
    ]


def class_labels(clips: ClipDataset) -> Tensor:
    return torch.tensor(clips.index.labels)


def background(clip: Factors) -> int:
    """Dark or light, of one of three hues."""
    return GROUND_HUES * clip.dark + sector(clip.ground_hue, GROUND_HUES)


def sector(hue: float, sectors: int) -> int:
    return int(hue // (360 / sectors)) % sectors


@dataclass(frozen=True)
class Quantity:
    """A factor in numbers, for linear probes: `value` of a clip's frames, one number or several.

    Its arguments: the video's factors, its frames that the clip takes, and -1 for a mirrored clip, else 1.
    """

    name: str
    value: Callable[[Factors, Sequence[int], int], Sequence[float]]


def path(clip: Factors, frames: Sequence[int], side: int) -> list[float]:
    """The sprite's centre in each frame, all x and then all y, in half-frames."""
    x, y = (np.array(clip.pose[axis])[frames] for axis in "xy")
    return [*(side * x).tolist(), *y.tolist()]


def speed(clip: Factors, frames: Sequence[int], side: int) -> list[float]:
    """Mean way of the sprite's centre from one frame of the clip to the next, half-frames."""
    x, y = (np.diff(np.array(clip.pose[axis])[frames]) for axis in "xy")
    return [float(np.hypot(x, y).mean())]


QUANTITIES = (
    Quantity("sprite colour (RGB)", lambda clip, frames, side: clip.body[0]),
    Quantity("background colour (RGB)", lambda clip, frames, side: clip.ground[1]),
    Quantity("position in each frame", path),
    Quantity("speed", speed),
)
