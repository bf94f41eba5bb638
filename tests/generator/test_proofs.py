"""What the diffusion process promises, against closed forms: every scheduler draws the distribution that the best model
knows, joint and conditional; guidance is what its name says; losses leave out what they should.
"""

import pytest
import torch

from data.latents import TwinLatents
from generator.config import DiffusionConfig
from generator.diffusion import Guidance, diffusion_loss, make_objective, make_scheduler, sample
from generator.diffusion.loss import direction_error, draw_times
from generator.diffusion.schedulers import SCHEDULERS
from generator.dit import DiT
from runtime.random import generator
from tests.mixtures import DYNAMICS, SHAPES, STRUCTURE, Mixture, MixtureOracle, flat, three_clouds, twins
from tests.small_pipeline import DIFFUSERS_ON_NUMPY_2

pytestmark = pytest.mark.filterwarnings(DIFFUSERS_ON_NUMPY_2)

SAMPLES = 8192
STEPS = {"ddim": 250, "euler": 250, "heun": 50, "dpm": 50, "unipc": 50}
PROCESSES = [(objective, name, 1.0) for objective, names in SCHEDULERS.items() for name in names]
SHIFTED = [(objective, name, 3.0) for objective, name, _ in PROCESSES if objective == "flow"]
LATENTS = {"structure": slice(0, STRUCTURE), "dynamics": slice(STRUCTURE, STRUCTURE + DYNAMICS)}


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def drawn(objective: str, name: str, shift: float, **how) -> torch.Tensor:
    """Samples of the oracle of three clouds, `n d`."""
    scheduler = make_scheduler(DiffusionConfig(objective, time_shift=shift), name)
    noise, label = twins(torch.randn(SAMPLES, STRUCTURE + DYNAMICS)), torch.zeros(SAMPLES, dtype=torch.long)
    return flat(sample(MixtureOracle(three_clouds(), objective), scheduler, label, noise, STEPS[name], 1.0, **how))


def assert_of(samples: torch.Tensor, mixture: Mixture) -> None:
    """Mean, covariance and the shares below the median of any direction are the mixture's, within five sampling errors
    of a normal and what a hundred or so steps leave.
    """
    deviation, error = mixture.covariance.diagonal().sqrt(), 5 / len(samples) ** 0.5
    assert ((samples.mean(0) - mixture.mean).abs() < (error + 0.01) * deviation).all()
    relative = (samples.T.cov().view(mixture.covariance.shape) - mixture.covariance) / deviation / deviation[:, None]
    assert relative.abs().max() < 1.5 * error + 0.02
    for direction in torch.randn(4, samples.shape[1], dtype=torch.float64):
        projected = samples @ direction
        for share in (0.1, 0.5, 0.9):
            assert abs(mixture.below(direction, projected.quantile(share).item()) - share) < 0.5 * error + 0.01


@pytest.mark.parametrize(("objective", "name", "shift"), [*PROCESSES, *SHIFTED])
def test_every_scheduler_draws_the_distribution(objective, name, shift):
    assert_of(drawn(objective, name, shift), three_clouds())


@pytest.mark.parametrize("order", ["structure_first", "dynamics_first"])
@pytest.mark.parametrize(("objective", "name", "shift"), PROCESSES)
def test_one_latent_after_the_other_is_the_joint_distribution(objective, name, shift, order):
    assert_of(drawn(objective, name, shift, order=order), three_clouds())


@pytest.mark.parametrize("known", LATENTS)
@pytest.mark.parametrize(("objective", "name", "shift"), PROCESSES)
def test_a_latent_is_drawn_from_its_conditional_distribution(objective, name, shift, known):
    value = three_clouds().means.mean(0) + 0.4
    given = getattr(twins(value.expand(SAMPLES, -1)), known)
    samples = drawn(objective, name, shift, **{known: given})
    place = LATENTS[known]
    assert (samples[:, place] == value[place].float()).all()
    [other] = LATENTS.keys() - {known}
    assert_of(samples[:, LATENTS[other]], three_clouds().given(place, value[place]))


@pytest.mark.parametrize(("name", "shift"), [("dpm", 3.0), ("unipc", 1.0), ("unipc", 12.0), ("heun", 1.0)])
def test_as_many_steps_as_there_are_noise_levels_can_be_taken(name, shift):
    """The multistep solvers round their times to whole numbers, of which the first two are then one."""
    scheduler = make_scheduler(DiffusionConfig("flow", time_shift=shift), name)
    noise, label = twins(torch.randn(512, STRUCTURE + DYNAMICS)), torch.zeros(512, dtype=torch.long)
    few, many = (
        flat(sample(MixtureOracle(three_clouds(), "flow"), scheduler, label, noise, steps, 1.0))
        for steps in (200, 1000)
    )
    assert (many - few).square().mean().sqrt() < 0.03
