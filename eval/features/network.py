"""The interface of feature networks, and those there are, by name."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from torch import Tensor

from eval.features.i3d import I3D
from eval.features.videomae import VideoMAE


class FeatureNetwork(Protocol):
    """uint8 videos `n t h w c` to features `n d`, float32, on the CPU.

    Attributes:
        name, title: by which it is asked for, and called.
        dim: d.
        transform: what it makes of the pixels before its first layer, in words.
        path, sha256: the file of its weights.
        known: hashes of the files behind published figures.
    """

    name: str
    title: str
    dim: int
    transform: str
    path: Path
    sha256: str
    known: frozenset[str]

    def check(self, frames: int) -> None:
        """Raise `UserError` where clips of so many frames are not for it."""
        ...

    def __call__(self, videos: Tensor) -> Tensor:
        """The features of videos `n t h w 3`. Raises `UserError` for others, and for a file that gives no such."""
        ...


NETWORKS: dict[str, Callable[..., FeatureNetwork]] = {network.name: network for network in (I3D, VideoMAE)}
