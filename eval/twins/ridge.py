"""Ridge regression in closed form, its strength chosen on rows that were kept apart."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

STRENGTHS = tuple(10.0**power for power in range(-4, 3))  # relative to the mean variance of the inputs


@dataclass(frozen=True)
class Linear:
    """Rows `n d` to `n k`: standardised by what it was fitted on, float64."""

    mean: Tensor
    std: Tensor
    weights: Tensor
    bias: Tensor

    def __call__(self, rows: Tensor) -> Tensor:
        return ((rows.double() - self.mean) / self.std) @ self.weights + self.bias


def fit_ridge(rows: Tensor, targets: Tensor, strengths: tuple[float, ...]) -> list[Linear]:
    """The fits of `targets: n k` by `rows: n d` at each strength: least squares + strength · n · |weights|²."""
    rows, targets = rows.double(), targets.double()
    mean, std = rows.mean(0), rows.std(0).clamp_min(1e-6)
    inputs, bias = (rows - mean) / std, targets.mean(0)
    gram, moment = inputs.T @ inputs / len(rows), inputs.T @ (targets - bias) / len(rows)
    eye = torch.eye(len(gram), dtype=torch.float64)
    factors = (torch.linalg.cholesky(gram + strength * eye) for strength in strengths)
    return [Linear(mean, std, torch.cholesky_solve(moment, factor), bias) for factor in factors]


def fit_chosen(rows: Tensor, targets: Tensor, kept: Tensor, quality: Callable[[Tensor, Tensor], float]) -> Linear:
    """The fit on all rows at the strength whose fit on the others does best on those `kept` apart (bool `n`)."""
    tried = fit_ridge(rows[~kept], targets[~kept], STRENGTHS)
    qualities = [quality(fit(rows[kept]), targets[kept]) for fit in tried]
    best = STRENGTHS[max(range(len(STRENGTHS)), key=qualities.__getitem__)]
    return fit_ridge(rows, targets, (best,))[0]


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
