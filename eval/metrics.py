"""Means of metrics over a data set."""

from collections import defaultdict

from torch import Tensor


class RunningMeans:
    """Means of named values that come in batches: each frame counts once, whatever batch it came in."""

    def __init__(self) -> None:
        self.sums: dict[str, float] = defaultdict(float)
        self.counts: dict[str, int] = defaultdict(int)

    def update(self, name: str, values: Tensor) -> None:
        """Add values of any shape."""
        self.sums[name] += values.double().sum().item()
        self.counts[name] += values.numel()

    def means(self) -> dict[str, float]:
        return {name: total / self.counts[name] for name, total in self.sums.items()}
