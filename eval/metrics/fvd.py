"""FVD (arXiv 1812.01717) as a metric of videos: features, and the Fréchet distance of them.

Videos are rounded to 8 bits first, as those of files are: a reconstruction that kept more would differ from what can be
stored of it.
"""

from einops import rearrange
from torch import Tensor

from data.video.frames import to_uint8
from eval.features.network import FeatureNetwork
from eval.metrics.clips import ClipMetric
from eval.metrics.frechet import FrechetDistance
from runtime.errors import UserError

OUTSIDE = 0.01  # what interpolation may overshoot


class FrechetVideoDistance(FrechetDistance):
    """The Fréchet distance of two sets of videos `b c t h w` in [-1, 1], in a network's features.

    `update(preds, target)` takes generated and real videos, either as None.
    """

    def __init__(self, network: FeatureNetwork, **kwargs: object) -> None:
        super().__init__(network.dim, **kwargs)
        self.network = network

    def update(self, preds: Tensor | None = None, target: Tensor | None = None) -> None:
        """Raises `UserError` for values outside [-1, 1], and where `FrechetDistance` does."""
        super().update(*(None if video is None else features_of(self.network, video) for video in (preds, target)))


class ClipFeatures(ClipMetric):
    """The features of each clip, `n d`: for several distances to the same clips, whose features are then taken once."""

    def __init__(self, network: FeatureNetwork) -> None:
        super().__init__(reduction="none")
        self.network = network

    def update(self, preds: Tensor) -> None:
        """Raises `UserError` for values outside [-1, 1]."""
        self.keep(features_of(self.network, preds))


def features_of(network: FeatureNetwork, video: Tensor) -> Tensor:
    """`b d` of videos `b c t h w`. Raises `UserError` for values outside [-1, 1]."""
    if not video.is_floating_point() or video.abs().max() > 1 + OUTSIDE:
        raise UserError(
            f"videos must be floats in [-1, 1], not {str(video.dtype).removeprefix('torch.')} in "
            f"[{video.min():.3g}, {video.max():.3g}]"
        )
    return network(rearrange(to_uint8(video), "b c t h w -> b t h w c"))
