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
from runtime.errors import UserError
from runtime.weights import load_model

SHOWCASE = Path(__file__).parents[1] / "weights/showcase"


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
    """Whatever is there of a run (`weights/ema`, `generator/weights/ema`), a pipeline's folder, or an autoencoder's.

    Raises `UserError` for a folder that holds none of these.
    """
    if not folder.is_dir() and folder == SHOWCASE:
        raise UserError(
            "no run is named, and weights/showcase, which would be shown then, is not there; run `make demo`, then "
            "`make app RUN=demo`"
        )
    if (folder / "model_index.json").is_file():
        return _of_pipeline(folder, device)
    if (folder / "config.json").is_file():
        model = load_model(VidTwin, folder).to(device)
        return Models(folder.name, model, None, None, DataConfig(), DataConfig().fps)
    return _of_run(folder, device)


def _of_pipeline(folder: Path, device: torch.device) -> Models:
    pipeline = open_pipeline(folder, scheduler=None, weak=None).to(device)
    return Models(folder.name, pipeline.autoencoder, pipeline, None, DataConfig(), pipeline.config.fps)


def _of_run(folder: Path, device: torch.device) -> Models:
    own, generator = folder / "weights/ema", folder / "generator/weights/ema"
    has_own, has_generator = (own / "config.json").is_file(), (generator / "model_index.json").is_file()
    if not has_own and not has_generator:
        raise UserError(
            f"{folder} holds no weights (neither weights/ema nor generator/weights/ema); train first: make stage1 "
            f"RUN={folder.name}, or give another folder"
        )
    config = folder / "config.yaml"
    data = load(Stage1Config, config).data if config.is_file() else DataConfig()
    pipeline = open_pipeline(generator, scheduler=None, weak=None).to(device) if has_generator else None
    model = load_model(VidTwin, own).to(device) if has_own else pipeline.autoencoder
    if pipeline is not None and _equal(model, pipeline.autoencoder):
        model = pipeline.autoencoder  # one copy is enough
    return Models(folder.name, model, pipeline, folder, data, data.fps)


def _equal(a: VidTwin, b: VidTwin) -> bool:
    states = a.state_dict(), b.state_dict()
    return states[0].keys() == states[1].keys() and all(
        torch.equal(x, states[1][name]) for name, x in states[0].items()
    )
