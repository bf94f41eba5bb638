"""Training losses and samplers, against the closed forms of Gaussian data and against learning a batch by heart.

For data N(m, s²) every quantity is known: the best prediction at each noise level, the error it leaves, and the map
from noise to sample along the probability flow, `ε -> m + s·ε`.
"""

import numpy as np
import pytest
import torch

from data.latents import TwinLatents
from generator.config import DiffusionConfig
from generator.diffusion import diffusion_loss, guided, initial_noise, make_objective, make_scheduler, sample
from generator.dit import DiT
from runtime.errors import UserError
from runtime.random import generator

OBJECTIVES = ("x0", "flow")
SHAPES = ((2, 4, 3, 3), (2, 4, 6))
GAUSSIANS = ((1.5, 0.5), (-0.7, 1.4))  # mean and deviation of structure, of dynamics


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def alpha_bar() -> np.ndarray:
    return np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))


NULL = 7


class GaussianOracle:
    """The best possible model of Gaussian data: the posterior mean of x₀, or of ε − x₀."""

    null_label = 0

    def __init__(self, objective: str):
        self.predict = {"x0": self.clean, "flow": self.velocity}[objective]

    def __call__(self, noisy, time, label):
        pairs = zip(noisy, GAUSSIANS, strict=True)
        return TwinLatents(*(self.predict(x, time.view(-1, *[1] * (x.ndim - 1)), *gaussian) for x, gaussian in pairs))

    @staticmethod
    def clean(x, time, m, s):
        a = torch.tensor(alpha_bar(), dtype=torch.float32)[time]
        return m + a.sqrt() * s**2 / (a * s**2 + 1 - a) * (x - a.sqrt() * m)

    @staticmethod
    def velocity(x, time, m, s):
        t = time / 1000
        return -m + (t - (1 - t) * s**2) / ((1 - t) ** 2 * s**2 + t**2) * (x - (1 - t) * m)


def error_of_the_oracle(objective: str, s: float) -> float:
    """The error that the oracle leaves, averaged over the training times by quadrature."""
    if objective == "x0":
        a = alpha_bar()
        return float(np.mean(s**2 * (1 - a) / (a * s**2 + 1 - a)))
    z = np.linspace(-8, 8, 4001)
    t = 1 / (1 + np.exp(-z))
    return float(np.average(s**2 / ((1 - t) ** 2 * s**2 + t**2), weights=np.exp(-(z**2) / 2)))


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_loss_of_the_best_model_is_the_posterior_variance(objective):
    config = DiffusionConfig(objective, dynamics_weight=3.0)
    clean = TwinLatents(*(m + s * torch.randn(4096, *shape) for (m, s), shape in zip(GAUSSIANS, SHAPES, strict=True)))
    label = torch.zeros(4096, dtype=torch.long)
    loss, parts = diffusion_loss(
        GaussianOracle(objective), make_objective(config), clean, label, NULL, generator("test", 0)
    )
    structure, dynamics = (error_of_the_oracle(objective, s) for _, s in GAUSSIANS)
    torch.testing.assert_close(parts["structure"], torch.tensor(structure), rtol=0.03, atol=0)
    torch.testing.assert_close(parts["dynamics"], torch.tensor(dynamics), rtol=0.03, atol=0)
    torch.testing.assert_close(loss, (parts["structure"] + 3 * parts["dynamics"]) / 4)


@pytest.mark.parametrize(("objective", "tolerances"), [("x0", (0.06, 0.015)), ("flow", (1e-3, 1e-4))])
def test_sampler_maps_noise_to_the_distribution(objective, tolerances):
    """Sample by sample `m + s·ε`, and mean and deviation with it, as close as each solver's order allows.

    DDIM is of first order (at 50 steps its deviations fall 3 to 6 % short, at 250 about 1 %), Heun of second.
    """
    scheduler = make_scheduler(DiffusionConfig(objective))
    noise = TwinLatents(*(torch.randn(64, *shape) for shape in SHAPES))
    label = torch.zeros(64, dtype=torch.long)
    for steps, tolerance in zip((50, 250), tolerances, strict=True):
        samples = sample(GaussianOracle(objective), scheduler, label, noise, steps, guidance=1)
        for x, eps, (m, s) in zip(samples, noise, GAUSSIANS, strict=True):
            exact = m + s * eps
            assert (x - exact).square().mean().sqrt() < tolerance
            assert (x.mean() - exact.mean()).abs() < 0.01
            assert (x.std() / exact.std() - 1).abs() < tolerance


class Recorder:
    """A model that answers with its label, in every element, and keeps the labels it saw."""

    null_label = 7

    def __call__(self, noisy, time, label):
        self.label = label
        return TwinLatents(*(label.float().view(-1, *[1] * (x.ndim - 1)).expand_as(x) for x in noisy))


def test_guidance_extrapolates_from_no_class_in_one_pass():
    noisy = TwinLatents(*(torch.zeros(2, *shape) for shape in SHAPES))
    model, time, label = Recorder(), torch.zeros(2), torch.tensor([1, 4])
    for x in guided(model, noisy, time, label, guidance=2.5):
        for values, k in zip(x, (1, 4), strict=True):
            assert (values == 7 + 2.5 * (k - 7)).all()
    assert model.label.tolist() == [7, 7, 1, 4]
    guided(model, noisy, time, label, guidance=1)
    assert model.label.tolist() == [1, 4]


def test_a_share_of_the_labels_is_dropped():
    clean = TwinLatents(torch.zeros(5000, 1, 1, 1, 1), torch.zeros(5000, 1, 1, 1))
    model, label = Recorder(), torch.arange(5000) % 5
    for share in (0.0, 0.2):
        objective = make_objective(DiffusionConfig("flow", class_dropout=share))
        diffusion_loss(model, objective, clean, label, NULL, generator("test", 1))
        dropped = model.label == 7
        assert dropped.float().mean() == pytest.approx(share, abs=0.02)
        assert torch.equal(model.label[~dropped], label[~dropped])


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_loss_follows_from_its_generator(objective):
    clean = TwinLatents(*(torch.randn(4, *shape) for shape in SHAPES))
    objective, label = make_objective(DiffusionConfig(objective)), torch.arange(4)
    losses = [diffusion_loss(Recorder(), objective, clean, label, NULL, generator("test", n))[0] for n in (3, 3, 4)]
    assert losses[0] == losses[1] != losses[2]


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_dit_learns_a_batch_and_samples_it(objective):
    config = DiffusionConfig(objective, class_dropout=0.0)
    model = DiT(*SHAPES, 4, (4, 1, 1), (1, 6), width=64, depth=2, num_heads=4, class_width=32)
    batch, label = TwinLatents(*(torch.randn(4, *shape) for shape in SHAPES)), torch.arange(4)
    latents, labels = TwinLatents(*(x.repeat(8, *[1] * (x.ndim - 1)) for x in batch)), label.repeat(8)
    process, steps = make_objective(config), 200
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, steps)
    for step in range(steps):
        loss, _ = diffusion_loss(model, process, latents, labels, model.null_label, generator("train", 0, step))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    noise = initial_noise(0, range(4), *SHAPES)
    samples = sample(model.eval(), make_scheduler(config), label, noise, steps=20, guidance=1)
    for x, y in zip(samples, batch, strict=True):
        assert (x - y).square().mean().sqrt() < 0.15


class Coarse:
    """A model that computes in bfloat16, and keeps what it was given."""

    null_label = 0

    def __init__(self, model):
        self.model, self.given = model, []

    def __call__(self, noisy, time, label):
        self.given.append((noisy, time))
        return self.model(noisy, time, label).to(torch.bfloat16)


def noise_of(clean: torch.Tensor, noisy: torch.Tensor, time: torch.Tensor, objective: str) -> torch.Tensor:
    """What the closed form finds in a noisy latent, in float64."""
    axes = [1] * (clean.ndim - 1)
    if objective == "x0":
        a = torch.from_numpy(alpha_bar())[time].view(-1, *axes)
        return (noisy.double() - a.sqrt() * clean) / (1 - a).sqrt()
    t = (time.double() / 1000).view(-1, *axes)
    return (noisy.double() - (1 - t) * clean) / t


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_corruption_and_loss_are_float32_whatever_the_model_and_the_cache_are(objective, dtype):
    """In bfloat16 the noise of x0's ten lowest steps would be exactly zero: it is looked for at the lowest times."""
    clean, label = TwinLatents(*(torch.randn(500, *shape) for shape in SHAPES)).to(dtype), torch.zeros(500).long()
    model, process = Coarse(GaussianOracle(objective)), make_objective(DiffusionConfig(objective))
    loss, parts = diffusion_loss(model, process, clean, label, NULL, generator("test", 5))
    assert {loss.dtype, *(part.dtype for part in parts.values())} == {torch.float32}
    ((noisy, time),) = model.given
    low = time.argsort()[:10]
    for x, given in zip(clean, noisy, strict=True):
        assert given.dtype == torch.float32
        assert (noise_of(x[low].double(), given[low], time[low], objective).std() - 1).abs() < 0.1


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_guidance_and_solver_are_float32_around_a_bfloat16_model(objective):
    """Only the model's own answers are rounded: after 50 steps the error is still that of one rounding."""
    scheduler, label = make_scheduler(DiffusionConfig(objective)), torch.zeros(8).long()
    noise = TwinLatents(*(torch.randn(8, *shape) for shape in SHAPES))
    coarse = Coarse(GaussianOracle(objective))
    rounded = sample(coarse, scheduler, label, noise.to(torch.bfloat16), 50, guidance=2.0)
    exact = sample(GaussianOracle(objective), scheduler, label, noise.to(torch.bfloat16).to(torch.float32), 50, 2.0)
    assert {x.dtype for noisy, _ in coarse.given for x in noisy} == {torch.float32}
    for x, y in zip(rounded, exact, strict=True):
        assert x.dtype == torch.float32
        assert (x - y).square().mean().sqrt() < 2**-8 * y.square().mean().sqrt()


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_bfloat16_weights_take_float32_latents(objective):
    dit = DiT(*SHAPES, 4, (4, 1, 1), (1, 6), width=16, depth=1, num_heads=2, class_width=8).bfloat16()
    clean, label = TwinLatents(*(torch.randn(4, *shape) for shape in SHAPES)), torch.arange(4)
    process = make_objective(DiffusionConfig(objective))
    loss, _ = diffusion_loss(dit, process, clean, label, dit.null_label, generator("test", 6))
    loss.backward()
    assert dit.structure_head.out.weight.grad.dtype == torch.bfloat16
    assert dit.structure_head.out.weight.grad.isfinite().all()
    assert dit.structure_head.out.weight.grad.any()


def test_noise_of_a_sample_does_not_depend_on_its_batch():
    together = initial_noise(5, [3, 8, 13], *SHAPES)
    for i, index in enumerate([3, 8, 13]):
        alone = initial_noise(5, [index], *SHAPES)
        assert all(torch.equal(a[0], b[i]) for a, b in zip(alone, together, strict=True))
    assert not torch.equal(together.structure[0], initial_noise(6, [3], *SHAPES).structure[0])
    many = initial_noise(5, range(200), *SHAPES)
    for x in many:
        assert x.mean().abs() < 0.03
        assert (x.std() - 1).abs() < 0.03


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_scheduler_survives_saving(objective, tmp_path):
    scheduler = make_scheduler(DiffusionConfig(objective))
    scheduler.save_pretrained(tmp_path)
    loaded = type(scheduler).from_pretrained(tmp_path, local_files_only=True)
    label, noise = torch.zeros(2, dtype=torch.long), initial_noise(0, range(2), *SHAPES)
    samples = [sample(GaussianOracle(objective), s, label, noise, 10, guidance=1) for s in (scheduler, loaded)]
    assert all(torch.equal(a, b) for a, b in zip(*samples, strict=True))


@pytest.mark.parametrize(("objective", "steps"), [("x0", 30), ("x0", 0), ("flow", 1001)])
def test_steps_that_cannot_be_taken_are_refused(objective, steps):
    label, noise = torch.zeros(1, dtype=torch.long), initial_noise(0, [0], *SHAPES)
    with pytest.raises(UserError, match=f"{steps} sampling steps"):
        sample(GaussianOracle(objective), make_scheduler(DiffusionConfig(objective)), label, noise, steps, guidance=1)
