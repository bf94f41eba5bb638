"""The Fréchet distance as a metric of features that come in batches, on any number of processes."""

import torch
from torch import Tensor
from torchmetrics import Metric

from eval.metrics.gaussian import frechet_distance, gaussian, merged, moments, no_moments
from eval.metrics.once import SIDES, Once


class FrechetDistance(Once, Metric):
    """The Fréchet distance of two sets of features `n d`, with memory for their moments alone, in float64.

    The sets need not be of equal number, nor come in pairs: `update(preds, target)` takes either as None.
    Processes exchange moments (see `eval.metrics.gaussian.moments`). With NCCL the metric has to be on the GPU.
    """

    is_differentiable = False
    higher_is_better = False
    full_state_update = False

    def __init__(self, dim: int, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.dim = dim
        for side in SIDES:
            self.add_state(side, no_moments(dim), dist_reduce_fx=merged)

    def update(self, preds: Tensor | None = None, target: Tensor | None = None) -> None:
        """Raises `UserError` for values that are not finite, and for a metric that has given its result."""
        self.require_open()
        for side, features in zip(SIDES, (preds, target), strict=True):
            if features is not None:
                assert features.shape[1:] == (self.dim,), f"features {tuple(features.shape)}, d {self.dim}"
                new = moments(features.to(self.device))
                setattr(self, side, merged(torch.stack([getattr(self, side), new])))

    def compute(self) -> Tensor:
        """Raises `UserError` for fewer than two features on either side."""
        self.given = True
        return torch.tensor(frechet_distance(gaussian(self.real), gaussian(self.generated)), dtype=torch.float64)
