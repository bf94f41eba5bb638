"""Every scheduler draws the distribution that the best model knows, joint and conditional; small models learn it."""

import pytest
import torch

from data.latents import TwinLatents
from generator.config import DiffusionConfig
from generator.diffusion import diffusion_loss, make_objective, make_scheduler, sample
from generator.diffusion.schedulers import SCHEDULERS
from generator.dit import DiT
from runtime.random import generator
from tests.mixtures import DYNAMICS, STRUCTURE, Mixture, MixtureOracle, flat, three_clouds, twins
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


def trained(model: DiT, config: DiffusionConfig, batches, steps: int, rate: float) -> DiT:
    """After so many steps on `batches(generator)`, latents and labels."""
    process = make_objective(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.99), weight_decay=0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, steps)
    for step in range(steps):
        numbers = generator("train", step)
        loss, _ = diffusion_loss(model, process, *batches(numbers), model.null_label, numbers)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model.eval()


@pytest.mark.full
@pytest.mark.parametrize("objective", SCHEDULERS)
def test_a_small_dit_with_separate_times_learns_joint_and_conditional(objective):
    """Two values of unit variance that are related by 0.9: each, given the other, is N(0.9·other, 0.19)."""
    related = 0.9

    def batches(numbers):
        s, e = torch.randn(2, 256, 1, generator=numbers)
        d = related * s + (1 - related**2) ** 0.5 * e
        return TwinLatents(s[..., None, None, None], d[..., None, None]), torch.zeros(256, dtype=torch.long)

    config = DiffusionConfig(objective, times="separate", class_dropout=0.0)
    sizes = {"width": 32, "depth": 2, "num_heads": 2, "class_width": 8, "times": "separate", "conditioning": "adaln"}
    model = trained(DiT((1, 1, 1, 1), (1, 1, 1), 1, (1, 1, 1), (1, 1), **sizes), config, batches, 800, 5e-3)
    noise = TwinLatents(torch.randn(2048, 1, 1, 1, 1), torch.randn(2048, 1, 1, 1))
    label, given = torch.zeros(2048, dtype=torch.long), torch.randn(2048)

    def draw(**how):
        return (x.flatten() for x in sample(model, make_scheduler(config), label, noise, 50, 1.0, **how))

    for order in ("together", "structure_first", "dynamics_first"):
        found = torch.stack(list(draw(order=order)))
        assert found.corrcoef()[0, 1].item() == pytest.approx(related, abs=0.05)
        assert found.var(dim=1).tolist() == pytest.approx([1, 1], abs=0.4)
    _, d = draw(structure=given.view(-1, 1, 1, 1, 1))
    s, _ = draw(dynamics=given.view(-1, 1, 1, 1))
    for other in (s, d):
        slope = (other * given).mean() / given.square().mean()
        assert slope.item() == pytest.approx(related, abs=0.15)
        assert (other - slope * given).var().item() == pytest.approx(1 - related**2, abs=0.08)


@pytest.mark.parametrize(("objective", "steps"), [("x0", 200), pytest.param("flow", 700, marks=pytest.mark.full)])
def test_eight_clips_are_learnt_by_heart(objective, steps):
    """Samples of them are above 30 dB, of signal to error; measured: 40 for clean latents, 34 for velocities."""
    shapes, label = ((2, 4, 3, 3), (2, 4, 6)), torch.arange(8)
    clips = TwinLatents(*(torch.randn(8, *shape) for shape in shapes))
    latents = TwinLatents(*(x.repeat(8, *[1] * (x.ndim - 1)) for x in clips))
    # The last of the error is taken away at little noise, of which velocities are to see enough.
    config = DiffusionConfig(objective, class_dropout=0.0, logit_mean=-1.0)
    model = DiT(*shapes, 8, (4, 3, 3), (4, 6), width=256, depth=1, num_heads=4, class_width=64)
    model = trained(model, config, lambda _: (latents, label.repeat(8)), steps, 2e-3)
    noise = TwinLatents(*(torch.randn(8, *shape) for shape in shapes))
    samples = sample(model, make_scheduler(config), label, noise, 50, 1.0)
    for x, y in zip(samples, clips, strict=True):
        assert 10 * (y.square().mean() / (x - y).square().mean()).log10() > 30
