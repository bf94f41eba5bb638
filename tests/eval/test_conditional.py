"""Conditional drawing is measured on what the pipeline draws for each donor, and on nothing else."""

import json

import pytest
import torch
from einops import rearrange
from PIL import Image

from autoencoder.model import VidTwin
from data.video.frames import to_float
from eval.classifier import accuracy, load_classifier
from eval.generation import conditional
from eval.report import open_clips
from generator.config import DiffusionConfig
from generator.diffusion import initial_noise, make_scheduler
from generator.dit import DiT
from generator.grid import to_bytes
from generator.pipeline import VidTwinPipeline, load_pipeline, save_pipeline
from runtime.weights import load_model
from tests.small_pipeline import DIFFUSERS_ON_NUMPY_2

pytestmark = pytest.mark.filterwarnings(DIFFUSERS_ON_NUMPY_2)


@pytest.fixture
def run(stage1_run, builtin_set, tmp_path):
    """Stage one as trained, and a generator with a time for each latent that no one has trained, but awake."""
    (tmp_path / "weights").symlink_to(stage1_run / "weights")
    autoencoder = load_model(VidTwin, tmp_path / "weights/ema")
    size, classes = autoencoder.typed_config, sorted(path.name for path in (builtin_set / "UCF-101").iterdir())
    torch.manual_seed(0)
    sizes = {"width": 16, "depth": 1, "num_heads": 2, "class_width": 8, "times": "separate"}
    transformer = DiT(size.structure_shape, size.dynamics_shape, len(classes), **sizes)
    for parameter in transformer.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    scheduler = make_scheduler(DiffusionConfig("flow"))
    pipeline = VidTwinPipeline(transformer, autoencoder, scheduler, classes=classes, num_inference_steps=2)
    (tmp_path / "generator/weights").mkdir(parents=True)
    save_pipeline(pipeline, tmp_path / "generator/weights/ema")
    return tmp_path


def test_figures_are_those_of_what_is_drawn_for_the_donors(run, builtin_set, capsys):
    arguments = ["--run", str(run), "--data", str(builtin_set), "--num", "10", "--classifier_steps", "2"]
    assert conditional.main(arguments) == 0
    figures = json.loads((run / "evaluation/conditional.json").read_text())
    assert list(figures)[1:3] == ["dynamics for a given structure", "structure for given dynamics"]
    with Image.open(run / "evaluation/conditional.png") as picture:
        assert min(picture.size) > 100

    pipeline = load_pipeline(run / "generator/weights/ema")
    donors = conditional.Donors.of(open_clips(pipeline.autoencoder, builtin_set, "test", run), 10, pipeline)
    assert donors.labels.tolist() == list(range(10))
    layout = pipeline.transformer.layout
    noise = initial_noise(0, range(10), layout.structure_shape, layout.dynamics_shape)
    pipeline.set_progress_bar_config(disable=True)
    dynamics = pipeline.autoencoder.encode(to_float(donors.videos)).mode().dynamics
    videos = to_bytes(pipeline(range(10), latents=[noise], dynamics=dynamics, output_type="pt").frames)
    videos = rearrange(videos, "n t h w c -> n c t h w")
    found, classifier = figures["structure for given dynamics"], load_classifier(run / "evaluation/classifier")
    assert found["accuracy"] == accuracy(classifier, videos, donors.labels)
    difference = videos.double().mean(2) - donors.videos.double().mean(2)
    expected = (-10 * (difference / 255).square().mean((1, 2, 3)).log10()).mean().item()
    assert found["appearance_of_donor"] == pytest.approx(expected, abs=1e-3)
    assert "structure first" in capsys.readouterr().out


def test_a_generator_with_one_time_is_refused(stage1_run, stage2_run, builtin_set, tmp_path, capsys):
    arguments = ["--run", stage1_run, "--weights", stage2_run / "weights/ema", "--data", builtin_set, "--out", tmp_path]
    assert conditional.main([*map(str, arguments)]) == 2
    assert "--diffusion.times separate" in capsys.readouterr().err
