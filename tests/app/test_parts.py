"""What a video is taken apart into, changed and exchanged, against the model called by hand."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

from app.parts import take_apart
from app.swaps import exchanged, joined, swap, walk
from autoencoder.reconstruct import reenact
from autoencoder.trained.changes import Change, between
from data.latents import TwinLatents
from data.video.frames import (
    decode_all,
    fit,
    numbers_at_rate,
    probe,
    stream_frames,
    stream_numbered,
    to_float,
    to_uint8,
    write_video,
)
from eval.pictures.panels import enlarged
from runtime.progress import track


@pytest.mark.parametrize("rate", [8, 25, 30000 / 1001, 60, 3])
def test_a_video_at_another_rate_is_its_nearest_frames(rate, tmp_path):
    write_video(tmp_path / "v.mp4", (torch.arange(37) * 6)[:, None, None, None].expand(-1, 16, 16, 3).byte(), rate)
    info = probe(tmp_path / "v.mp4")
    numbers, fps = numbers_at_rate(info, 8.0), Fraction(rate).limit_denominator(1001)
    distance = abs(np.arange(37)[None] / float(fps) - np.arange(len(numbers))[:, None] / 8)
    assert np.allclose(distance[range(len(numbers)), numbers], distance.min(1))
    assert numbers[0] == 0
    assert 36 / fps - Fraction(1, 8) < Fraction(len(numbers) - 1, 8) <= 36 / fps + Fraction(1, 1000)
    assert torch.equal(torch.stack(list(stream_numbered(info.path, numbers))), decode_all(info)[numbers])


def test_frozen_dynamics_are_one_moment_everywhere_and_strengths_are_factors(models):
    shapes = models.autoencoder.typed_config.structure_shape, models.autoencoder.typed_config.dynamics_shape
    latents = TwinLatents(*(torch.randn(2, *shape) for shape in shapes))
    frozen = Change(moment=1)(latents)
    assert torch.equal(frozen.structure, latents.structure)
    for row in range(latents.dynamics.shape[2]):
        assert torch.equal(frozen.dynamics[:, :, row], latents.dynamics[:, :, 1])
    changed = Change(structure=0.5, dynamics=2.0)(latents)
    assert torch.allclose(changed.structure * 2, latents.structure)
    assert torch.allclose(changed.dynamics / 2, latents.dynamics)
    assert all(map(torch.equal, Change()(latents), latents))
    for share, end in ((0.0, latents), (1.0, changed)):
        assert all(map(torch.allclose, between(latents, changed, share), end))


def by_hand(models, path, change=None):
    """The frames of the video and of its reconstruction, uint8 `t h w c`: windows 0–3, 4–7 and the last four."""
    frames = torch.stack([fit(frame[None], (16, 16))[0] for frame in stream_frames(path)])
    shown = []
    for start, new in ((0, 0), (4, 0), (len(frames) - 4, 12 - len(frames))):
        video = to_float(frames[start : start + 4].permute(3, 0, 1, 2)[None])
        with torch.no_grad():
            posterior = models.autoencoder.encode(video).mode()
            decoded = models.autoencoder.decode(change(posterior) if change else posterior)
        shown.append(to_uint8(decoded)[0].permute(1, 2, 3, 0)[new:])
    return frames, torch.cat(shown)


def test_figures_and_panels_are_those_of_the_model_called_by_hand(models, videos, tmp_path):
    path, config = videos / "a.mp4", models.autoencoder.typed_config
    found = take_apart(models, probe(path), Change(), tmp_path / "out.mp4", track)
    original, shown = by_hand(models, path)
    a, b = (each.permute(0, 3, 1, 2).double() / 255 for each in (shown, original))
    of_frames = peak_signal_noise_ratio(a, b, data_range=1.0, reduction="none", dim=(1, 2, 3))
    assert found.psnr == pytest.approx(of_frames.mean().item(), abs=1e-3)
    assert found.ssim == pytest.approx(structural_similarity_index_measure(a, b, data_range=1.0).item(), abs=1e-4)
    assert (found.frames, found.fps, found.file_bytes) == (11, 8.0, path.stat().st_size)
    values = np.prod(config.structure_shape) + np.prod(config.dynamics_shape)
    assert found.latent_bytes == 3 * values * 2
    assert config.rate == values / (3 * 4 * 16 * 16)
    panels = decode_all(probe(tmp_path / "out.mp4")).float()
    assert panels.shape == (11, 144, 4 * 144, 3)
    for place, frames in enumerate((original, shown)):
        expected = enlarged(frames.permute(3, 0, 1, 2)[None])[0].float()
        assert (panels[:, :, 144 * place : 144 * (place + 1)] - expected).abs().mean() < 8


def test_a_change_is_seen_in_every_window_and_none_is_the_reconstruction(models, videos, tmp_path):
    path, change = videos / "a.mp4", Change(structure=2.0, moment=2)
    found = take_apart(models, probe(path), change, tmp_path / "out.mp4", track)
    original, shown = by_hand(models, path, change)
    error = (shown.double() - original.double()).square().mean((1, 2, 3))
    assert found.psnr == pytest.approx((10 * (255**2 / error).log10()).mean().item(), abs=1e-3)
    assert not torch.equal(shown, by_hand(models, path)[1])


def test_swaps_are_reenactments_both_ways(models, videos, tmp_path):
    a, b = videos / "a.mp4", videos / "b.mp4"
    swap(models, probe(a), probe(b), tmp_path / "swap.mp4", track)
    assert (probe(tmp_path / "swap.mp4").frames, probe(tmp_path / "swap.mp4").width) == (9, 4 * 144)
    streams = [stream_numbered(path, range(9)) for path in (a, b)]
    found = torch.stack(list(joined(models, streams, exchanged, beside=False)))
    for place, donors in enumerate(((a, b), (b, a))):
        expected = torch.stack(list(reenact(models.autoencoder, *donors, 9)))[:, :, 32:]
        panel = found[:, :, 144 * place : 144 * (place + 1)]
        assert torch.equal(panel[:, ::9, ::9], expected)


def test_the_ends_of_a_walk_are_the_reconstructions(models, videos):
    a, b = videos / "a.mp4", videos / "b.mp4"
    for share, path in ((0.0, a), (1.0, b)):
        streams = [stream_numbered(each, range(9)) for each in (a, b)]
        ends = torch.stack(list(joined(models, streams, lambda x, y, s=share: [between(x, y, s)], beside=False)))
        streams = [stream_numbered(path, range(9)) for _ in "ab"]
        own = torch.stack(list(joined(models, streams, lambda x, y: [x], beside=False)))
        assert (ends.int() - own.int()).abs().max() <= 1


def test_a_walk_is_written_as_long_as_the_shorter_video(models, videos, tmp_path):
    walk(models, probe(videos / "a.mp4"), probe(videos / "b.mp4"), 0.5, tmp_path / "walk.mp4", track)
    assert (probe(tmp_path / "walk.mp4").frames, probe(tmp_path / "walk.mp4").width) == (9, 144)
