"""Averages of the weights whose profile is a power of time, and other widths as combinations of those that were kept.

After step t such an average is `∫ p(τ) w(τ) dτ` with `p(τ) = (γ + 1) τ^γ / t^(γ+1)` on [0, t]: the same shape at any t.

- Decay: weights w_n stand still from n - 1 to n, so w_n counts `(n^(γ+1) - (n-1)^(γ+1)) / t^(γ+1)`. A further step
  multiplies what was there by `β(t) = (1 - 1/t)^(γ+1)` and leaves `1 - β(t)` for the newest weights. `β(1) = 0`: the
  random start counts nothing.
- Width: `E τ = t (γ+1)/(γ+2)` and `E τ² = t² (γ+1)/(γ+3)`, so the standard deviation, in parts of t, is
  `σ = sqrt((γ+1) / ((γ+2)² (γ+3)))`. Squared and multiplied out: `γ³ + 7 γ² + (16 - σ⁻²) γ + 12 - σ⁻² = 0`.
- Combination: `Σ x_i p_i` is nearest to p in the mean square where `A x = b`, with `A_ij = <p_i, p_j>`,
  `b_i = <p_i, p>`, and for m = min(t, t') the integral over [0, m] of two powers,
  `<p, p'> = (γ+1) (γ'+1) m^(γ+γ'+1) / ((γ+γ'+1) t^(γ+1) t'^(γ'+1))`. Here `Σ x_i = 1` is required besides, by a
  multiplier: `A x + λ = b`. Else what all weights have in common, which is most of them, would be scaled.

Karras et al., "Analyzing and Improving the Training Dynamics of Diffusion Models", arXiv:2312.02696, section 3.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from runtime.errors import UserError

WIDEST = 12**-0.5
"""Of the plain mean, γ = 0; below it γ is positive, and newer weights count more."""
GREATEST_RESIDUAL = 0.05
"""Of a profile that is taken for the one that was asked for."""


class Profile(NamedTuple):
    """Over the weights up to `step`, with a standard deviation of `width · step`."""

    step: int
    width: float


def exponent(width: float) -> float:
    """γ of a relative width: the greatest root of the cubic. Raises `UserError` where that is negative."""
    if not 0 < width <= WIDEST:
        raise UserError(f"an average's width is a part of the training between 0 and {WIDEST:.3f}, not {width:g}")
    inverse = width**-2
    return float(np.roots([1, 7, 16 - inverse, 12 - inverse]).real.max())


def power_decay(width: float) -> Callable[[int], float]:
    """What is left of the average at update t = 1, 2, ..."""
    gamma = exponent(width)
    return lambda update: (1 - 1 / update) ** (gamma + 1)


def fit(kept: Sequence[Profile], wanted: Sequence[Profile]) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients `kept wanted` of the combinations nearest to what is wanted, and by what each misses.

    That is `|Σ x_i p_i - p| / |p|`, 0 for one that was kept.
    """
    unit = max(each.step for each in kept)  # of time, so that all products are near 1
    products, targets = (unit * inner_products(kept, each) for each in (kept, wanted))
    squares = unit * np.diag(inner_products(wanted, wanted))
    system = np.pad(products, (0, 1), constant_values=1.0)
    system[-1, -1] = 0.0
    x = np.linalg.solve(system, np.pad(targets, ((0, 1), (0, 0)), constant_values=1.0))[:-1]
    missed = squares + (x * (products @ x - 2 * targets)).sum(0)
    return x, np.sqrt(np.clip(missed / squares, 0, None))


def inner_products(rows: Sequence[Profile], columns: Sequence[Profile]) -> np.ndarray:
    """`rows columns`; ratios of times are raised to powers, not times, which would overflow."""
    t, s = np.ix_([float(each.step) for each in rows], [float(each.step) for each in columns])
    gamma, delta = np.ix_([exponent(each.width) for each in rows], [exponent(each.width) for each in columns])
    m, scale = np.minimum(t, s), (gamma + 1) * (delta + 1) / (gamma + delta + 1)
    return scale * (m / t) ** gamma * (m / s) ** delta / np.maximum(t, s)


def reachable(kept: Sequence[Profile], step: int) -> list[tuple[float, float]]:
    """Ranges of widths at `step`, to a thousandth, whose residual is small enough."""
    thousandths = np.arange(1, int(1000 * WIDEST) + 1)
    _, residuals = fit(kept, [Profile(step, each / 1000) for each in thousandths])
    fitting = thousandths[residuals <= GREATEST_RESIDUAL]
    ranges = np.split(fitting, np.flatnonzero(np.diff(fitting) > 1) + 1)
    return [(each[0] / 1000, each[-1] / 1000) for each in ranges if len(each)]
