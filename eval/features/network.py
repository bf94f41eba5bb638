"""The interface of feature networks, and those there are, by name."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from torch import Tensor

from eval.features.i3d import I3D
from eval.features.videomae import VideoMAE
from runtime import distributed


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


def open_network(name: str, path: Path | None) -> FeatureNetwork:
    """The network on this process's device; a file that is behind no published figure is said to be none.

    Raises:
        UserError: no file, or one of something else.
    """
    network = NETWORKS[name](path, distributed.device())
    if network.sha256 not in network.known and distributed.is_main():
        print(
            f"warning: the SHA-256 of {network.path} is not that of the known {network.title}: the figure compares "
            "with no published one",
            file=sys.stderr,
        )
    return network
