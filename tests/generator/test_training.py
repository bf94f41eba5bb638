"""Stage two end to end on a small cache: resuming, refusals, pipeline, sampling."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file

from generator.pipeline import load_pipeline
from generator.stage2 import Stage2Config
from generator.train import main, train
from runtime.config import load
from runtime.errors import UserError


@pytest.fixture
def configure(stage1_run, configs, tmp_path):
    def make(name, *overrides):
        places = ["--cache", str(stage1_run / "latents/train"), "--autoencoder", str(stage1_run / "weights/ema")]
        return load(Stage2Config, configs / "stage2.yaml", ["--run", str(tmp_path / name), *places, *overrides])

    return make


def weights(run, kind="ema"):
    return load_file(run / "weights" / kind / "transformer" / "diffusion_pytorch_model.safetensors")


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("objective", ["x0", "flow"])
def test_resuming_equals_never_stopping(processes, configure, tmp_path, objective):
    config = configure("run", "--diffusion.objective", objective, "--sample_posterior", "true")
    train(config)
    run = tmp_path / "run"
    whole, raw, log = weights(run), weights(run, "raw"), (run / "metrics.jsonl").read_text()
    shutil.rmtree(run / "checkpoints" / "step_00000006")
    shutil.rmtree(run / "weights")
    train(config)
    assert equal(weights(run), whole)
    assert equal(weights(run, "raw"), raw)
    without_speed = [
        [{k: v for k, v in json.loads(line).items() if not k.startswith("speed/")} for line in text.splitlines()]
        for text in (log, (run / "metrics.jsonl").read_text())
    ]
    assert without_speed[0] == without_speed[1]


def test_the_pipeline_folder_is_whole(stage1_run, stage2_run):
    pipeline = load_pipeline(stage2_run / "weights" / "ema")
    assert len(pipeline.config.classes) == 10
    assert (pipeline.config.num_inference_steps, pipeline.config.guidance_scale, pipeline.config.fps) == (2, 2.0, 8.0)
    statistics = pipeline.transformer.statistics
    assert all(each.any() for each in statistics)
    encoder = load_file(stage1_run / "weights/ema/diffusion_pytorch_model.safetensors")
    assert equal(dict(pipeline.autoencoder.state_dict()), encoder)


def test_a_cache_of_another_autoencoder_is_refused(stage1_run, configs, tmp_path, capsys):
    arguments = ["--config", str(configs / "stage2.yaml"), "--run", str(tmp_path / "run")]
    arguments += ["--cache", str(stage1_run / "latents/train"), "--autoencoder", str(stage1_run / "weights/raw")]
    assert main(arguments) == 2
    assert "was encoded by autoencoder" in capsys.readouterr().err
    arguments[5] = str(tmp_path)
    assert main(arguments) == 2
    assert "no latent cache" in capsys.readouterr().err


def test_a_run_without_previews_ends_as_any(processes, configure, tmp_path):
    train(configure("run", "--preview", "0", "--loop.steps", "2"))
    assert weights(tmp_path / "run")
    assert not (tmp_path / "run/videos").exists()
    with pytest.raises(UserError, match="--preview -1"):
        configure("other", "--preview", "-1")
