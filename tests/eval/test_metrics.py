"""Metrics against training's functions, against closed forms, and over processes."""

import math
from types import SimpleNamespace

import pytest
import torch
import torchvision
from torchmetrics import MetricCollection

from autoencoder.losses.perceptual import LPIPS as PerceptualLoss
from autoencoder.losses.perceptual import VGG_FILE
from data.pixels import psnr, ssim
from eval.metrics.accuracy import ClassifierAccuracy
from eval.metrics.clips import ClipRecord
from eval.metrics.collection import clip_metrics
from eval.metrics.pixels import HIGHEST_PSNR, LPIPS, PSNR, SSIM, open_lpips
from eval.metrics.temporal import TemporalPSNR
from runtime.errors import UserError


@pytest.fixture(scope="module")
def pair():
    numbers = torch.Generator().manual_seed(0)
    target = torch.rand(3, 3, 5, 32, 24, generator=numbers) * 2 - 1
    return (target + 0.2 * torch.randn(target.shape, generator=numbers)).clamp(-1, 1), target


@pytest.mark.parametrize(("metric", "function"), [(PSNR, psnr), (SSIM, ssim)])
def test_they_agree_with_what_training_computes(metric, function, pair):
    values, mean = metric("none"), metric()
    for batch in zip(*(each.split(2) for each in pair), strict=True):
        values.update(*batch)
        mean.update(*batch)
    torch.testing.assert_close(values.compute(), function(*pair).double(), atol=1e-4, rtol=0)
    assert mean.compute().item() == pytest.approx(function(*pair).mean().item(), abs=1e-4)


def test_lpips_is_that_of_training(pair, monkeypatch, tmp_path):
    """Both on one random backbone in the place of the one that is published."""
    torch.manual_seed(0)
    layers = torchvision.models.vgg.make_layers(torchvision.models.vgg.cfgs["D"])
    monkeypatch.setattr(torchvision.models, "vgg16", lambda **_: SimpleNamespace(features=layers))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    (tmp_path / "hub" / "checkpoints" / VGG_FILE).touch()
    pair = [each[:2, :, :2] for each in pair]
    metric = LPIPS(open_lpips(), "none")
    metric.update(*pair)
    distances = PerceptualLoss()(*pair)
    assert distances.std() > 0
    torch.testing.assert_close(metric.compute(), distances.double(), rtol=1e-4, atol=1e-7)


def test_without_its_backbone_there_is_no_lpips(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert open_lpips() is None
    said = capsys.readouterr().err
    assert "vgg16-397923af.pth" in said
    assert str(tmp_path / "hub" / "checkpoints") in said
    with pytest.raises(ValueError, match="vgg16"):
        PerceptualLoss()


def test_temporal_psnr_sees_change_and_no_constant_error(pair):
    _, target = pair
    offset = target * 0.5 + 0.25  # differences are halved
    noise = 0.1 * torch.randn(200, 3, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    found = TemporalPSNR("none")
    found.update(target + 0.3, target)
    found.update(offset, target)
    expected = -10 * (target.diff(dim=2) / 4).square().mean((1, 2, 3, 4)).log10()
    constant, halved = found.compute()[:3, 0], found.compute()[3:, 0]
    assert constant.tolist() == [HIGHEST_PSNR] * 3
    torch.testing.assert_close(halved, expected.double(), rtol=1e-4, atol=0)
    of_frames, of_changes = PSNR(), TemporalPSNR()
    for metric in (of_frames, of_changes):
        metric.update(noise, torch.zeros_like(noise))
    # Independent errors of two frames add up.
    assert (of_frames.compute() - of_changes.compute()).item() == pytest.approx(10 * math.log10(2), abs=0.05)


def test_equal_frames_have_the_highest_psnr_and_spoil_no_mean(pair):
    _, target = pair
    half = torch.cat([target[:, :, :1], target[:, :, 1:] * 0.9], dim=2)
    metric = PSNR("none")
    metric.update(half, target)
    assert metric.compute()[:, 0].tolist() == [HIGHEST_PSNR] * 3
    assert metric.compute().isfinite().all()


def test_small_frames_have_no_ssim():
    with pytest.raises(UserError, match="at least 11x11 pixels, these are 8x16"):
        SSIM().update(*torch.zeros(2, 1, 3, 2, 8, 16))


def test_accuracy_counts_clips():
    class First(torch.nn.Module):
        def forward(self, video):
            return video[:, :, 0, 0, 0]

    video = torch.eye(3).view(3, 3, 1, 1, 1)
    metric = ClassifierAccuracy(First())
    metric.update(video, torch.tensor([0, 1, 0]))
    assert metric.compute().item() == pytest.approx(2 / 3)


def test_a_collection_keeps_metrics_apart_whose_values_were_once_equal(pair):
    """torchmetrics would go on with one of the two alone."""
    reconstruction, target = pair
    metrics = clip_metrics(reduction="none")
    assert isinstance(metrics, MetricCollection)
    metrics.update(preds=target[:, :, :2], target=target[:, :, :2])
    metrics.update(preds=reconstruction[:, :, :2], target=target[:, :, :2])
    found = metrics.compute()
    assert found["psnr"].shape == (6, 2)
    assert found["temporal_psnr"].shape == (6, 1)
    assert (found["psnr"][3:, :1] > found["temporal_psnr"][3:]).all()


def test_a_process_without_a_clip_adds_none(monkeypatch):
    """As in a run of more processes than clips: what three others have is put in for them."""
    from eval.metrics import clips

    record = ClipRecord()
    record.update(torch.tensor([[7.0, 8.0]]))
    others = [torch.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=torch.float64), torch.tensor([])]
    monkeypatch.setattr(clips.distributed, "gather", lambda own: [*others, *own])
    [values] = [torch.cat(clips.gather_values(record.values[0]))]
    assert values.tolist() == [[1, 2], [3, 4], [7, 8]]
