"""What the app shows: an autoencoder, and the generator on its latents where there is one."""

from dataclasses import dataclass
from pathlib import Path

import torch

from autoencoder.model import VidTwin
from autoencoder.stage1.config import Stage1Config
from data.config import DataConfig
from generator.draw import open_pipeline
from generator.pipeline import VidTwinPipeline
from runtime.config import load
from runtime.models import autoencoder_in, find_models
from runtime.weights import load_model


@dataclass(frozen=True)
class Models:
    """Trained models, on one device.

    Attributes:
        pipeline: None where there is no generator.
        run: the folder of the run that they come from; None for weights without one.
        data: the data set that the run saw, and how; the defaults where there is no run.
        fps: rate of the clips that the autoencoder was trained on.
    """

    name: str
    autoencoder: VidTwin
    pipeline: VidTwinPipeline | None
    run: Path | None
    data: DataConfig
    fps: float


def open_weights(folder: Path, device: torch.device) -> Models:
    """Whatever `find_models` finds in a run's folder, a pipeline's, or an autoencoder's.

    Raises `UserError` for a folder that holds none of these.
    """
    own, found = load_model(VidTwin, autoencoder_in(folder)).to(device), find_models(folder)
    pipeline = open_pipeline(folder, scheduler=None, weak=None).to(device) if found.generator else None
    if pipeline is not None and _equal(own, pipeline.autoencoder):
        own = pipeline.autoencoder  # one copy is enough
    config = found.run and found.run / "config.yaml"
    data = load(Stage1Config, config).data if config and config.is_file() else DataConfig()
    fps = pipeline.config.fps if pipeline is not None and found.run is None else data.fps
    return Models(folder.name, own, pipeline, found.run, data, fps)


def _equal(a: VidTwin, b: VidTwin) -> bool:
    states = a.state_dict(), b.state_dict()
    return states[0].keys() == states[1].keys() and all(
        torch.equal(x, states[1][name]) for name, x in states[0].items()
    )
