"""What the app shows: an autoencoder, and the generator on its latents where there is one."""

from dataclasses import dataclass
from pathlib import Path

import torch

from autoencoder.model import VidTwin
from autoencoder.stage1.config import Stage1Config
from data.config import DataConfig
from generator.draw import open_models
from generator.pipeline import VidTwinPipeline
from runtime.config import load
from runtime.models import find_models


@dataclass(frozen=True)
class Models:
    """Trained models, on one device.

    Attributes:
        pipeline: None where there is no generator.
        folder: the autoencoder's.
        run: the folder of the run that they come from; None for weights without one.
        data: the data set that the run saw, and how; the defaults where there is no run.
        fps: rate of the clips that the autoencoder was trained on.
    """

    name: str
    autoencoder: VidTwin
    pipeline: VidTwinPipeline | None
    folder: Path
    run: Path | None
    data: DataConfig
    fps: float


def open_weights(folder: Path, device: torch.device) -> Models:
    """Whatever `find_models` finds in a run's folder, a pipeline's, or an autoencoder's.

    Raises `UserError` for a folder that holds none of these.
    """
    autoencoder, pipeline = open_models(folder, device)
    found = find_models(folder)
    run = found.run
    config = run and run / "config.yaml"
    data = load(Stage1Config, config).data if config and config.is_file() else DataConfig()
    fps = pipeline.config.fps if pipeline is not None and run is None else data.fps
    return Models(folder.name, autoencoder, pipeline, found.autoencoder, run, data, fps)
