"""Ridge regression in closed form, its strength chosen on rows that were kept apart."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
import torch.nn.functional as F
from torch import Tensor

STRENGTHS = tuple(10.0**power for power in range(-4, 3))  # relative to the mean variance of the inputs

Quality = Callable[[Tensor, Tensor], float]


@dataclass(frozen=True)
class Linear:
    """Rows `n d` to `n k`: standardised by what it was fitted on, float64."""

    mean: Tensor
    std: Tensor
    weights: Tensor
    bias: Tensor

    def __call__(self, rows: Tensor) -> Tensor:
        return ((rows.double() - self.mean) / self.std) @ self.weights + self.bias

    def of(self, columns: slice) -> "Linear":
        """The same for some of the `k`."""
        return Linear(self.mean, self.std, self.weights[:, columns], self.bias[columns])


def fit_ridge(rows: Tensor, targets: Tensor, strengths: Sequence[float]) -> list[Linear]:
    """The fits of `targets: n k` by `rows: n d` at each strength: least squares + strength · n · |weights|²."""
    rows, targets = rows.double(), targets.double()
    mean, std = rows.mean(0), rows.std(0).clamp_min(1e-6)
    inputs, bias = (rows - mean) / std, targets.mean(0)
    gram, moment = inputs.T @ inputs / len(rows), inputs.T @ (targets - bias) / len(rows)
    eye = torch.eye(len(gram), dtype=torch.float64)
    factors = (torch.linalg.cholesky(gram + strength * eye) for strength in strengths)
    return [Linear(mean, std, torch.cholesky_solve(moment, factor), bias) for factor in factors]


def fit_chosen(rows: Tensor, targets: Sequence[Tensor], kept: Tensor, qualities: Sequence[Quality]) -> list[Linear]:
    """A fit of each target, `n k`, on all rows, as strong as does best on those `kept` apart when fitted without them.

    Args:
        kept: bool `n`.
        qualities: of what is found beside a target; one for each.
    """
    together, fits = torch.cat(list(targets), dim=1), []
    tried, final = (fit_ridge(rows[used], together[used], STRENGTHS) for used in (~kept, torch.ones_like(kept)))
    ends = list(accumulate(target.shape[1] for target in targets))
    found = [fit(rows[kept]) for fit in tried]
    for target, end, quality in zip(targets, ends, qualities, strict=True):
        columns = slice(end - target.shape[1], end)
        reached = [quality(each[:, columns], target[kept]) for each in found]
        fits.append(final[reached.index(max(reached))].of(columns))
    return fits


def one_hot(labels: Tensor, classes: int) -> Tensor:
    """Classes as targets; what is fitted to them has its largest value at the likeliest."""
    return F.one_hot(labels, classes).double()


def accuracy(found: Tensor, targets: Tensor) -> float:
    """Of classes that were fitted as `one_hot`."""
    return (found.argmax(1) == targets.argmax(1)).double().mean().item()


def explained(found: Tensor, targets: Tensor) -> float:
    """R², of all columns together, each in units of its own variance."""
    spread = targets.var(0, correction=0)
    return 1 - ((found - targets).square().mean(0) / spread).mean().item()
