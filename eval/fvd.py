"""Fréchet video distance (arXiv 1812.01717) between real and generated videos.

`python eval/fvd.py REAL GENERATED --features i3d_torchscript.pt --protocol styleganv-2048 --output fvd.json`

REAL and GENERATED are folders of videos, array files (`.npz`, `.safetensors`: uint8 `n t h w c` under `videos`) or
folders that hold `samples.safetensors`; REAL may be the folder of UCF-101.
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from eval.measures.features import I3D, SETTING
from eval.measures.frechet import FeatureStatistics, frechet_distance
from eval.measures.sources import Source, Window, is_ucf101, open_source
from runtime import distributed
from runtime.errors import UserError
from runtime.files import write_json
from runtime.options import OptionParser
from runtime.progress import Progress
from runtime.script import script


@dataclass(frozen=True)
class Protocol:
    """What a published figure was measured on.

    Attributes:
        split: of UCF-101, the reference; None leaves it to the user.
        num_real, num_generated: clips of each; None takes all there are.
    """

    split: str | None
    num_real: int | None
    num_generated: int | None


PROTOCOLS = {
    "styleganv-2048": Protocol("train", 2048, 2048),
    "magvit-10k": Protocol("train", None, 10_000),
    "heldout": Protocol("test", None, None),
    "custom": Protocol(None, None, None),
}


def fvd(real: FeatureStatistics, generated: FeatureStatistics) -> float:
    """The Fréchet distance of the I3D's logits; warns where the covariances cannot be of full rank."""
    fewest = min(real.count, generated.count)
    if fewest <= real.dim:
        warn(f"{fewest} videos give {real.dim} features a singular covariance: compare only with equally many videos")
    return frechet_distance(real, generated)


def feature_statistics(
    clips: Iterator[Tensor], count: int, features: I3D, batch_size: int, what: str
) -> FeatureStatistics:
    """Statistics of the features of clips `t h w c`, with memory for one batch of them."""
    statistics, progress = FeatureStatistics(features.dim), Progress(what, count, "videos")
    while batch := list(islice(clips, batch_size)):
        statistics.update(features(torch.stack(batch)))
        progress.advance(len(batch))
    return statistics


def evaluate(args: argparse.Namespace) -> dict[str, object]:
    """The whole of what the script does but writing; returns what the JSON file holds."""
    protocol = PROTOCOLS[args.protocol]
    check_reference(args.protocol, protocol, args)
    features = open_features(args.features)
    window, split = Window(args.frames, args.frame_stride, args.fps, args.seed), protocol.split or args.split
    cache = args.output and args.output.parent
    real, generated = (open_source(path, window, split, args.fold, cache) for path in (args.real, args.generated))
    check_rates(real, generated)
    size = tuple(args.size) if args.size else common_size(real, generated)
    counts = protocol.num_real, protocol.num_generated
    statistics = [
        measure(source, name, count, size, features, args)
        for name, source, count in zip(("real", "generated"), (real, generated), counts, strict=True)
    ]
    return {
        "fvd": fvd(*statistics),
        "num_real": statistics[0].count,
        "num_generated": statistics[1].count,
        "protocol": args.protocol,
        "features": {"file": features.path.name, "sha256": features.sha256},
        "verified": features.verified,
        "covariance": "unbiased",
        "clips": {**asdict(window), "size": size},
        "real": describe(args.real, real) | ({"split": split, "fold": args.fold} if is_ucf101(args.real) else {}),
        "generated": describe(args.generated, generated),
    }


def open_features(path: Path | None) -> I3D:
    features = I3D(path, distributed.device())
    if not features.verified:
        warn(f"the SHA-256 of {features.path} is not that of the known I3D: the figure compares with no published one")
    return features


def measure(
    source: Source, name: str, wanted: int | None, size: tuple[int, int], features: I3D, args: argparse.Namespace
) -> FeatureStatistics:
    """Statistics of one side, of as many clips as the protocol wants."""
    count = require(name, wanted, source.total, args.protocol)
    statistics = feature_statistics(source.clips(count, size), count, features, args.batch_size, name)
    require(name, wanted, statistics.count, args.protocol)  # some may have turned out broken
    return statistics


def describe(path: Path, source: Source) -> dict[str, object]:
    return {"path": str(path), "available": source.total, "left_out": source.left_out}


def check_reference(name: str, protocol: Protocol, args: argparse.Namespace) -> None:
    """A protocol's figures compare only if made of its reference and with its clips."""
    if protocol.split is None:
        return
    if not is_ucf101(args.real):
        raise UserError(
            f"{name} measures against UCF-101's {protocol.split}list: give its folder (UCF-101/ and ucfTrainTestlist/) "
            "as REAL, or use --protocol custom"
        )
    if args.frames != 16:
        raise UserError(f"{name} is defined on 16 frames, not {args.frames}; use --protocol custom")


def require(name: str, wanted: int | None, available: int, protocol: str) -> int:
    """How many clips to take. Videos are never taken twice to make up a number."""
    if wanted is not None and available < wanted:
        raise UserError(
            f"{protocol} needs {wanted} {name} videos, there are {available}; make more or use --protocol custom"
        )
    return wanted or available


def check_rates(real: Source, generated: Source) -> None:
    """Say so where the two sides' frames lie differently far apart in time, as far as that is known."""
    if real.fps and generated.fps and abs(real.fps / generated.fps - 1) > 0.01:
        warn(
            f"real clips run at {real.fps:g} frames a second, generated ones at {generated.fps:g}: "
            "the distance measures that too; --fps takes both at one rate"
        )
    elif real.fps and not generated.fps:
        warn(f"real clips run at {real.fps:g} frames a second; if the arrays do not, give their rate with --fps")


def common_size(real: Source, generated: Source) -> tuple[int, int]:
    """The generated videos' size, which real ones are cut to."""
    size = generated.size or real.size
    if size is None:
        raise UserError("the videos differ in size; say with --size HEIGHT WIDTH what to cut them to")
    return size


def warn(message: str) -> None:
    print(f"warning: {message}", file=sys.stderr)


def parse(argv: list[str]) -> argparse.Namespace:
    parser = OptionParser(description="Fréchet video distance of two sets of videos.")
    parser.add_argument("real", type=Path, metavar="REAL", help="folder of videos, array file, or UCF-101's folder")
    parser.add_argument("generated", type=Path, metavar="GENERATED", help="folder of videos or array file")
    parser.add_argument("--features", type=Path, help=f"i3d_torchscript.pt (default: the environment's {SETTING})")
    parser.add_argument("--protocol", choices=PROTOCOLS, default="custom", help="custom takes all of both")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    parser.add_argument("--batch_size", type=int, default=8)
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--frame_stride", type=int, default=1, help="of both sides alike (default: consecutive frames)")
    parser.add_argument("--fps", type=float, help="take the frames of video files at this rate instead")
    parser.add_argument("--size", type=int, nargs=2, metavar=("H", "W"), help="what video files are cut to")
    parser.add_argument(
        "--split", choices=("train", "test"), default="train", help="of UCF-101, with --protocol custom"
    )
    parser.add_argument("--fold", type=int, choices=(1, 2, 3), default=1)
    parser.add_argument("--seed", type=int, default=0, help="of the choice of videos and windows")
    args = parser.parse_args(argv)
    for name in ("batch_size", "frames", "frame_stride", "fps"):
        if (value := getattr(args, name)) is not None and value <= 0:
            raise UserError(f"--{name} must be positive, not {value:g}")
    if args.size and min(args.size) < 1:
        raise UserError("--size must be positive")
    if args.fps and args.frame_stride != 1:
        raise UserError("give either --fps or --frame_stride")
    return args


@script
def main(argv: list[str]) -> None:
    args = parse(argv)
    if args.output:
        args.output.parent.mkdir(parents=True, exist_ok=True)
    result = evaluate(args)
    counts = f"{result['num_real']} real, {result['num_generated']} generated videos"
    print(f"FVD {result['fvd']:.2f} ({result['protocol']}; {counts}; {result['features']['file']})")
    for side in ("real", "generated"):
        if left_out := result[side]["left_out"]:
            print(f"{side}: {len(left_out)} files are broken or too short and left out, the first is {left_out[0]}")
    if args.output:
        write_json(args.output, result)


if __name__ == "__main__":
    sys.exit(main())
