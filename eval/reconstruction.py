"""How well models give clips back, side by side: PSNR, SSIM, LPIPS, changes over time, against what their latents take.

`python eval/reconstruction.py DATA --weights runs/demo/weights/ema --output reconstruction.json` writes the table, and
beside it a CSV file with every clip and the figures. Started again after an interruption, it measures what is missing.
"""

import argparse
import shutil
import sys
from dataclasses import asdict
from pathlib import Path

from torch import nn
from torch.utils.data import DataLoader

from autoencoder.model import VidTwin
from data.config import DataConfig
from data.index import UNLABELLED
from eval.classifier import MotionClassifier, load_classifier
from eval.features.i3d import I3D
from eval.features.network import NETWORKS
from eval.measures.windows import WHICH, WindowDataset, open_part, window_loader
from eval.page.published import FPS, SHAPE, SOURCE, TABLE_1
from eval.reconstructions.distance import described, distances, open_features
from eval.reconstructions.judges import Judges
from eval.reconstructions.measure import Scores, measure
from eval.reconstructions.outputs import REAL, TRIVIAL, TWINS, WHOLE, of_nothing, of_twins
from eval.reconstructions.results import csv_of, print_quoted, print_rows, row_of
from eval.reconstructions.subjects import Subject, measured_once, open_subjects, parts_folder
from runtime import distributed
from runtime.errors import UserError
from runtime.files import write_json, write_text
from runtime.options import OptionParser
from runtime.script import script
from runtime.weights import load_model

Figures = dict[str, dict[str, float]]


def evaluate_reconstruction(
    model: VidTwin, loader: DataLoader, lpips: nn.Module | None = None, classifier: MotionClassifier | None = None
) -> dict[str, Figures | int | list[str]]:
    """Means over every frame of every clip that `loader` gives (`data.loader.eval_loader`, `window_loader`).

    Returns `{metric: {what: mean}}` with the metrics of `eval.metrics.collection`, of `reconstruction`, `structure` and
    `dynamics` (each latent decoded alone), `trivial` (the clip's own mean frame) and `real` (accuracy only); and
    `clips`, `frames` and `skipped`, the names of files that turned out bad. What is decoded is not rounded.

    Args:
        lpips: the network of `eval.metrics.pixels.open_lpips`.
    """
    twins = of_twins(model)
    subject = Subject("evaluating", (*TWINS, TRIVIAL, REAL), lambda video: {**twins(video), **of_nothing(video)})
    device = next(model.parameters()).device
    metrics = subject.metrics(Judges(lpips, classifier))
    scores, skipped = measure(subject.outputs_of, loader, metrics, device, subject.name)
    figures: dict[str, Figures] = {}
    for what, each in scores.items():
        for metric, values in each.metrics.items():
            figures.setdefault(metric, {})[what] = values.mean().item()
    clips, frames = scores[WHOLE].metrics["psnr"].shape
    return {"clips": clips, "frames": clips * frames, "skipped": skipped, **figures}


def compare(args: argparse.Namespace) -> dict[str, object]:
    """The whole of what the script does; returns what the JSON file holds."""
    device, out = distributed.device(), args.output
    frames, size = geometry(args)
    cache = out and out.parent
    indices = distributed.on_main(lambda: open_part(args.data, args.split, args.fold, cache))
    clips = WindowDataset(indices, frames, args.fps, size, args.windows, args.max_videos)
    loader = window_loader(clips, args.batch_size, args.workers, distributed.rank(), distributed.world_size())
    judges = open_judges(args, clips)
    scores: dict[tuple[str, str], Scores] = {}
    for number, subject in enumerate(open_subjects(args, (frames, *size), device)):
        found = measured_once(subject, clips, loader, judges, device, out)
        scores |= {(subject.name, output): each for output, each in found.items()}
        if out and WHOLE in found and distributed.is_main():
            from eval.reconstructions.figures import draw_strips

            draw_strips(subject.outputs_of, found[WHOLE], clips, device, beside(out, f"-strips-{number}.png"))
    return conclude(args, clips, scores, judges, [bad for index in indices for bad in index.bad])


def geometry(args: argparse.Namespace) -> tuple[int, tuple[int, int]]:
    """Frames and size of the clips: as asked for, or else the first model's, or else the paper's."""
    frames, *size = SHAPE
    if args.weights:
        frames, *size = load_model(VidTwin, args.weights[0].rpartition("=")[2]).typed_config.video_shape
    return args.frames or frames, tuple(args.size or size)


def open_judges(args: argparse.Namespace, clips: WindowDataset) -> Judges:
    """The networks that are wanted, as far as they are there and clips are for them."""
    from eval.metrics.pixels import open_lpips

    classifier = load_classifier(args.classifier) if args.classifier else None
    if classifier and any(UNLABELLED in index.labels for index, _ in clips.videos):
        raise UserError(f"{args.data} has no classes, which --classifier needs")
    lpips = None if args.no_lpips else open_lpips()
    features = open_features(args.feature_network, args.features, clips.frames) if args.features else None
    return Judges(lpips, classifier, features)


def conclude(
    args: argparse.Namespace,
    clips: WindowDataset,
    scores: dict[tuple[str, str], Scores],
    judges: Judges,
    bad: list[tuple[str, str]],
) -> dict[str, object]:
    """Print the table, and write everything that there is one of."""
    fvd = distances(scores)
    measured = {key: each for key, each in scores.items() if each.metrics}
    rows = [row_of(*key, each, clips, fvd.get(key)) for key, each in measured.items()]
    seen = {place for each in scores.values() for place in each.places}
    skipped = {clips.name(place): "could not be read" for place in range(len(clips)) if place not in seen}
    found = {
        **{name: getattr(args, name) for name in ("data", "split", "fold", "windows")},
        "fps": args.fps,
        "frames": clips.frames,
        "size": clips.size,
        "clips": len(seen),
        "videos": len({clips.video_of(place) for place in seen}),
        "bad_files": [{"name": name, "reason": reason} for name, reason in (*bad, *skipped.items())],
        "rows": [row.as_json() for row in rows],
        "fvd": described(judges.features, len(seen)) if fvd else None,
        "quoted": {"source": SOURCE, "table": 1, "rows": [asdict(row) for row in TABLE_1]},
    }
    if distributed.is_main():
        print_rows(rows)
        if (clips.frames, *clips.size, args.fps) == (*SHAPE, FPS):
            print_quoted(f"Table 1 of {SOURCE}", TABLE_1)
        say_what_was_measured(found)
        if args.output:
            write(args.output, found, measured, rows, clips)
    return found


def say_what_was_measured(found: dict[str, object]) -> None:
    height, width = found["size"]
    print(
        f"{found['clips']} clips of {found['frames']}x{height}x{width} at {found['fps']:g} frames a second "
        f"({found['windows']}) from {found['videos']} videos of {found['data']} ({found['split']}), "
        f"{len(found['bad_files'])} bad files left out"
    )
    if fvd := found["fvd"]:
        print(f"FVD: against these clips, in features of {fvd['features']['file']}, {fvd['features']['sha256'][:16]}")
    for file in found["bad_files"]:
        print(f"left out: {file['name']}: {file['reason']}", file=sys.stderr)


def write(
    out: Path, found: dict[str, object], scores: dict[tuple[str, str], Scores], rows: list, clips: WindowDataset
) -> None:
    from eval.reconstructions.figures import draw_error_over_time, draw_rate_quality

    write_text(beside(out, ".csv"), csv_of(scores, clips))
    whole = {key: each for key, each in scores.items() if key[1] in (WHOLE, TRIVIAL)}
    draw_error_over_time(whole, clips, beside(out, "-time.png"))
    draw_rate_quality([row for row in rows if row.output in (WHOLE, TRIVIAL)], beside(out, "-rate.png"))
    write_json(out, found)
    shutil.rmtree(parts_folder(out), ignore_errors=True)


def beside(out: Path, ending: str) -> Path:
    return out.with_name(f"{out.stem}{ending}")


def parse(argv: list[str]) -> argparse.Namespace:
    parser = OptionParser(description="How well autoencoders and codecs give the clips of a data set back.")
    parser.add_argument("data", help="a folder with UCF-101/ and ucfTrainTestlist/, any folder of videos, or shards")
    parser.add_argument(
        "--weights", nargs="+", default=[], metavar="[NAME=]DIR", help="autoencoders, such as runs/demo/weights/ema"
    )
    parser.add_argument(
        "--peers", nargs="+", default=[], metavar="[NAME=]SPEC", help="others' autoencoders and codecs, see eval.coders"
    )
    parser.add_argument("--split", choices=("train", "test", "all"), default="test")
    parser.add_argument("--fold", type=int, choices=(1, 2, 3), default=1)
    parser.add_argument("--windows", choices=WHICH, default="middle", help="which clips of each video")
    parser.add_argument("--fps", type=float, default=DataConfig().fps, help="rate at which frames are taken")
    parser.add_argument("--frames", type=int, help="of a clip (default: the first model's, or 16)")
    parser.add_argument("--size", type=int, nargs=2, metavar=("H", "W"), help="of a clip (as --frames)")
    parser.add_argument("--batch_size", type=int, default=8)
    parser.add_argument("--workers", type=int, default=0, help="processes that decode videos ahead")
    parser.add_argument("--max_videos", type=int, help="at most so many, spread evenly (default: all)")
    parser.add_argument("--no_parts", action="store_true", help="leave each latent alone out")
    parser.add_argument("--no_lpips", action="store_true", help="leave LPIPS out")
    parser.add_argument("--classifier", type=Path, help="folder of eval.classifier: adds the accuracy of what it sees")
    parser.add_argument("--features", type=Path, help="the network's file, as eval.fvd takes it: adds FVD")
    parser.add_argument("--feature_network", choices=NETWORKS, default=I3D.name, help="which one --features holds")
    parser.add_argument("--output", type=Path, help="JSON file to write; CSV and figures come beside it")
    args = parser.parse_args(argv)
    positive = [args.batch_size, args.fps, args.max_videos, args.frames, *(args.size or [])]
    if any(value is not None and value <= 0 for value in positive) or args.workers < 0:
        raise UserError("--batch_size, --max_videos, --fps, --frames and --size must be positive")
    if args.frames == 1:
        raise UserError("--frames must be at least 2: changes over time are measured, too")
    if args.feature_network != I3D.name and not args.features:
        raise UserError(f"--feature_network {args.feature_network} needs its file: --features FILE")
    return args


@script
def main(argv: list[str]) -> None:
    args = parse(argv)
    if args.output:
        args.output.parent.mkdir(parents=True, exist_ok=True)
    with distributed.processes():
        compare(args)


if __name__ == "__main__":
    sys.exit(main())
