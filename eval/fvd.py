"""Fréchet video distance (arXiv 1812.01717) between real and generated videos, with what tells how far to trust it.

`python eval/fvd.py REAL GENERATED --features i3d_torchscript.pt --protocol styleganv-2048 --output fvd.json`

REAL and GENERATED are folders of videos, array files (`.npz`, `.npy`, `.safetensors`, `.pt`: uint8 `n t h w c` under
`videos`), folders that hold `samples.safetensors`, packed shards, the folder of UCF-101, or what `--save_statistics`
wrote; in any mix, on any number of processes.
"""

import argparse
import sys
from pathlib import Path

from eval.distances.measure import measure
from eval.features.i3d import WEIGHTS
from eval.features.network import NETWORKS
from eval.videos.protocol import CUSTOM, FRAMES, PROTOCOLS, SPLIT, STRIDE, settle
from runtime import distributed
from runtime.errors import UserError
from runtime.files import write_json
from runtime.options import OptionParser
from runtime.script import script

FEWEST_RESAMPLES = 20  # of which one lies outside the interval
NAMED = 5  # faulty files in what is printed; all are in the JSON file


def options() -> OptionParser:
    parser = OptionParser(description="Fréchet video distance of two sets of videos.")
    what = "folder of videos, array file, shards, saved statistics"
    parser.add_argument("real", type=Path, metavar="REAL", help=f"{what}, or UCF-101's folder")
    parser.add_argument("generated", type=Path, metavar="GENERATED", help=what)
    parser.add_argument("--features", type=Path, help=f"the network's file (I3D's default: as {WEIGHTS.setting} says)")
    parser.add_argument("--feature_network", choices=NETWORKS, default="i3d")
    parser.add_argument("--protocol", choices=PROTOCOLS, default=CUSTOM, help=f"{CUSTOM} takes all of both")
    parser.add_argument("--num_real", type=int, help="how many real videos")
    parser.add_argument("--num_generated", type=int, help="how many generated videos")
    parser.add_argument("--frames", type=int, help=f"of a clip (default: {FRAMES})")
    parser.add_argument("--frame_stride", type=int, help=f"of both sides alike (default: {STRIDE})")
    parser.add_argument("--fps", type=float, help="take the frames of video files at this rate instead")
    parser.add_argument("--size", type=int, nargs=2, metavar=("H", "W"), help="what video files are cut to")
    parser.add_argument("--split", choices=("train", "test"), help=f"of UCF-101 or shards (default: {SPLIT})")
    parser.add_argument("--fold", type=int, choices=(1, 2, 3), default=1)
    parser.add_argument("--seed", type=int, default=0, help="of the choice of videos and windows")
    parser.add_argument("--resamples", type=int, default=200, help="for the interval; 0 leaves it and the sweep out")
    parser.add_argument("--checks", action="store_true", help="real against real, and against itself without motion")
    parser.add_argument("--output", type=Path, help="JSON file to write, with a picture of the sweep beside it")
    parser.add_argument("--save_statistics", type=Path, metavar="FILE", help="write what was found of REAL")
    parser.add_argument("--cache", type=Path, help="folder that keeps features (default: fvd_cache beside --output)")
    parser.add_argument("--batch_size", type=int, default=8)
    parser.add_argument("--workers", type=int, help="threads that decode (default: one for each core)")
    return parser


def parse(argv: list[str]) -> argparse.Namespace:
    args = options().parse_args(argv)
    for name in ("batch_size", "frames", "frame_stride", "fps", "num_real", "num_generated", "workers"):
        if (value := getattr(args, name)) is not None and value <= 0:
            raise UserError(f"--{name} must be positive, not {value:g}")
    if args.size and min(args.size) < 1:
        raise UserError("--size must be positive")
    if args.fps and args.frame_stride not in (None, 1):
        raise UserError("give either --fps or --frame_stride")
    if args.resamples and args.resamples < FEWEST_RESAMPLES:
        raise UserError(f"an interval needs --resamples of at least {FEWEST_RESAMPLES}, or 0 for none")
    if args.save_statistics and args.save_statistics.suffix != ".safetensors":
        raise UserError(f"--save_statistics writes a .safetensors file, not {args.save_statistics.name}")
    settle(args)
    args.cache = args.cache or (args.output and args.output.parent / "fvd_cache")
    args.workers = args.workers or max(distributed.cores(), 1)
    return args


def show(result: dict[str, object]) -> None:
    """The figures in a few lines."""
    counts = f"{result['num_real']} real, {result['num_generated']} generated videos"
    print(f"FVD {result['fvd']:.2f} ({result['protocol']}; {counts}; {result['features']['file']})")
    if "interval" in result:
        low, high = result["interval"]
        print(f"95 % of such figures: {low:.2f} to {high:.2f}")
    if result.get("fvd_infinity") is not None:
        print(f"extrapolated to infinitely many videos: {result['fvd_infinity']:.2f}")
    print(f"kernel distance {result['kernel_distance']:.4g}")
    if "checks" in result:
        floor, order = result["checks"]["floor"], result["checks"]["order"]
        print(f"at {floor['count']} videos: real {floor['real']:.2f}, generated {floor['generated']:.2f}")
        shuffled, unshuffled = order["shuffled"], order["unshuffled"]
        print(f"halves of the real videos: frames shuffled {shuffled:.2f}, as they are {unshuffled:.2f}")
    for side in ("real", "generated"):
        if faults := list(result[side]["faults"].items()):
            named = "; ".join(f"{name}: {fault}" for name, fault in faults[:NAMED])
            print(f"{side}: {len(faults)} files are broken or too short and left out: {named}")
    print(f"to repeat it: {result['protocol_string']}")


def write(result: dict[str, object], output: Path) -> None:
    """The JSON file, and the sweep as a picture beside it."""
    output.parent.mkdir(parents=True, exist_ok=True)
    write_json(output, result)
    if "sweep" in result:
        from eval.distances.picture import draw_sweep

        draw_sweep(result, output.with_suffix(".png"))


@script
def main(argv: list[str]) -> None:
    args = parse(argv)
    with distributed.processes():
        result = measure(args)
        if distributed.is_main():
            show(result)
            if args.output:
                write(result, args.output)


if __name__ == "__main__":
    sys.exit(main())
