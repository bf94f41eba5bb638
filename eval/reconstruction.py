"""How well an autoencoder gives clips back: PSNR, SSIM, LPIPS of reconstructions and of each latent alone.

`python eval/reconstruction.py --weights runs/demo/weights/ema DATA --output reconstruction.json`
"""

import sys
from collections import defaultdict
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from autoencoder.losses.perceptual import LPIPS
from autoencoder.model import VidTwin
from data.clips import ClipDataset, skipped_files
from data.config import DataConfig
from data.index import VideoIndex, open_index
from data.loader import eval_loader
from data.pixels import psnr, ssim
from data.video.frames import to_float
from eval.classifier import MotionClassifier, load_classifier
from eval.measures.means import RunningMeans, open_lpips
from runtime import distributed
from runtime.errors import UserError
from runtime.files import write_json
from runtime.options import OptionParser
from runtime.precision import full_precision
from runtime.progress import Progress
from runtime.script import script
from runtime.weights import load_model

Figures = dict[str, dict[str, float]]


@full_precision()
@torch.inference_mode()
def evaluate_reconstruction(
    model: VidTwin,
    loader: DataLoader,
    lpips: LPIPS | None = None,
    classifier: MotionClassifier | None = None,
) -> dict[str, Figures | int | list[str]]:
    """Means over every frame of every clip that `loader` gives (`data.loader.eval_loader`).

    Returns `{metric: {what: mean}}` with the metrics `psnr` (dB), `ssim`, and `lpips` and `accuracy` where there
    is a network for them, of `reconstruction`, `structure` and `dynamics` (each latent decoded alone), `trivial` (the
    clip's own mean frame; PSNR only) and `real` (accuracy only); and `clips`, `frames` and `skipped`, the names of
    files that turned out bad. What is decoded is clamped to [-1, 1] and not rounded.
    """
    device, means, clips, skipped = next(model.parameters()).device, RunningMeans(), 0, set()
    progress = Progress("evaluating", sum(len(batch) for batch in loader.batch_sampler), "clips")
    for batch in loader:
        video, labels = to_float(batch["video"].to(device)), batch["label"].to(device)
        outputs = decoded_parts(model, video)
        update_pixels(means, outputs, video)
        if lpips is not None:
            for name, output in outputs.items():
                means.update(f"lpips/{name}", lpips(output, video))
        if classifier is not None:
            for name, output in {"real": video, **outputs}.items():
                means.update(f"accuracy/{name}", classifier(output).argmax(1) == labels)
        clips += len(video)
        skipped |= skipped_files(batch)
        progress.advance(len(video))
    return {"clips": clips, "frames": means.counts["psnr/trivial"], "skipped": sorted(skipped), **by_metric(means)}


def decoded_parts(model: VidTwin, video: Tensor) -> dict[str, Tensor]:
    """What the posterior mean of `b c t h w` decodes to, from both latents and from each alone."""
    latents = model.encode(video).mode()
    parts = {"reconstruction": "both", "structure": "structure", "dynamics": "dynamics"}
    return {name: model.decode(latents, part).clamp(-1, 1) for name, part in parts.items()}


def update_pixels(means: RunningMeans, outputs: dict[str, Tensor], video: Tensor) -> None:
    for name, output in outputs.items():
        means.update(f"psnr/{name}", psnr(output, video))
        means.update(f"ssim/{name}", ssim(output, video))
    # What a model reaches that keeps no motion at all: any useful one is above it.
    means.update("psnr/trivial", psnr(video.mean(dim=2, keepdim=True).expand_as(video), video))


def by_metric(means: RunningMeans) -> Figures:
    """`{"psnr/structure": x}` as `{"psnr": {"structure": x}}`."""
    figures: Figures = defaultdict(dict)
    for name, mean in means.means().items():
        metric, what = name.split("/")
        figures[metric][what] = mean
    return dict(figures)


def open_loader(model: VidTwin, index: VideoIndex, fps: float, batch_size: int, max_videos: int | None) -> DataLoader:
    """One clip from the middle of each video, at most `max_videos` of them spread evenly."""
    config = model.typed_config
    clips = ClipDataset(index, config.frames, fps, (config.height, config.width), 0, train=False, in_memory=False)
    total = len(clips)
    count = min(max_videos or total, total)
    chosen = [place * total // count for place in range(count)]
    return eval_loader(clips, batch_size, 0, 1, chosen)


def print_table(figures: Figures) -> None:
    from rich.console import Console
    from rich.table import Table

    metrics = [metric for metric in ("psnr", "ssim", "lpips", "accuracy") if metric in figures]
    rows = dict.fromkeys(what for metric in metrics for what in figures[metric])
    table = Table("", *metrics)
    for what in rows:
        table.add_row(what, *(f"{figures[m][what]:.4f}" if what in figures[m] else "" for m in metrics))
    Console().print(table)


@script
def main(argv: list[str]) -> None:
    parser = OptionParser(description="PSNR, SSIM and LPIPS of an autoencoder's reconstructions.")
    parser.add_argument("data", help="a folder with UCF-101/ and ucfTrainTestlist/, or any folder of videos")
    parser.add_argument("--weights", required=True, help="an autoencoder's folder, such as runs/demo/weights/ema")
    parser.add_argument("--split", choices=("train", "test"), default="test")
    parser.add_argument("--fold", type=int, choices=(1, 2, 3), default=1)
    parser.add_argument("--fps", type=float, default=DataConfig().fps, help="rate at which frames are taken")
    parser.add_argument("--batch_size", type=int, default=8)
    parser.add_argument("--max_videos", type=int, help="at most so many, spread evenly (default: all)")
    parser.add_argument("--no_lpips", action="store_true", help="leave LPIPS out")
    parser.add_argument("--classifier", type=Path, help="folder of eval.classifier: adds the accuracy of what it sees")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    args = parser.parse_args(argv)
    if args.batch_size < 1 or (args.max_videos is not None and args.max_videos < 1) or args.fps <= 0:
        raise UserError("--batch_size, --max_videos and --fps must be positive")
    device = distributed.device()
    model = load_model(VidTwin, args.weights).to(device)
    index = open_index(args.data, args.split, args.fold, cache=args.output and args.output.parent)
    loader = open_loader(model, index, args.fps, args.batch_size, args.max_videos)
    lpips = None if args.no_lpips else open_lpips()
    classifier = load_classifier(args.classifier) if args.classifier else None
    figures = evaluate_reconstruction(model, loader, lpips and lpips.to(device), classifier)
    print_table(figures)
    bad = len(index.bad) + len(figures["skipped"])
    print(
        f"{figures['clips']} clips of {args.data} ({args.split}), {figures['frames']} frames, {bad} bad files left out"
    )
    if args.output:
        source = {"weights": args.weights, "data": args.data, "split": args.split, "fold": args.fold, "fps": args.fps}
        args.output.parent.mkdir(parents=True, exist_ok=True)
        write_json(args.output, {**source, "bad_files": bad, **figures})


if __name__ == "__main__":
    sys.exit(main())
