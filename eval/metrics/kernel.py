"""The kernel distance as a metric of features that come in batches, on any number of processes."""

import torch
from torch import Tensor
from torchmetrics import Metric

from eval.metrics.mmd import kernel_distance
from eval.metrics.once import SIDES, Once


class KernelDistance(Once, Metric):
    """`eval.metrics.mmd.kernel_distance` of two sets of features `n d`, which it keeps, in float32.

    torchmetrics' KernelInceptionDistance is for images and for sets of equal size, and takes a mean over subsets.
    `update(preds, target)` takes either as None.
    """

    is_differentiable = False
    higher_is_better = False
    full_state_update = False

    def __init__(self, dim: int, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.dim = dim
        for side in SIDES:
            self.add_state(side, [], dist_reduce_fx="cat")
        self.reset()

    def reset(self) -> None:
        """To no features of length d: a process without any would give the others an empty vector to join."""
        super().reset()
        for side in SIDES:
            getattr(self, side).append(torch.zeros(0, self.dim, device=self.device))

    def update(self, preds: Tensor | None = None, target: Tensor | None = None) -> None:
        """Raises `UserError` for a metric that has given its result."""
        self.require_open()
        for side, features in zip(SIDES, (preds, target), strict=True):
            if features is not None:
                getattr(self, side).append(features.detach().float().to(self.device))

    def compute(self) -> Tensor:
        """Raises `UserError` for fewer than two features on either side."""
        self.given = True
        real, generated = (joined(getattr(self, side)) for side in ("real", "generated"))
        return torch.tensor(kernel_distance(real, generated), dtype=torch.float64)


def joined(state: list[Tensor] | Tensor) -> Tensor:
    """Batches on one process; one tensor where several have been joined already."""
    return torch.cat(state) if isinstance(state, list) else state
