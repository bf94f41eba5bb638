"""A run as the app opens it: a tiny autoencoder with its cached latents, and a generator that can all that one can."""

import pytest
import torch

from app.weights import open_weights
from autoencoder.model import VidTwin
from data.video.frames import write_video
from generator.pipeline import load_pipeline, save_pipeline
from runtime.weights import load_model
from tests.documented_project import write_generator


@pytest.fixture(scope="session")
def app_run(stage1_run, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "shown"
    run.mkdir()
    for name in ("weights", "latents", "config.yaml"):
        (run / name).symlink_to(stage1_run / name)
    generator = run / "generator/weights/ema"
    write_generator(generator, load_model(VidTwin, run / "weights/ema"))
    pipeline, numbers = load_pipeline(generator), torch.Generator().manual_seed(0)
    for parameter in pipeline.transformer.parameters():  # which begins with layers that do nothing
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=numbers)
    save_pipeline(pipeline, generator)
    return run


@pytest.fixture(scope="session")
def models(app_run):
    return open_weights(app_run, torch.device("cpu"))


@pytest.fixture(scope="session")
def videos(tmp_path_factory):
    """Two of eleven and nine frames, at the rate of the model's clips, so that every frame is shown."""
    place = tmp_path_factory.mktemp("videos")
    for name, frames, grey in (("a", 11, 30), ("b", 9, 200)):
        video = torch.full((frames, 24, 40, 3), grey, dtype=torch.uint8)
        for i in range(frames):
            video[i, 4:16, 3 * i : 3 * i + 8] = torch.tensor([220, 60, 40], dtype=torch.uint8)
        write_video(place / f"{name}.mp4", video, 8)
    return place
