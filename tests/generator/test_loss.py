"""The loss's terms and the times of separate latents, against closed forms."""

from collections.abc import Callable

import pytest
import torch

from data.latents import TwinLatents
from generator.config import DiffusionConfig
from generator.diffusion import diffusion_loss, make_objective
from generator.diffusion.loss import direction_error, draw_times
from runtime.random import generator
from tests.mixtures import twins

OBJECTIVES = ("x0", "flow")


def exact(objective: str, clean: TwinLatents, change: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]):
    """A model that knows the answer, and changes it: `change(target, time)`, both of one latent."""

    def model(noisy, time, label):
        answers = []
        for x, c, t in zip(noisy, clean, time.view(len(label), -1).expand(-1, 2).T, strict=True):
            t = t.view(-1, *[1] * (x.ndim - 1))
            target = c if objective == "x0" else (x - c) / (t / 1000).clamp(min=1e-9)
            answers.append(change(target, t))
        return TwinLatents(*answers)

    return model


def test_the_direction_term_is_one_minus_the_cosine_of_channel_vectors():
    angles = torch.tensor([[0.0, 90.0], [60.0, 180.0]]).deg2rad()  # of two places in two clips
    target = torch.tensor([1.0, 0.0]).view(1, 2, 1).expand(2, 2, 2)
    prediction = 7 * torch.stack([angles.cos(), angles.sin()], dim=1)
    torch.testing.assert_close(direction_error(prediction, target), torch.tensor([0.5, 1.25]))


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize(("factor", "angle"), [(3.0, 0.0), (-1.0, 2.0)])
def test_the_direction_term_is_added_with_its_weight(objective, factor, angle):
    """A model that is wrong by a factor errs in size alone; one that says the opposite, by 2."""
    clean, label = twins(torch.randn(64, 3, generator=generator("clips"))), torch.zeros(64, dtype=torch.long)
    model = exact(objective, clean, lambda target, _: factor * target)
    with_term, without = (
        diffusion_loss(
            model,
            make_objective(DiffusionConfig(objective, direction_weight=weight)),
            clean,
            label,
            0,
            generator("loss"),
        )
        for weight in (0.5, 0.0)
    )
    torch.testing.assert_close(with_term[0], without[0] + 0.5 * angle)
    assert with_term[1] == without[1]  # what is reported of each latent is its squared error


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_latent_that_is_given_clean_has_no_part_in_the_loss(objective):
    """A model that is 2 off, and far off what it was given, has the loss 4."""
    process, label = make_objective(DiffusionConfig(objective, times="separate")), torch.zeros(600, dtype=torch.long)
    clean = twins(torch.zeros(600, 3))
    model = exact(objective, clean, lambda target, time: target + torch.where(time == 0, 1e6, 2.0))
    loss, parts = diffusion_loss(model, process, clean, label, 0, generator("clean"))
    for each in (loss, *parts.values()):
        torch.testing.assert_close(each, torch.tensor(4.0), rtol=1e-3, atol=0)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_separate_times_are_drawn_in_the_shares_that_are_promised(objective):
    process, count = make_objective(DiffusionConfig(objective, times="separate")), 60_000
    times = draw_times(process, count, generator("times"))
    structure, dynamics = times.T
    apart, clean, noise = structure != dynamics, times == 0, times == process.noise_time
    shares = {
        "one for both": (~apart, 1 / 2),
        "clean structure": (clean[:, 0] & apart, 1 / 12),
        "clean dynamics": (clean[:, 1] & apart, 1 / 12),
        "structure of noise": (noise[:, 0] & apart, 1 / 12),
        "dynamics of noise": (noise[:, 1] & apart, 1 / 12),
        "each its own": (apart & ~clean.any(1) & ~noise.any(1), 1 / 6),
    }
    for name, (found, share) in shares.items():
        # A thousandth of x0's whole steps is the first, the last, or the other latent's by chance.
        assert found.float().mean().item() == pytest.approx(share, abs=5 * (share / count) ** 0.5 + 1e-3), name
    own, both = process.draw_time(count, generator("other")).double(), structure[~apart].double()
    for moment in (torch.mean, torch.std):
        assert (moment(both) - moment(own)).abs() < 5 * own.std() / (count / 2) ** 0.5
