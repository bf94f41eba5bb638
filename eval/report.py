"""Measure a run, draw it, and write its report: one page that opens from disk, with everything in it.

`python -m eval.report --run runs/demo` writes `runs/demo/evaluation/` and of that, with what other commands left
there, `runs/demo/report.html`. What was measured of the same weights, samples and videos is not measured again.
"""

import hashlib
import json
import sys
from argparse import Namespace
from dataclasses import asdict
from pathlib import Path

import torch
from einops import rearrange
from safetensors.torch import load_file

from autoencoder.model import VidTwin
from autoencoder.stage1.config import Stage1Config
from data.clips import ClipDataset
from data.config import DataConfig, Split
from data.index import open_index
from data.loader import eval_loader
from eval.classifier import (
    MotionClassifier,
    TrainingConfig,
    classifier_frechet,
    fingerprint,
    load_or_train,
    predict,
)
from eval.page.page import write_page
from eval.pictures.panels import draw_pictures
from eval.pictures.players import Samples, write_players
from eval.reconstruction import evaluate_reconstruction
from generator.samples import SAMPLES, SETTINGS
from runtime import distributed
from runtime.config import load
from runtime.errors import UserError
from runtime.files import sha256, write_json
from runtime.options import OptionParser
from runtime.precision import full_precision
from runtime.script import script
from runtime.weights import load_model, weights_hash

BATCH = 20
BUILTIN = "dataset.json"  # what the built-in data set, and no other, holds
DEFAULT = DataConfig()
Figures = dict[str, dict[str, float]]


@full_precision()
def measure(args: Namespace) -> None:
    """Write `report.json`, `cost.json`, pictures and players to `evaluation/`, unless they are there of the same."""
    run, out = args.run, args.run / "evaluation"
    if not (run / "weights/ema").is_dir():
        raise UserError(f"{run} holds no trained autoencoder (weights/ema); train one: make stage1 RUN={run.name}")
    settings = load(Stage1Config, run / "config.yaml").data
    data = args.data or Path(settings.root)
    model, in_memory = open_autoencoder(run), (data / BUILTIN).is_file()
    test = open_clips(model, data, "test", run, settings, in_memory=False)
    samples = open_samples(run / "samples")
    configs = stages(run)
    measured = weights_hash(model), fingerprint(test), samples and samples.digest, *map(sha256, configs.values())
    made_of = digest(*measured, args.classifier_steps, args.max_videos)
    record = out / "report.json"
    if record.is_file() and json.loads(record.read_text()).get("made_of") == made_of:
        print(f"{record} is of these weights, samples and videos: not measured again", flush=True)
        return
    out.mkdir(exist_ok=True)
    if in_memory:  # decoded only now that it is needed
        test = open_clips(model, data, "test", run, settings)
    figures = describe(model, data, test, settings.fps)
    loader = eval_loader(test, BATCH, 0, 1, evenly(len(test), args.max_videos))
    if in_memory:
        train = open_clips(model, data, "train", run, settings)
        classifier = load_or_train(train, test, out / "classifier", TrainingConfig(steps=args.classifier_steps))
        figures |= evaluate_reconstruction(model, loader, classifier=classifier)
        add_samples(figures, classifier, train, test, samples)
    else:
        from eval.metrics.pixels import open_lpips  # torchmetrics takes seconds to import

        lpips = open_lpips()
        figures |= evaluate_reconstruction(model, loader, lpips and lpips.to(distributed.device()))
    write_json(out / "cost.json", costs(configs, len(test.index.classes)))
    draw_pictures(model, test, out)
    write_players(model, test, samples, out / "players")
    write_json(record, figures | {"made_of": made_of})


def open_autoencoder(run: Path) -> VidTwin:
    """The run's averaged autoencoder, on the device that the classifier is on."""
    return load_model(VidTwin, run / "weights" / "ema").to(distributed.device())


def open_clips(
    model: VidTwin,
    data: Path,
    split: Split,
    cache: Path,
    settings: DataConfig = DEFAULT,
    in_memory: bool = True,
) -> ClipDataset:
    """One clip from the middle of each video, at the rate and of the fold of the settings."""
    config, index = model.typed_config, open_index(data, split, settings.fold, cache)
    return ClipDataset(index, config.frames, settings.fps, (config.height, config.width), 0, False, in_memory)


def all_videos(clips: ClipDataset) -> torch.Tensor:
    """Every clip once, uint8 `n c t h w`."""
    return torch.stack([clips[0, i]["video"] for i in range(len(clips))])


def evenly(total: int, most: int | None) -> list[int]:
    """At most so many of all, spread evenly."""
    count = min(most or total, total)
    return [place * total // count for place in range(count)]


def open_samples(folder: Path) -> Samples | None:
    """What `generator.sample` left, if it did, with the class of each where that is recorded."""
    file, record = folder / SAMPLES, folder / SETTINGS
    if not file.is_file():
        return None
    named = json.loads(record.read_text())["videos"] if record.is_file() else []
    classes = tuple(Path(name).parent.name for name in named)
    return Samples(load_file(file)["videos"], classes, sha256(file))


def digest(*made_of: str | int | None) -> str:
    """Names all that figures were made of."""
    return hashlib.sha256(json.dumps(made_of).encode()).hexdigest()


def describe(model: VidTwin, data: Path, test: ClipDataset, fps: float) -> dict[str, object]:
    """What was measured: the data set, the clip, and the latents that stand for it."""
    config = model.typed_config
    latents = config.structure_shape, config.dynamics_shape
    return {
        "data": str(data),
        "bad_files": len(test.index.bad),
        "fps": fps,
        "clip": config.video_shape,
        "latents": dict(zip(("structure", "dynamics"), latents, strict=True)),
        "values": config.latent_values,
        "rate": config.rate,
    }


def add_samples(
    figures: Figures, classifier: MotionClassifier, train: ClipDataset, test: ClipDataset, samples: Samples | None
) -> None:
    """What the classifier of the built-in data set, whose classes are motions, says of samples; and of chance."""
    classes, real = test.index.classes, all_videos(test)
    figures["accuracy"]["chance"] = 1 / len(classes)
    figures["classifier_frechet"] = {"train": classifier_frechet(classifier, real, all_videos(train))}
    if samples is None or not samples.classes or not set(samples.classes) <= set(classes):
        return
    generated = rearrange(samples.videos, "n t h w c -> n c t h w")
    asked = torch.tensor([classes.index(name) for name in samples.classes])
    right = (predict(classifier, generated) == asked).double()
    figures["accuracy"]["generated"] = right.mean().item()
    figures["accuracy_by_class"] = {
        name: right[asked == place].mean().item() for place, name in enumerate(classes) if name in samples.classes
    }
    figures["classifier_frechet"]["generated"] = classifier_frechet(classifier, real, generated)


def stages(run: Path) -> dict[str, Path]:
    """The configurations of the models that the run has."""
    configs = {"autoencoder": run / "config.yaml", "generator": run / "generator/config.yaml"}
    return {name: path for name, path in configs.items() if path.is_file()}


def costs(configs: dict[str, Path], classes: int) -> list[dict[str, object]]:
    """What each model costs, as a row of `eval.cost`."""
    from eval.cost import costs_of  # which counts a generator, too, and so imports more

    rows = costs_of(list(configs.values()), None, classes, 1)
    return [asdict(row) | {"name": name} for name, row in zip(configs, rows, strict=True)]


@script
def main(argv: list[str]) -> None:
    parser = OptionParser(description="Measure a run and write its report, one page that opens from disk.")
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--data", type=Path, help="its data set (default: the one that it was trained on)")
    parser.add_argument("--max_videos", type=int, help="reconstruct at most so many, spread evenly (default: all)")
    parser.add_argument("--classifier_steps", type=int, default=TrainingConfig().steps)
    args = parser.parse_args(argv)
    if args.max_videos is not None and args.max_videos < 1:
        raise UserError("--max_videos must be positive")
    measure(args)
    page = write_page(args.run)
    print(f"{page}: {page.stat().st_size / 1e6:.1f} MB; open it in a browser")


if __name__ == "__main__":
    sys.exit(main())
