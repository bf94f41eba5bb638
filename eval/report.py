"""What the demo shows: figures and pictures of a run on the built-in data set.

`python -m eval.report --run runs/demo --data datasets/builtin` writes `runs/demo/evaluation/`.
"""

import sys
from pathlib import Path

import torch
from einops import rearrange
from safetensors.torch import load_file
from torch import Tensor

from autoencoder.model import VidTwin
from data.clips import ClipDataset
from data.config import DataConfig, Split
from data.index import open_index
from data.loader import eval_loader
from eval.classifier import TrainingConfig, accuracy, classifier_frechet, load_or_train
from eval.pictures import draw_pictures
from eval.reconstruction import evaluate_reconstruction
from generator.samples import SAMPLES
from runtime import distributed
from runtime.files import write_json
from runtime.options import OptionParser
from runtime.precision import full_precision
from runtime.script import script
from runtime.weights import load_model

BATCH = 20


@full_precision()
def report(run: Path, data: Path, classifier_steps: int) -> dict:
    """Measure a demo run; returns what `report.json` holds."""
    out = run / "evaluation"
    out.mkdir(exist_ok=True)
    model = open_autoencoder(run)
    train, test = (open_clips(model, data, split, run) for split in ("train", "test"))
    classifier = load_or_train(train, test, out / "classifier", TrainingConfig(steps=classifier_steps))
    figures = evaluate_reconstruction(model, eval_loader(test, BATCH, 0, 1), classifier=classifier)
    samples = load_file(run / "samples" / SAMPLES)
    generated, labels = rearrange(samples["videos"], "n t h w c -> n c t h w"), samples["labels"]
    figures["accuracy"]["generated"] = accuracy(classifier, generated, labels)
    figures["accuracy"]["chance"] = 1 / len(test.index.classes)
    figures["classifier_frechet"] = {
        "generated": classifier_frechet(classifier, all_videos(test), generated),
        "train": classifier_frechet(classifier, all_videos(test), all_videos(train)),
    }
    write_json(out / "report.json", figures)
    draw_pictures(model, test, samples["videos"], labels, out)
    return figures


def open_autoencoder(run: Path) -> VidTwin:
    """The run's averaged autoencoder, on the device that the classifier is on."""
    return load_model(VidTwin, run / "weights" / "ema").to(distributed.device())


def open_clips(model: VidTwin, data: Path, split: Split, cache: Path) -> ClipDataset:
    config, index = model.typed_config, open_index(data, split, cache=cache)
    return ClipDataset(index, config.frames, DataConfig().fps, (config.height, config.width), 0, False, True)


def all_videos(clips: ClipDataset) -> Tensor:
    """Every clip once, uint8 `n c t h w`."""
    return torch.stack([clips[0, i]["video"] for i in range(len(clips))])


@script
def main(argv: list[str]) -> None:
    parser = OptionParser(description="Figures and pictures of a run on the built-in data set.")
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--classifier_steps", type=int, default=TrainingConfig().steps)
    args = parser.parse_args(argv)
    report(args.run, args.data, args.classifier_steps)


if __name__ == "__main__":
    sys.exit(main())
