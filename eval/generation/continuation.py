"""How well a generator goes on from window to window: joints, motion and brightness of long samples.

`python -m eval.generation.continuation --weights runs/long/generator/weights/ema --data datasets/long --out
runs/long/joints`

Beside samples, real test videos are measured, and their windows as the autoencoder gives them back, each by itself:
what a joint costs that no generator has made. Stopped at any time, the same command goes on where it was.
"""

import sys
from dataclasses import asdict
from pathlib import Path

import torch
from einops import rearrange
from torch import Tensor

from autoencoder.model import VidTwin
from data.clips import ClipDataset
from data.index import VideoIndex, open_index
from data.video.frames import read_frames, to_float, to_uint8, write_video
from eval.classifier import BATCH, MotionClassifier, TrainingConfig, accuracy, load_or_train
from eval.measures.joints import continuation_figures
from eval.measures.windows import whole_windows
from eval.pictures.continuation import draw_continuation
from generator.diffusion.schedulers import name_of
from generator.draw import Sampling, open_pipeline
from generator.grid import film_strips, labelled_grid
from generator.pipeline import VidTwinPipeline
from generator.sample import generate
from generator.samples import collect, joined, parts_folder
from runtime import distributed
from runtime.errors import UserError
from runtime.files import write_json
from runtime.options import OptionParser
from runtime.precision import DTYPES, computing_in, full_precision, precision_of_use
from runtime.progress import track
from runtime.script import script
from runtime.weights import weights_hash

SHOWN, MOMENTS = 10, 8


def real_videos(index: VideoIndex, pipeline: VidTwinPipeline, most: int) -> Tensor:
    """The videos from their first frame on, uint8 `n c t h w`: as many windows, at most so many, as all of them have.

    Raises `UserError` when they have no two.
    """
    config, fps = pipeline.autoencoder.typed_config, pipeline.config.fps
    windows = min(most, *(whole_windows(info, config.frames, fps) for info in index.videos))
    if windows < 2:
        raise UserError(
            "the shortest of the test videos is not two windows long; make longer ones: python -m data.synthetic DIR "
            "--seconds 8"
        )
    times = torch.arange(windows * config.frames)
    read = (
        read_frames(info, (times * info.fps / fps).round().long().tolist(), (config.height, config.width))
        for info in index.videos
    )
    frames = torch.stack(list(track(read, len(index.videos), "reading", "videos")))
    return rearrange(frames, "n t h w c -> n c t h w")


@full_precision()
@torch.inference_mode()
def reconstructed(model: VidTwin, videos: Tensor) -> Tensor:
    """uint8 `n c t h w`, encoded and decoded window by window."""
    frames, device = model.typed_config.frames, next(model.parameters()).device
    windows = rearrange(videos, "n c (k t) h w -> (n k) c t h w", t=frames)
    decoded = [
        to_uint8(model.decode(model.encode(to_float(batch.to(device))).mode())).cpu() for batch in windows.split(BATCH)
    ]
    return rearrange(torch.cat(decoded), "(n k) c t h w -> n c (k t) h w", n=len(videos))


def open_classifier(data: Path, test: VideoIndex, pipeline: VidTwinPipeline, out: Path, steps: int) -> MotionClassifier:
    """Of windows at random out of the training videos."""
    config, train = pipeline.autoencoder.typed_config, open_index(data, "train", cache=out)
    geometry = config.frames, pipeline.config.fps, (config.height, config.width)
    clips = [ClipDataset(index, *geometry, 0, train=False, in_memory=True) for index in (train, test)]
    return load_or_train(*clips, out / "classifier", TrainingConfig(steps=steps))


def measure(
    weights: str, data: Path, out: Path, classifier_steps: int, num: int, guidance: float | None, **settings: int
) -> dict[str, dict]:
    """The whole of what the script does; see its options for the meaning of the arguments."""
    out.mkdir(parents=True, exist_ok=True)
    device = distributed.device()
    pipeline, test = open_pipeline(weights, scheduler=None, weak=None).to(device), open_index(data, "test", cache=out)
    if tuple(pipeline.config.classes) != test.classes:
        raise UserError(f"{data} has other classes than the generator in {weights}")
    saved = pipeline.config
    scale, interval = saved.guidance_scale if guidance is None else guidance, tuple(saved.guidance_interval)
    sampling = Sampling(saved.num_inference_steps, scale, interval, name_of(pipeline.scheduler), **settings)
    real = real_videos(test, pipeline, sampling.windows)

    precision = precision_of_use("auto", device)
    parts = parts_folder(out, (weights_hash(pipeline.transformer), num, sampling, precision))
    parts.mkdir(exist_ok=True)
    with computing_in(DTYPES[precision], device):
        generate(pipeline, torch.arange(num) % len(test.classes), parts, sampling, given={})
    drawn = joined(parts, num, sampling.batch_size)
    samples, labels = drawn["videos"], drawn["labels"]

    classifier = open_classifier(data, test, pipeline, out, classifier_steps)
    frames, of_videos = pipeline.autoencoder.typed_config.frames, torch.tensor(test.labels)
    generated = rearrange(samples, "n t h w c -> n c t h w")
    figures = {
        "real": figures_of(real, of_videos, classifier, frames),
        "reconstruction": figures_of(reconstructed(pipeline.autoencoder, real), of_videos, classifier, frames),
        "generated": figures_of(generated, labels, classifier, frames),
    }
    show(out, samples, labels, pipeline)
    draw_continuation(figures, out / "continuation.png")
    described = {"weights": str(weights), "num": num, **asdict(sampling), "precision": precision, "frames": frames}
    write_json(out / "continuation.json", {**described, "chance": 1 / len(test.classes), **figures})
    collect(out, parts, num, sampling.batch_size)
    return figures


def figures_of(videos: Tensor, labels: Tensor, classifier: MotionClassifier, frames: int) -> dict[str, dict]:
    """`continuation_figures`, and `accuracy`, the share of videos whose motion is right in each window."""
    right = [accuracy(classifier, window, labels) for window in videos.split(frames, dim=2)]
    return continuation_figures(videos, frames) | {"accuracy": right}


def show(out: Path, samples: Tensor, labels: Tensor, pipeline: VidTwinPipeline) -> None:
    """`strip.png`, moments from the first frame to the last, and `videos.mp4` of some samples `n t h w c`."""
    shown, names = samples[:SHOWN], [pipeline.config.classes[label] for label in labels[:SHOWN].tolist()]
    film_strips(shown, names, MOMENTS).save(out / "strip.png")
    write_video(out / "videos.mp4", labelled_grid(shown, names), pipeline.config.fps)


def print_table(figures: dict[str, dict]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("", "joint, dB", "inside, dB", "right in each window, %", "brightness a window")
    for name, found in figures.items():
        psnr, slope = found["psnr"], found["brightness"]
        shares = " ".join(f"{100 * share:.0f}" for share in found["accuracy"])
        drift = f"{slope['slope']:+.2f} ± {slope['slope_error']:.2f}"
        table.add_row(name, f"{psnr['joint']:.2f}", f"{psnr['inside']:.2f}", shares, drift)
    Console().print(table)


@script
def main(argv: list[str]) -> None:
    parser = OptionParser(description="Joints, motion and brightness of samples longer than a window.")
    parser.add_argument("--weights", required=True, help="a generator trained with diffusion.context")
    parser.add_argument("--data", type=Path, required=True, help="a UCF-101 of videos at least two windows long")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--num", type=int, default=80, help="samples; sample i is of class i mod k")
    parser.add_argument("--windows", type=int, default=16, help="length of a sample")
    parser.add_argument("--guidance", type=float, help="classifier-free guidance scale (default: the configuration's)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch_size", type=int, default=20, help="samples in one pass")
    parser.add_argument("--classifier_steps", type=int, default=TrainingConfig().steps)
    args = parser.parse_args(argv)
    if args.num < 2 or args.batch_size < 1 or args.windows < 2:
        raise UserError("--num and --windows must be at least 2, --batch_size at least 1")
    print_table(measure(**vars(args)))
    print(f"look at {args.out / 'continuation.png'}, {args.out / 'strip.png'} and {args.out / 'videos.mp4'}")


if __name__ == "__main__":
    sys.exit(main())
