"""Stage two end to end on a small cache: resuming, refusals, pipeline, sampling."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file

from generator import sample as sampling
from generator.diffusion import initial_noise
from generator.pipeline import load_pipeline
from generator.stage2 import Stage2Config
from generator.train import main, train
from runtime.config import load


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


def test_a_pipeline_in_bfloat16_rounds_its_models_alone(stage2_run):
    exact, coarse = (load_pipeline(stage2_run / "weights" / "ema") for _ in range(2))
    coarse.to(torch.bfloat16)
    assert coarse.transformer.dtype == coarse.autoencoder.dtype == torch.bfloat16
    layout, samples = exact.transformer.layout, []
    noise = initial_noise(0, range(4), layout.structure_shape, layout.dynamics_shape)
    for pipeline in (exact, coarse):
        pipeline.set_progress_bar_config(disable=True)
        drawn = pipeline(range(4), latents=[noise], output_type="pt")
        samples.append((*pipeline.transformer.statistics, pipeline.scheduler.sigmas, *drawn.latents[0], drawn.frames))
    assert {each.dtype for each in samples[1]} == {torch.float32}
    for found, expected in zip(*(each[:5] for each in samples), strict=True):
        assert torch.equal(found, expected)
    for found, expected in zip(*(each[5:] for each in samples), strict=True):
        assert (found - expected).norm() < 0.02 * expected.norm()


def test_a_cache_of_another_autoencoder_is_refused(stage1_run, configs, tmp_path, capsys):
    arguments = ["--config", str(configs / "stage2.yaml"), "--run", str(tmp_path / "run")]
    arguments += ["--cache", str(stage1_run / "latents/train"), "--autoencoder", str(stage1_run / "weights/raw")]
    assert main(arguments) == 2
    assert "was encoded by autoencoder" in capsys.readouterr().err
    arguments[5] = str(tmp_path)
    assert main(arguments) == 2
    assert "no latent cache" in capsys.readouterr().err


def sample(weights, out, num=5, batch_size=2, precision="auto"):
    settings = {"steps": 2, "guidance": 1.5, "seed": 3, "fps": None}
    sampling.write_samples(
        str(weights), "Spin,Blink", num, out=out, batch_size=batch_size, precision=precision, **settings
    )
    return load_file(out / "samples.safetensors")


def test_samples_depend_on_seed_and_number_alone(stage2_run, launch, tmp_path):
    """Equal bits for one process, two, and an interruption at one batch size; close across batch sizes."""
    folder = stage2_run / "weights" / "ema"
    one = sample(folder, tmp_path / "one")
    arguments = ["--weights", str(folder), "--classes", "Spin,Blink", "--num", "5", "--seed", "3", "--steps", "2"]
    arguments += ["--guidance", "1.5", "--batch-size", "2", "--out", str(tmp_path / "two")]
    done = launch("generator.sample", *arguments, ranks=2)
    assert done.returncode == 0, done.stderr
    assert equal(load_file(tmp_path / "two" / "samples.safetensors"), one)
    other = sample(folder, tmp_path / "other", batch_size=5)
    for latent in ("structure", "dynamics"):
        torch.testing.assert_close(other[latent], one[latent], rtol=0, atol=1e-3)
    assert equal(sample(folder, tmp_path / "full", precision="fp32"), one)
    coarse = sample(folder, tmp_path / "coarse", precision="bf16")
    for latent in ("structure", "dynamics"):
        assert 0 < (coarse[latent] - one[latent]).abs().max() < 0.05 * one[latent].abs().max()
    told = [json.loads((tmp_path / name / "samples.json").read_text())["precision"] for name in ("one", "coarse")]
    assert told == ["fp32", "bf16"]
    first = sample(folder, tmp_path / "first", num=2)
    assert all(torch.equal(first[name], one[name][:2]) for name in one)


def test_samples_come_as_videos_grid_and_arrays(stage2_run, tmp_path):
    tensors = sample(stage2_run / "weights" / "ema", tmp_path)
    assert tensors["videos"].shape == (5, 4, 16, 16, 3)
    assert tensors["videos"].dtype == torch.uint8
    names = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())
    assert names == sorted(
        [
            *("Spin/00000.mp4", "Blink/00001.mp4", "Spin/00002.mp4", "Blink/00003.mp4", "Spin/00004.mp4"),
            *("grid.mp4", "grid.png", "samples.json", "samples.safetensors"),
        ]
    )


def test_unknown_classes_and_missing_weights_are_one_line(stage2_run, tmp_path, capsys):
    weights = str(stage2_run / "weights" / "ema")
    assert sampling.main(["--weights", weights, "--classes", "Archery", "--out", str(tmp_path)]) == 2
    assert "Archery" in capsys.readouterr().err
    assert sampling.main(["--weights", str(tmp_path / "none"), "--out", str(tmp_path)]) == 2
    assert "holds no generator" in capsys.readouterr().err
