"""Value noise, of which clouds and marble are made: random numbers at whole places, smooth between them."""

import numpy as np
from numpy import ndarray
from numpy.random import Generator


def draw_lattice(rng: Generator, width: float, height: float) -> ndarray:
    """The random values that `noise` needs at places in [0, width] and [0, height]."""
    return rng.random((int(height) + 2, int(width) + 2), dtype=np.float32)


def noise(lattice: ndarray, x: ndarray, y: ndarray) -> ndarray:
    """Noise in [0, 1] over the axes `x: w` and `y: h`, none negative: `h w`."""
    return _between(_between(lattice.T, x).T, y)


def _between(values: ndarray, places: ndarray) -> ndarray:
    """The rows of `values: n m` at fractional places, each going smoothly over into the next."""
    start = np.floor(places)
    row = start.astype(np.int32)
    before, after = values.take(row, 0), values.take(row + 1, 0)
    return before + smooth(places - start)[:, None] * (after - before)


def smooth(x: ndarray) -> ndarray:
    """A smooth step from 0 at x = 0 to 1 at x = 1."""
    x = x.clip(0, 1)
    return x * x * (3 - 2 * x)
