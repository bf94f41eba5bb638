"""Our autoencoder as a coder: what rounding its latents to 16 or 8 bits costs, and does."""

import pytest
import torch

from data.pixels import psnr
from eval.coders.registry import open_coder
from eval.coders.rounding import to_bytes, to_half
from runtime.errors import UserError


def latents():
    numbers = torch.Generator().manual_seed(0)
    return torch.randn(2, 3, 4, 5, 6, generator=numbers) * torch.tensor([0.01, 1.0, 50.0]).view(3, 1, 1, 1)


def test_a_byte_is_off_by_half_a_step_of_its_channels_range_in_its_clip():
    exact, rounded = latents(), to_bytes(latents())
    low, high = exact.amin((2, 3, 4), keepdim=True), exact.amax((2, 3, 4), keepdim=True)
    steps = (exact - rounded.latent).abs() * 255 / (high - low)
    assert 0.45 < steps.max() < 0.501
    assert all(len(channel.unique()) <= 256 for clip in rounded.latent for channel in clip)
    assert torch.allclose(rounded.latent.amax((2, 3, 4), keepdim=True), high)
    assert (rounded.bits, rounded.overhead) == (8 * 3 * 4 * 5 * 6, 3 * 2 * 32)


def test_a_channel_without_range_stays_as_it_is():
    constant = torch.full((1, 2, 3), 0.3)
    assert torch.equal(to_bytes(constant).latent, constant)


def test_half_precision_is_off_by_half_of_its_last_bit():
    rounded = to_half(latents())
    assert ((latents() - rounded.latent).abs() <= latents().abs() * 2**-11 + 2**-25).all()
    assert (rounded.bits, rounded.overhead) == (16 * 3 * 4 * 5 * 6, 0)


def test_fewer_bits_of_a_trained_model(stage1_run):
    weights = stage1_run / "weights" / "ema"
    video = torch.rand(2, 3, 4, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    whole, half, byte = (open_coder(f"{name}:{weights}")(video) for name in ("vidtwin", "fp16", "int8"))
    assert whole.bits is None
    assert half.bits.tolist() == [16 * whole.values] * 2
    assert byte.bits.tolist() == [8 * whole.values] * 2
    assert byte.overhead.tolist() == [64 * 4] * 2  # two channels in each latent
    assert (psnr(half.video, whole.video) > 60).all()
    assert (psnr(byte.video, whole.video) > 40).all()
    assert not torch.equal(byte.video, half.video)


def test_another_size_is_refused(stage1_run):
    with pytest.raises(UserError):
        open_coder(f"int8:{stage1_run / 'weights' / 'ema'}")(torch.zeros(1, 3, 5, 16, 16))
