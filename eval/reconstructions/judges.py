"""The networks that measure what comes back."""

from typing import NamedTuple

from torch import nn

from eval.features.network import FeatureNetwork
from runtime.weights import weights_hash


class Judges(NamedTuple):
    """Each None where it is not wanted, or not there.

    Attributes:
        lpips: of `eval.metrics.pixels.open_lpips`.
        classifier: clips `b c t h w` in [-1, 1] to logits `b k`.
        features: of FVD.
    """

    lpips: nn.Module | None = None
    classifier: nn.Module | None = None
    features: FeatureNetwork | None = None

    @property
    def identity(self) -> tuple[str | None, ...]:
        """Names them beyond doubt."""
        return (
            self.lpips and weights_hash(self.lpips),
            self.classifier and weights_hash(self.classifier),
            self.features and f"{self.features.sha256} {self.features.transform}",
        )
