"""The Fréchet distance between Gaussians fitted to features (Dowson and Landau 1982; FID, arXiv 1706.08500)."""

from typing import NamedTuple

import torch
from torch import Tensor

from runtime.errors import UserError

COVARIANCE = "unbiased (n - 1)"  # `Gaussian.covariance` in words
NEGATIVE = 1e-6  # of the covariances' traces: what rounding may put a distance below zero


class Gaussian(NamedTuple):
    """Fitted to `count` features.

    Attributes:
        mean: `d`, float64.
        covariance: `d d`, float64, unbiased: divided by n − 1, as `numpy.cov` does and most published figures were
            made. StyleGAN-V and cd-fvd divide by n. Its rank is n − 1 at most, so it is singular for n ≤ d.
    """

    count: int
    mean: Tensor
    covariance: Tensor


def no_moments(dim: int) -> Tensor:
    """`moments` of no features of length d."""
    return torch.zeros(dim + 2, dim, dtype=torch.float64)


def moments(features: Tensor) -> Tensor:
    """All that a Gaussian needs of features `n d` of any float type, `d+2 d` float64, of the same size for any n.

    The rows are n (repeated), their mean, and the sum of outer products about **their own mean**: sums about zero
    would lose the digits in which large means agree.

    Raises:
        UserError: a feature that is infinite or not a number.
    """
    features = features.detach().double()
    if not features.isfinite().all():
        raise UserError("the feature network gave values that are not finite; check the videos and its weights")
    if not len(features):
        return no_moments(features.shape[1]).to(features.device)
    mean = features.mean(0)
    centred = features - mean
    return torch.cat([torch.full_like(mean, len(features))[None], mean[None], centred.T @ centred])


def merged(parts: Tensor) -> Tensor:
    """The moments of several sets of features together, from theirs, `k d+2 d` (Chan, Golub and LeVeque 1983)."""
    counts, means, scatters = parts[:, 0], parts[:, 1], parts[:, 2:]
    total = counts.sum(0)
    mean = (counts * means).sum(0) / total.clamp(min=1)
    offsets = means - mean
    return torch.cat([total[None], mean[None], scatters.sum(0) + (counts * offsets).T @ offsets])


def gaussian(moments: Tensor) -> Gaussian:
    """Raises `UserError` for fewer than two features, which have no covariance."""
    count = int(moments[0, 0])
    if count < 2:
        raise UserError(f"a Fréchet distance needs at least 2 samples on each side, there are {count}")
    return Gaussian(count, moments[1], moments[2:] / (count - 1))


def fit(features: Tensor) -> Gaussian:
    """The Gaussian of features `n d` that are all there."""
    return gaussian(moments(features))


def frechet_distance(a: Gaussian, b: Gaussian) -> float:
    """‖μ_a − μ_b‖² + tr(A + B − 2 (A^½ B A^½)^½), in the squared unit of the features.

    With A = RᵀR and B = SᵀS the trace of that root is the sum of the singular values of RSᵀ: real for singular
    covariances too, where a general matrix square root may fail or turn complex.

    Raises:
        UserError: a result below zero beyond rounding, as of matrices that are no covariances.
    """
    cross = torch.linalg.svdvals(factor(a.covariance) @ factor(b.covariance).T).sum()
    spread = a.covariance.trace() + b.covariance.trace()
    distance = float((a.mean - b.mean).square().sum() + spread - 2 * cross)
    if not distance >= -NEGATIVE * float(spread.abs()):
        raise UserError(f"the Fréchet distance came out as {distance:.3g}; are the statistics of real covariances?")
    return max(distance, 0.0)  # of equal sets rounding has either sign; a distance has none


def factor(covariance: Tensor) -> Tensor:
    """R with RᵀR = the covariance `d d`. Eigenvalues that are rounding errors of zero count as zero."""
    values, vectors = torch.linalg.eigh(covariance)
    rounding = values[-1].abs() * len(values) * torch.finfo(values.dtype).eps
    values = torch.where(values > rounding, values, 0)
    return values.sqrt()[:, None] * vectors.T
