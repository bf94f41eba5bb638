"""The Fréchet and the kernel distance against closed forms, scipy, and sums written out."""

import time
from itertools import product

import numpy as np
import pytest
import scipy.linalg
import torch

from eval.metrics.gaussian import Gaussian, fit, frechet_distance, gaussian, merged, moments, no_moments
from eval.metrics.mmd import kernel_distance
from runtime.errors import UserError


def drawn(n, d, seed, scale=1.0, offset=0.0):
    numbers = torch.Generator().manual_seed(seed)
    mix = torch.randn(d, d, generator=numbers, dtype=torch.float64)
    return torch.randn(n, d, generator=numbers, dtype=torch.float64) @ mix * scale + offset


def in_batches(features, size=7):
    found = no_moments(features.shape[1])
    for part in features.split(size):
        found = merged(torch.stack([found, moments(part)]))
    return gaussian(found)


def rotation(d, seed):
    return torch.linalg.qr(torch.randn(d, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64))[0]


def test_mean_and_covariance_are_numpys_and_survive_a_large_offset():
    x = drawn(50, 6, 0, offset=1e7)
    found = in_batches(x)
    assert found.count == 50
    np.testing.assert_allclose(found.mean, x.mean(0), rtol=1e-12)
    np.testing.assert_allclose(found.covariance, np.cov(x.numpy(), rowvar=False), rtol=1e-7, atol=1e-7)


def test_bfloat16_features_are_summed_in_float64():
    x = drawn(50, 6, 5, offset=3.0).bfloat16()
    assert frechet_distance(in_batches(x), in_batches(x.double())) < 1e-9


def test_merging_parts_equals_one_pass_whatever_is_empty():
    x = drawn(60, 5, 1, offset=3.0)
    parts = torch.stack([moments(part) for part in (x[:0], x[:17], x[17:])])
    torch.testing.assert_close(merged(parts), moments(x))
    assert torch.equal(merged(torch.stack([no_moments(5)] * 2)), no_moments(5))


@pytest.mark.parametrize("d", [3, 40])
def test_distance_equals_the_formula_with_a_general_square_root(d):
    x, y = drawn(80, d, 2), drawn(90, d, 3, scale=1.5, offset=0.7)
    a, b = np.cov(x.numpy(), rowvar=False), np.cov(y.numpy(), rowvar=False)
    expected = ((x.mean(0) - y.mean(0)) ** 2).sum().item() + np.trace(a + b - 2 * scipy.linalg.sqrtm(a @ b).real)
    assert frechet_distance(fit(x), fit(y)) == pytest.approx(expected, rel=1e-6)


SPECTRA = {
    "full rank": (torch.linspace(0.01, 4, 400), torch.linspace(3, 0.5, 400)),
    "spread over ten decades": (torch.logspace(-6, 4, 400), torch.logspace(2, -5, 400)),
    "rank 30 and 90 of 400": ((torch.arange(400) < 30) * 2.0, (torch.arange(400) < 90) * torch.linspace(1, 5, 400)),
    "no common direction": ((torch.arange(400) < 200) * 1.0, (torch.arange(400) >= 200) * 3.0),
}


@pytest.mark.parametrize("rotated", [False, True], ids=["diagonal", "commuting"])
@pytest.mark.parametrize("spectra", SPECTRA.values(), ids=SPECTRA)
def test_distance_of_commuting_covariances_is_the_closed_form(spectra, rotated):
    a, b = (spectrum.double() for spectrum in spectra)
    turn = rotation(400, 0) if rotated else torch.eye(400, dtype=torch.float64)
    offset = torch.linspace(0, 0.1, 400, dtype=torch.float64)
    one, other = (Gaussian(500, mean, turn @ torch.diag(s) @ turn.T) for mean, s in ((offset, a), (0 * offset, b)))
    expected = offset.square().sum() + (a.sqrt() - b.sqrt()).square().sum()
    assert frechet_distance(one, other) == pytest.approx(expected.item(), rel=1e-6)


def test_equal_means_and_scaled_covariances_leave_the_trace():
    x = drawn(500, 20, 6)
    mean, scaled = x.mean(0), 3 * x - 2 * x.mean(0)
    torch.testing.assert_close(scaled.mean(0), mean)
    assert frechet_distance(fit(x), fit(scaled)) == pytest.approx(4 * fit(x).covariance.trace().item(), rel=1e-6)


def test_features_fewer_than_dimensions_give_the_distance_of_their_own_subspace():
    """Against the nuclear norm of the two centred sets' products, which forms no d×d matrix."""
    x, y = drawn(4, 20, 4), drawn(5, 20, 5, offset=1.0)
    a, b = (each - each.mean(0) for each in (x, y))
    cross = torch.linalg.svdvals(a @ b.T).sum() / (3 * 4) ** 0.5
    spread = a.square().sum() / 3 + b.square().sum() / 4
    expected = (x.mean(0) - y.mean(0)).square().sum() + spread - 2 * cross
    assert frechet_distance(fit(x), fit(y)) == pytest.approx(expected.item(), rel=1e-6)
    assert frechet_distance(fit(x), fit(x)) == pytest.approx(0, abs=1e-9)


def test_a_negative_distance_is_zero_by_rounding_and_an_error_beyond():
    one = fit(drawn(50, 6, 0))
    assert frechet_distance(one, one) >= 0
    with pytest.raises(UserError, match="are the statistics of real covariances"):
        frechet_distance(one, one._replace(covariance=-3 * one.covariance))
    with pytest.raises(UserError, match="came out as nan"):
        frechet_distance(one, one._replace(mean=torch.full((6,), torch.nan, dtype=torch.float64)))


def test_too_few_samples_and_broken_features_are_the_users_to_hear_of():
    with pytest.raises(UserError, match="at least 2 samples"):
        fit(torch.randn(1, 3))
    with pytest.raises(UserError, match="not finite"):
        moments(torch.full((1, 3), torch.nan))
    with pytest.raises(UserError, match="at least 2 samples"):
        kernel_distance(torch.randn(1, 3), torch.randn(9, 3))


def test_the_kernel_distance_is_the_sum_over_all_pairs():
    x, y = drawn(7, 4, 0).float(), drawn(9, 4, 1, offset=0.5).float()

    def kernel(a, b):
        return (float(a.double() @ b.double()) / 4 + 1) ** 3

    within = [np.mean([kernel(s[i], s[j]) for i, j in product(range(len(s)), repeat=2) if i != j]) for s in (x, y)]
    expected = sum(within) - 2 * np.mean([kernel(a, b) for a, b in product(x, y)])
    assert kernel_distance(x, y) == pytest.approx(expected, rel=1e-9)


def test_the_kernel_distance_is_torchmetrics_where_that_is_defined():
    from torchmetrics.image.kid import poly_mmd

    x, y = drawn(30, 8, 0), drawn(30, 8, 1, offset=0.3)
    assert kernel_distance(x, y) == pytest.approx(poly_mmd(x, y).item(), rel=1e-9)


def test_few_videos_raise_the_frechet_distance_and_not_the_kernel_distance():
    few, many = 20, 400
    numbers = torch.Generator().manual_seed(0)
    draws = {n: [torch.randn(2, n, 16, generator=numbers) for _ in range(100)] for n in (few, many)}
    kernel = {n: torch.tensor([kernel_distance(*pair) for pair in pairs]) for n, pairs in draws.items()}
    for found in kernel.values():
        assert found.mean().abs() < 4 * found.std() / 10  # unbiased: the true distance is zero
    frechet = {n: np.mean([frechet_distance(*map(fit, pair)) for pair in pairs[:10]]) for n, pairs in draws.items()}
    assert frechet[few] > 5 * frechet[many]


@pytest.mark.full
@pytest.mark.filterwarnings("ignore:The `disp` argument:DeprecationWarning")
def test_cd_fvd_gives_the_same_figure_of_the_same_features():
    """Whose covariances are biased, divided by n. `pip install cd-fvd` brings it."""
    fvd = pytest.importorskip("cdfvd.fvd")
    statistics = pytest.importorskip("cdfvd.utils.metric_utils").FeatureStats
    sides, ours = [], []
    for features in (drawn(500, 400, 0).float(), drawn(450, 400, 1, offset=0.2).float()):
        seen = statistics(capture_mean_cov=True)
        seen.append(features.numpy())
        sides.append(seen)
        found = fit(features)
        ours.append(found._replace(covariance=found.covariance * (found.count - 1) / found.count))
    theirs = fvd.cdfvd.compute_fvd_from_stats(None, *sides)
    assert frechet_distance(*ours) == pytest.approx(theirs, rel=1e-6)


@pytest.mark.full
def test_a_frechet_distance_in_400_dimensions_takes_less_than_a_tenth_of_a_second():
    x, y = fit(drawn(800, 400, 0)), fit(drawn(800, 400, 1))

    def seconds():
        started = time.process_time()  # a core's, whatever else runs on it
        frechet_distance(x, y)
        return time.process_time() - started

    assert min(seconds() for _ in range(10)) < 0.1
