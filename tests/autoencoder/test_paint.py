"""What clips are painted with, against scipy's morphology and by what it must not change: motion."""

from itertools import permutations, product

import pytest
import torch
from scipy import ndimage

from autoencoder.losses.paint import Paint, draw_paint


def paint(channels=(0, 1, 2), sign=1.0, outline=0.0) -> Paint:
    return Paint(torch.tensor([channels]), torch.tensor([sign]), torch.tensor([outline]))


@pytest.mark.parametrize(("outline", "expected"), [(1.0, ndimage.grey_dilation), (-1.0, ndimage.grey_erosion)])
def test_outlines_move_as_by_grey_morphology(outline, expected):
    video = torch.rand(1, 3, 2, 12, 16) * 2 - 1
    found = paint(outline=outline)(video)
    assert torch.equal(found, torch.from_numpy(expected(video.numpy(), (1, 1, 1, 5, 5), mode="nearest")))


def test_each_clip_has_its_own_paint_and_some_have_none():
    torch.manual_seed(0)
    video, painted = torch.rand(256, 3, 2, 8, 8) * 2 - 1, torch.arange(256) % 4 > 0
    drawn = draw_paint(painted)
    seen = drawn(video)
    assert torch.equal(seen[~painted], video[~painted])
    for clip in range(256):
        alone = paint(drawn.channels[clip].tolist(), drawn.sign[clip].item(), drawn.outline[clip].item())
        assert torch.equal(seen[clip], alone(video[clip : clip + 1])[0])
    channels, sign, outline = (each[painted].tolist() for each in drawn)
    looks = set(zip(map(tuple, channels), sign, outline, strict=True))
    assert looks == set(product(permutations(range(3)), (-1.0, 1.0), (-1.0, 0.0, 1.0)))


def test_a_negative_of_grown_outlines():
    """A bright square of 4 pixels in the dark, of 8 when it has grown; its negative is a dark one in brightness."""
    video = torch.full((1, 3, 1, 16, 16), -0.5)
    video[:, 2, :, 6:10, 6:10] = 0.75
    expected = torch.full((1, 3, 1, 16, 16), 0.5)
    expected[:, 0, :, 4:12, 4:12] = -0.75
    assert torch.equal(paint((2, 0, 1), -1.0, 1.0)(video), expected)


def test_what_is_painted_moves_as_before():
    """Painted frames are frames painted, at whatever place."""
    torch.manual_seed(0)
    video = torch.full((8, 3, 5, 24, 24), -1.0)
    video[..., 8:16, 8:16] = torch.rand(8, 3, 5, 8, 8)
    drawn = draw_paint(torch.ones(8, dtype=torch.bool))
    order = torch.tensor([3, 0, 4, 2, 1])
    moved = video[:, :, order].roll((4, -3), (3, 4))
    assert torch.equal(drawn(moved), drawn(video)[:, :, order].roll((4, -3), (3, 4)))
