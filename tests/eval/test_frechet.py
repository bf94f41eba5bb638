"""The Fréchet distance against closed forms and a general matrix square root."""

import numpy as np
import pytest
import scipy.linalg
import torch

from eval.measures.frechet import FeatureStatistics, frechet_distance
from runtime.errors import UserError


def statistics(features, batch=7):
    seen = FeatureStatistics(features.shape[1])
    for part in features.split(batch):
        seen.update(part)
    return seen


def features(n, d, seed, scale=1.0, offset=0.0):
    numbers = torch.Generator().manual_seed(seed)
    mix = torch.randn(d, d, generator=numbers, dtype=torch.float64)
    return torch.randn(n, d, generator=numbers, dtype=torch.float64) @ mix * scale + offset


def test_mean_and_covariance_are_numpys_and_survive_a_large_offset():
    x = features(50, 6, 0, offset=1e7)
    seen = statistics(x)
    np.testing.assert_allclose(seen.mean, x.mean(0), rtol=1e-12)
    np.testing.assert_allclose(seen.covariance, np.cov(x.numpy(), rowvar=False), rtol=1e-7, atol=1e-7)


def test_bfloat16_features_are_summed_in_float64():
    x = features(50, 6, 5, offset=3.0).bfloat16()
    seen, expected = statistics(x), statistics(x.double())
    assert seen.mean.dtype == seen.covariance.dtype == torch.float64
    assert torch.equal(seen.mean, expected.mean)
    assert torch.equal(seen.covariance, expected.covariance)
    assert frechet_distance(seen, expected) < 1e-9


def test_merging_parts_equals_one_pass():
    x = features(60, 5, 1, offset=3.0)
    merged = FeatureStatistics(5).merge(statistics(x[:17])).merge(statistics(x[17:]))
    whole = statistics(x, batch=60)
    assert merged.count == whole.count == 60
    torch.testing.assert_close(merged.mean, whole.mean)
    torch.testing.assert_close(merged.covariance, whole.covariance)


def test_distance_equals_the_formula_with_a_general_square_root():
    x, y = features(80, 12, 2), features(90, 12, 3, scale=1.5, offset=0.7)
    a, b = np.cov(x.numpy(), rowvar=False), np.cov(y.numpy(), rowvar=False)
    root = scipy.linalg.sqrtm(a @ b).real
    expected = ((x.mean(0) - y.mean(0)) ** 2).sum().item() + np.trace(a + b - 2 * root)
    assert frechet_distance(statistics(x), statistics(y)) == pytest.approx(expected, rel=1e-9)


def test_distance_of_axis_aligned_gaussians_is_the_closed_form():
    # ±s on each axis in turn, twice: mean exactly m, covariance exactly diagonal.
    def cloud(mean, spread):
        points = torch.cat([torch.diag(spread), -torch.diag(spread)])
        return points + mean, 2 * spread**2 / (len(points) - 1)

    x, a = cloud(torch.tensor([1.0, 0.0, 2.0]).double(), torch.tensor([1.0, 2.0, 3.0]).double())
    y, b = cloud(torch.tensor([0.0, 0.5, 2.0]).double(), torch.tensor([2.0, 2.0, 0.5]).double())
    expected = ((x.mean(0) - y.mean(0)) ** 2).sum() + ((a.sqrt() - b.sqrt()) ** 2).sum()
    assert frechet_distance(statistics(x), statistics(y)) == pytest.approx(expected.item(), rel=1e-12)


def test_singular_covariances_give_a_finite_symmetric_distance():
    x, y = features(4, 20, 4), features(5, 20, 5, offset=1.0)
    distance = frechet_distance(statistics(x), statistics(y))
    assert np.isfinite(distance)
    assert distance == pytest.approx(frechet_distance(statistics(y), statistics(x)), rel=1e-6)
    assert frechet_distance(statistics(x), statistics(x)) == pytest.approx(0, abs=1e-6)


def test_too_few_samples_and_broken_features_are_the_users_to_hear_of():
    one, two = statistics(torch.randn(1, 3)), statistics(torch.randn(2, 3))
    with pytest.raises(UserError, match="at least 2 samples"):
        frechet_distance(one, two)
    with pytest.raises(UserError, match="not finite"):
        two.update(torch.full((1, 3), torch.nan))
