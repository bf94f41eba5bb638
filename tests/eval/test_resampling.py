"""Intervals and extrapolations of the Fréchet distance, on Gaussians whose true distance is known."""

import pytest
import torch

from eval.distances.checks import floor, order
from eval.distances.resampling import interval, sweep
from eval.metrics.gaussian import fit, frechet_distance
from runtime.errors import UserError

DIM, SHIFT, SCALE = 8, 0.15, 1.2
TRUE = DIM * (SHIFT**2 + (SCALE - 1) ** 2)


def draw(n, seed):
    numbers = torch.Generator().manual_seed(seed)
    real, generated = torch.randn(2, n, DIM, generator=numbers, dtype=torch.float64)
    return real, generated * SCALE + SHIFT


def distance(real, generated):
    return frechet_distance(fit(real), fit(generated))


def test_the_interval_holds_the_mean_figure_at_this_number_and_has_its_spread():
    n, sets = 200, 40
    figures = torch.tensor([distance(*draw(n, 1000 + seed)) for seed in range(400)])
    assert figures.mean() > 1.3 * TRUE  # so few videos have a bias, which the interval does not hide
    found = torch.tensor([interval(*draw(n, seed), distance(*draw(n, seed)), 60, seed) for seed in range(sets)])
    held = ((found[:, 0] <= figures.mean()) & (figures.mean() <= found[:, 1])).float().mean()
    assert held > 0.85  # below that with a chance of 0.3 % if 95 % is true
    ratio = (found[:, 1] - found[:, 0]).mean() / (2 * 1.96 * figures.std())
    assert 0.9 < ratio < 1.3


def test_an_interval_lies_around_its_figure_and_above_zero():
    real = draw(30, 0)[0]
    same = interval(real, real + 0.001, distance(real, real + 0.001), 40, 0)
    assert 0 <= same[0] <= same[1]
    pair = draw(100, 1)
    low, high = interval(*pair, distance(*pair), 40, 0)
    assert low < distance(*pair) < high
    assert (low, high) == interval(*pair, distance(*pair), 40, 0)


def test_the_sweep_falls_with_the_number_and_ends_at_the_true_distance():
    sweeps = [sweep(*draw(400, seed), seed) for seed in range(30)]
    limits = torch.tensor([each.limit for each in sweeps])
    error = limits.std() / 30**0.5
    assert (limits.mean() - TRUE).abs() < 3.5 * error
    figures = torch.tensor([each.points[-1].distance for each in sweeps])
    assert figures.mean() - TRUE > 3.5 * error  # which without extrapolation is not so
    counts = [point.count for point in sweeps[0].points]
    assert (counts[0], counts[-1]) == (100, 400)
    assert figures.mean() < torch.tensor([each.points[0].distance for each in sweeps]).mean()
    assert sweeps[0].points[-1].distance == pytest.approx(distance(*draw(400, 0)))


def test_singular_covariances_are_not_extrapolated():
    found = sweep(*draw(15, 0), 0)
    assert found.limit is None
    assert found.points[-1].count == 15


def test_the_floor_is_real_against_real_at_the_same_number():
    real, generated = draw(400, 0)
    more = draw(400, 1)[0]
    found = floor(real, more, generated, 0)
    assert found.count == 400
    assert found.generated == pytest.approx(distance(real, generated))
    assert found.real < 0.5 * found.generated
    halved = floor(real, more[:0], generated, 0)
    assert halved.count == 200
    assert found.real < halved.real  # as fewer videos make it
    assert floor(real, more, generated[:50], 0).count == 50


def test_features_that_see_motion_tell_shuffled_frames():
    real, other = draw(200, 0)
    assert order(real, other, 0).passed
    assert not order(real, real, 0).passed  # whose features are the same in any order
    with pytest.raises(UserError, match="at least 4 real videos"):
        order(real[:3], other[:3], 0)
    with pytest.raises(UserError, match="at least 4 real videos"):
        floor(real[:1], real[:2], other, 0)
