"""Which trained models a folder holds that a user names: a run's, a pipeline's, or an autoencoder's."""

from argparse import ArgumentParser
from dataclasses import dataclass
from pathlib import Path

from runtime.errors import UserError

SHOWCASE = Path(__file__).parents[1] / "weights/showcase"
"""What comes with the project and is used where nothing is named; laid out as a pipeline's folder."""


@dataclass(frozen=True)
class ModelFolders:
    """Folders of what there is, None for what there is not.

    Attributes:
        autoencoder: a run's own, or else its generator's.
        generator: a pipeline's folder.
        run: the folder itself, where it is a run's of stage one or holds one of stage two, `generator/`.
    """

    autoencoder: Path | None = None
    generator: Path | None = None
    run: Path | None = None


def add_weights_option(parser: ArgumentParser) -> None:
    """`--weights`, a folder for `find_models`."""
    parser.add_argument(
        "--weights",
        type=Path,
        default=SHOWCASE,
        help="a run's folder such as runs/demo, a pipeline's, or an autoencoder's (default: weights/showcase)",
    )


def find_models(folder: str | Path) -> ModelFolders:
    """Whatever there is in a run's folder, of either stage, in a pipeline's, or in an autoencoder's.

    Raises `UserError` for the showcase where it did not come along.
    """
    folder = Path(folder)
    if is_showcase(folder) and not folder.is_dir():
        raise UserError(
            "weights/showcase, which is used where no weights are named, is not there: it comes with the project's "
            "folder; name others, such as those of `make demo` (--weights runs/demo, or make ... RUN=demo)"
        )
    for pipeline in (folder, folder / "weights/ema"):
        if _is_pipeline(pipeline):
            return ModelFolders(pipeline / "autoencoder", pipeline)
    for model in (folder, folder / "autoencoder"):
        if _is_model(model):
            return ModelFolders(model)
    own, generator = folder / "weights/ema", folder / "generator/weights/ema"
    if _is_pipeline(generator):
        return ModelFolders(own if _is_model(own) else generator / "autoencoder", generator, folder)
    return ModelFolders(own, None, folder) if _is_model(own) else ModelFolders()


def is_showcase(folder: Path) -> bool:
    return folder.resolve() == SHOWCASE.resolve()


def autoencoder_in(folder: str | Path) -> Path:
    """The folder of the autoencoder that `find_models` finds. Raises `UserError` where there is none."""
    if (found := find_models(folder).autoencoder) is None:
        raise UserError(
            f"{folder} holds no autoencoder (no config.json in it, in autoencoder/ or in weights/ema/); train stage "
            "one or give another --weights"
        )
    return found


def generator_in(folder: str | Path) -> Path:
    """The folder of the pipeline that `find_models` finds. Raises `UserError` where there is none."""
    if (found := find_models(folder).generator) is None:
        raise UserError(
            f"{folder} holds no generator (no model_index.json in it, in generator/weights/ema/ or in weights/ema/); "
            "train stage two or give another --weights"
        )
    return found


def _is_model(folder: Path) -> bool:
    return (folder / "config.json").is_file()


def _is_pipeline(folder: Path) -> bool:
    return (folder / "model_index.json").is_file()
