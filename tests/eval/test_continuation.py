"""Joints and brightness against closed forms; the script in miniature, stopped and continued."""

import json
import math

import pytest
import torch
from einops import repeat
from safetensors.torch import load_file

from autoencoder.cache import CacheConfig, cache_split
from autoencoder.model import VidTwin
from autoencoder.stage1.config import Stage1Config
from eval.generation.continuation import main
from eval.measures.joints import ALIKE, continuation_figures
from generator import draw
from generator.stage2 import Stage2Config
from generator.train import train
from runtime.config import load
from runtime.weights import load_model

WINDOW = 5


def stepping(levels):
    """A video `1 3 t 8 8` whose frames are of one grey each."""
    return repeat(torch.tensor(levels, dtype=torch.uint8), "t -> 1 c t h w", c=3, h=8, w=8)


def test_joints_and_brightness_are_those_of_grey_frames():
    """Inside windows the grey changes by 2, at the first joint by 20, at the second not at all."""
    levels = [50, 52, 50, 52, 50, 70, 72, 70, 72, 70, 70, 72, 70, 72, 70]
    found = continuation_figures(torch.cat([stepping(levels)] * 3), WINDOW)

    def decibels(change):
        return 20 * math.log10(255 / change)

    assert found["psnr"]["by_joint"] == pytest.approx([decibels(20), ALIKE], abs=1e-3)
    assert found["psnr"]["joint"] == pytest.approx((decibels(20) + ALIKE) / 2, abs=1e-3)
    assert found["psnr"]["inside"] == pytest.approx(decibels(2), abs=1e-3)
    assert found["psnr"]["by_place"] == pytest.approx([decibels(2)] * 4 + [found["psnr"]["joint"]], abs=1e-3)
    assert found["brightness"]["by_window"] == pytest.approx([50.8, 70.8, 70.8])
    assert found["brightness"]["slope"] == pytest.approx(10)  # (70.8 - 50.8) / 2
    assert found["brightness"]["slope_error"] == pytest.approx(0, abs=1e-9)


def test_the_slope_has_the_standard_error_of_its_mean():
    videos = torch.cat([stepping([10 + k * window for window in range(3) for _ in range(WINDOW)]) for k in (1, 2, 6)])
    brightness = continuation_figures(videos, WINDOW)["brightness"]
    assert brightness["slope"] == pytest.approx(3)
    assert brightness["slope_error"] == pytest.approx(math.sqrt(7 / 3))


@pytest.fixture(scope="module")
def generator(tmp_path_factory, processes, stage1_run, builtin_set, configs):
    """A tiny one that knows the window before, trained on every window of 4 frames."""
    run = tmp_path_factory.mktemp("long")
    weights = stage1_run / "weights" / "ema"
    settings = CacheConfig(run=str(run), batch_size=8, clips_per_video="all", splits=["train"])
    cache_split(settings, load(Stage1Config, stage1_run / "config.yaml"), load_model(VidTwin, weights), "train")
    places = ["--run", str(run / "generator"), "--cache", str(run / "latents/train"), "--autoencoder", str(weights)]
    train(load(Stage2Config, configs / "stage2.yaml", [*places, "--diffusion.context", "0.5", "--loop.steps", "2"]))
    return run / "generator/weights/ema"


def test_the_script_measures_stopped_and_continued(generator, builtin_set, tmp_path, monkeypatch, capsys):
    def arguments(out):
        places = ["--weights", str(generator), "--data", str(builtin_set), "--out", str(tmp_path / out)]
        return [*places, "--num", "5", "--windows", "3", "--batch_size", "2", "--classifier_steps", "2"]

    assert main(arguments("whole")) == 0
    assert "generated" in capsys.readouterr().out
    found = json.loads((tmp_path / "whole/continuation.json").read_text())
    assert [len(found[name]["accuracy"]) for name in ("real", "reconstruction", "generated")] == [3, 3, 3]
    assert (found["num"], found["windows"], found["frames"], found["chance"]) == (5, 3, 4, 0.1)
    for name in ("continuation.png", "strip.png", "videos.mp4"):
        assert (tmp_path / "whole" / name).is_file()
    samples = load_file(tmp_path / "whole/samples.safetensors")
    assert samples["videos"].shape == (5, 12, 16, 16, 3)
    assert samples["labels"].tolist() == [0, 1, 2, 3, 4]

    drawn, noise = [], draw.initial_noise

    def counted(seed, indices, *shapes, window):
        drawn.append((indices[0], window))
        if len(drawn) == 7:
            raise KeyboardInterrupt
        return noise(seed, indices, *shapes, window=window)

    monkeypatch.setattr(draw, "initial_noise", counted)
    assert main(arguments("again")) == 130
    assert main(arguments("again")) == 0
    assert drawn == [*((start, k) for start in (0, 2) for k in range(3)), (4, 0), *((4, k) for k in range(3))]
    again = load_file(tmp_path / "again/samples.safetensors")
    assert all(torch.equal(again[name], samples[name]) for name in samples)
    assert json.loads((tmp_path / "again/continuation.json").read_text()) == found


def test_mistakes_are_one_line(generator, stage2_run, builtin_set, tmp_path, capsys):
    data = ["--data", str(builtin_set), "--out", str(tmp_path)]
    assert main(["--weights", str(stage2_run / "weights/ema"), *data]) == 2
    assert "knows one window only" in capsys.readouterr().err
    assert main(["--weights", str(generator), *data, "--windows", "1"]) == 2
    assert "--windows must be at least 2" in capsys.readouterr().err
