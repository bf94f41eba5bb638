import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torchmetrics.functional.image import structural_similarity_index_measure

from data.pixels import psnr, ssim
from runtime.errors import UserError


@pytest.fixture
def pair():
    random = torch.Generator().manual_seed(0)
    video = torch.rand(2, 3, 4, 24, 17, generator=random) * 2 - 1
    strength = torch.linspace(0.01, 0.8, 8).view(2, 1, 4, 1, 1)  # every frame another error
    return (video + strength * torch.randn(video.shape, generator=random)).clamp(-1, 1), video


def test_psnr_of_a_constant_error_is_its_closed_form():
    video = torch.zeros(2, 3, 2, 4, 5)
    errors = torch.tensor([[0.1, 0.5], [1.0, 0.02]])  # on the scale of [-1, 1]: half of it on [0, 1]
    found = psnr(video + errors.view(2, 1, 2, 1, 1), video)
    torch.testing.assert_close(found, -20 * torch.log10(errors / 2))
    assert psnr(video, video).isinf().all()


def test_ssim_of_every_frame_is_that_of_torchmetrics(pair):
    found = ssim(*pair)
    assert found.shape == (2, 4)
    frames = [((v + 1) / 2).transpose(1, 2).flatten(0, 1) for v in pair]
    expected = structural_similarity_index_measure(*frames, data_range=1.0, sigma=1.5, reduction="none")
    torch.testing.assert_close(found.flatten(), expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(ssim(pair[1], pair[1]), torch.ones(2, 4))


def test_ssim_stays_float32_under_autocast(pair):
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(ssim(*pair), ssim(*pair).float())
        under_autocast = ssim(*pair)
    assert torch.equal(under_autocast, ssim(*pair))


@pytest.mark.parametrize("measure", [psnr, ssim])
def test_bfloat16_videos_are_measured_in_float32(pair, measure):
    coarse = [video.bfloat16() for video in pair]
    found = measure(*coarse)
    assert found.dtype == torch.float32
    assert torch.equal(found, measure(*(video.float() for video in coarse)))


class Operations(TorchDispatchMode):
    """Names of the operations that run inside the block."""

    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        self.names.add(operation.__name__)
        return operation(*args, **(kwargs or {}))


def test_ssim_takes_no_convolution_which_a_gpu_would_round(pair):
    with Operations() as seen:
        ssim(*pair)
    assert seen.names
    assert not any("conv" in name for name in seen.names)


def test_ssim_needs_room_for_its_window():
    with pytest.raises(UserError, match="at least 11x11 pixels"):
        ssim(torch.zeros(1, 3, 1, 10, 32), torch.zeros(1, 3, 1, 10, 32))
