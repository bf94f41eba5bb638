"""The maximum mean discrepancy of features under a polynomial kernel (KID, arXiv 1801.01401)."""

import torch
from torch import Tensor

from runtime.errors import UserError

DEGREE, CONSTANT = 3, 1.0
ROWS = 1024  # of a kernel matrix that are in memory at a time


def kernel_distance(a: Tensor, b: Tensor) -> float:
    """MMD² of features `n d` and `m d` under k(x, y) = (xᵀy / d + 1)³: the unbiased estimator, over all pairs.

    Its mean does not depend on n and m, where the Fréchet distance grows as they shrink and needs more videos than
    there are features: what to look at for few videos. Unbiased, it falls below zero for sets that are alike.

    Raises:
        UserError: fewer than two features on either side.
    """
    n, m = len(a), len(b)
    if min(n, m) < 2:
        raise UserError(f"a kernel distance needs at least 2 samples on each side, there are {min(n, m)}")
    a, b = a.double(), b.double()
    within = [(kernel_sum(x, x) - kernel_diagonal(x)) / (len(x) * (len(x) - 1)) for x in (a, b)]
    return float(sum(within) - 2 * kernel_sum(a, b) / (n * m))


def kernel_sum(a: Tensor, b: Tensor) -> Tensor:
    """Σ k(x, y) over all x of `a` and y of `b`."""
    parts = ((part @ b.T / a.shape[1] + CONSTANT) ** DEGREE for part in a.split(ROWS))
    return torch.stack([part.sum() for part in parts]).sum()


def kernel_diagonal(a: Tensor) -> Tensor:
    """Σ k(x, x)."""
    return ((a.square().sum(1) / a.shape[1] + CONSTANT) ** DEGREE).sum()
