"""What metrics of single clips share: their values are kept one by one, whatever batch or process they came in."""

from typing import Literal

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from runtime import distributed

Reduction = Literal["mean", "none"]


def gather_values(values: Tensor, group: object = None) -> list[Tensor]:
    """Every process's values, in the order of ranks; of a process that had no clip, none.

    torchmetrics' own function takes only tensors of as many axes, which a process without a clip does not have.
    """
    return [part.to(values.device) for part in distributed.gather([values.cpu()]) if part.numel()]


class ClipMetric(Metric):
    """A metric with a row of values for each clip: one for every frame, or one for the whole clip.

    Args:
        reduction: what `compute` gives: the `mean` over everything as a scalar, or with `none` the values as they are,
            `n t` (or `n 1`), clips in the order in which they came, those of the first process before the next one's.
    """

    full_state_update = False
    is_differentiable = False
    values: list[Tensor]

    def __init__(self, reduction: Reduction = "mean") -> None:
        super().__init__(dist_sync_fn=gather_values)
        self.reduction = reduction
        self.add_state("values", default=[], dist_reduce_fx="cat")

    def keep(self, values: Tensor) -> None:
        """Add `b t`."""
        self.values.append(values.detach().to(torch.float64))

    def compute(self) -> Tensor:
        values = dim_zero_cat(self.values)
        return values.mean() if self.reduction == "mean" else values


class ClipRecord(ClipMetric):
    """What else is known of each clip, in the same order as the values of the metrics beside it: any `b k`."""

    def __init__(self) -> None:
        super().__init__(reduction="none")

    def update(self, record: Tensor) -> None:
        self.keep(record)
