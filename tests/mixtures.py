"""Mixtures of Gaussians as twin latents, of which everything is known: moments, conditionals, the best prediction."""

from dataclasses import dataclass

import torch
from einops import pack, rearrange
from torch import Tensor

from data.latents import TwinLatents
from generator.config import DiffusionConfig
from generator.diffusion import make_objective

STRUCTURE, DYNAMICS = 2, 1  # values of each latent
SHAPES = ((STRUCTURE, 1, 1, 1), (DYNAMICS, 1, 1))


@dataclass(frozen=True)
class Mixture:
    """Components `k` over `d` values: float64 weights `k`, means `k d`, covariances `k d d`."""

    weights: Tensor
    means: Tensor
    covariances: Tensor

    @property
    def mean(self) -> Tensor:
        return self.weights @ self.means

    @property
    def covariance(self) -> Tensor:
        """Within the components and between them."""
        apart = self.means - self.mean
        return torch.einsum("k,kij->ij", self.weights, self.covariances + apart[:, :, None] * apart[:, None])

    def below(self, direction: Tensor, value: float) -> float:
        """The share of the mixture whose projection on a direction is below a value."""
        deviations = torch.einsum("i,kij,j->k", direction, self.covariances, direction).sqrt()
        return float(self.weights @ torch.special.ndtr((value - self.means @ direction) / deviations))

    def given(self, known: slice, values: Tensor) -> "Mixture":
        """What is left of the others where some coordinates are known."""
        order = torch.arange(self.means.shape[1])
        others = torch.tensor([i for i in order if i not in order[known]])
        a, b = self.covariances[:, known, known], self.covariances[:, others][:, :, known]
        apart = values - self.means[:, known]
        gain = torch.linalg.solve(a, b.mT).mT
        log = self.weights.log() - 0.5 * (a.logdet() + torch.einsum("ki,kij,kj->k", apart, a.inverse(), apart))
        inner = self.covariances[:, others][:, :, others]
        return Mixture(
            log.softmax(0), self.means[:, others] + torch.einsum("kij,kj->ki", gain, apart), inner - gain @ b.mT
        )


def three_clouds() -> Mixture:
    """Of strongly related latents, in three components of unequal weight and shape."""
    means = torch.tensor([[1.5, 0.0, -1.0], [-1.0, 1.0, 0.5], [0.0, -1.5, 1.5]], dtype=torch.float64)
    roots = torch.tensor(
        [
            [[0.5, 0.0, 0.0], [0.2, 0.4, 0.0], [0.4, 0.1, 0.3]],
            [[0.6, 0.0, 0.0], [-0.3, 0.4, 0.0], [-0.5, 0.2, 0.3]],
            [[0.4, 0.0, 0.0], [0.1, 0.6, 0.0], [0.2, -0.5, 0.4]],
        ],
        dtype=torch.float64,
    )
    return Mixture(torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64), means, roots @ roots.mT)


def flat(latents: TwinLatents) -> Tensor:
    """`b d`, structure's values first."""
    return pack(list(latents), "b *")[0].double()


def twins(values: Tensor) -> TwinLatents:
    """The inverse of `flat`."""
    structure, dynamics = values.float().split([STRUCTURE, DYNAMICS], dim=1)
    return TwinLatents(rearrange(structure, "b d -> b d 1 1 1"), rearrange(dynamics, "b d -> b d 1 1"))


class MixtureOracle:
    """The best possible model of a mixture: the posterior mean of x₀ or of ε − x₀, at a time for each latent or one.

    All rows of a batch have the same time. Where a latent is clean, its velocity is not asked for, and 0.
    """

    null_label = 0

    def __init__(self, mixture: Mixture, objective: str):
        self.mixture, self.objective = mixture, objective
        self.kept = make_objective(DiffusionConfig()).schedule.alphas_cumprod.double()

    def scales(self, time: Tensor) -> tuple[Tensor, Tensor]:
        """What signal and noise are multiplied with."""
        if self.objective == "x0":
            kept = self.kept[time.long()]
            return kept.sqrt(), (1 - kept).sqrt()
        return 1 - time.double() / 1000, time.double() / 1000

    def __call__(self, noisy: TwinLatents, time: Tensor, label: Tensor) -> TwinLatents:
        times = time[0].expand(2)
        assert (time == times if time.ndim > 1 else time == time[0]).all()
        a, b = self.scales(times.repeat_interleave(torch.tensor([STRUCTURE, DYNAMICS])))
        x = flat(noisy)
        clean = self.clean(x, a, b)
        return twins(clean if self.objective == "x0" else torch.where(b > 0, (x - clean) / b, 0))

    def clean(self, x: Tensor, a: Tensor, b: Tensor) -> Tensor:
        """`E[x₀ | a·x₀ + b·ε = x]`, by Bayes over the components."""
        mixture = self.mixture
        seen = a[:, None] * mixture.covariances * a + torch.diag(b**2)
        apart = x[:, None] - a * mixture.means
        solved = torch.einsum("kij,bkj->bki", seen.inverse(), apart)
        log = mixture.weights.log() - 0.5 * (seen.logdet() + (apart * solved).sum(-1))
        each = mixture.means + torch.einsum("kij,bkj->bki", mixture.covariances * a, solved)
        return torch.einsum("bk,bki->bi", log.softmax(1), each)
