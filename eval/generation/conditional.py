"""What a generator with a time for each latent draws for a given other one, on the built-in set.

`python -m eval.generation.conditional --run runs/demo --data datasets/builtin` writes `conditional.json` to
`runs/demo/evaluation/`, and `conditional.mp4` and `.png` to look at. Motion is judged by the classifier; that the
appearance stays, by the PSNR of the mean frame against the mean frame of the video that gave the latent, beside that
against another test video's, which is chance.
"""

import sys
from argparse import Namespace
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from einops import rearrange
from torch import Tensor

from data.clips import ClipDataset
from data.latents import TwinLatents
from data.pixels import psnr
from data.video.frames import to_float, to_uint8, write_video
from eval.classifier import TrainingConfig, accuracy
from eval.generation.sweep import Judge
from eval.report import all_videos
from generator.draw import Sampling, draw, open_pipeline
from generator.grid import film_strips, labelled_grid
from generator.pipeline import VidTwinPipeline
from runtime import distributed
from runtime.errors import UserError
from runtime.files import write_json
from runtime.options import OptionParser
from runtime.precision import full_precision
from runtime.progress import Progress
from runtime.script import script

BATCH, SHOWN = 50, 12


@dataclass(frozen=True)
class Donors:
    """Test videos, uint8 `n c t h w`, their classes `n`, and their latents as `encode` gives them."""

    videos: Tensor
    labels: Tensor
    latents: TwinLatents

    @classmethod
    @torch.inference_mode()
    def of(cls, clips: ClipDataset, num: int, pipeline: VidTwinPipeline) -> "Donors":
        """The first `num` in an order that goes through the classes."""
        labels = torch.tensor(clips.index.labels)
        by_class = [torch.nonzero(labels == k).flatten().tolist() for k in range(len(clips.index.classes))]
        turns = [places[i] for i in range(max(map(len, by_class))) for places in by_class if i < len(places)]
        chosen = turns[:num]
        videos = all_videos(clips)[chosen]
        parts = [pipeline.autoencoder.encode(to_float(part)).mode() for part in videos.split(BATCH)]
        return cls(videos, labels[chosen], TwinLatents(*(torch.cat(each) for each in zip(*parts, strict=True))))


def drawn(
    pipeline: VidTwinPipeline, labels: Tensor, sampling: Sampling, donors: Donors, given: str | None, said: Progress
) -> Tensor:
    """Videos of these classes, uint8 `n c t h w`, for the `given` latent of the donors, if any."""
    videos = []
    for places in torch.arange(len(labels)).split(sampling.batch_size):
        latent = {given: getattr(donors.latents, given)[places]} if given else {}
        videos.append(draw(pipeline, labels, places.tolist(), sampling, **latent)["videos"])
        said.advance(len(places))
    return rearrange(torch.cat(videos), "n t h w c -> n c t h w")


def appearance(videos: Tensor, donors: Tensor) -> float:
    """PSNR in dB between mean frames over time."""
    mean_frames = (to_float(each).mean(2, keepdim=True) for each in (videos, donors))
    return psnr(*mean_frames).mean().item()


@full_precision()
def measure(
    args: Namespace, pipeline: VidTwinPipeline
) -> tuple[dict[str, dict[str, float]], dict[str, Tensor], Donors]:
    """Figures of each way of drawing, its videos, and the donors."""
    judge = Judge(args.run, args.data, args.classifier_steps)
    donors = Donors.of(judge.test, args.num, pipeline)
    classes = len(pipeline.config.classes)
    # Another class than the donor's: motion that leaks from structure would count as wrong.
    others = (donors.labels + 1 + torch.arange(len(donors.labels)) % (classes - 1)) % classes
    together = Sampling.saved(pipeline, batch_size=BATCH)
    ways = {
        "together": (others, together, None),
        "dynamics for a given structure": (others, together, "structure"),
        "structure for given dynamics": (donors.labels, together, "dynamics"),
        "structure first": (others, replace(together, order="structure_first"), None),
        "dynamics first": (others, replace(together, order="dynamics_first"), None),
    }
    said = Progress("sampling", len(ways) * len(others), "videos")
    figures, videos = {}, {}
    for way, (labels, sampling, given) in ways.items():
        found = videos[way] = drawn(pipeline, labels, sampling, donors, given, said)
        figures[way] = judge(rearrange(found, "n c t h w -> n t h w c"), labels)
        figures[way]["appearance_of_donor"] = appearance(found, donors.videos)
        figures[way]["appearance_of_another"] = appearance(found, donors.videos.roll(1, 0))
    figures["reconstruction"] = {"accuracy": accuracy(judge.classifier, reconstructed(pipeline, donors), donors.labels)}
    return figures, videos, donors


@torch.inference_mode()
def reconstructed(pipeline: VidTwinPipeline, donors: Donors) -> Tensor:
    parts = zip(*(latent.split(BATCH) for latent in donors.latents), strict=True)
    return to_uint8(torch.cat([pipeline.autoencoder.decode(TwinLatents(*part)) for part in parts]))


def write_pictures(videos: dict[str, Tensor], donors: Donors, fps: float, out: Path) -> None:
    """A row of videos for each donor: itself, then what was drawn for its latents."""
    shown = ["dynamics for a given structure", "structure for given dynamics"]
    columns = {"donor": donors.videos} | {way: videos[way] for way in shown}
    rows = torch.stack([rearrange(each[:SHOWN], "n c t h w -> n t h w c") for each in columns.values()], dim=1)
    captions = ["donor", "its structure", "its dynamics"] * len(rows)
    flat = rearrange(rows, "n k t h w c -> (n k) t h w c")
    write_video(out / "conditional.mp4", labelled_grid(flat, captions), fps)
    film_strips(flat, captions).save(out / "conditional.png")


@script
def main(argv: list[str]) -> None:
    parser = OptionParser(description="Draw one latent for a given other, and both in turn; measure motion and looks.")
    parser.add_argument("--run", type=Path, required=True, help="a run of stage one, such as runs/demo")
    parser.add_argument("--weights", type=Path, help="of the generator (default: the run's)")
    parser.add_argument("--data", type=Path, required=True, help="its data set, which has classes")
    parser.add_argument("--num", type=int, default=100, help="test videos that give their latents")
    parser.add_argument("--classifier_steps", type=int, default=TrainingConfig().steps)
    parser.add_argument("--out", type=Path, help="default: the run's evaluation/")
    args = parser.parse_args(argv)
    if args.num < 2:
        raise UserError("--num must be at least 2: a distance of distributions needs some samples")
    weights = args.weights or args.run / "generator/weights/ema"
    pipeline = open_pipeline(weights, scheduler=None, weak=None).to(distributed.device())
    if pipeline.transformer.config.times != "separate":
        raise UserError(f"{weights} draws both latents together; train a generator with --diffusion.times separate")
    out = args.out or args.run / "evaluation"
    out.mkdir(parents=True, exist_ok=True)
    figures, videos, donors = measure(args, pipeline)
    write_json(out / "conditional.json", figures)
    write_pictures(videos, donors, pipeline.config.fps, out)
    for way, found in figures.items():
        print(f"{way:<32}" + "  ".join(f"{name} {value:.3g}" for name, value in found.items()))


if __name__ == "__main__":
    sys.exit(main())
