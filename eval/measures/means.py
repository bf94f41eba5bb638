"""Means of metrics over a data set, and LPIPS where its weights are."""

import sys
from collections import defaultdict

from torch import Tensor

from autoencoder.losses.perceptual import LPIPS, VGG_FILE, vgg_path


class RunningMeans:
    """Means of named values that come in batches: each value counts once, whatever batch it came in."""

    def __init__(self) -> None:
        self.sums: dict[str, float] = defaultdict(float)
        self.counts: dict[str, int] = defaultdict(int)

    def update(self, name: str, values: Tensor) -> None:
        """Add values of any shape."""
        self.sums[name] += values.double().sum().item()
        self.counts[name] += values.numel()

    def means(self) -> dict[str, float]:
        return {name: total / self.counts[name] for name, total in self.sums.items()}


def open_lpips() -> LPIPS | None:
    """LPIPS with the VGG backbone; without the backbone's weights None, and one line that says what is missing.

    There is no other backbone to fall back on: a random one gives a figure that is no LPIPS.
    """
    if vgg_path().is_file():
        return LPIPS()
    url = f"https://download.pytorch.org/models/{VGG_FILE}"
    print(f"LPIPS is left out: its backbone {VGG_FILE} ({url}) is not at {vgg_path()}", file=sys.stderr)
    return None
