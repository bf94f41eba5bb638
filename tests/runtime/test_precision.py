"""What measures, or is compared, is computed in float32 where it says so."""

from argparse import Namespace

import pytest
import torch
from torch import nn

from autoencoder import cache
from autoencoder.model import VidTwin
from autoencoder.stage1.config import Stage1Config
from data import pixels
from data.index import open_index
from eval import report
from eval.features.i3d import I3D
from eval.measures.windows import WindowDataset, window_loader
from eval.reconstruction import evaluate_reconstruction
from runtime.config import load
from runtime.precision import full_precision, precision_of_use
from runtime.weights import load_model


def rounding():
    """Whether convolutions and products may be rounded on a GPU."""
    return torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32


@pytest.fixture(autouse=True)
def rounded():
    before = rounding()
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
    yield
    assert rounding() == (True, True)
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


def test_rounding_is_off_inside_and_as_it_was_after_a_failure():
    @full_precision()
    def fail():
        assert rounding() == (False, False)
        raise KeyError

    with pytest.raises(KeyError):
        fail()


def test_a_trained_model_computes_in_bf16_where_a_gpu_has_it(monkeypatch):
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    for has, chosen in ((True, "bf16"), (False, "fp32")):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda has=has: has)
        assert [precision_of_use("auto", device) for device in (cpu, gpu)] == ["fp32", chosen]
        for asked in ("fp32", "bf16"):
            assert [precision_of_use(asked, device) for device in (cpu, gpu)] == [asked, asked]


class Witness(nn.Module):
    """Notes, each time it is called, whether numbers may be rounded."""

    def __init__(self, answer):
        super().__init__()
        self.answer, self.seen = answer, []

    def forward(self, *args, **kwargs):
        self.seen.append(rounding())
        return self.answer(*args, **kwargs)


def test_ssim_is_not_rounded(monkeypatch):
    blur = Witness(pixels._blur)
    monkeypatch.setattr(pixels, "_blur", blur)
    pixels.ssim(*torch.rand(2, 1, 3, 1, 16, 16))
    assert set(blur.seen) == {(False, False)}


def test_features_of_fvd_are_not_rounded(monkeypatch):
    network = Witness(lambda videos, **_: torch.zeros(len(videos), I3D.dim))
    features = I3D.__new__(I3D)
    features.network, features.device = network, torch.device("cpu")
    features(torch.zeros(1, 10, 8, 8, 3, dtype=torch.uint8))
    assert network.seen == [(False, False)]


def test_a_reconstruction_is_measured_as_computed(stage1_run, builtin_set):
    model = load_model(VidTwin, stage1_run / "weights" / "ema")
    model.encoder = Witness(model.encoder)
    clips = WindowDataset([open_index(builtin_set, "test")], 4, 8.0, (16, 16), max_videos=2)
    evaluate_reconstruction(model, window_loader(clips, 2, 0, 0, 1))
    assert set(model.encoder.seen) == {(False, False)}


def test_the_demos_report_is_not_rounded(stage1_run, monkeypatch):
    seen = []
    monkeypatch.setattr(report, "load_model", lambda *_: seen.append(rounding()))
    with pytest.raises(AttributeError):  # there is no model
        report.measure(Namespace(run=stage1_run, data=None))
    assert seen == [(False, False)]


def test_a_cache_is_computed_as_it_says(processes, stage1_run, builtin_set, configs, tmp_path):
    model = load_model(VidTwin, stage1_run / "weights" / "ema")
    model.encoder = Witness(model.encoder)
    config = load(Stage1Config, configs / "stage1.yaml", ["--data.root", str(builtin_set)])
    cache.cache_split(cache.CacheConfig(run=str(tmp_path), batch_size=4), config, model, "test")
    assert set(model.encoder.seen) == {(False, False)}
