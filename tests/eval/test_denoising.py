"""The error of denoised latents against its closed form, which no objective has a part in."""

import pytest
import torch

from data.latents import TwinLatents
from eval.measures.denoising import RATIOS, denoising_error
from generator.config import DiffusionConfig
from generator.diffusion import make_objective
from tests.mixtures import STRUCTURE, Mixture, MixtureOracle, twins


@pytest.mark.parametrize("objective", ["x0", "flow"])
def test_the_best_model_leaves_the_posterior_variance(objective):
    """`s²r² / (s² + r²)` of independent values of variance s² at the noise-to-signal ratio r."""
    variances = torch.tensor([0.5, 0.5, 2.0], dtype=torch.float64)
    gaussian = Mixture(
        torch.ones(1, dtype=torch.float64),
        torch.tensor([[0.3, -0.2, 1.0]], dtype=torch.float64),
        variances.diag()[None],
    )
    torch.manual_seed(0)
    clean = twins(gaussian.means + variances.sqrt() * torch.randn(20_000, 3))
    label, process = torch.zeros(len(clean.structure), dtype=torch.long), make_objective(DiffusionConfig(objective))
    found = denoising_error(MixtureOracle(gaussian, objective), process, clean, label)
    squares = torch.tensor(RATIOS, dtype=torch.float64).square()[:, None]
    expected = (variances * squares / (variances + squares)).mean(0)
    assert found["structure"] == pytest.approx(expected[:STRUCTURE].mean().item(), rel=0.02)
    assert found["dynamics"] == pytest.approx(expected[STRUCTURE:].mean().item(), rel=0.02)


@pytest.mark.parametrize("objective", ["x0", "flow"])
def test_a_model_that_knows_only_unit_variance_leaves_a_half(objective):
    gaussian = Mixture(
        *(torch.tensor(x, dtype=torch.float64) for x in ([1.0], [[0.0] * 3], torch.eye(3)[None].tolist()))
    )
    torch.manual_seed(0)
    clean, label = twins(torch.randn(20_000, 3)), torch.zeros(20_000, dtype=torch.long)
    found = denoising_error(
        MixtureOracle(gaussian, objective), make_objective(DiffusionConfig(objective)), clean, label
    )
    assert found == pytest.approx(dict.fromkeys(TwinLatents._fields, 0.5), rel=0.02)
