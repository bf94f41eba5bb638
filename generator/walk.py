"""Walks between two classes and between two seeds, as one grid: columns go from class to class, rows from seed to seed.

`python -m generator.walk --weights runs/NAME --classes Archery,Surfing --seeds 0,1 --out DIR`
"""

import sys
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn

from data.latents import TwinLatents
from data.video.frames import write_video
from generator.diffusion import initial_noise
from generator.draw import open_pipeline
from generator.grid import labelled_grid, to_bytes
from generator.pipeline import VidTwinPipeline
from generator.tokens import TokenLayout
from runtime import distributed
from runtime.errors import UserError
from runtime.options import OptionParser
from runtime.precision import DTYPES, computing_in, precision_of_use
from runtime.progress import track
from runtime.script import script


def slerp(a: Tensor, b: Tensor, share: float) -> Tensor:
    """From `a` to `b` on a great circle, flattened: what lies between two draws of noise is as long as they are."""
    cosine = torch.cosine_similarity(a.flatten().double(), b.flatten().double(), dim=0)
    angle = cosine.clamp(-1, 1).acos()
    if angle < 1e-6:  # one seed, twice
        return a
    return (torch.sin((1 - share) * angle) * a + torch.sin(share * angle) * b) / torch.sin(angle)


def noise_between(layout: TokenLayout, first: int, last: int, points: int) -> list[TwinLatents]:
    """The noise of sample 0 of two seeds, and of points between them, each latent on its own circle: `1 …`."""
    ends = [initial_noise(seed, [0], layout.structure_shape, layout.dynamics_shape) for seed in (first, last)]
    shares = torch.linspace(0, 1, points).tolist()
    return [TwinLatents(*(slerp(a, b, share) for a, b in zip(*ends, strict=True))) for share in shares]


def between_classes(pipeline: VidTwinPipeline, first: int, last: int, points: int) -> None:
    """Make the pipeline's classes the points of a walk between two of them, in the space of class embeddings."""
    for model in filter(None, (pipeline.transformer, pipeline.weak_transformer)):
        table, shares = model.class_embedding.weight.detach(), torch.linspace(0, 1, points)
        walk = torch.stack([torch.lerp(table[first], table[last], share) for share in shares.to(table)])
        model.class_embedding = nn.Embedding.from_pretrained(torch.cat([walk, table[-1:]]))
        model.null_label = points


def captions(names: list[str], seeds: list[int], rows: int, columns: int) -> list[str]:
    """What each tile is, where it is an end of a walk; elsewhere the share of the way."""

    def said(ends: list[str], i: int, points: int) -> str:
        return ends[0] if i == 0 else ends[-1] if i == points - 1 else f"{i / (points - 1):.0%}"

    numbers = [str(seed) for seed in seeds]
    return [f"{said(names, j, columns)}, {said(numbers, i, rows)}" for i in range(rows) for j in range(columns)]


def write_walk(
    pipeline: VidTwinPipeline, classes: list[int], seeds: list[int], points: int, guidance: float | None, out: Path
) -> None:
    """`walk.mp4`, and `walk.png` of its middle frame."""
    rows, columns = (points if len(ends) == 2 else 1 for ends in (seeds, classes))
    names = [pipeline.config.classes[label] for label in classes]
    between_classes(pipeline, classes[0], classes[-1], columns)
    noises = noise_between(pipeline.transformer.layout, seeds[0], seeds[-1], rows)
    videos = []
    for noise in track(noises, rows, "walking", "rows"):
        same = TwinLatents(*(latent.expand(columns, *latent.shape[1:]) for latent in noise))
        drawn = pipeline(range(columns), guidance_scale=guidance, latents=[same], output_type="pt")
        videos.append(to_bytes(drawn.frames))
    grid = labelled_grid(torch.cat(videos), captions(names, seeds, rows, columns), columns)
    out.mkdir(parents=True, exist_ok=True)
    write_video(out / "walk.mp4", grid, pipeline.config.fps)
    Image.fromarray(grid[len(grid) // 2].numpy()).save(out / "walk.png")


@script
def main(argv: list[str]) -> None:
    parser = OptionParser(description="Walk between two classes and between two seeds, in one grid.")
    parser.add_argument("--weights", required=True, help="a run's folder such as runs/demo, or a pipeline's")
    parser.add_argument("--classes", required=True, help="one class or two, comma-separated names or numbers")
    parser.add_argument("--seeds", default="0,1", help="one seed or two, comma-separated")
    parser.add_argument("--points", type=int, default=7, help="of each walk, with its ends")
    parser.add_argument("--guidance", type=float, help="guidance scale (default: the training configuration's)")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(argv)
    seeds, device = args.seeds.split(","), distributed.device()
    if not all(seed.isdecimal() for seed in seeds) or len(seeds) > 2 or args.points < 2:
        raise UserError("--seeds takes one number or two, such as 0,1, and --points at least 2")
    pipeline = open_pipeline(args.weights, scheduler=None, weak=None)
    classes = pipeline.labels([name.strip() for name in args.classes.split(",")])
    if len(classes) > 2:
        raise UserError(f"a walk is between two classes; {len(classes)} are given")
    with computing_in(DTYPES[precision_of_use("auto", device)], device):
        write_walk(pipeline.to(device), classes, [int(seed) for seed in seeds], args.points, args.guidance, args.out)
    print(f"{args.out / 'walk.mp4'} and walk.png: columns from class to class, rows from seed to seed")


if __name__ == "__main__":
    sys.exit(main())
