"""The Fréchet distance between Gaussians fitted to features (Dowson and Landau 1982; FID, arXiv 1706.08500)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from runtime.errors import UserError


@dataclass
class FeatureStatistics:
    """Mean and covariance of features seen in batches, in float64 and in memory that does not grow with their number.

    Attributes:
        dim: d, the length of a feature vector.
        count: n, how many were seen.
    """

    dim: int

    def __post_init__(self) -> None:
        self.count = 0
        self.origin = torch.zeros(self.dim, dtype=torch.float64)
        self.sum = torch.zeros(self.dim, dtype=torch.float64)
        self.outer = torch.zeros(self.dim, self.dim, dtype=torch.float64)

    def update(self, features: Tensor) -> None:
        """Add a batch `n d`, of any float type and on any device.

        Raises:
            UserError: a feature that is infinite or not a number.
        """
        features = features.detach().cpu().double()
        assert features.shape == (len(features), self.dim), f"features {tuple(features.shape)}, d {self.dim}"
        if not features.isfinite().all():
            raise UserError("the feature network gave values that are not finite; check the videos and its weights")
        if len(features) and not self.count:
            # Sums about a point of the cloud instead of zero: subtracting squares of a large mean loses no digits.
            self.origin = features[0].clone()
        centred = features - self.origin
        self.count += len(features)
        self.sum += centred.sum(0)
        self.outer += centred.T @ centred

    def merge(self, other: "FeatureStatistics") -> "FeatureStatistics":
        """The statistics of both sets of features together."""
        assert self.dim == other.dim, f"{self.dim} against {other.dim} features"
        merged = FeatureStatistics(self.dim)
        merged.origin = self.origin if self.count else other.origin
        for part in (self, other):
            shift = part.origin - merged.origin
            cross = torch.outer(part.sum, shift)
            merged.count += part.count
            merged.sum += part.sum + part.count * shift
            merged.outer += part.outer + cross + cross.T + part.count * torch.outer(shift, shift)
        return merged

    @property
    def mean(self) -> Tensor:
        """`d`, float64."""
        self.require(1)
        return self.origin + self.sum / self.count

    @property
    def covariance(self) -> Tensor:
        """`d d`, float64, unbiased: divided by n − 1, as `numpy.cov` does and most published figures were made.

        Its rank is n − 1 at most, so it is singular for n ≤ d.
        """
        self.require(2)
        return (self.outer - torch.outer(self.sum, self.sum) / self.count) / (self.count - 1)

    def require(self, count: int) -> None:
        if self.count < count:
            raise UserError(f"a Fréchet distance needs at least 2 samples on each side, there are {self.count}")


def frechet_distance(a: FeatureStatistics, b: FeatureStatistics) -> float:
    """‖μ_a − μ_b‖² + tr(A + B − 2 (A^½ B A^½)^½), in the squared unit of the features.

    A^½ B A^½ is symmetric and positive semi-definite with the eigenvalues of AB, so the trace of its root is the sum
    of the roots of its eigenvalues: real for singular covariances too, where a general matrix square root may
    fail or turn complex. Eigenvalues below zero are rounding errors and count as zero.

    Raises:
        UserError: fewer than two samples on either side.
    """
    root = symmetric_root(a.covariance)
    product = root @ b.covariance @ root
    cross = torch.linalg.eigvalsh((product + product.T) / 2).clamp(min=0).sqrt().sum()
    offset = (a.mean - b.mean).square().sum()
    # Equal sets give a rounding error of either sign; a distance has none.
    return max(float(offset + a.covariance.trace() + b.covariance.trace() - 2 * cross), 0.0)


def symmetric_root(matrix: Tensor) -> Tensor:
    """The symmetric positive semi-definite root of such a matrix `d d`."""
    values, vectors = torch.linalg.eigh(matrix)
    return (vectors * values.clamp(min=0).sqrt()) @ vectors.T
