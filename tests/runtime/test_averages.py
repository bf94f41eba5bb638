"""Power-function averages: profiles against quadrature, updates against sums, other widths against tracked ones."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from scipy.integrate import quad
from torch import nn

from autoencoder.stage1.config import Stage1Config
from runtime.engine.config import EngineConfig
from runtime.engine.engine import Engine
from runtime.engine.optimizer import OptimizerConfig
from runtime.errors import UserError
from runtime.training.ema import Averages
from runtime.training.loop import LoopConfig, checkpoint_bytes
from runtime.training.power_average import (
    GREATEST_RESIDUAL,
    WIDEST,
    Profile,
    exponent,
    fit,
    inner_products,
    power_decay,
    reachable,
)
from runtime.training.snapshots import combine, drop_snapshots_after, place, snapshots_in

WIDTHS, UNTRACKED = (0.05, 0.1), (0.03, 0.07, 0.08, 0.15, 0.2)


def density(profile):
    gamma = exponent(profile.width)
    return lambda tau: (gamma + 1) / profile.step * (tau / profile.step) ** gamma if tau <= profile.step else 0.0


@pytest.mark.parametrize(("width", "gamma"), [(0.05, 16.97), (0.10, 6.94)])
def test_exponents_are_the_papers(width, gamma):
    assert exponent(width) == pytest.approx(gamma, abs=5e-3)


@pytest.mark.parametrize("width", [0.01, 0.05, 0.1, 0.25, WIDEST])
def test_a_profile_has_the_width_that_names_it(width):
    p, gamma = density(Profile(1, width)), exponent(width)
    moments = [quad(lambda tau, power=power: p(tau) * tau**power, 0, 1)[0] for power in range(3)]
    assert moments[0] == pytest.approx(1)
    assert moments[1] == pytest.approx((gamma + 1) / (gamma + 2))
    assert (moments[2] - moments[1] ** 2) ** 0.5 == pytest.approx(width, rel=1e-6)


@pytest.mark.parametrize("width", [0.0, -0.1, 0.29, 1.0])
def test_a_width_that_no_growing_profile_has_is_refused(width):
    with pytest.raises(UserError, match=r"between 0 and 0\.289"):
        LoopConfig(ema_widths=(width,))


def test_decay_is_that_of_the_integral_over_weights_that_stand_still_between_steps():
    decay, p = power_decay(0.1), density(Profile(50, 0.1))
    counted = [np.prod([decay(t) for t in range(n + 1, 51)]) * (1 - decay(n)) for n in range(1, 51)]
    assert counted == pytest.approx([quad(p, n - 1, n)[0] for n in range(1, 51)], rel=1e-9)


def test_inner_products_are_the_integrals():
    profiles = [Profile(30, 0.05), Profile(100, 0.1), Profile(100, 0.28)]

    def integral(a, b):
        return quad(lambda tau: density(a)(tau) * density(b)(tau), 0, min(a.step, b.step))[0]

    expected = [[integral(a, b) for b in profiles] for a in profiles]
    np.testing.assert_allclose(inner_products(profiles, profiles), expected, rtol=1e-8)
    long = [Profile(10**9, 0.01)]  # powers of times themselves would overflow
    assert np.isfinite(inner_products(long, long)).all()


def test_a_fit_is_exact_where_it_can_be_and_misses_by_the_integral_elsewhere():
    kept = [Profile(step, width) for step in (25, 50, 75, 100) for width in WIDTHS]
    wanted = Profile(100, 0.15)
    coefficients, residuals = fit(kept, [kept[5], wanted])
    np.testing.assert_allclose(coefficients[:, 0], np.eye(8)[5], atol=1e-9)
    np.testing.assert_allclose(coefficients.sum(0), 1)  # weights that stand still come out as they are
    assert residuals[0] < 1e-6

    def squared(tau):
        total = sum(x * density(p)(tau) for x, p in zip(coefficients[:, 1], kept, strict=True))
        return (total - density(wanted)(tau)) ** 2

    missed = sum(quad(squared, low, high)[0] for low, high in pairwise((0, 25, 50, 75, 100)))
    assert residuals[1] == pytest.approx((missed / quad(lambda tau: density(wanted)(tau) ** 2, 0, 100)[0]) ** 0.5)


def test_more_snapshots_reach_more_widths_and_all_that_is_between_those_tracked():
    reached = []
    for every in (250, 100, 50):
        kept = [Profile(step, width) for step in range(every, 1001, every) for width in WIDTHS]
        [(low, high)] = reachable(kept, 1000)
        assert low < WIDTHS[0]
        assert WIDTHS[1] < high
        _, residuals = fit(kept, [Profile(1000, low - 0.001), Profile(1000, high + 0.001)])
        assert (residuals > GREATEST_RESIDUAL).all()
        reached.append(high - low)
    assert reached == sorted(reached)
    (low, _), (_, high) = reachable([Profile(1000, width) for width in (0.02, 0.25)], 1000)  # nothing between them
    assert 0.01 < low < 0.02
    assert 0.25 < high < 0.28


def walk(stage, widths, folder=None, steps=400, every=20):
    """Weights that walk at random, and more slowly the longer, through the update; their averages and their path."""
    torch.manual_seed(0)
    config = EngineConfig(zero_stage=stage, precision="fp32", accumulation=1)
    module = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 5))
    engine = Engine(module, OptimizerConfig(), config, 1, 1)
    twin = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 5))
    averages = Averages(engine, twin, LoopConfig(steps=steps, ema_widths=widths))
    path, position = [], {name: weight.detach().clone() for name, weight in engine.master_weights()}
    for step in range(1, steps + 1):
        position = {name: weight + torch.randn_like(weight) / step**0.5 for name, weight in position.items()}
        engine.set_master_weights(position)
        averages.update()
        path.append(flat(position))
        if folder and step % every == 0:
            averages.write_snapshots(folder, step)
    return averages, torch.stack(path).double()


def flat(weights):
    return torch.cat([weights[name].flatten() for name in sorted(weights)])


def error(found, expected):
    return ((found.double() - expected).norm() / expected.norm()).item()


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_updates_are_the_integral_at_every_zero_stage(processes, stage, tmp_path):
    averages, path = walk(stage, WIDTHS, tmp_path, steps=12, every=12)
    for width, average in zip(WIDTHS, averages.each, strict=True):
        counted = [quad(density(Profile(12, width)), n - 1, n)[0] for n in range(1, 13)]
        expected = torch.tensor(counted, dtype=torch.float64) @ path
        with average.whole() as model:
            assert error(flat(dict(model.named_parameters())), expected) < 1e-6
        snapshot = load_file(place(tmp_path, Profile(12, width)))
        assert {each.dtype for each in snapshot.values()} == {torch.float16}
        assert error(flat(snapshot), expected) < 2**-11


def test_reconstructed_averages_match_tracked_ones(processes, tmp_path):
    """Of 20 float16 snapshots of two widths, five more as training would have kept them, in float32."""
    averages, _ = walk(0, (*WIDTHS, *UNTRACKED), tmp_path)
    tracked = {}
    for width, average in zip(averages.widths, averages.each, strict=True):
        with average.whole() as model:
            tracked[width] = flat(dict(model.named_parameters())).double()
    kept = [profile for profile in snapshots_in(tmp_path) if profile.width in WIDTHS]
    assert len(kept) == 40
    coefficients, residuals = fit(kept, [Profile(400, width) for width in UNTRACKED])
    assert (residuals < 0.03).all()
    for width, column in zip(UNTRACKED, coefficients.T, strict=True):
        found = flat(combine(tmp_path, kept, column))
        assert error(found, tracked[width]) < (0.0005 if WIDTHS[0] < width < WIDTHS[1] else 0.002)
        others = min(error(tracked[other], tracked[width]) for other in WIDTHS)
        assert error(found, tracked[width]) < 0.05 * others


def test_states_come_back_whole_and_other_widths_are_refused(processes):
    averages, _ = walk(1, WIDTHS, steps=3)
    other, _ = walk(1, WIDTHS, steps=2)
    other.load_state_dict(averages.state_dict())
    for mine, theirs in zip(averages.each, other.each, strict=True):
        assert mine.updates == theirs.updates == 3
        assert all(map(torch.equal, mine.shares, theirs.shares))
    with pytest.raises(UserError, match=r"begun with --loop.ema_widths \[0.05,0.1\], which cannot change"):
        walk(1, (0.05,), steps=1)[0].load_state_dict(averages.state_dict())


def test_snapshots_after_a_step_are_dropped_and_nothing_else(tmp_path):
    profiles = [Profile(step, width) for step in (5, 10, 15) for width in WIDTHS]
    for profile in profiles:
        place(tmp_path, profile).touch()
    (tmp_path / "step_notes.txt").touch()
    assert snapshots_in(tmp_path) == profiles
    drop_snapshots_after(tmp_path, 10)
    assert snapshots_in(tmp_path) == profiles[:4]
    assert (tmp_path / "step_notes.txt").exists()
    drop_snapshots_after(tmp_path / "none", 0)


def test_a_full_disk_and_a_damaged_snapshot_are_one_line(tmp_path, processes):
    averages, _ = walk(0, WIDTHS, tmp_path, steps=1, every=1)
    damaged = place(tmp_path, Profile(1, 0.05))
    damaged.write_bytes(damaged.read_bytes()[:-9])
    with pytest.raises(UserError, match=f"{damaged.name} is damaged .*; remove it"):
        combine(tmp_path, snapshots_in(tmp_path), [0.5, 0.5])
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"no snapshot could be written to .*; make room"):
        averages.write_snapshots(tmp_path / "file", 1)


def test_a_plan_counts_averages_and_snapshots():
    one, two = LoopConfig(steps=11), LoopConfig(steps=11, ema_widths=WIDTHS, snapshot_every=5)
    assert (one.averages, one.snapshots) == (1, 0)
    assert (two.averages, two.snapshots) == (2, 2 * 3)
    assert two.snapshots == 2 * sum(two.due(step, two.snapshot_every) for step in range(1, 12))
    bf16 = EngineConfig(precision="bf16")
    assert checkpoint_bytes(10, bf16, two.averages) - checkpoint_bytes(10, bf16, one.averages) == 10 * 4


def test_widths_named_twice_or_in_stage_one_are_refused():
    with pytest.raises(UserError, match="names a width twice"):
        LoopConfig(ema_widths=(0.05, 0.05))
    with pytest.raises(UserError, match="for stage two alone"):
        Stage1Config(loop=LoopConfig(ema_widths=WIDTHS))
