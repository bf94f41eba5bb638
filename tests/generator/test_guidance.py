"""Guidance is what its scale, its interval and its weaker model say, to the bit."""

import pytest
import torch

from data.latents import TwinLatents
from generator.config import DiffusionConfig
from generator.diffusion import Guidance, make_scheduler, sample
from runtime.random import generator
from tests.mixtures import twins


class Shift:
    """A model whose every value depends on its own input and the class alone: bits do not depend on the batch."""

    null_label = 3

    def __init__(self):
        self.rows = 0

    def __call__(self, noisy, time, label):
        self.rows += len(label)
        return TwinLatents(*(torch.sin(x * (1 + label.view(-1, *[1] * (x.ndim - 1)))) for x in noisy))


def guided_by(guidance, model=None, label=(0, 1, 2)) -> TwinLatents:
    noise, scheduler = twins(torch.randn(3, 3, generator=generator("noise"))), make_scheduler(DiffusionConfig("flow"))
    return sample(model or Shift(), scheduler, torch.tensor(label), noise, 10, guidance)


def equal(a: TwinLatents, b: TwinLatents) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_guidance_1_is_the_model_of_the_class_and_0_that_of_none():
    assert equal(guided_by(Guidance(0.0)), guided_by(1.0, label=(3, 3, 3)))
    conditional = guided_by(1.0)
    assert not equal(guided_by(Guidance(1.5)), conditional)
    assert equal(guided_by(Guidance(5.0, weak=Shift())), conditional)
    assert equal(
        guided_by(Guidance(0.0, weak=lambda noisy, time, label: Shift()(noisy, time, label * 0))),
        guided_by(1.0, label=(0, 0, 0)),
    )


@pytest.mark.parametrize(
    ("interval", "inside"), [((0.0, 1.0), 19), ((0.2, 0.6), 8), ((0.99, 1.0), 1), ((0.45, 0.5), 0)]
)
def test_outside_of_its_interval_guidance_is_off(interval, inside):
    """Heun's ten steps evaluate the model at 1, and twice at nine levels down to 0.001, each 0.111 apart."""
    model = Shift()
    samples = guided_by(Guidance(2.0, interval), model)
    assert model.rows == 3 * (19 + inside)
    assert equal(samples, guided_by(1.0)) == (inside == 0)
