"""How the quality of samples depends on steps, guidance and scheduler: a heat map of a run on the built-in set.

`python -m eval.generation.sweep --run runs/demo --data datasets/builtin` writes `sweep.json` and `sweep.png` to
`runs/demo/evaluation/`. Quality is the motion classifier's: the share of samples that show the class that was asked
for, and the Fréchet distance to the test videos in its features.
"""

import json
import sys
import time
from argparse import Namespace
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import torch
from einops import rearrange
from torch import Tensor

from eval.classifier import MotionClassifier, TrainingConfig, accuracy, fitted, load_or_train
from eval.metrics.gaussian import Gaussian, frechet_distance
from eval.report import all_videos, open_autoencoder, open_clips
from generator.diffusion.schedulers import check_steps, exchanged, name_of
from generator.draw import Sampling, draw, open_pipeline
from generator.pipeline import VidTwinPipeline
from runtime import distributed
from runtime.errors import UserError
from runtime.files import write_json
from runtime.options import OptionParser
from runtime.precision import full_precision
from runtime.progress import track
from runtime.script import script
from runtime.weights import weights_hash

Cell = dict[str, str | int | float]
MEASURES = {"accuracy": "classified as asked", "classifier_frechet": "Fréchet distance in the classifier's features"}


class Judge:
    """The classifier of a run's data set, and what it says of the real test videos."""

    def __init__(self, run: Path, data: Path, classifier_steps: int) -> None:
        autoencoder = open_autoencoder(run)
        train, self.test = (open_clips(autoencoder, data, split, run) for split in ("train", "test"))
        self.classifier: MotionClassifier = load_or_train(
            train, self.test, run / "evaluation/classifier", TrainingConfig(steps=classifier_steps)
        )
        self.real: Gaussian = fitted(self.classifier, all_videos(self.test))

    def __call__(self, videos: Tensor, labels: Tensor) -> dict[str, float]:
        """Of uint8 videos `n t h w c` of the classes `labels: n`."""
        videos = rearrange(videos, "n t h w c -> n c t h w")
        distance = frechet_distance(self.real, fitted(self.classifier, videos))
        return {"accuracy": accuracy(self.classifier, videos, labels), "classifier_frechet": distance}


def measure(pipeline: VidTwinPipeline, judge: Judge, sampling: Sampling, num: int) -> dict[str, float]:
    """The quality of `num` samples, sample i of class i mod k, and the seconds that each took."""
    labels = torch.arange(num) % len(pipeline.config.classes)
    pipeline.scheduler = exchanged(pipeline.scheduler, sampling.scheduler)
    started = time.monotonic()
    batches = [
        draw(pipeline, labels, indices.tolist(), sampling) for indices in torch.arange(num).split(sampling.batch_size)
    ]
    seconds = (time.monotonic() - started) / num
    return {**judge(torch.cat([batch["videos"] for batch in batches]), labels), "seconds": seconds}


def cells_of(
    pipeline: VidTwinPipeline, schedulers: Sequence[str], steps: Sequence[int], guidances: Sequence[float]
) -> list[Sampling]:
    """All that are to be measured. Raises `UserError` for a scheduler, or steps of it, that do not fit."""
    for name, number in product(schedulers, steps):
        check_steps(exchanged(pipeline.scheduler, name), number)
    interval = tuple(pipeline.config.guidance_interval)
    return [Sampling(n, scale, interval, name) for name, n, scale in product(schedulers, steps, guidances)]


@full_precision()
def sweep(args: Namespace, pipeline: VidTwinPipeline, cells: Sequence[Sampling], out: Path) -> list[Cell]:
    """Measure what `sweep.json` does not hold yet, writing after each cell; returns the cells that were asked for."""
    record, weights, judge = out / "sweep.json", weights_hash(pipeline.transformer), None
    known: list[Cell] = json.loads(record.read_text()) if record.is_file() else []
    asked = []
    for sampling in track(cells, len(cells), "sweep", "cells"):
        place = {"scheduler": sampling.scheduler, "steps": sampling.steps, "guidance": sampling.guidance}
        place |= {"num": args.num, "weights": weights, "classifier_steps": args.classifier_steps}
        cell = next((cell for cell in known if cell.items() >= place.items()), None)
        if cell is None:
            judge = judge or Judge(args.run, args.data, args.classifier_steps)
            cell = {**place, **measure(pipeline, judge, sampling, args.num)}
            known.append(cell)
            write_json(record, known)
        asked.append(cell)
    return asked


def draw_heat_map(cells: Sequence[Cell], path: Path) -> None:
    """A row for each measure, a column for each scheduler; steps across, guidance up; brighter is better."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    schedulers, steps, guidances = (
        sorted({cell[axis] for cell in cells}) for axis in ("scheduler", "steps", "guidance")
    )
    figure = Figure(figsize=(1.6 + (0.8 + 0.7 * len(steps)) * len(schedulers), 1.6 + 1.1 * len(guidances)))
    FigureCanvasAgg(figure)
    figure.set_layout_engine("constrained")
    rows = figure.subplots(len(MEASURES), len(schedulers), squeeze=False)
    for (measure_name, heading), row in zip(MEASURES.items(), rows, strict=True):
        values = [cell[measure_name] for cell in cells]
        colours = {"vmin": min(values), "vmax": max(values), "origin": "lower", "aspect": "auto"}
        colours["cmap"] = "viridis" if measure_name == "accuracy" else "viridis_r"
        for scheduler, axis in zip(schedulers, row, strict=True):
            found = {
                (cell["guidance"], cell["steps"]): cell[measure_name]
                for cell in cells
                if cell["scheduler"] == scheduler
            }
            axis.imshow([[found[scale, n] for n in steps] for scale in guidances], **colours)
            for (i, scale), (j, n) in product(enumerate(guidances), enumerate(steps)):
                shown = {"ha": "center", "va": "center", "fontsize": 8, "bbox": {"fc": "white", "ec": "none", "pad": 1}}
                axis.text(j, i, f"{found[scale, n]:.3g}", **shown)
            axis.set_xticks(range(len(steps)), steps)
            axis.set_yticks(range(len(guidances)), [f"{scale:g}" for scale in guidances])
            axis.set_title(f"{scheduler}: {heading}", fontsize=8)
            axis.set_xlabel("steps")
            axis.set_ylabel("guidance")
    figure.savefig(path, dpi=110)


def numbers(text: str, kind: type) -> list:
    """Comma-separated numbers, each once."""
    try:
        return list(dict.fromkeys(kind(word) for word in text.split(",")))
    except ValueError as error:
        raise UserError(f"{text!r} are no comma-separated numbers of the kind {kind.__name__}") from error


@script
def main(argv: list[str]) -> None:
    parser = OptionParser(description="Sample quality over steps, guidance and schedulers, as a heat map.")
    parser.add_argument("--run", type=Path, required=True, help="a run with both stages, such as runs/demo")
    parser.add_argument("--data", type=Path, required=True, help="its data set, which has classes")
    parser.add_argument("--schedulers", default="", help="comma-separated (default: the one saved, and dpm)")
    parser.add_argument("--steps", default="5,10,25,50", help="comma-separated")
    parser.add_argument("--guidance", default="1,2.5,5", help="comma-separated")
    parser.add_argument("--num", type=int, default=100, help="samples of a cell")
    parser.add_argument("--classifier_steps", type=int, default=TrainingConfig().steps)
    args = parser.parse_args(argv)
    if args.num < 2:
        raise UserError("--num must be at least 2: a distance of distributions needs some samples")
    pipeline = open_pipeline(args.run / "generator/weights/ema", scheduler=None, weak=None).to(distributed.device())
    schedulers = args.schedulers.split(",") if args.schedulers else [name_of(pipeline.scheduler), "dpm"]
    cells = cells_of(pipeline, list(dict.fromkeys(schedulers)), numbers(args.steps, int), numbers(args.guidance, float))
    out = args.run / "evaluation"
    out.mkdir(exist_ok=True)
    measured = sweep(args, pipeline, cells, out)
    draw_heat_map(measured, out / "sweep.png")
    print(f"{out / 'sweep.png'}, sweep.json: {len(measured)} cells of {args.num} samples")


if __name__ == "__main__":
    sys.exit(main())
