"""Each term of stage one's loss against an independent computation."""

import math

import pytest
import torch

from autoencoder.losses.discriminator import PatchDiscriminator
from autoencoder.losses.perceptual import require_vgg
from autoencoder.losses.terms import (
    LastLayer,
    adaptive_weight,
    discriminator_loss,
    generator_loss,
    reconstruction_nll,
)
from autoencoder.network.transformer import Unpatchify
from runtime.errors import UserError


def test_nll_by_hand():
    video, reconstruction = torch.zeros(2, 3, 4, 5, 6), torch.full((2, 3, 4, 5, 6), 0.5)
    perceptual, s = torch.full((2, 4), 0.1), torch.tensor(0.3)
    nll = reconstruction_nll(video, reconstruction, s, pixel_l2=2.0, perceptual=perceptual)
    per_value = (0.5 + 2.0 * 0.25 + 0.1) / math.exp(0.3) + 0.3
    assert nll.item() == pytest.approx(3 * 5 * 6 * per_value, rel=1e-5)


def test_hinge_losses_by_hand():
    real, fake = torch.tensor([0.5, 2.0]), torch.tensor([-2.0, 0.5])
    assert discriminator_loss(real, fake).item() == pytest.approx(0.5 * (0.25 + 0.75))
    assert generator_loss(fake).item() == pytest.approx(0.75)


def test_last_layer_gradient_equals_autograd():
    layer = Unpatchify((2, 4, 4), 8)
    last = LastLayer(layer)
    video = layer(torch.randn(2, 3, 2, 2, 8))
    loss = video.pow(3).mean()
    (expected,) = torch.autograd.grad(loss, layer.linear.weight, retain_graph=True)
    (at_video,) = torch.autograd.grad(loss, video)
    torch.testing.assert_close(last.gradient(at_video), expected)


def test_adaptive_weight_is_a_clamped_ratio_of_norms():
    ones = torch.ones(4)
    assert adaptive_weight(3 * ones, ones, 0.05).item() == pytest.approx(0.05 * 6 / (2 + 1e-4))
    assert adaptive_weight(ones, 0 * ones, 0.05).item() == pytest.approx(0.05 * 1e4)


def test_discriminator_has_a_logit_for_each_patch_and_the_papers_initialisation():
    torch.manual_seed(0)
    discriminator = PatchDiscriminator()
    (logits,) = discriminator(torch.zeros(1, 3, 2, 224, 224))
    assert logits.shape == (2, 1, 26, 26)
    weights = torch.cat([m.weight.flatten() for m in discriminator.modules() if isinstance(m, torch.nn.Conv2d)])
    assert weights.mean().item() == pytest.approx(0, abs=1e-4)
    assert weights.std().item() == pytest.approx(0.02, rel=0.01)
    assert sum(p.numel() for p in discriminator.parameters()) == pytest.approx(2.8e6, rel=0.02)


def test_missing_vgg_weights_are_one_line_with_a_way_out(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(UserError) as error:
        require_vgg()
    for part in ("vgg16-397923af.pth", str(tmp_path / "hub" / "checkpoints"), "--loss.perceptual 0"):
        assert part in str(error.value)
