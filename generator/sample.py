"""Generate videos of given classes.

`python -m generator.sample --weights runs/NAME --classes Archery,Surfing --num 16`; without weights, the showcase's.
"""

import sys
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import get_args

import torch
from torch import Tensor

from generator.diffusion.schedulers import NAMES, check_steps, name_of
from generator.diffusion.solver import Order
from generator.draw import Sampling, draw, encoded, open_pipeline
from generator.pipeline import VidTwinPipeline
from generator.samples import SETTINGS, collect, part, parts_folder, remove_earlier, write_for_the_eye
from runtime import distributed
from runtime.errors import UserError
from runtime.files import sha256, write_json
from runtime.models import SHOWCASE, find_models, generator_in, is_showcase
from runtime.options import OptionParser
from runtime.precision import DTYPES, USES, computing_in, precision_of_use
from runtime.progress import Progress
from runtime.script import script
from runtime.tensors import save_tensors
from runtime.training.run import environment
from runtime.weights import weights_hash

PATHS = ("weights", "weak", "structure_from", "dynamics_from")


def chosen_classes(pipeline: VidTwinPipeline, classes: str, num: int, balanced: bool) -> list[int]:
    """The labels of comma-separated names or numbers, all for an empty string; `balanced`: they must divide `num`."""
    words = [word.strip() for word in classes.split(",") if word.strip()]
    chosen = pipeline.labels(words or range(len(pipeline.config.classes)))
    k = len(chosen)
    if balanced and num % k:
        nearest = [str(n) for n in (num // k * k, (num // k + 1) * k) if n]
        raise UserError(f"--num {num} is not balanced over {k} classes; the nearest is --num {' or '.join(nearest)}")
    return chosen


def settled(args: Namespace, pipeline: VidTwinPipeline) -> Sampling:
    """What the options say, and the pipeline where they say nothing."""
    saved = pipeline.config
    steps = saved.num_inference_steps if args.steps is None else args.steps
    check_steps(pipeline.scheduler, steps)
    return Sampling(
        steps,
        saved.guidance_scale if args.guidance is None else args.guidance,
        tuple(args.interval or saved.guidance_interval),
        name_of(pipeline.scheduler),
        args.order,
        args.windows,
        args.seed,
        args.batch_size,
    )


def generate(
    pipeline: VidTwinPipeline, labels: Tensor, parts: Path, sampling: Sampling, given: dict[str, Tensor]
) -> None:
    """Write this process's batches of samples as files in `parts`; those that are there are kept."""
    total, size = len(labels), sampling.batch_size
    batches = [range(start, min(start + size, total)) for start in range(0, total, size)]
    own = batches[distributed.rank() :: distributed.world_size()]
    progress = Progress("sampling", sum(map(len, own)), "videos", show=distributed.is_main())
    for indices in own:
        if not part(parts, indices.start).exists():
            save_tensors(part(parts, indices.start), draw(pipeline, labels, indices, sampling, **given))
        progress.advance(len(indices))


def described(args: Namespace, pipeline: VidTwinPipeline, chosen: Sequence[int], sampling: Sampling) -> dict:
    """What the samples depend on."""
    models = {name: model for name, model in pipeline.components.items() if isinstance(model, torch.nn.Module)}
    donors = {"structure_from": args.structure_from, "dynamics_from": args.dynamics_from}
    return {
        "sha256": {name: weights_hash(model) for name, model in models.items()},
        "num": args.num,
        "classes": [pipeline.config.classes[label] for label in chosen],
        "rule": f"sample i is of classes[i mod {len(chosen)}]",
        **asdict(sampling),
        "precision": precision_of_use(args.precision, distributed.device()),
        "given": {name: sha256(video) for name, video in donors.items() if video},
    }


def write_samples(args: Namespace) -> None:
    """The whole of what the script does; see its options for the meaning of the arguments."""
    pipeline = open_pipeline(args.weights, args.scheduler, args.weak)
    chosen = chosen_classes(pipeline, args.classes, args.num, args.balanced)
    labels = torch.tensor([chosen[i % len(chosen)] for i in range(args.num)])
    sampling, device, out = settled(args, pipeline), distributed.device(), args.out
    given = donors_of(args, pipeline.to(device))
    settings = described(args, pipeline, chosen, sampling)
    parts = parts_folder(out, settings)
    parts.mkdir(parents=True, exist_ok=True)
    with computing_in(DTYPES[settings["precision"]], device):
        generate(pipeline, labels, parts, sampling, given)
    distributed.barrier()
    if distributed.is_main():
        tensors = collect(out, parts, args.num, args.batch_size)
        remove_earlier(out)
        files = write_for_the_eye(out, tensors, tuple(pipeline.config.classes), args.fps or pipeline.config.fps)
        paths = {name: str(getattr(args, name)) for name in PATHS if getattr(args, name)}
        write_json(out / SETTINGS, {**paths, **settings, "environment": environment(), "videos": files})
    distributed.barrier()


def donors_of(args: Namespace, pipeline: VidTwinPipeline) -> dict[str, Tensor]:
    """The latents that videos give to all samples."""
    given = {"structure": args.structure_from, "dynamics": args.dynamics_from}
    return {name: getattr(encoded(pipeline, video), name) for name, video in given.items() if video}


def default_out(weights: Path) -> Path:
    """Where samples of a run and of the showcase go. Raises `UserError` for other weights."""
    generator_in(weights)  # what is missing is said first
    home = Path("runs/showcase") if is_showcase(weights) else find_models(weights).run
    if home is None:
        raise UserError(f"{weights} is no run's folder; say with --out where the samples go")
    return home / "samples"


def options() -> OptionParser:
    parser = OptionParser(description="Generate videos of given classes.")
    parser.add_argument(
        "--weights",
        type=Path,
        default=SHOWCASE,
        help="a run's folder such as runs/demo, or a pipeline's (default: weights/showcase)",
    )
    parser.add_argument("--classes", default="", help="comma-separated names or numbers; all when left out")
    parser.add_argument("--num", type=int, default=16, help="how many videos in total; sample i is of class i mod k")
    parser.add_argument("--balanced", action="store_true", help="refuse a --num that the classes do not divide")
    parser.add_argument("--scheduler", choices=NAMES, help="one that fits the objective (default: the one saved)")
    parser.add_argument("--steps", type=int, help="solver steps (default: the training configuration's)")
    parser.add_argument("--guidance", type=float, help="guidance scale, 1 for none (default: the configuration's)")
    parser.add_argument(
        "--interval", type=float, nargs=2, metavar=("LOW", "HIGH"), help="noise levels from 0 to 1 that are guided"
    )
    parser.add_argument(
        "--weak", help="guide away from a smaller or earlier generator, such as runs/demo/generator/weights/raw"
    )
    parser.add_argument("--structure_from", type=Path, metavar="VIDEO", help="draw only dynamics, for its structure")
    parser.add_argument("--dynamics_from", type=Path, metavar="VIDEO", help="draw only structure, for its dynamics")
    parser.add_argument("--order", choices=get_args(Order), default="together", help="which latent is drawn first")
    parser.add_argument("--windows", type=int, default=1, help="length, in windows that the model was trained on")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch_size", type=int, default=16, help="videos in one pass; equal batches give equal bits")
    parser.add_argument("--precision", choices=USES, default="auto", help="auto: bf16 on a GPU, fp32 on a CPU")
    parser.add_argument("--fps", type=float, help="of the mp4 files (default: the rate the autoencoder was trained at)")
    parser.add_argument("--out", type=Path, help="default: the run's samples/; of the showcase runs/showcase/samples")
    return parser


@script
def main(argv: list[str]) -> None:
    args = options().parse_args(argv)
    if args.num < 1 or args.batch_size < 1:
        raise UserError("--num and --batch_size must be at least 1")
    args.out = args.out or default_out(args.weights)
    with distributed.processes():
        write_samples(args)
    if distributed.is_main():
        print(f"{args.num} videos in {args.out}: look at {args.out / 'grid.png'} and {args.out / 'grid.mp4'}")


if __name__ == "__main__":
    sys.exit(main())
