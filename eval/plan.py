"""What a whole project costs: hours, GPU-hours, disk and network of stage one, caching and stage two.

    python eval/plan.py configs/stage1/base.yaml configs/stage2/paper.yaml --clips 9537 --gpu H100 --gpus 8
    python eval/plan.py configs/stage1/base.yaml configs/stage2/paper.yaml --clips 10000000 --gpu H100 --gpus 1024 \\
        --stage1_epochs 2 --stage2_epochs 20 --stage1.loop.batch_size 4096 --stage2.loop.batch_size 8192

FLOPs, memory and bytes are counted on the configurations themselves; how near a GPU comes to its peak is measured by
`make check-gpu` (`--measured check.json`), said, or assumed. Everything behind the figures is printed with them.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from autoencoder.cache import CacheConfig
from autoencoder.stage1.config import Stage1Config
from data.latents.clips import ClipChoice
from eval.costs.basis import Basis, bases
from eval.costs.dataset import DataSet, by_length, by_number, in_folder
from eval.costs.hardware import GPUS, Cluster
from eval.costs.project import Project, plan_project, with_epochs
from eval.costs.shares import CHECKS, shares_of
from generator.stage2 import Stage2Config
from runtime.config import load, parse
from runtime.errors import UserError
from runtime.files import write_json
from runtime.options import OptionParser
from runtime.script import script

PREFIXES = ("stage1", "stage2", "cache")

LINES = (
    ("clips", lambda work: f"{work.clips:,}"),
    ("computing, hours", lambda work: f"{work.compute:,.3g}"),
    ("sending, hours", lambda work: f"{work.communication:,.3g}"),
    ("reading and decoding, hours", lambda work: f"{work.data:,.3g}"),
    ("checkpoints, hours", lambda work: f"{work.checkpoints:,.3g}"),
    ("hours", lambda work: f"{work.hours:,.3g}"),
    ("GPU-hours", lambda work: f"{work.gpu_hours:,.4g}"),
    ("clips/s", lambda work: f"{work.clips_per_second:,.4g}"),
    ("of the time GPUs compute", lambda work: f"{work.efficiency:.0%}"),
    ("sent by a GPU in a step", lambda work: f"{work.sent / 1e9:.3g} GB"),
    ("read by a machine", lambda work: f"{work.read / 1e6:,.3g} MB/s"),
)


def print_plan(project: Project, behind: Sequence[Basis], price: float | None) -> None:
    from rich.console import Console
    from rich.table import Table

    console, time = Console(), Table("")
    for work in project.works:
        time.add_column(work.name, justify="right")
    time.add_column("in all", justify="right")
    total = {"hours": f"{project.hours:,.3g}", "GPU-hours": f"{project.gpu_hours:,.4g}"}
    for name, form in LINES:
        time.add_row(name, *(form(work) for work in project.works), total.get(name, ""))
    disk = Table("disk, at most", "")
    for name, size in project.disk.items():
        disk.add_row(name, f"{size / 1e9:,.3f} GB")
    disk.add_row("in all", f"{sum(project.disk.values()) / 1e9:,.3f} GB")
    why = Table("behind it", "", "how it is known")
    for each in behind:
        why.add_row(each.what, each.value, each.how)
    for table in (time, disk, why):
        console.print(table)
    if price is not None:
        console.print(f"at {price:g} a GPU-hour: {price * project.gpu_hours:,.0f}")


def as_json(project: Project, behind: Sequence[Basis]) -> dict[str, object]:
    derived = ("hours", "gpu_hours", "clips_per_second", "efficiency")
    return {
        "hours": project.hours,
        "gpu_hours": project.gpu_hours,
        "parts": [asdict(work) | {name: getattr(work, name) for name in derived} for work in project.works],
        "memory": {name: asdict(memory) for name, memory in project.memory.items()},
        "disk": project.disk,
        "behind": [asdict(each) for each in behind],
    }


def read_configurations(
    args: argparse.Namespace, overrides: dict[str, list[str]]
) -> tuple[Stage1Config, Stage2Config, CacheConfig]:
    """Raises `UserError` for one that would not run in bf16, whose rate alone is known here."""
    stage1 = load(Stage1Config, args.stage1, overrides["stage1"])
    stage2 = load(Stage2Config, args.stage2, overrides["stage2"])
    for name, config in (("stage1", stage1), ("stage2", stage2)):
        if config.engine.precision != "bf16":
            raise UserError(f"a plan knows bf16 and {name} is in another precision; --{name}.engine.precision bf16")
    return stage1, stage2, parse(CacheConfig, overrides["cache"], "")[0]


def data_set(args: argparse.Namespace, stage1: Stage1Config, cache: CacheConfig) -> DataSet:
    choice = ClipChoice(stage1.model.frames, stage1.data.fps, cache.clips_per_video, cache.flipped, stage1.loop.seed)
    if args.data:
        return in_folder(args.data, choice, stage1.data.fold)
    size = args.video_megabytes * 1e6
    return by_number(args.clips, size) if args.clips else by_length(args.videos, args.seconds, choice, size)


def by_prefix(parser: OptionParser, words: Sequence[str]) -> dict[str, list[str]]:
    """`--stage1.loop.steps 9` as `{"stage1": ["--loop.steps", "9"]}`; other options are mistakes."""
    found: dict[str, list[str]] = {prefix: [] for prefix in PREFIXES}
    prefix = ""
    for word in words:
        if word.startswith("--"):
            prefix, _, name = word[2:].partition(".")
            word = f"--{name}"
        if prefix not in found:
            parser.error(f"unrecognized arguments: {' '.join(words)}")
        found[prefix].append(word)
    return found


def make_parser() -> OptionParser:
    parser = OptionParser(
        description="Hours, GPU-hours, disk and network of a whole project.",
        epilog="Settings of the configurations can be overridden, such as --stage1.loop.batch_size or "
        "--stage2.loop.batch_size 4096, --stage2.engine.zero_stage 2, --cache.clips_per_video all.",
    )
    parser.add_argument("stage1", type=Path, metavar="STAGE1", help="YAML file of stage one")
    parser.add_argument("stage2", type=Path, metavar="STAGE2", help="YAML file of stage two")
    size = parser.add_mutually_exclusive_group(required=True)
    size.add_argument("--clips", type=int, help="training clips, each of a video of its own")
    size.add_argument("--videos", type=int, help="training videos, each of --seconds")
    size.add_argument("--data", type=Path, help="a data set's folder, of which the training split is looked into")
    parser.add_argument("--seconds", type=float, default=7.0, help="of each of the --videos (default 7, UCF-101's)")
    parser.add_argument("--video_megabytes", type=float, default=0.55, help="of a file (default 0.55, UCF-101's)")
    parser.add_argument("--gpu", choices=GPUS, default="H100")
    parser.add_argument("--gpus", type=int, default=1)
    parser.add_argument("--gpus_per_machine", type=int, default=8)
    parser.add_argument("--network", type=float, default=400.0, help="Gbit/s of a machine (default 400)")
    parser.add_argument("--disk", type=float, default=2.0, help="GB/s of a machine (default 2)")
    parser.add_argument("--decode_rate", type=float, default=65.0, help="clips/s of a decoding process (default 65)")
    parser.add_argument("--measured", type=Path, help="check.json of `make check-gpu` on such a GPU")
    for part in CHECKS:
        parser.add_argument(f"--{part}_share", type=float, help="of the peak rate, where it is known otherwise")
    parser.add_argument("--stage1_epochs", type=float, help="over all videos, in place of the configuration's steps")
    parser.add_argument("--stage2_epochs", type=float, help="over all clips, in place of the configuration's steps")
    parser.add_argument("--price", type=float, help="of a GPU-hour")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    return parser


def require_positive(args: argparse.Namespace) -> None:
    for name, value in vars(args).items():
        if isinstance(value, int | float) and value <= 0:
            raise UserError(f"--{name} must be positive")


@script
def main(argv: list[str]) -> None:
    parser = make_parser()
    args, others = parser.parse_known_args(argv)
    require_positive(args)
    stage1, stage2, cache = read_configurations(args, by_prefix(parser, others))
    gpu = GPUS[args.gpu]
    cluster = Cluster(gpu, args.gpus, args.gpus_per_machine, args.network * 1e9 / 8, args.disk * 1e9)
    shares = shares_of(gpu, {part: getattr(args, f"{part}_share") for part in CHECKS}, args.measured)
    data = data_set(args, stage1, cache)
    stage1 = replace(stage1, loop=with_epochs(stage1.loop, args.stage1_epochs, data.videos))
    stage2 = replace(stage2, loop=with_epochs(stage2.loop, args.stage2_epochs, data.clips))
    project = plan_project(stage1, stage2, cache, data, cluster, shares, args.decode_rate)
    behind = bases(project, data, cluster, shares, args.decode_rate)
    print_plan(project, behind, args.price)
    if args.output:
        args.output.parent.mkdir(parents=True, exist_ok=True)
        write_json(args.output, as_json(project, behind))


if __name__ == "__main__":
    sys.exit(main())
